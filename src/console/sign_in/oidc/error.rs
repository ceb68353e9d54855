//! Why a provider signed nobody in.

use super::{id_token::BadToken, identity::NotNamed};

/// `Display` is the sentence for people and for the log: nothing of a code, a token or a secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    #[error(
        "this sign-in is over: it was begun more than 10 minutes ago or in another browser, or it is done already; \
         begin it anew"
    )]
    NotBegun,
    #[error("too many people sign in at once; load this page again")]
    Busy,
    #[error("the provider did not sign you in{}", because(.0.as_ref()))]
    Denied(Option<String>),
    #[error("the answer is another provider's")]
    OtherIssuer,
    #[error("the provider cannot be reached")]
    Unreachable,
    #[error("the provider did not answer in time")]
    Silent,
    #[error("the provider's {0} is larger than the console reads")]
    TooLarge(&'static str),
    #[error("the provider's {0} is not as OpenID Connect has it")]
    NotUnderstood(&'static str),
    #[error("the provider answers with status {status} instead of its {what}")]
    Status { what: &'static str, status: u16 },
    #[error("the provider names an address of another server as its {0}")]
    Elsewhere(&'static str),
    #[error("the provider does not take what the console showed it: status {status}{}", because(.error.as_ref()))]
    NotExchanged { status: u16, error: Option<String> },
    #[error("the provider's id token {0}")]
    BadToken(#[from] BadToken),
    #[error("the provider {0}")]
    NotNamed(#[from] NotNamed),
    #[error("the Secret for the provider has no {0} that can be read")]
    BadSecret(&'static str),
}

impl OidcError {
    /// Whether somebody else has to do something about it: the provider, or who set it up here.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !matches!(self, Self::NotBegun | Self::Busy | Self::Denied(_) | Self::OtherIssuer | Self::NotNamed(_))
    }
}

/// The word of OAuth for an error, as `access_denied`. Another text is not repeated: anybody can write an address.
#[must_use]
pub fn word(text: &str) -> Option<String> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    ((1..=40).contains(&text.len()) && text.bytes().all(letter)).then(|| text.to_owned())
}

fn because(error: Option<&String>) -> String {
    error.map_or_else(String::new, |error| format!(": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_word_is_repeated() {
        for (text, repeated) in [
            ("access_denied", true),
            ("", false),
            ("<b>", false),
            ("Call 0900-1", false),
            ("a_word_that_is_far_longer_than_any_of_oauths_own", false),
        ] {
            assert_eq!(word(text).is_some(), repeated, "{text}");
        }
        assert_eq!(
            OidcError::Denied(word("access_denied")).to_string(),
            "the provider did not sign you in: access_denied"
        );
        assert_eq!(OidcError::Denied(None).to_string(), "the provider did not sign you in");
    }
}
