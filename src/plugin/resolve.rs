//! Resolves errors.

use super::{
    PluginError, cluster,
    triage::{Action, Targets, act},
};

/// Resolve errors: the next event of one reopens it, as a regression.
#[derive(Clone, Debug, clap::Args)]
pub struct Resolve {
    #[command(flatten)]
    targets: Targets,
    /// Resolved in the next release: events of releases that were seen before do not reopen it.
    #[arg(long, conflicts_with_all = ["in_current_release", "in_release"])]
    in_next_release: bool,
    /// Resolved in the release of its last event: only events of later ones reopen it.
    #[arg(long, conflicts_with = "in_release")]
    in_current_release: bool,
    /// Resolved in this release: only events of later ones reopen it.
    #[arg(long, value_name = "RELEASE")]
    in_release: Option<String>,
}

pub async fn resolve(command: &Resolve, options: &cluster::Options) -> Result<(), PluginError> {
    act(&command.targets, &command.action(), options).await
}

impl Resolve {
    fn action(&self) -> Action {
        match &self.in_release {
            Some(release) => Action::new("resolve in", "resolved").with("release", release),
            None if self.in_next_release => Action::new("resolve next", "resolved"),
            None if self.in_current_release => Action::new("resolve current", "resolved"),
            None => Action::new("resolve", "resolved"),
        }
    }
}
