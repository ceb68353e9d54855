//! Where a provider is. Nothing else is asked for anything, whatever it says. Pure.

use http::{Uri, uri::Scheme};

use crate::console::web::origin::is_loopback;

/// The address that a provider's tokens name it by, and where its own description is found.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// As it was given: tokens repeat it letter by letter.
    pub name: String,
    origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Issuer {
    /// `None`: neither an `https` address without query, nor an `http` one on loopback.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let origin = Origin::of(&whole(text).filter(|address| address.query().is_none())?)?;
        let on_loopback = is_loopback(origin.host.trim_matches(['[', ']']));
        (origin.scheme == Scheme::HTTPS || on_loopback).then(|| Self { name: text.to_owned(), origin })
    }

    #[must_use]
    pub fn host(&self) -> &str {
        &self.origin.host
    }

    /// Where it describes itself (OpenID Connect Discovery 4).
    #[must_use]
    pub fn description(&self) -> Option<Uri> {
        whole(&format!("{}/.well-known/openid-configuration", self.name.trim_end_matches('/')))
    }

    /// An address that the provider names, if it is on the same server.
    #[must_use]
    pub fn here(&self, address: &str) -> Option<Uri> {
        whole(address).filter(|address| Origin::of(address).as_ref() == Some(&self.origin))
    }
}

impl Origin {
    fn of(address: &Uri) -> Option<Self> {
        let scheme = address.scheme()?.clone();
        let usual = if scheme == Scheme::HTTPS { 443 } else { 80 };
        let known = scheme == Scheme::HTTPS || scheme == Scheme::HTTP;
        let host = address.host()?.to_ascii_lowercase();
        known.then(|| Self { scheme, host, port: address.port_u16().unwrap_or(usual) })
    }
}

/// A whole address without a user, and without a fragment, which [`Uri`] would drop.
fn whole(text: &str) -> Option<Uri> {
    let address: Uri = text.parse().ok()?;
    let bare = address.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    (bare && text.len() <= 2048 && !text.contains('#')).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_asked_over_tls_or_on_loopback() {
        for (text, host) in [
            ("https://login.example", Some("login.example")),
            ("https://Login.example:8443/realms/team", Some("login.example")),
            ("http://127.0.0.1:3000", Some("127.0.0.1")),
            ("http://localhost:3000/", Some("localhost")),
            ("http://[::1]:3000", Some("[::1]")),
            ("http://login.example", None),
            ("http://10.0.0.8", None),
            ("http://127.0.0.1.login.example", None),
            ("https://user@login.example", None),
            ("https://login.example?tenant=1", None),
            ("https://login.example/#a", None),
            ("ftp://127.0.0.1", None),
            ("login.example", None),
            ("/realms/team", None),
            ("", None),
        ] {
            assert_eq!(Issuer::parse(text).as_ref().map(Issuer::host), host, "{text}");
        }
    }

    #[test]
    fn a_provider_describes_itself_below_its_name() {
        for (name, place) in [
            ("https://login.example", "https://login.example/.well-known/openid-configuration"),
            ("https://login.example/", "https://login.example/.well-known/openid-configuration"),
            ("https://login.example/a/b", "https://login.example/a/b/.well-known/openid-configuration"),
        ] {
            assert_eq!(Issuer::parse(name).unwrap().description().unwrap().to_string(), place);
        }
    }

    #[test]
    fn addresses_elsewhere_are_not_followed() {
        let issuer = Issuer::parse("https://login.example/realms/team").unwrap();
        for (address, here) in [
            ("https://login.example/token", true),
            ("https://LOGIN.example:443/token?a=b", true),
            ("https://login.example:8443/token", false),
            ("http://login.example/token", false),
            ("https://login.example@attacker.example/", false),
            ("https://login.example.attacker.example/", false),
            ("https://169.254.169.254/", false),
            ("/token", false),
            ("//login.example/token", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(issuer.here(address).is_some(), here, "{address}");
        }
    }
}
