//! Reopens errors.

use super::{
    PluginError, cluster,
    triage::{Action, Targets, act},
};

/// Reopen errors that were resolved or are ignored.
#[derive(Clone, Debug, clap::Args)]
pub struct Reopen {
    #[command(flatten)]
    targets: Targets,
}

pub async fn reopen(command: &Reopen, options: &cluster::Options) -> Result<(), PluginError> {
    act(&command.targets, &Action::new("reopen", "reopened"), options).await
}
