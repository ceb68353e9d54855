//! Tickets: a program that has a token makes one, and a browser that comes with it begins a session. So `kubectl errors
//! login` signs a browser in without showing it the token.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jiff::Timestamp;

use super::{Refusal, SignIn, bearer, end_of, sha256};
use crate::{
    console::web::origin::Host,
    store::console::{Session, SessionDigest},
};

/// 256 random bits, as an address has them.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket([u8; 32]);

impl Ticket {
    /// `None`: the text can be no ticket.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// As it stands in an address.
    #[must_use]
    pub fn expose(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    fn digest(&self) -> SessionDigest {
        sha256(&[b"ticket ".as_slice(), &self.0].concat())
    }
}

impl SignIn {
    /// A ticket for whoever shows a token in the headers: a session alone gets none, for it would never end.
    pub async fn make_ticket(&self, headers: &HeaderMap, now: Timestamp) -> Result<Ticket, Refusal> {
        let Self::On(signed_in) = self else { return Err(Refusal::NotValid) };
        let token = headers.get(AUTHORIZATION).and_then(bearer).ok_or(Refusal::NotValid)?;
        let user = signed_in.review(&token).await?;
        let expires_at = end_of(&token, now);
        let ticket = Ticket(rand::random());
        signed_in.databases.sessions().make_ticket(ticket.digest(), &Session { user, expires_at }).await?;
        Ok(ticket)
    }

    /// Who made the ticket, which stays; `None`: it was used, or it is over.
    pub async fn ticket_user(&self, ticket: &Ticket) -> Result<Option<String>, Refusal> {
        let Self::On(signed_in) = self else { return Ok(None) };
        let _turn = signed_in.turn().await?;
        Ok(signed_in.databases.sessions().ticket_user(ticket.digest()).await?)
    }

    /// Uses the ticket up, begins its session, and ends the one that the request came with: the value of `Set-Cookie`;
    /// `None`: it was used, or it is over.
    pub async fn use_ticket(
        &self,
        ticket: &Ticket,
        headers: &HeaderMap,
        host: Host<'_>,
        now: Timestamp,
    ) -> Result<Option<HeaderValue>, Refusal> {
        let Self::On(signed_in) = self else { return Ok(None) };
        let _turn = signed_in.turn().await?;
        let found = signed_in.databases.sessions().use_ticket(ticket.digest()).await?;
        let Some(session) = found.filter(|session| session.expires_at > now) else { return Ok(None) };
        let cookie = signed_in.begin(&session, headers, host, now).await?;
        tracing::info!(user = session.user.name, until = %session.expires_at, "Signed in with a ticket.");
        Ok(Some(cookie))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ticket_is_looked_for() {
        let ticket = Ticket([7; 32]);
        assert!(Ticket::parse(&ticket.expose()) == Some(ticket.clone()));
        assert!(ticket.digest() != sha256(&ticket.0), "the secret of a session is none");
        for text in ["", "short", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH", "B wc", "../../login"] {
            assert!(Ticket::parse(text).is_none(), "{text}");
        }
    }
}
