//! Which pages may report: `Origin` and `Referer` headers against the list of a project.

use super::host::split_port;

/// The `allowedOrigins` of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AllowedOrigins {
    /// `*` is in the list, which lets in even the pages that have no origin (`null`).
    all: bool,
    patterns: Vec<Pattern>,
}

/// One entry; what it does not name may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    scheme: Option<String>,
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Any,
    Exactly(String),
    /// `*.example.com`: the domain and all below it.
    Below(String),
}

impl AllowedOrigins {
    /// Entries that name nothing are left out: they fit no page.
    pub(super) fn new(entries: &[String]) -> Self {
        let entries = || entries.iter().map(|entry| entry.trim());
        Self { all: entries().any(|entry| entry == "*"), patterns: entries().filter_map(pattern).collect() }
    }

    pub(super) fn contain(&self, origin: &str) -> bool {
        self.all || parts(origin.trim()).is_some_and(|origin| self.patterns.iter().any(|pattern| pattern.fits(&origin)))
    }
}

impl Pattern {
    fn fits(&self, origin: &Pattern) -> bool {
        let Host::Exactly(host) = &origin.host else { return false };
        let scheme = self.scheme.is_none() || self.scheme == origin.scheme;
        // A browser leaves out the port that its scheme implies.
        let port = self.port.is_none() || self.port == origin.port.or_else(|| implied_port(origin.scheme.as_deref()));
        scheme && port && self.host.fits(host)
    }
}

impl Host {
    fn fits(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => name == host,
            Self::Below(domain) => {
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

fn implied_port(scheme: Option<&str>) -> Option<u16> {
    match scheme {
        Some("http") => Some(80),
        Some("https") => Some(443),
        _ => None,
    }
}

/// An origin, or the URL of a page in it; `null` and what is no URL is none.
fn parts(origin: &str) -> Option<Pattern> {
    let origin = origin.contains("://").then(|| pattern(origin))??;
    matches!(origin.host, Host::Exactly(_)).then_some(origin)
}

fn pattern(entry: &str) -> Option<Pattern> {
    let entry = entry.to_ascii_lowercase();
    let (scheme, rest) = match entry.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, entry.as_str()),
    };
    let (host, port) = split_port(rest.split(['/', '?', '#']).next().unwrap_or_default());
    let host = match host.strip_prefix("*.") {
        _ if host == "*" => Host::Any,
        Some("") => return None,
        Some(domain) => Host::Below(domain.to_owned()),
        None if host.is_empty() => return None,
        None => Host::Exactly(host.to_owned()),
    };
    Some(Pattern { scheme: scheme.filter(|scheme| *scheme != "*").map(str::to_owned), host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_let_in_by_scheme_host_and_port() {
        for (entry, origin, allowed) in [
            ("*", "https://shop.example", true),
            ("*", "null", true),
            ("example.com", "https://example.com", true),
            ("example.com", "http://EXAMPLE.com:8080", true),
            ("example.com", "https://example.com/cart?from=evil.example", true),
            ("example.com", "https://www.example.com", false),
            ("example.com", "https://example.com.evil.example", false),
            ("example.com", "https://evil.example/example.com", false),
            ("example.com", "null", false),
            ("example.com", "example.com", false),
            ("example.com", "", false),
            ("*.example.com", "https://www.example.com", true),
            ("*.example.com", "https://a.b.example.com", true),
            ("*.example.com", "https://example.com", true),
            ("*.example.com", "https://badexample.com", false),
            ("https://*.example.com", "https://www.example.com", true),
            ("https://*.example.com", "http://www.example.com", false),
            ("https://example.com/", "https://example.com", true),
            ("https://example.com:443", "https://example.com", true),
            ("https://example.com:8443", "https://example.com:8443", true),
            ("https://example.com:8443", "https://example.com", false),
            ("localhost:3000", "http://localhost:3000", true),
            ("localhost:3000", "http://localhost:3001", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("https://*", "https://any.example", true),
            ("https://*", "http://any.example", false),
            ("*://example.com", "http://example.com", true),
            ("chrome-extension://*", "chrome-extension://abcdef", true),
            ("", "https://example.com", false),
            ("*.", "https://example.com.", false),
            ("example.com", "https://*", false),
            ("example.com", "https://*.example.com", false),
        ] {
            let origins = AllowedOrigins::new(&[entry.to_owned()]);
            assert_eq!(origins.contain(origin), allowed, "{entry:?} {origin:?}");
        }
    }

    #[test]
    fn an_empty_list_lets_no_page_in() {
        assert!(!AllowedOrigins::new(&[]).contain("https://example.com"));
    }
}
