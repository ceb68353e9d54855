//! The servers to which projects may send the tokens of their keys. Pure.

use super::{
    addresses::Reach,
    url::{Host, ServerUrl, default_port, host_and_port},
};

/// Sentry's and GitLab's own, in every region.
const DEFAULT: [&str; 3] = ["sentry.io", "*.sentry.io", "gitlab.com"];

/// A guard that the platform team sets.
#[derive(Clone, Debug, clap::Args)]
pub struct AllowedBackends {
    /// Servers that a project may name with `backend.sentry.url` and `backend.gitlab.url`, as `[http://]host[:port]`:
    /// a name, an address, or `*.suffix` for every name below it. Without `http://` they are reached by https alone,
    /// without a port by that of the scheme alone.
    #[arg(
        long = "allowed-backend-host",
        env = "ERROR_TRACKING_ALLOWED_BACKEND_HOSTS",
        value_delimiter = ',',
        default_values = DEFAULT,
        value_parser = checked,
    )]
    pub allowed_backend_hosts: Vec<String>,
}

impl Default for AllowedBackends {
    fn default() -> Self {
        Self { allowed_backend_hosts: DEFAULT.map(str::to_owned).to_vec() }
    }
}

impl AllowedBackends {
    /// To which addresses this server's name may lead; `None`: no project may use the server.
    pub(super) fn reach(&self, url: &ServerUrl) -> Option<Reach> {
        let entries = self.allowed_backend_hosts.iter().filter_map(|entry| Entry::parse(entry));
        let mut matching = entries.filter(|entry| entry.matches(url)).map(|entry| entry.pattern.reach());
        let first = matching.next()?;
        Some(if first == Reach::Any || matching.any(|reach| reach == Reach::Any) { Reach::Any } else { first })
    }
}

/// An empty list comes as one empty entry, which allows nothing.
fn checked(entry: &str) -> Result<String, &'static str> {
    if entry.trim().is_empty() || Entry::parse(entry).is_some() {
        Ok(entry.to_owned())
    } else {
        Err("an entry is [http://]host[:port], where host is a name, an address or *.suffix")
    }
}

struct Entry {
    secure: bool,
    pattern: Pattern,
    port: u16,
}

enum Pattern {
    Exactly(Host),
    /// Every name below the suffix.
    Below(String),
}

impl Pattern {
    fn reach(&self) -> Reach {
        match self {
            Self::Exactly(Host::Address(_)) => Reach::Any,
            Self::Exactly(Host::Name(name)) if name == "localhost" => Reach::Any,
            Self::Exactly(Host::Name(_)) | Self::Below(_) => Reach::Network,
        }
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (secure, authority) = text.strip_prefix("http://").map_or((true, text), |rest| (false, rest));
        let authority = authority.strip_prefix("https://").filter(|_| secure).unwrap_or(authority);
        let (host, port) = host_and_port(authority)?;
        let pattern = match host.strip_prefix("*.") {
            Some(suffix) => match Host::parse(suffix)? {
                Host::Name(suffix) => Pattern::Below(format!(".{suffix}")),
                Host::Address(_) => return None,
            },
            None => Pattern::Exactly(Host::parse(host)?),
        };
        Some(Self { secure, pattern, port: port.unwrap_or(default_port(secure)) })
    }

    fn matches(&self, url: &ServerUrl) -> bool {
        let host = match (&self.pattern, &url.host) {
            (Pattern::Exactly(allowed), host) => allowed == host,
            (Pattern::Below(suffix), Host::Name(name)) => name.ends_with(suffix.as_str()),
            (Pattern::Below(_), Host::Address(_)) => false,
        };
        host && self.secure == url.secure && self.port == url.port
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn reach(entries: &[&str], url: &str) -> Option<Reach> {
        let allowed =
            AllowedBackends { allowed_backend_hosts: entries.iter().map(|entry| (*entry).to_owned()).collect() };
        allowed.reach(&url.parse().unwrap())
    }

    #[test]
    fn a_server_is_allowed_by_scheme_name_and_port() {
        let network = Some(Reach::Network);
        for (entry, url, expected) in [
            ("sentry.io", "https://sentry.io", network),
            ("sentry.io", "https://SENTRY.io.:443/", network),
            ("Sentry.io.", "https://sentry.io", network),
            ("https://sentry.io", "https://sentry.io", network),
            ("sentry.io", "http://sentry.io", None),
            ("sentry.io", "http://sentry.io:443", None),
            ("sentry.io", "https://sentry.io:8443", None),
            ("sentry.io", "https://us.sentry.io", None),
            ("sentry.io", "https://sentry.io.evil.example", None),
            ("*.sentry.io", "https://us.sentry.io", network),
            ("*.sentry.io", "https://a.de.sentry.io", network),
            ("*.sentry.io", "https://sentry.io", None),
            ("*.sentry.io", "https://evilsentry.io", None),
            ("*.sentry.io:8443", "https://us.sentry.io:8443", network),
            ("*.sentry.io:8443", "https://us.sentry.io", None),
            ("http://sentry.web.svc:9000", "http://sentry.web.svc:9000", network),
            ("http://sentry.web.svc:9000", "https://sentry.web.svc:9000", None),
            ("http://sentry.web.svc", "http://sentry.web.svc", network),
            ("http://sentry.web.svc", "http://sentry.web.svc:9000", None),
            ("10.0.0.8:8443", "https://10.0.0.8:8443", Some(Reach::Any)),
            ("10.0.0.8", "https://10.0.0.9", None),
            ("[fd00::1]", "https://[fd00:0::1]", Some(Reach::Any)),
            ("localhost", "https://localhost", Some(Reach::Any)),
            ("*.localhost", "https://a.localhost", network),
            // The suffix of an address is none.
            ("*.0.0.1", "https://127.0.0.1", None),
            ("*", "https://sentry.io", None),
            ("", "https://sentry.io", None),
            ("sentry.io/path", "https://sentry.io", None),
        ] {
            assert_eq!(reach(&[entry], url), expected, "{entry} {url}");
        }
        assert_eq!(reach(&[], "https://sentry.io"), None);
        assert_eq!(reach(&["gitlab.com", " sentry.io "], "https://sentry.io"), network);
    }

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        allowed: AllowedBackends,
    }

    #[test]
    fn sentry_and_gitlab_are_allowed_unless_others_are_named() {
        let hosts = |arguments: &[&str]| {
            let all = [&["operator"], arguments].concat();
            Arguments::try_parse_from(all).map(|arguments| arguments.allowed.allowed_backend_hosts)
        };
        assert_eq!(hosts(&[]).unwrap(), ["sentry.io", "*.sentry.io", "gitlab.com"]);
        assert_eq!(AllowedBackends::default().allowed_backend_hosts, hosts(&[]).unwrap());
        assert_eq!(hosts(&["--allowed-backend-host", "a.example,http://b:80"]).unwrap(), ["a.example", "http://b:80"]);
        assert_eq!(hosts(&["--allowed-backend-host", ""]).unwrap(), [""]);
        for wrong in ["*", "*.10", "a b", "user@a.example", "a.example/path", "ftp://a.example", "a:b"] {
            assert!(hosts(&["--allowed-backend-host", wrong]).is_err(), "{wrong}");
        }
    }
}
