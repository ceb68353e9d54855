//! Content Security Policy reports, as the `csp` attribute of an event.

use serde::de::MapAccess;

use super::{
    Csp,
    attributes::CspAttribute,
    lenient::{Attributes, assign, skip, value},
    text::Strict,
};

/// A report as browsers write it, in both spellings of its names.
#[derive(Default)]
pub(super) struct Report {
    effective_directive: Option<String>,
    violated_directive: Option<String>,
    blocked_uri: Option<String>,
    document_uri: Option<String>,
}

impl Report {
    /// `None` for a report that does not say what was violated.
    pub(super) fn into_csp(self) -> Option<Csp> {
        let directive = self.effective_directive.or(self.violated_directive)?;
        // The violated directive is given with its sources: `script-src 'self' cdn.example`.
        let directive = directive.split_whitespace().next()?.to_owned();
        let blocked = match (self.blocked_uri.as_deref(), self.document_uri.as_deref()) {
            (None, _) => "self".to_owned(),
            (Some(uri), Some(document)) if uri.contains("://") && host(uri) == host(document) => "self".to_owned(),
            (Some(uri), _) => host(uri),
        };
        Some(Csp { directive, blocked })
    }
}

impl Attributes for Report {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let slot = match CspAttribute::named(name.as_bytes()) {
            Some(CspAttribute::EffectiveDirective) => &mut self.effective_directive,
            Some(CspAttribute::ViolatedDirective) => &mut self.violated_directive,
            Some(CspAttribute::BlockedUri) => &mut self.blocked_uri,
            Some(CspAttribute::DocumentUri) => &mut self.document_uri,
            None => return skip(object),
        };
        assign(slot, value::<Strict<512>, A>(object)?.0);
        Ok(())
    }
}

/// `cdn.example` of a URL, `data:` of a data URI, and words like `inline` as they are.
fn host(uri: &str) -> String {
    match uri.split_once(':') {
        Some((_, rest)) if rest.starts_with("//") => {
            rest[2..].split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase()
        }
        Some((scheme, _)) => format!("{scheme}:"),
        None if matches!(uri, "data" | "blob") => format!("{uri}:"),
        None => uri.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::lenient::{Any, Object},
        *,
    };

    #[test]
    fn a_report_says_which_rule_stopped_whom() {
        for (json, expected) in [
            (
                r#"{"effective_directive":"img-src","blocked_uri":"https://CDN.example/a.png?x"}"#,
                Some("img-src cdn.example"),
            ),
            (r#"{"violated-directive":"script-src 'self'","blocked-uri":"inline"}"#, Some("script-src inline")),
            (r#"{"effective_directive":"img-src","blocked_uri":"data"}"#, Some("img-src data:")),
            (r#"{"effective_directive":"img-src","blocked_uri":"data:image/png"}"#, Some("img-src data:")),
            (r#"{"effective_directive":"a","blocked_uri":"https://h/x","document_uri":"https://h/y"}"#, Some("a self")),
            (r#"{"effective_directive":"a"}"#, Some("a self")),
            (r#"{"blocked_uri":"inline"}"#, None),
        ] {
            let report: Report = serde_json::from_str::<Any<Object<Report>>>(json).unwrap().0.0.unwrap();
            let found = report.into_csp().map(|csp| format!("{} {}", csp.directive, csp.blocked));
            assert_eq!(found.as_deref(), expected, "{json}");
        }
    }
}
