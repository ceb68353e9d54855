//! What every answer carries.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};

/// Nothing but our own files, no script in a page or made of text, not in a frame: text of an event that got past the
/// templates' escaping still could not run or load anything. Nothing that was uploaded is served as a script.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                          form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                          trusted-types 'none'";

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
    // Addresses of issues do not leak to pages that are linked to. `no-referrer` would do that too, but a browser then
    // leaves the `Origin` out of our own forms.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(COOP, HeaderValue::from_static("same-origin"));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_frames_are_forbidden() {
        let mut headers = HeaderMap::new();
        guard(&mut headers);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"));
        assert!(
            policy.contains("script-src 'self';")
                && !policy.contains("unsafe")
                && policy.contains("trusted-types 'none'")
        );
    }
}
