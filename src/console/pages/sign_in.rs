//! `/-/login`: the form that takes a token.

use askama::Template;

use super::Shell;
use crate::console::sign_in::{AUDIENCE, Refusal};

#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    shell: Shell,
    /// Where to go on to, relative to the console's root.
    to: String,
    refused: bool,
    audience: &'static str,
}

impl SignInPage {
    #[must_use]
    pub fn new(shell: Shell, to: String, refusal: Option<&Refusal>) -> Self {
        Self { shell, to, refused: refusal.is_some(), audience: AUDIENCE }
    }

    /// The page, relative to the one that needs a sign-in, which comes next.
    #[must_use]
    pub fn address(shell: &Shell) -> String {
        let to: String = form_urlencoded::byte_serialize(shell.here.as_bytes()).collect();
        let to = if to.is_empty() { to } else { format!("?to={to}") };
        format!("{}-/login{to}", shell.root)
    }
}
