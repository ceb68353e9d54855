//! What every answer carries, and whom we answer.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};

/// No script at all, nothing from elsewhere, not in a frame: text of an event that got past the
/// templates' escaping still could not run or load anything.
pub const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                          frame-ancestors 'none'";

const COOP: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Pages hold personal data: nothing may keep them.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// For files whose name changes with their content.
pub const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Adds what guards the browser; `Cache-Control` only where the route has not set it.
pub fn guard(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Addresses of issues do not leak to pages that are linked to.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(COOP, HeaderValue::from_static("same-origin"));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
}

/// Whether the request was addressed to this machine by a name that only this machine has. A foreign
/// page can make its own name resolve to 127.0.0.1 (DNS rebinding) and then read what we answer; the
/// browser still sends that name as `Host`.
#[must_use]
pub fn is_for_loopback(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    host.to_str().ok().and_then(name_of).is_some_and(|name| {
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// The host of `host[:port]` or `[v6][:port]`.
fn name_of(host: &str) -> Option<&str> {
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
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:31999", true),
            ("[::1]", true),
            ("[::1]:8000", true),
            ("attacker.example", false),
            ("localhost.attacker.example", false),
            ("localhost:8000.attacker.example", false),
            ("127.0.0.1.attacker.example", false),
            ("10.0.0.1:8000", false),
            ("[::1].attacker.example", false),
            ("localhost:", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            assert_eq!(is_for_loopback(&headers), ours, "{host:?}");
        }
        assert!(!is_for_loopback(&HeaderMap::new()), "without a Host");
        let two = [(HOST, HeaderValue::from_static("localhost")), (HOST, HeaderValue::from_static("a.example"))];
        assert!(!is_for_loopback(&HeaderMap::from_iter(two)), "with two");
    }

    #[test]
    fn scripts_and_frames_are_forbidden() {
        let mut headers = HeaderMap::new();
        guard(&mut headers);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"));
    }
}
