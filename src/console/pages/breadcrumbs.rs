//! What an application did before an event, as its SDK noted it. Pure.

use serde_json::Value;

use super::{attributes::scalar, format::in_raw_json, untrusted::visible};

/// Those noted last are shown.
const MAX_BREADCRUMBS: usize = 30;
const MAX_TEXT_CHARS: usize = 300;
/// Values of one.
const MAX_VALUES: usize = 10;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Breadcrumbs {
    /// Oldest first: the last one came just before the event.
    pub rows: Vec<Breadcrumb>,
    /// What is said of older ones that are left out.
    pub omitted: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Breadcrumb {
    /// `14:03:09.250`, as far as the SDK says.
    pub time: String,
    pub category: String,
    /// `None`: usual.
    pub level: Option<String>,
    pub message: String,
    /// `status_code: 502, url: …`
    pub values: String,
}

/// Of the JSON of an event.
#[must_use]
pub fn of_event(json: &Value) -> Breadcrumbs {
    let found = json.get("breadcrumbs");
    let all = found.and_then(|found| found.get("values").unwrap_or(found).as_array());
    let all: Vec<_> = all.into_iter().flatten().filter(|breadcrumb| breadcrumb.is_object()).collect();
    let left_out = all.len().saturating_sub(MAX_BREADCRUMBS);
    let rows = all[left_out..].iter().map(|breadcrumb| row(breadcrumb)).collect();
    Breadcrumbs { rows, omitted: in_raw_json(left_out, "older breadcrumb") }
}

fn row(breadcrumb: &Value) -> Breadcrumb {
    let text = |name: &str| breadcrumb.get(name).and_then(scalar).map(|text| shortened(&text)).unwrap_or_default();
    let (category, kind) = (text("category"), text("type"));
    let values = breadcrumb.get("data").and_then(Value::as_object).into_iter().flatten();
    let values = values.filter_map(|(name, value)| Some(format!("{name}: {}", scalar(value)?)));
    Breadcrumb {
        time: breadcrumb.get("timestamp").map(time).unwrap_or_default(),
        category: if category.is_empty() { kind } else { category },
        level: Some(text("level")).filter(|level| !level.is_empty() && level != "info"),
        message: text("message"),
        values: shortened(&values.take(MAX_VALUES).collect::<Vec<_>>().join(", ")),
    }
}

/// SDKs write seconds since 1970, or RFC 3339 with and without a zone, which is UTC.
fn time(timestamp: &Value) -> String {
    let at = match timestamp {
        Value::Number(seconds) => seconds.as_f64().and_then(|seconds| {
            let duration = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
            jiff::Timestamp::from_duration(duration).ok()
        }),
        Value::String(text) => text.parse().or_else(|_| format!("{text}Z").parse()).ok(),
        _ => None,
    };
    at.map(|at: jiff::Timestamp| at.strftime("%H:%M:%S%.3f").to_string()).unwrap_or_default()
}

fn shortened(text: &str) -> String {
    let cut: String = text.chars().take(MAX_TEXT_CHARS).collect();
    let rest = if cut.len() < text.len() { "…" } else { "" };
    visible(&cut) + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn breadcrumbs_of_every_shape_are_rows() {
        let values = json!({"status_code": 502, "deep": {}});
        let one = json!({"timestamp": 1_763_820_189.25, "category": "httplib", "level": "info", "data": values});
        let at = "2025-11-22T14:03:10";
        let two = json!({"timestamp": at, "type": "navigation", "level": "warning", "message": "\u{202e}on"});
        let odd = json!({"timestamp": {}, "message": [1]});
        for breadcrumbs in [json!({"values": [one, two, odd, 7]}), json!([one, two, odd, null])] {
            let shown = of_event(&json!({ "breadcrumbs": breadcrumbs }));
            let seen: Vec<_> = shown
                .rows
                .iter()
                .map(|row| (&*row.time, &*row.category, row.level.as_deref(), &*row.message, &*row.values))
                .collect();
            assert_eq!(
                seen,
                [
                    ("14:03:09.250", "httplib", None, "", "status_code: 502"),
                    ("14:03:10.000", "navigation", Some("warning"), "\u{fffd}on", ""),
                    ("", "", None, "", ""),
                ]
            );
        }
        for nothing in [json!({}), json!({"breadcrumbs": null}), json!({"breadcrumbs": {"values": "x"}})] {
            assert_eq!(of_event(&nothing), Breadcrumbs::default());
        }
    }

    #[test]
    fn the_last_ones_are_shown() {
        let many: Vec<_> = (0..100).map(|number| json!({"message": format!("step {number}")})).collect();
        let shown = of_event(&json!({ "breadcrumbs": many }));
        assert_eq!((shown.rows.len(), &*shown.rows[29].message), (MAX_BREADCRUMBS, "step 99"));
        assert_eq!(shown.omitted.as_deref(), Some("70 older breadcrumbs are in the raw JSON."));
        let long = json!({"breadcrumbs": [{"message": "é".repeat(1_000_000), "timestamp": 1e300}]});
        assert_eq!(of_event(&long).rows[0].message.chars().count(), MAX_TEXT_CHARS + 1);
    }
}
