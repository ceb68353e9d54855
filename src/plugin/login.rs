//! Signs a browser in to the console.

use std::time::Duration;

use form_urlencoded::Serializer;

use super::{
    PluginError, cluster, console,
    open::{Place, browse},
    output::print,
};
use crate::console_api::Ticket;

/// How long a token lasts that is made for it: as long as a session at most.
const LASTS: Duration = Duration::from_hours(8);

/// Sign the browser in to the console, at an error or at the errors of a project.
///
/// The browser gets a ticket that works once and for a minute, not the token. Without an address of its own, the console
/// is reached through a port of this machine until the command is interrupted.
#[derive(Clone, Debug, clap::Args)]
pub struct Login {
    /// An error, as SHOP-12; or the name of a project.
    #[arg(value_name = "ISSUE|PROJECT")]
    place: Option<Place>,
    /// Print the address only.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    console: console::Options,
}

pub async fn login(command: &Login, options: &cluster::Options) -> Result<(), PluginError> {
    let mut console = command.console.find_for(LASTS, options).await?;
    let Ticket { ticket } = console.post("/-/ticket.json", "").await?;
    let place = command.place.as_ref().map(|place| place.path(&console.namespace)).unwrap_or_default();
    let query = Serializer::new(String::new()).append_pair("ticket", &ticket).append_pair("to", &place).finish();
    let entrance = console.entrance().await?;
    let url = format!("{}/-/ticket?{query}", entrance.url);
    print(&format!("{url}\n"))?;
    if !command.print {
        browse(&url);
    }
    entrance.keep().await
}
