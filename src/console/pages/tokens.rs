//! `/-/tokens`: the API tokens of whoever is signed in, a form for another one, and the end of all sessions.

use askama::Template;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::{Shell, format::Moment, visible};
use crate::{console::sign_in::Scope, store::console::ApiToken};

#[derive(Template)]
#[template(path = "tokens.html")]
pub struct TokensPage {
    shell: Shell,
    tokens: Vec<TokenRow>,
    /// The one that was made just now.
    made: Option<String>,
    scopes: Vec<ScopeView>,
    /// Of the forms.
    form_token: String,
}

struct TokenRow {
    id: String,
    name: String,
    scopes: String,
    created: Moment,
    last_used: Option<Moment>,
    /// As `2026-11-22`, in UTC.
    expires: String,
}

struct ScopeView {
    name: &'static str,
    gives: &'static str,
}

impl TokensPage {
    #[must_use]
    pub fn new(shell: Shell, tokens: &[ApiToken], made: Option<&SecretString>, now: Timestamp) -> Self {
        let rows = tokens.iter().map(|token| TokenRow {
            id: token.id.to_string(),
            name: visible(&token.name),
            scopes: visible(&token.scopes.join(", ")),
            created: Moment::new(token.created_at, now),
            last_used: token.last_used_at.map(|at| Moment::new(at, now)),
            expires: token.expires_at.strftime("%Y-%m-%d").to_string(),
        });
        let scopes = Scope::ALL.map(|scope| ScopeView { name: scope.as_str(), gives: gives(scope) });
        let made = made.map(|token| token.expose_secret().to_owned());
        let form_token = shell.user.as_ref().and_then(|user| user.form_token.clone()).unwrap_or_default();
        Self { tokens: rows.collect(), made, scopes: scopes.into(), form_token, shell }
    }
}

fn gives(scope: Scope) -> &'static str {
    match scope {
        Scope::ReadOrganizations => "the list of projects; programs of Sentry ask for it",
        Scope::Releases => "releases with their errors and health",
        Scope::ReadProjects => "projects and lists of errors",
        Scope::ReadEvents => "errors with their events, which hold personal data",
        Scope::WriteEvents => "resolve, ignore, reopen, assign, comment, merge and delete errors",
        Scope::WriteKeys => "client keys: their state and use",
    }
}
