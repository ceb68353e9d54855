//! `/-/login`: the way to the identity provider, where there is one, and the form that takes a token.

use askama::Template;

use super::Shell;
use crate::console::sign_in::{AUDIENCE, Refusal};

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    shell: Shell,
    /// Where to go on to, relative to the console's root.
    to: String,
    /// Sends the browser to the provider, and on to that place after it.
    provider: Option<ProviderView>,
    /// Why nobody was signed in.
    refused: Option<String>,
    /// Whether that was said of a token.
    bad_token: bool,
    audience: &'static str,
}

impl SignInPage {
    /// `provider`: what people call the identity provider.
    #[must_use]
    pub fn new(shell: Shell, to: String, provider: Option<&str>, refusal: Option<&Refusal>) -> Self {
        let link = |name: &str| ProviderView { name: name.to_owned(), query: query(&to) };
        let provider = provider.map(link);
        let bad_token = matches!(refusal, Some(Refusal::NotValid));
        Self { shell, provider, to, refused: refusal.map(sentence), bad_token, audience: AUDIENCE }
    }

    /// The page, relative to the one that needs a sign-in, which comes next.
    #[must_use]
    pub fn address(shell: &Shell) -> String {
        format!("{}-/login{}", shell.root, query(&shell.here))
    }
}

/// The way to the identity provider.
#[derive(Debug)]
struct ProviderView {
    name: String,
    query: String,
}

fn query(to: &str) -> String {
    let to: String = form_urlencoded::byte_serialize(to.as_bytes()).collect();
    if to.is_empty() { to } else { format!("?to={to}") }
}

fn sentence(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotValid => {
            format!("This token is not valid here: it has expired, or it was not made for the audience {AUDIENCE}.")
        }
        other => format!("Nobody was signed in: {other}."),
    }
}
