//! Merges errors.

use super::{
    PluginError, cluster,
    issue_name::IssueName,
    triage::{Action, Targets, act},
};

/// Merge errors into another one of the project: their numbers count for it, and their addresses lead there.
///
/// Whoever merged them can undo it in the console for a day.
#[derive(Clone, Debug, clap::Args)]
pub struct Merge {
    #[command(flatten)]
    targets: Targets,
    /// The one to merge them into.
    #[arg(long, value_name = "ISSUE")]
    into: IssueName,
}

pub async fn merge(command: &Merge, options: &cluster::Options) -> Result<(), PluginError> {
    let IssueName { project, number } = &command.into;
    if let Some(other) = command.targets.projects().into_iter().find(|other| *other != project.as_str()) {
        return Err(PluginError::Refused(format!(
            "an error of project {other} cannot be merged into one of {project}"
        )));
    }
    act(&command.targets, &Action::new("merge", "merged").with("into", number.to_string()), options).await
}
