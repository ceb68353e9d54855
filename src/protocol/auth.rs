//! Who sends: the client key of a request, from wherever a Sentry client may have put it.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;

use crate::dsn::PublicKey;

/// The newest protocol version there is; a client that names none means this one.
pub const LATEST_VERSION: u64 = 7;

/// The credentials of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub key: PublicKey,
    /// Name and version of the SDK, as `sentry.python/2.68.0`.
    pub client: Option<String>,
    /// Version of the protocol, at most [`LATEST_VERSION`]; raven sends 4.
    pub version: u64,
}

/// Why a request's credentials were refused; the texts are those Sentry's own server answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// For the caller, when [`parse`] found nothing and the envelope names no DSN either. 401.
    #[error("missing authorization information")]
    Missing,
    /// 401.
    #[error("bad x-sentry-auth header")]
    Malformed,
    /// 401.
    #[error("multiple authorization payloads detected")]
    MultipleKeys,
    /// 400.
    #[error("bad sentry DSN public key")]
    InvalidKey,
    /// 400.
    #[error("unsupported protocol version ({0})")]
    UnsupportedVersion(u64),
}

/// Reads `X-Sentry-Auth`, `Authorization` (`Sentry` or `Basic`) and the query string; an empty header
/// and an `Authorization` of another scheme count as absent.
///
/// Several of them may be there as long as all name the same key: proxies and SDKs do repeat it.
/// `Ok(None)`: no credentials at all, the envelope's own `dsn` may still name a key.
pub fn parse(header: Option<&str>, authorization: Option<&str>, query: &str) -> Result<Option<Auth>, AuthError> {
    let mut found = Credentials::default();
    if let Some(header) = header.map(str::trim).filter(|header| !header.is_empty()) {
        found.add_pairs(after_scheme(header, "Sentry").ok_or(AuthError::Malformed)?)?;
    }
    if let Some(authorization) = authorization.map(str::trim) {
        if let Some(pairs) = after_scheme(authorization, "Sentry") {
            found.add_pairs(pairs)?;
        } else if let Some(encoded) = after_scheme(authorization, "Basic") {
            found.add_basic(encoded)?;
        }
    }
    if query.contains("sentry_key") {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            found.add(&name, value)?;
        }
    }
    Ok(found.into_auth())
}

/// What follows `scheme` and its space; schemes are case-insensitive (RFC 9110, 11.1).
fn after_scheme<'a>(header: &'a str, scheme: &str) -> Option<&'a str> {
    let (name, rest) = header.split_once(' ').unwrap_or((header, ""));
    name.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// What the sources named so far agree on.
#[derive(Default)]
struct Credentials {
    key: Option<PublicKey>,
    client: Option<String>,
    version: Option<u64>,
}

impl Credentials {
    /// `k=v, k=v`; Java sends no space after the comma.
    fn add_pairs(&mut self, pairs: &str) -> Result<(), AuthError> {
        let mut has_key = false;
        for pair in pairs.split(',') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            has_key |= name.trim() == "sentry_key";
            self.add(name.trim(), percent_decode_str(value.trim()).decode_utf8_lossy())?;
        }
        if has_key { Ok(()) } else { Err(AuthError::Malformed) }
    }

    /// base64 of `<public key>:<anything>`.
    fn add_basic(&mut self, encoded: &str) -> Result<(), AuthError> {
        let decoded = STANDARD.decode(encoded.trim()).map_err(|_| AuthError::Malformed)?;
        let text = String::from_utf8(decoded).map_err(|_| AuthError::Malformed)?;
        let key = text.split_once(':').map_or(text.as_str(), |(key, _)| key);
        self.add("sentry_key", Cow::Borrowed(key))
    }

    /// The secret and the timestamp that old clients add are not looked at, as no server does any more.
    fn add(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), AuthError> {
        match name {
            "sentry_key" => {
                let key: PublicKey = value.parse().map_err(|_| AuthError::InvalidKey)?;
                if self.key.get_or_insert_with(|| key.clone()) != &key {
                    return Err(AuthError::MultipleKeys);
                }
            }
            "sentry_client" if self.client.is_none() && !value.is_empty() => self.client = Some(value.into_owned()),
            "sentry_version" => self.version = Some(version(&value)?),
            _ => {}
        }
        Ok(())
    }

    fn into_auth(self) -> Option<Auth> {
        let version = self.version.unwrap_or(LATEST_VERSION);
        self.key.map(|key| Auth { key, client: self.client, version })
    }
}

