//! The address of a server, as `url` gives it. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use super::ServerError;

/// Longest `url`.
const LENGTH_LIMIT: usize = 1024;

/// A name in lower case without the dot that ends an absolute one, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// An IPv6 address comes without its brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
        // "127.1" and "0x7f.1" are names to nobody but a resolver, who takes them for addresses.
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
        (name.len() <= 253 && !number && name.split('.').all(label)).then_some(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(formatter),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

/// `host[:port]` taken apart. An IPv6 address stands in brackets and is given without them.
pub(super) fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        if !address.contains(':') {
            return None;
        }
        (address, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        (host, port)
    };
    let port = match port {
        None => None,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(text.parse().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
    };
    Some((host, port))
}

/// `http(s)://host[:port][/path]`: no user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerUrl {
    pub(super) secure: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// Of a server that lives below one, with a leading slash and none at the end; else empty.
    path: String,
}

impl ServerUrl {
    /// The entry of the allowed hosts that lets exactly this server in.
    pub(super) fn entry(&self) -> String {
        let scheme = if self.secure { "" } else { "http://" };
        let port = if self.port == default_port(self.secure) { String::new() } else { format!(":{}", self.port) };
        format!("{scheme}{}{port}", self.host)
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// The port of a URL that names none.
pub(super) fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.origin(), self.path)
    }
}

impl FromStr for ServerUrl {
    type Err = ServerError;

    fn from_str(text: &str) -> Result<Self, ServerError> {
        if text.len() > LENGTH_LIMIT {
            return Err(ServerError::BadUrl);
        }
        let (scheme, rest) = text.split_once("://").ok_or(ServerError::BadUrl)?;
        let secure = scheme.eq_ignore_ascii_case("https");
        if !secure && !scheme.eq_ignore_ascii_case("http") {
            return Err(ServerError::BadUrl);
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = host_and_port(authority).ok_or(ServerError::BadUrl)?;
        let host = Host::parse(host).ok_or(ServerError::BadUrl)?;
        let path = path.trim_end_matches('/');
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let segment = |segment: &str| !["", ".", ".."].contains(&segment) && segment.bytes().all(letter);
        if !path.split('/').skip(1).all(segment) {
            return Err(ServerError::BadUrl);
        }
        Ok(Self { secure, host, port: port.unwrap_or(default_port(secure)), path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_scheme_host_port_and_path() {
        for (text, read) in [
            ("https://sentry.io", Some("https://sentry.io:443")),
            ("https://Sentry.IO./", Some("https://sentry.io:443")),
            ("HTTP://sentry.web.svc:9000", Some("http://sentry.web.svc:9000")),
            ("https://example.com/gitlab/", Some("https://example.com:443/gitlab")),
            ("https://10.0.0.8:8443", Some("https://10.0.0.8:8443")),
            ("http://[FD00::1]", Some("http://[fd00::1]:80")),
            ("https://[fd00::1]:8443/a/b", Some("https://[fd00::1]:8443/a/b")),
            ("", None),
            ("sentry.io", None),
            ("ftp://sentry.io", None),
            ("https://", None),
            ("https:///path", None),
            ("https://user:password@sentry.io", None),
            ("https://user@sentry.io", None),
            ("https://sentry.io?query", None),
            ("https://sentry.io/?query", None),
            ("https://sentry.io/#fragment", None),
            ("https://sentry.io/a/../b", None),
            ("https://sentry.io//a", None),
            ("https://sentry.io/%2e%2e", None),
            ("https://sentry.io:0", None),
            ("https://sentry.io:65536", None),
            ("https://sentry.io:+1", None),
            ("https://sentry.io:443:443", None),
            ("https://fd00::1", None),
            ("https://[fd00::1", None),
            ("https://[10.0.0.8]", None),
            ("https://[fd00::1]8443", None),
            ("https://127.1", None),
            ("https://2130706433", None),
            ("https://0x7f000001", None),
            ("https://a..b", None),
            ("https://sentry.io\r\nHost: other", None),
            ("https://séntry.io", None),
        ] {
            let url = text.parse::<ServerUrl>().ok().map(|url| url.to_string());
            assert_eq!(url.as_deref(), read, "{text:?}");
        }
        assert!(format!("https://sentry.io/{}", "a".repeat(LENGTH_LIMIT)).parse::<ServerUrl>().is_err());
    }
}
