//! The cookie of a session: its secret, its name, its attributes. Pure.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use jiff::SignedDuration;

use super::sha256;
use crate::{console::web::origin::Host, store::console::SessionDigest};

/// Over HTTPS: with this prefix a browser takes it from our host alone, and over nothing else.
const NAME: &str = "__Host-errortracking";
/// On loopback, where there is no HTTPS and so no such prefix.
const NAME_ON_LOOPBACK: &str = "errortracking";

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

    /// `Set-Cookie` for a session that ends after `lasts`. `Lax`: a link from a chat or a mail arrives signed in, a form
    /// of another page does not.
    #[must_use]
    pub fn cookie(&self, host: Host<'_>, lasts: SignedDuration) -> HeaderValue {
        header(host, &BASE64_URL_SAFE_NO_PAD.encode(self.0), lasts.as_secs().max(0))
    }
}

/// Takes the cookie out of the browser.
#[must_use]
pub fn removed(host: Host<'_>) -> HeaderValue {
    header(host, "", 0)
}

/// The secret of the request's first cookie of our name that holds one.
pub fn secret(headers: &HeaderMap, host: Host<'_>) -> Option<Secret> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(found, _)| *found == name(host))
        .find_map(|(_, value)| BASE64_URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok().map(Secret))
}

fn name(host: Host<'_>) -> &'static str {
    if host.is_loopback { NAME_ON_LOOPBACK } else { NAME }
}

fn header(host: Host<'_>, value: &str, seconds: i64) -> HeaderValue {
    let secure = if host.is_loopback { "" } else { "; Secure" };
    let text = format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", name(host));
    // All of it is ASCII that we wrote.
    let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
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
