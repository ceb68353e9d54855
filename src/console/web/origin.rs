//! Which names the console answers to, and whether a form was sent from one of its own pages. Pure.
//!
//! A foreign page can make its own name resolve to our address (DNS rebinding) and then read what we answer; the browser
//! still sends that name as `Host`. And it can send forms to us with our cookies; the browser says then where from.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names that are answered beside those of this machine.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

/// What a request calls us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'r> {
    /// As in the header: `errors.example:8443`.
    pub name: &'r str,
    /// A port-forward: HTTP without TLS.
    pub is_loopback: bool,
}

impl Hosts {
    /// `names` without ports, in any case.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// The host of a request; `None`: it must not be answered.
    #[must_use]
    pub fn of<'r>(&self, headers: &'r HeaderMap) -> Option<Host<'r>> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
        let host = host.to_str().ok()?;
        let name = host_name(host)?;
        let is_loopback = is_loopback(name);
        (is_loopback || self.0.iter().any(|ours| ours.eq_ignore_ascii_case(name)))
            .then_some(Host { name: host, is_loopback })
    }
}

/// Where a form came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A page of ours.
    Here,
    /// A page of ours that came without TLS, though not from loopback: no cookie would stay.
    HereWithoutTls,
    Elsewhere,
}

/// `Origin` counts; a browser that leaves it out says `Sec-Fetch-Site`. One that says neither is none.
#[must_use]
pub fn of_form(headers: &HeaderMap, host: Host<'_>) -> Sent {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => match origin.to_str().ok().and_then(|origin| origin.split_once("://")) {
            Some(("https", name)) if name.eq_ignore_ascii_case(host.name) => Sent::Here,
            Some(("http", name)) if name.eq_ignore_ascii_case(host.name) => {
                if host.is_loopback {
                    Sent::Here
                } else {
                    Sent::HereWithoutTls
                }
            }
            _ => Sent::Elsewhere,
        },
        (None, _) if headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin") => Sent::Here,
        _ => Sent::Elsewhere,
    }
}

/// Whether it is this machine under a name or an address; IPv6 without brackets.
#[must_use]
pub fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of `host[:port]` or `[v6][:port]`.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_our_names_are_answered() {
        let hosts = Hosts::new(&["Errors.example".to_owned()]);
        for (host, answered) in [
            ("localhost", Some(true)),
            ("LOCALHOST:8000", Some(true)),
            ("127.0.0.1:31999", Some(true)),
            ("[::1]", Some(true)),
            ("[::1]:8000", Some(true)),
            ("errors.example", Some(false)),
            ("ERRORS.example:8443", Some(false)),
            ("errors.example.", None),
            ("a.errors.example", None),
            ("attacker.example", None),
            ("localhost.attacker.example", None),
            ("localhost:8000.attacker.example", None),
            ("127.0.0.1.attacker.example", None),
            ("10.0.0.1:8000", None),
            ("[::1].attacker.example", None),
            ("localhost:", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
            let found = hosts.of(&headers);
            assert_eq!(found.map(|host| host.is_loopback), answered, "{host:?}");
        }
        assert_eq!(hosts.of(&HeaderMap::new()), None, "without a Host");
        let two = [
            (header::HOST, HeaderValue::from_static("localhost")),
            (header::HOST, HeaderValue::from_static("a.example")),
        ];
        assert_eq!(hosts.of(&HeaderMap::from_iter(two)), None, "with two");
    }

    #[test]
    fn forms_of_other_pages_are_told_apart() {
        use Sent::{Elsewhere, Here, HereWithoutTls};
        let public = Host { name: "errors.example", is_loopback: false };
        let loopback = Host { name: "127.0.0.1:8000", is_loopback: true };
        for (host, origin, site, sent) in [
            (public, Some("https://errors.example"), None, Here),
            (public, Some("https://ERRORS.example"), Some("same-origin"), Here),
            (public, Some("http://errors.example"), None, HereWithoutTls),
            (public, Some("https://errors.example:444"), None, Elsewhere),
            (public, Some("https://errors.example.attacker.example"), None, Elsewhere),
            (public, Some("https://attacker.example"), Some("same-origin"), Elsewhere),
            (public, Some("null"), Some("same-origin"), Elsewhere),
            (public, Some("errors.example"), None, Elsewhere),
            (public, None, Some("same-origin"), Here),
            (public, None, Some("same-site"), Elsewhere),
            (public, None, Some("none"), Elsewhere),
            (public, None, None, Elsewhere),
            (loopback, Some("http://127.0.0.1:8000"), None, Here),
            (loopback, Some("http://localhost:8000"), None, Elsewhere),
            (loopback, Some("http://127.0.0.1:8001"), None, Elsewhere),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin))));
            headers.extend(site.map(|site| (SEC_FETCH_SITE, HeaderValue::from_static(site))));
            assert_eq!(of_form(&headers, host), sent, "{host:?} {origin:?} {site:?}");
        }
    }
}
