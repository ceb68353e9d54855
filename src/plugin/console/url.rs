//! The address of a console.

use std::{fmt, net::IpAddr, str::FromStr};

use http::Uri;

/// `https://errors.example.com`, or below a path; without TLS on loopback only, for a token goes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleUrl {
    uri: Uri,
}

impl FromStr for ConsoleUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "it is no address of a console, as https://errors.example.com";
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| WRONG)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(WRONG) };
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(WRONG);
        }
        match scheme {
            "https" => Ok(Self { uri }),
            "http" if is_loopback(authority.host()) => Ok(Self { uri }),
            "http" => {
                Err("without TLS others could read the token: only a console on this machine has an http address")
            }
            _ => Err(WRONG),
        }
    }
}

impl ConsoleUrl {
    pub fn uri(&self) -> Uri {
        self.uri.clone()
    }

    /// Host and port, where there is no TLS.
    pub fn without_tls(&self) -> Option<String> {
        let authority = self.uri.authority().filter(|_| self.uri.scheme_str() == Some("http"))?;
        Some(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
    }

    /// Host and port, as in the header.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// What its own paths come after: empty, or with a slash in front and none at the end.
    pub fn path(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }
}

impl fmt::Display for ConsoleUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.uri.scheme_str().unwrap_or_default(), self.authority(), self.path())
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_over_tls_or_stay_on_this_machine() {
        for (text, shown) in [
            ("https://errors.example.com", Some("https://errors.example.com")),
            ("https://errors.example.com:8443/console/", Some("https://errors.example.com:8443/console")),
            ("http://127.0.0.1:8000/", Some("http://127.0.0.1:8000")),
            ("http://[::1]:8000", Some("http://[::1]:8000")),
            ("http://localhost", Some("http://localhost")),
            ("http://errors.example.com", None),
            ("http://localhost.example.com", None),
            ("http://127.0.0.1@example.com", None),
            ("https://errors.example.com/?a=b", None),
            ("errors.example.com", None),
            ("ftp://errors.example.com", None),
            ("", None),
        ] {
            let url: Result<ConsoleUrl, _> = text.parse();
            assert_eq!(url.ok().map(|url| url.to_string()).as_deref(), shown, "{text}");
        }
    }
}