/// `7`, and `7.1` too, which counts as 7.
fn version(text: &str) -> Result<u64, AuthError> {
    let major = text.split_once('.').map_or(text, |(major, _)| major);
    match major.trim().parse() {
        Ok(version) if version <= LATEST_VERSION => Ok(version),
        Ok(version) => Err(AuthError::UnsupportedVersion(version)),
        Err(_) => Err(AuthError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn key_of(header: Option<&str>, authorization: Option<&str>, query: &str) -> Result<Option<String>, AuthError> {
        Ok(parse(header, authorization, query)?.map(|auth| auth.key.as_str().to_owned()))
    }

    #[test]
    fn every_place_of_the_key_is_read() {
        let pairs = format!("sentry_key={KEY},sentry_version=7,sentry_client=sentry.python/2.68.0");
        let basic = format!("basic {}", STANDARD.encode(format!("{KEY}:secret")));
        for (header, authorization, query) in [
            (Some(format!("Sentry {pairs}")), None, String::new()),
            (Some(format!("sentry {}", pairs.replace(',', ", "))), None, String::new()),
            (None, Some(format!("Sentry {pairs}")), String::new()),
            (None, Some(basic), String::new()),
            (None, None, format!("sentry_version=7&sentry_key={KEY}&sentry_client=sentry.javascript.node%2F10.63.0")),
            (Some(String::new()), Some("Bearer token".into()), format!("sentry_key={KEY}")),
            (Some(format!("Sentry {pairs}")), None, format!("sentry_key={KEY}")),
        ] {
            let found = key_of(header.as_deref(), authorization.as_deref(), &query);
            assert_eq!(found, Ok(Some(KEY.to_owned())), "{header:?} {authorization:?} {query}");
        }
    }

    #[test]
    fn no_credentials_are_no_error() {
        for (header, authorization, query) in
            [(None, None, ""), (Some(""), Some(""), ""), (Some("  "), None, "a=b"), (None, Some("Bearer x"), "")]
        {
            assert_eq!(parse(header, authorization, query), Ok(None), "{header:?} {authorization:?} {query}");
        }
    }

    #[test]
    fn bad_credentials_are_refused_with_their_reason() {
        let other = "f".repeat(32);
        let pairs = format!("Sentry sentry_key={KEY}");
        for (header, authorization, query, error) in [
            (Some("Sentry"), None, String::new(), AuthError::Malformed),
            (Some("nonsense"), None, String::new(), AuthError::Malformed),
            (Some("Sentry sentry_version=7"), None, String::new(), AuthError::Malformed),
            (None, Some("Basic !!!"), String::new(), AuthError::Malformed),
            (Some(&*pairs), None, format!("sentry_key={other}"), AuthError::MultipleKeys),
            (None, None, format!("sentry_key={KEY}&sentry_key={other}"), AuthError::MultipleKeys),
            (None, None, "sentry_key=".into(), AuthError::InvalidKey),
            (None, None, format!("sentry_key={KEY}&sentry_version=8"), AuthError::UnsupportedVersion(8)),
            (None, None, format!("sentry_key={KEY}&sentry_version=x"), AuthError::Malformed),
        ] {
            assert_eq!(parse(header, authorization, &query), Err(error), "{header:?} {authorization:?} {query}");
        }
    }

    #[test]
    fn values_are_percent_decoded_and_old_versions_accepted() {
        for (value, version) in [("4", 4), ("7.1", 7), ("7", 7)] {
            let header = format!("Sentry sentry_key={KEY}, sentry_version={value}, sentry_client=raven%2Dgo%2f1.0");
            let auth = parse(Some(&header), None, "").unwrap().unwrap();
            assert_eq!((auth.client.as_deref(), auth.version), (Some("raven-go/1.0"), version));
        }
        assert_eq!(parse(None, None, &format!("sentry_key={KEY}")).unwrap().unwrap().version, LATEST_VERSION);
    }

    #[test]
    fn a_key_of_gitlab_is_a_key() {
        let key = format!("glet_{KEY}");
        assert_eq!(key_of(None, None, &format!("sentry_key={key}")), Ok(Some(key)));
    }
}
