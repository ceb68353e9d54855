//! Reports of browsers: what broke a page's Content Security Policy becomes events; the other kinds of the
//! Reporting API are counted. Also Network Error Logging, which is counted only.

use serde::{
    Deserialize,
    de::{MapAccess, SeqAccess},
};
use serde_json::{Map, Value, json};

use super::event::{
    lenient::{Any, Attributes, Lenient, Name, Object, assign, skip, value},
    repaired,
    text::{Number, Strict},
};

/// More events than this are not made of one request; pages that break a policy break it often.
pub const MAX_EVENTS: usize = 20;

/// Longest text taken over; a policy itself may be that long.
const MAX_CHARS: usize = 4096;

/// What the request says besides its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `sentry_release` of the query.
    pub release: Option<&'a str>,
    /// `sentry_environment` of the query.
    pub environment: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub referer: Option<&'a str>,
}

/// What one request reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reports {
    /// The JSON of an event for each violation of a policy.
    pub events: Vec<Vec<u8>>,
    /// How many others there were of each kind.
    pub skipped: Vec<(Kind, u32)>,
}

/// Reports that do not become events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Deprecation,
    Intervention,
    Crash,
    NetworkError,
    /// A violation beyond [`MAX_EVENTS`].
    TooMany,
    /// A kind that newer browsers may have, or no report at all.
    Other,
}

impl Kind {
    /// A word of a closed set, fit for a metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deprecation => "deprecation",
            Self::Intervention => "intervention",
            Self::Crash => "crash",
            Self::NetworkError => "network-error",
            Self::TooMany => "too-many",
            Self::Other => "other",
        }
    }
}

/// Why a request to `/security/` was refused.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// 415.
    #[error("invalid content type for a security report")]
    MediaType,
    /// 400.
    #[error("empty request body")]
    Empty,
    /// 400.
    #[error("invalid JSON data")]
    InvalidJson(#[source] serde_json::Error),
    /// 400.
    #[error("not a security report")]
    NotAReport,
    /// 400. Expect-CT, Expect-Staple and HPKP went out of the browsers years ago.
    #[error("unsupported security report type {0}")]
    Unsupported(&'static str),
}

/// Reads the body of `/security/`: `{"csp-report": {…}}`, or a list of the Reporting API's reports.
pub fn parse(content_type: Option<&str>, body: &[u8], request: &Request<'_>) -> Result<Reports, SecurityError> {
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let known = ["application/json", "application/csp-report", "application/reports+json"];
    if !known.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        return Err(SecurityError::MediaType);
    }
    if body.trim_ascii().is_empty() {
        return Err(SecurityError::Empty);
    }
    let reports = match read(body)? {
        Body::Nothing => return Err(SecurityError::NotAReport),
        Body::Policy(violation) => Collected { violations: vec![*violation], ..Collected::default() },
        Body::Old(kind) => return Err(SecurityError::Unsupported(kind)),
        Body::Reports(reports) => reports,
    };
    Ok(Reports {
        events: reports.violations.into_iter().map(|violation| violation.into_event(request)).collect(),
        skipped: reports.skipped,
    })
}

/// How many reports the body of `/nel/` holds; none of them is kept.
pub fn network_errors(body: &[u8]) -> Result<u32, SecurityError> {
    if body.trim_ascii().is_empty() {
        return Err(SecurityError::Empty);
    }
    match read(body)? {
        Body::Reports(Collected { violations, skipped }) => {
            let violations = u32::try_from(violations.len()).unwrap_or(u32::MAX);
            Ok(skipped.iter().fold(violations, |sum, (_, count)| sum.saturating_add(*count)))
        }
        _ => Err(SecurityError::NotAReport),
    }
}

/// Browsers cut the sample of a script off in the middle of a surrogate pair.
fn read(body: &[u8]) -> Result<Body, SecurityError> {
    let read = read_strictly(body).or_else(|error| match repaired(body) {
        Some(body) => read_strictly(&body),
        None => Err(error),
    });
    read.map_err(SecurityError::InvalidJson)
}

fn read_strictly(body: &[u8]) -> Result<Body, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let Any(body) = Any::<Body>::deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(body)
}

#[derive(Default)]
enum Body {
    #[default]
    Nothing,
    Policy(Box<Violation>),
    Old(&'static str),
    Reports(Collected),
}

#[derive(Default)]
struct Collected {
    violations: Vec<Violation>,
    skipped: Vec<(Kind, u32)>,
}

impl Collected {
    fn add(&mut self, report: Report) {
        let kind = match report.kind.as_deref() {
            Some("csp-violation") => match report.body {
                Some(_) if self.violations.len() == MAX_EVENTS => Kind::TooMany,
                Some(mut violation) => {
                    violation.user_agent = report.user_agent;
                    assign_missing(&mut violation.document_uri, report.url);
                    return self.violations.push(violation);
                }
                None => Kind::Other,
            },
            Some("deprecation") => Kind::Deprecation,
            Some("intervention") => Kind::Intervention,
            Some("crash") => Kind::Crash,
            Some("network-error") => Kind::NetworkError,
            _ => Kind::Other,
        };
        match self.skipped.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.skipped.push((kind, 1)),
        }
    }
}

fn assign_missing(slot: &mut Option<String>, value: Option<String>) {
    if slot.is_none() {
        *slot = value;
    }
}

