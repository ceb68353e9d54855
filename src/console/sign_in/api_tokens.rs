//! Tokens that people make in the console for programs: how one looks, and what it may be used for. Pure.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use secrecy::{ExposeSecret, SecretString};

use super::sha256;
use crate::{console::auth::Right, store::console::TokenDigest};

/// What every token begins with, so that it is found where it was left lying, and asked about here alone.
const PREFIX: &str = "et_";

/// A new token, of 256 random bits.
#[must_use]
pub fn token(random: [u8; 32]) -> SecretString {
    SecretString::from(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(random)))
}

/// What Postgres keeps of a token; `None`: it is no such token.
#[must_use]
pub fn digest(token: &SecretString) -> Option<TokenDigest> {
    let token = token.expose_secret();
    token.starts_with(PREFIX).then(|| sha256(token.as_bytes()))
}

/// What a token may be used for, in Sentry's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    ReadOrganizations,
    ReadProjects,
    Releases,
    ReadEvents,
    WriteEvents,
    WriteKeys,
}

impl Scope {
    pub const ALL: [Self; 6] = [
        Self::ReadOrganizations,
        Self::ReadProjects,
        Self::Releases,
        Self::ReadEvents,
        Self::WriteEvents,
        Self::WriteKeys,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOrganizations => "org:read",
            Self::ReadProjects => "project:read",
            Self::Releases => "project:releases",
            Self::ReadEvents => "event:read",
            Self::WriteEvents => "event:write",
            Self::WriteKeys => "key:write",
        }
    }

    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    fn rights(self) -> &'static [Right] {
        match self {
            // A namespace is what Sentry calls an organization: to list it is to list its projects.
            Self::ReadOrganizations | Self::ReadProjects | Self::Releases => &[Right::ReadIssues],
            Self::ReadEvents => &[Right::ReadIssues, Right::ReadEvents],
            Self::WriteEvents => &[Right::UpdateIssues, Right::DeleteIssues],
            Self::WriteKeys => &[Right::ReadKeys],
        }
    }
}

/// What a caller may be let to do at most, whatever rights they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scopes {
    /// A session, or a token of Kubernetes.
    All,
    /// A token of the console's own.
    Some(Vec<Scope>),
}

impl Scopes {
    /// A name of another version gives nothing.
    #[must_use]
    pub fn named(names: &[String]) -> Self {
        Self::Some(names.iter().filter_map(|name| Scope::named(name)).collect())
    }

    #[must_use]
    pub fn cover(&self, right: Right) -> bool {
        match self {
            Self::All => true,
            Self::Some(scopes) => right == Right::None || scopes.iter().any(|scope| scope.rights().contains(&right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_beginning() {
        let made = token([7; 32]);
        assert_eq!(made.expose_secret().len(), 46);
        assert!(digest(&made).is_some() && digest(&made) != digest(&token([8; 32])));
        for other in ["", "et", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "xet_AAAA"] {
            assert_eq!(digest(&SecretString::from(other)), None, "{other}");
        }
    }

    #[test]
    fn programs_know_the_same_scopes() {
        assert_eq!(Scope::ALL.map(Scope::as_str), crate::console_api::SCOPES);
    }

    #[test]
    fn scopes_cover_what_they_name_and_never_the_making_of_tokens() {
        use Right::{DeleteIssues, None, ReadEvents, ReadIssues, ReadKeys, SignedIn, UpdateIssues};
        let rights = [None, ReadIssues, ReadEvents, UpdateIssues, DeleteIssues, ReadKeys, SignedIn];
        for (names, covered) in [
            (&[][..], &[None][..]),
            (&["org:read"], &[None, ReadIssues]),
            (&["project:read"], &[None, ReadIssues]),
            (&["project:releases"], &[None, ReadIssues]),
            (&["event:read"], &[None, ReadIssues, ReadEvents]),
            (&["event:write"], &[None, UpdateIssues, DeleteIssues]),
            (&["key:write"], &[None, ReadKeys]),
            (&["project:read", "event:write"], &[None, ReadIssues, UpdateIssues, DeleteIssues]),
            (&["org:admin", ""], &[None]),
        ] {
            let names: Vec<_> = names.iter().map(|name: &&str| (*name).to_owned()).collect();
            let scopes = Scopes::named(&names);
            let found: Vec<_> = rights.into_iter().filter(|right| scopes.cover(*right)).collect();
            assert_eq!(found, covered, "{names:?}");
        }
        assert!(rights.into_iter().all(|right| Scopes::All.cover(right)));
    }
}
