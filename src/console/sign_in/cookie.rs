//! Our cookies: their names and attributes, and the secret of a session. Pure.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use jiff::SignedDuration;

use super::sha256;
use crate::{console::web::origin::Host, store::console::SessionDigest};

/// What a cookie of ours holds.
#[derive(Clone, Copy)]
pub(super) enum Cookie {
    /// The secret of a session.
    Session,
    /// What the browser brings back from the identity provider.
    Departure,
}

impl Cookie {
    /// Over HTTPS with a prefix, by which a browser takes it from our host alone, and over nothing else. On loopback
    /// there is no HTTPS and so no such prefix.
    fn name(self, host: Host<'_>) -> &'static str {
        match (self, host.is_loopback) {
            (Self::Session, false) => "__Host-errortracking",
            (Self::Session, true) => "errortracking",
            (Self::Departure, false) => "__Host-errortracking-oidc",
            (Self::Departure, true) => "errortracking-oidc",
        }
    }

    /// `Set-Cookie` with a value of ours, for that long. `Lax`: a link from a chat or a mail, and the identity
    /// provider's redirect, arrive with it; a form of another page does not.
    pub(super) fn set(self, host: Host<'_>, value: &str, lasts: SignedDuration) -> HeaderValue {
        let secure = if host.is_loopback { "" } else { "; Secure" };
        let (name, seconds) = (self.name(host), lasts.as_secs().max(0));
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        // All of it is ASCII that we wrote.
        let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }

    /// `Set-Cookie` that takes it out of the browser.
    pub(super) fn removed(self, host: Host<'_>) -> HeaderValue {
        self.set(host, "", SignedDuration::ZERO)
    }

    /// What `read` makes of the request's cookies of this name, in their order.
    pub(super) fn values<T>(self, headers: &HeaderMap, host: Host<'_>, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == self.name(host))
            .filter_map(|(_, value)| read(value))
            .take(MAX_COOKIES)
            .collect()
    }
}

/// Cookies of one name that are looked at; a browser sends one.
const MAX_COOKIES: usize = 3;

/// What only the browser and the request know. 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// What Postgres keeps of it.
    #[must_use]
    pub fn digest(&self) -> SessionDigest {
        sha256(&self.0)
    }

    /// What the session's own forms carry, and no other page can know. It says nothing of the secret.
    #[must_use]
    pub fn form_token(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(sha256(&[b"form ".as_slice(), &self.0].concat()))
    }

    /// Whether a form that carries `token` is one of the session's own. In constant time: digests are compared.
    #[must_use]
    pub fn made_form(&self, token: &str) -> bool {
        sha256(self.form_token().as_bytes()) == sha256(token.as_bytes())
    }

    /// `Set-Cookie` for a session that ends after `lasts`.
    #[must_use]
    pub fn cookie(&self, host: Host<'_>, lasts: SignedDuration) -> HeaderValue {
        Cookie::Session.set(host, &BASE64_URL_SAFE_NO_PAD.encode(self.0), lasts)
    }
}

/// The secret of the request's first cookie of a session that holds one.
pub fn secret(headers: &HeaderMap, host: Host<'_>) -> Option<Secret> {
    let read = |value: &str| BASE64_URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok().map(Secret);
    Cookie::Session.values(headers, host, read).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Host<'_> = Host { name: "localhost:8000", is_loopback: true };
    const PUBLIC: Host<'_> = Host { name: "errors.example", is_loopback: false };

    fn request(cookies: &[&'static str]) -> HeaderMap {
        cookies.iter().map(|value| (COOKIE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_cookie_comes_back_as_its_secret() {
        for host in [LOOPBACK, PUBLIC] {
            let secret = Secret([7; 32]);
            let header = secret.cookie(host, SignedDuration::from_hours(1));
            let text = header.to_str().unwrap();
            let (pair, attributes) = text.split_once("; ").unwrap();
            let secure = if host.is_loopback { "" } else { "; Secure" };
            assert_eq!(attributes, format!("Path=/; Max-Age=3600; HttpOnly; SameSite=Lax{secure}"));
            assert_eq!(pair.starts_with("__Host-"), !host.is_loopback);
            let sent: HeaderMap =
                [(COOKIE, HeaderValue::try_from(format!("a=b; {pair}")).unwrap())].into_iter().collect();
            assert!(super::secret(&sent, host) == Some(secret));
        }
    }

    #[test]
    fn what_is_no_secret_of_ours_is_passed_over() {
        for cookies in [
            &["errortracking=short"][..],
            &["errortracking="],
            &["other=AAAA"],
            &["errortracking"],
            // That name is of HTTPS alone.
            &["__Host-errortracking=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"],
            &[],
        ] {
            assert!(secret(&request(cookies), LOOPBACK).is_none(), "{cookies:?}");
        }
        let after = ["errortracking=short; errortracking=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"];
        assert!(secret(&request(&after), LOOPBACK) == Some(Secret([7; 32])));
    }

    #[test]
    fn forms_are_the_sessions_own() {
        let (mine, other) = (Secret([1; 32]), Secret([2; 32]));
        assert!(mine.made_form(&mine.form_token()));
        assert!(!mine.made_form(&other.form_token()) && !mine.made_form(""));
        assert!(!mine.form_token().contains(&BASE64_URL_SAFE_NO_PAD.encode(mine.digest())));
    }
}
