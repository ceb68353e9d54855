//! `/-/ticket`: the button that signs in who came from `kubectl errors login`.

use askama::Template;

use super::{Shell, untrusted::visible};
use crate::console::sign_in::Ticket;

#[derive(Template)]
#[template(path = "ticket.html")]
pub struct TicketPage {
    shell: Shell,
    /// `None`: the ticket was used, or it is over.
    button: Option<Button>,
}

struct Button {
    ticket: String,
    /// Where to go on to, relative to the console's root.
    to: String,
    /// Who made the ticket: whoever follows a link sees whose session it begins.
    user: String,
}

impl TicketPage {
    #[must_use]
    pub fn new(shell: Shell, ticket: &Ticket, user: &str, to: String) -> Self {
        Self { shell, button: Some(Button { ticket: ticket.expose(), to, user: visible(user) }) }
    }

    #[must_use]
    pub fn over(shell: Shell) -> Self {
        Self { shell, button: None }
    }
}
