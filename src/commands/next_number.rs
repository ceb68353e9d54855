//! Says which number the next project gets, and sets it. Before statuses were bounded, one that somebody had forged
//! could use all numbers up; and a database that was lost whole gives them from 1 again.

use std::io::Write;

use super::{CommandError, Installation, client, database};
use crate::dsn::ProjectId;

/// Say which number the next project gets, or set it.
#[derive(Clone, Debug, clap::Args)]
pub struct NextNumber {
    #[command(flatten)]
    installation: Installation,
    /// Secret of the operator's database.
    #[arg(long, env = "ERROR_TRACKING_DATABASE_SECRET")]
    database_secret: String,
    /// Give the next project this number. It is refused when a project has or had it, or one of the 10,000 after it.
    #[arg(long, value_name = "NUMBER")]
    set: Option<ProjectId>,
}

/// Does it, and says so on standard output; repeating it changes nothing.
pub async fn next_number(command: NextNumber) -> Result<(), CommandError> {
    let client = client().await?;
    let admin = database(&client, &command.installation.namespace, &command.database_secret).await?;
    if let Some(next) = command.set
        && let Some(taken) = admin.set_next_number(next).await?
    {
        return Err(CommandError::Refused(format!(
            "Number {} is, or was, that of {}/{}: choose one above it.",
            taken.number, taken.namespace, taken.name
        )));
    }
    let says = match admin.next_number().await? {
        Some(next) => format!("The next project gets number {next}."),
        None => format!("No number is left: all up to {} are used up. Lower the next one with --set.", ProjectId::MAX),
    };
    writeln!(std::io::stdout().lock(), "{says}")?;
    Ok(())
}
