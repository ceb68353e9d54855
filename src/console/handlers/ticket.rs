//! `/-/ticket.json` makes a ticket for a program that has a token, and `/-/ticket?ticket=` is where its user takes a
//! browser: a page with a button, which uses the ticket up. Links are followed by programs that nobody sent, so that GET
//! uses nothing up.

use http::StatusCode;

use super::leads_here;
use crate::{
    console::{
        context::Context,
        pages::TicketPage,
        problem::Problem,
        sign_in::Ticket,
        web::{
            answer::{Either, Json, Page, SeeOther},
            request::{FromRequest, Request, field},
        },
    },
    console_api,
};

/// From the query, or from the form that the page made of it.
pub struct TicketRequest {
    /// `None`: what came is none.
    ticket: Option<Ticket>,
    /// Where to go on to, relative to the console's root.
    to: String,
}

impl FromRequest for TicketRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let named = |name: &str| field(request.query.as_bytes(), name).or_else(|| request.field(name));
        let ticket = named("ticket").and_then(|text| Ticket::parse(&text));
        Ok(Self { ticket, to: named("to").filter(|to| leads_here(to)).unwrap_or_default() })
    }
}

pub async fn make(context: Context, (): ()) -> Result<Json, Problem> {
    let ticket = context.sign_in.make_ticket(&context.asked.headers, context.now).await?;
    Json::of(&console_api::Ticket { ticket: ticket.expose() })
}

/// The button, or what to do without a ticket.
type Shown = (StatusCode, Page<TicketPage>);

pub async fn show(context: Context, request: TicketRequest) -> Result<Shown, Problem> {
    let TicketRequest { ticket: Some(ticket), to } = request else { return Ok(over(context)) };
    let Some(user) = context.sign_in.ticket_user(&ticket).await? else { return Ok(over(context)) };
    Ok((StatusCode::OK, Page(TicketPage::new(context.shell, &ticket, &user, to))))
}

pub async fn begin(context: Context, request: TicketRequest) -> Result<Either<SeeOther, Shown>, Problem> {
    let cookie = match &request.ticket {
        Some(ticket) => {
            let asked = &context.asked;
            context.sign_in.use_ticket(ticket, &asked.headers, asked.host()?, context.now).await?
        }
        None => None,
    };
    let Some(cookie) = cookie else { return Ok(Either::That(Box::new(over(context)))) };
    let place = format!("{}{}", context.shell.root, request.to);
    Ok(Either::This(SeeOther { place, cookie: Some(cookie) }))
}

fn over(context: Context) -> Shown {
    (StatusCode::GONE, Page(TicketPage::over(context.shell)))
}
