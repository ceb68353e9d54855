//! Why a server that keeps keys did not do what it was asked for.

use std::time::Duration;

/// Longest part of a server's own words that is repeated, in characters.
const DETAIL_LIMIT: usize = 200;

/// `Display` is the sentence for people; it names no key, no token, and nothing of the network behind a server's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    #[error(
        "url names {host}, which this installation does not allow: ask the platform team to add it to \
         allowedBackendHosts"
    )]
    HostNotAllowed { host: String },
    #[error(
        "url is not the address of a server: write it as https://sentry.example.com, with a path only if the server \
         lives below one"
    )]
    BadUrl,
    #[error("the Secret of caBundleSecretRef holds no certificates that can be read: put them there in PEM")]
    BadCertificates,
    /// One sentence for an unknown name, a refused or silent connection and a broken one: told apart, they would be a
    /// map of the network.
    #[error("The server cannot be reached: check host and port of url, and that the operator's pods may connect to it")]
    Unreachable,
    #[error(
        "The server's certificate is not trusted: it has expired, is for another name, or nobody known has signed it. \
         For an authority of your own, name its certificate in caBundleSecretRef; for a public one, name no bundle, \
         because only a bundle that is named is trusted"
    )]
    NotVerified,
    #[error("The server did not answer in time: this is tried again")]
    NoAnswer,
    #[error("The server answers more than the operator reads: check that url is the address of its API")]
    TooLarge,
    #[error("The server's answer is not {what}: check that url is the address of a server that has this API")]
    NotUnderstood { what: &'static str },
    #[error("{}", moved(.to.as_deref()))]
    Moved {
        /// The project's new name, where the server tells it.
        to: Option<String>,
    },
    #[error(
        "Connection failed. Check auth token and try again: the server does not accept the token. It may have expired \
         or been revoked, or it is of another server"
    )]
    Unauthorized,
    #[error(
        "Connection failed. Check auth token and try again: the server refuses what the operator asks for with the \
         token. It needs {needs}"
    )]
    Forbidden {
        /// Scope or role.
        needs: &'static str,
    },
    #[error("The server has no {what} that the token can see: check its name, and whose token it is")]
    NotFound { what: &'static str },
    #[error(
        "GitLab has no integrated error tracking for the project: on a GitLab of your own an administrator must enable \
         the feature flag integrated_error_tracking; else switch Monitor on in the project's settings under General, \
         Visibility"
    )]
    FeatureOff,
    #[error("The server takes no more calls with this token for now: tried again in {} s", .after.as_secs().max(1))]
    Limited { after: Duration },
    #[error("The server refuses the call with status {status}{}", said(.detail))]
    Rejected {
        status: u16,
        /// The server's own words, made by [`detail`].
        detail: String,
    },
    #[error("The server fails with status {status}: this is tried again")]
    Failing { status: u16 },
}

impl ServerError {
    /// Whether the same call can succeed later without anybody here changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable
            | Self::NoAnswer
            | Self::NotUnderstood { .. }
            | Self::Limited { .. }
            | Self::Failing { .. } => true,
            Self::HostNotAllowed { .. }
            | Self::BadUrl
            | Self::BadCertificates
            | Self::NotVerified
            | Self::TooLarge
            | Self::Moved { .. }
            | Self::Unauthorized
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::FeatureOff
            | Self::Rejected { .. } => false,
        }
    }

    /// Nothing was done: the server was not asked, or answered that it does not do it.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Unauthorized
                | Self::Forbidden { .. }
                | Self::NotFound { .. }
                | Self::FeatureOff
                | Self::Limited { .. }
                | Self::Rejected { .. }
        )
    }

    /// How long the server, or the turn before it, asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited { after } => Some(*after),
            _ => None,
        }
    }
}

fn moved(to: Option<&str>) -> String {
    match to {
        Some(slug) => format!(
            "The project is called {slug} on the server now: make an ErrorTrackingProject that names it so, or rename \
             it back there"
        ),
        None => {
            "The server says that what is asked for has moved: check url and the project's name, which are taken as \
                 they are given"
                .into()
        }
    }
}

fn said(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

/// A server's own words as they may be shown: on one line, bounded, without the token.
pub(super) fn detail(words: &str, token: &str) -> String {
    let words = if token.is_empty() { words.to_owned() } else { words.replace(token, "…") };
    let plain = words.chars().map(|letter| if letter.is_whitespace() { ' ' } else { letter });
    let plain: String = plain.filter(|letter| !letter.is_control() && !is_format(*letter)).take(DETAIL_LIMIT).collect();
    plain.trim().to_owned()
}

/// Letters that turn or hide the text around them.
fn is_format(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_token_lacks_begins_with_gitlabs_sentence() {
        for error in [ServerError::Unauthorized, ServerError::Forbidden { needs: "project:admin" }] {
            let sentence = error.to_string();
            assert!(sentence.starts_with("Connection failed. Check auth token and try again: "), "{sentence}");
        }
        assert!(ServerError::Forbidden { needs: "project:admin" }.to_string().ends_with("It needs project:admin"));
    }

    #[test]
    fn a_servers_words_are_shown_without_token_and_control_characters() {
        for (words, shown) in [
            ("Invalid name.", "Invalid name."),
            (" a\r\nb\u{1b}[31m\u{202e}c\u{0} ", "a  b[31mc"),
            ("no such token s3cret, s3cret", "no such token …, …"),
            ("", ""),
        ] {
            assert_eq!(detail(words, "s3cret"), shown, "{words:?}");
        }
        assert_eq!(detail(&"ä".repeat(1000), "").chars().count(), 200);
        let rejected = |detail: &str| ServerError::Rejected { status: 400, detail: detail.into() }.to_string();
        assert_eq!(rejected("Invalid."), "The server refuses the call with status 400: Invalid.");
        assert_eq!(rejected(""), "The server refuses the call with status 400");
    }

    #[test]
    fn only_what_can_end_by_itself_is_tried_again() {
        let after = Duration::from_secs(7);
        assert!(ServerError::Limited { after }.retryable());
        assert_eq!(ServerError::Limited { after }.retry_after(), Some(after));
        assert!(ServerError::Failing { status: 502 }.retryable());
        assert!(!ServerError::Unauthorized.retryable());
        assert_eq!(ServerError::Unauthorized.retry_after(), None);
    }
}
