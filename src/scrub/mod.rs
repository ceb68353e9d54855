//! Takes out of an event what nobody should store: passwords, tokens, card numbers, session cookies. One
//! walk over the bytes of the JSON mends what strict parsers and Postgres refuse and replaces what is secret;
//! an event without either is not copied. What comes out, `serde_json` takes.
//!
//! Pure: it is called before anything of the event is parsed, grouped, logged or stored. What is secret
//! depends on the name that it stands under, and on its look; of a text only the secret piece goes. `table.rs` has the
//! rules by example.

mod assigned;
mod cards;
mod edits;
mod patterns;
mod place;
mod record;
mod rules;
mod scalars;
mod signals;
mod texts;
mod walk;

use std::{borrow::Cow, net::IpAddr};

use self::{place::Style, rules::Rules, walk::Walk};
use crate::settings::Privacy;

/// Why a payload was refused. What can be mended is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CleanError {
    /// Offset in bytes, of the payload with its invalid UTF-8 replaced.
    #[error("invalid JSON data: {reason} at byte {offset}")]
    InvalidJson { offset: usize, reason: &'static str },
    #[error("an event must be a JSON object")]
    NotAnObject,
}

/// A payload that may be parsed and stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleaned<'a> {
    /// Borrowed if nothing had to be changed.
    pub payload: Cow<'a, [u8]>,
    /// Number of values that were replaced, whole or in part.
    pub scrubbed: u32,
    /// Number of places at which the JSON was mended.
    pub repaired: u32,
}

/// One thing that was changed, for people who ask why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `request.headers.Authorization`, `exception.values.0.value`
    pub path: String,
    pub rule: Rule,
}

/// Why something was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The JSON was mended.
    Repair,
    SecretName,
    SecretText,
    Parameter,
    PemKey,
    UrlPassword,
    BearerToken,
    BasicCredentials,
    /// Known by its look: a JSON web token, a key of a cloud, a token of a forge.
    Token,
    UserPath,
    EmailAddress,
    CreditCard,
    Iban,
    UsSocialSecurityNumber,
    IpAddress,
}

impl Rule {
    /// A few lower-case words of a closed set.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Repair => "mended JSON",
            Self::SecretName => "secret name",
            Self::SecretText => "secret within a text",
            Self::Parameter => "URL parameter with a secret name",
            Self::PemKey => "PEM key",
            Self::UrlPassword => "password in a URL",
            Self::BearerToken => "bearer token",
            Self::BasicCredentials => "basic credentials",
            Self::Token => "token of a well-known look",
            Self::UserPath => "user name in a path",
            Self::EmailAddress => "email address",
            Self::CreditCard => "card number",
            Self::Iban => "IBAN",
            Self::UsSocialSecurityNumber => "US social security number",
            Self::IpAddress => "IP address",
        }
    }
}

/// The compiled rules of one project, for any number of events.
pub struct Scrubber {
    rules: Rules,
}

impl Scrubber {
    #[must_use]
    pub fn new(privacy: &Privacy) -> Self {
        Self { rules: Rules::new(privacy) }
    }

    /// The event's JSON without secrets. A user's address `{{auto}}` becomes `client_ip`.
    pub fn clean<'a>(&self, payload: &'a [u8], client_ip: Option<IpAddr>) -> Result<Cleaned<'a>, CleanError> {
        Walk::clean(&self.rules, payload, client_ip, None)
    }

    /// As [`clean`](Self::clean), and says what was changed where.
    pub fn explain<'a>(
        &self,
        payload: &'a [u8],
        client_ip: Option<IpAddr>,
    ) -> Result<(Cleaned<'a>, Vec<Note>), CleanError> {
        let mut notes = Vec::new();
        let cleaned = Walk::clean(&self.rules, payload, client_ip, Some(&mut notes))?;
        Ok((cleaned, notes))
    }

    /// Text for people, such as a user's report, without the pieces that are secret.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        patterns::without_secrets(text, self.rules.words.signals(text), Style::Inline, &self.rules, &mut Vec::new())
    }
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Scrubber").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod table;
#[cfg(test)]
mod tests;