impl Lenient for Body {
    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut body = Self::Nothing;
        let mut single = Report::default();
        while let Some(name) = object.next_key::<Name<'_>>()? {
            match name.as_str() {
                "csp-report" => {
                    if let Some(violation) = value::<Object<Violation>, A>(&mut object)?.0 {
                        body = Self::Policy(Box::new(violation));
                    }
                }
                "expect-ct-report" | "expect-staple-report" | "known-pins" => {
                    body = Self::Old(match name.as_str() {
                        "expect-ct-report" => "expect-ct",
                        "expect-staple-report" => "expect-staple",
                        _ => "hpkp",
                    });
                    skip(&mut object)?;
                }
                name => single.read(name, &mut object)?,
            }
        }
        if matches!(body, Self::Nothing) && single.kind.is_some() {
            let mut reports = Collected::default();
            reports.add(single);
            body = Self::Reports(reports);
        }
        Ok(body)
    }

    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut reports = Collected::default();
        while let Some(Any(Object(report))) = list.next_element::<Any<Object<Report>>>()? {
            reports.add(report.unwrap_or_default());
        }
        Ok(Self::Reports(reports))
    }
}

/// One report of the Reporting API.
#[derive(Default)]
struct Report {
    kind: Option<String>,
    url: Option<String>,
    user_agent: Option<String>,
    body: Option<Violation>,
}

impl Attributes for Report {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "type" => assign(&mut self.kind, value::<Strict<64>, A>(object)?.0),
            "url" => assign(&mut self.url, value::<Strict<MAX_CHARS>, A>(object)?.0),
            "user_agent" => assign(&mut self.user_agent, value::<Strict<512>, A>(object)?.0),
            "body" => assign(&mut self.body, value::<Object<Violation>, A>(object)?.0),
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// What broke a policy, in the words of CSP level 2 (`blocked-uri`) or of the Reporting API (`blockedURL`).
#[derive(Default)]
struct Violation {
    document_uri: Option<String>,
    referrer: Option<String>,
    blocked_uri: Option<String>,
    violated_directive: Option<String>,
    effective_directive: Option<String>,
    original_policy: Option<String>,
    disposition: Option<String>,
    source_file: Option<String>,
    script_sample: Option<String>,
    status_code: Option<u32>,
    line_number: Option<u32>,
    column_number: Option<u32>,
    user_agent: Option<String>,
}

impl Attributes for Violation {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let number = match name {
            "status-code" | "statusCode" => &mut self.status_code,
            "line-number" | "lineNumber" => &mut self.line_number,
            "column-number" | "columnNumber" => &mut self.column_number,
            _ => return self.read_text(name, object),
        };
        assign(number, value::<Number, A>(object)?.0);
        Ok(())
    }
}

impl Violation {
    fn read_text<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let text = match name {
            "document-uri" | "documentURL" => &mut self.document_uri,
            "referrer" => &mut self.referrer,
            "blocked-uri" | "blockedURL" => &mut self.blocked_uri,
            "violated-directive" | "violatedDirective" => &mut self.violated_directive,
            "effective-directive" | "effectiveDirective" => &mut self.effective_directive,
            "original-policy" | "originalPolicy" => &mut self.original_policy,
            "disposition" => &mut self.disposition,
            "source-file" | "sourceFile" => &mut self.source_file,
            "script-sample" | "sample" => &mut self.script_sample,
            _ => return skip(object),
        };
        assign(text, value::<Strict<MAX_CHARS>, A>(object)?.0);
        Ok(())
    }

    /// The event as `/store/` would take it; the page's address stands where that of a request does.
    fn into_event(self, request: &Request<'_>) -> Vec<u8> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let user_agent = self.user_agent.or_else(|| owned(request.user_agent));
        let directive = self.effective_directive.clone().or_else(|| {
            self.violated_directive
                .as_deref()
                .and_then(|directive| directive.split_whitespace().next())
                .map(str::to_owned)
        });
        let headers: Vec<Value> =
            [("User-Agent", user_agent), ("Referer", owned(request.referer).or_else(|| self.referrer.clone()))]
                .into_iter()
                .filter_map(|(name, value)| value.map(|value| json!([name, value])))
                .collect();
        let page = object([("url", self.document_uri.clone().map(Value::from)), ("headers", Some(headers.into()))]);
        let tags = object([
            ("effective-directive", directive.clone().map(Value::from)),
            ("blocked-uri", self.blocked_uri.clone().map(Value::from)),
        ]);
        let csp = object([
            ("document_uri", self.document_uri.map(Value::from)),
            ("referrer", self.referrer.map(Value::from)),
            ("blocked_uri", self.blocked_uri.map(Value::from)),
            ("violated_directive", self.violated_directive.map(Value::from)),
            ("effective_directive", directive.map(Value::from)),
            ("original_policy", self.original_policy.map(Value::from)),
            ("disposition", self.disposition.map(Value::from)),
            ("source_file", self.source_file.map(Value::from)),
            ("script_sample", self.script_sample.map(Value::from)),
            ("status_code", self.status_code.map(Value::from)),
            ("line_number", self.line_number.map(Value::from)),
            ("column_number", self.column_number.map(Value::from)),
        ]);
        let event = object([
            ("type", Some("csp".into())),
            ("logger", Some("csp".into())),
            ("level", Some("warning".into())),
            ("platform", Some("javascript".into())),
            ("release", request.release.map(Value::from)),
            ("environment", request.environment.map(Value::from)),
            ("csp", Some(csp)),
            ("request", Some(page)),
            ("tags", Some(tags)),
        ]);
        event.to_string().into_bytes()
    }
}

/// What is there; absent values leave no name behind.
fn object<const N: usize>(attributes: [(&str, Option<Value>); N]) -> Value {
    let there = attributes.into_iter().filter_map(|(name, value)| value.map(|value| (name.to_owned(), value)));
    Value::Object(there.collect::<Map<_, _>>())
}

#[cfg(test)]
#[path = "security_tests.rs"]
mod tests;
