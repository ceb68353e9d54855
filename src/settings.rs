//! The settings of a project that those who receive its events follow, and their defaults: the one place that states
//! both. `crd` writes them for people and turns a custom resource into them; `store` keeps them as JSON; `ingest`,
//! `scrub` and `filters` obey them. Pure data: each room compiles its own part.
//!
//! The JSON is read by programs of other versions. Names never change; an unknown field is passed over; a missing one
//! has its default.

use serde::{Deserialize, Serialize};

/// Days that an event is kept by a project that does not say how long.
pub const DEFAULT_RETENTION_DAYS: u32 = 90;

/// Everything that ingest follows of a project, its keys aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    pub privacy: Privacy,
    pub filters: Filters,
    /// Networks of the proxies whose `X-Forwarded-For` counts: `protocol::proxies` reads them.
    pub trusted_proxies: Vec<String>,
    /// Events that the project accepts a minute; `None`: any number.
    pub events_per_minute: Option<u32>,
    /// Days that an event is kept.
    pub retention_days: u32,
    /// Whether events are accepted at all.
    pub active: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            privacy: Privacy::default(),
            filters: Filters::default(),
            trusted_proxies: Vec::new(),
            events_per_minute: None,
            retention_days: DEFAULT_RETENTION_DAYS,
            active: true,
        }
    }
}

/// What `scrub` takes out of an event before it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Privacy {
    /// Passwords, tokens, card numbers and the like.
    pub scrub_data: bool,
    #[serde(rename = "scrubIPAddresses")]
    pub scrub_ip_addresses: bool,
    /// Further words that make a key sensitive.
    pub sensitive_fields: Vec<String>,
    /// Keys whose values are kept as they are.
    pub safe_fields: Vec<String>,
}

impl Default for Privacy {
    fn default() -> Self {
        Self { scrub_data: true, scrub_ip_addresses: false, sensitive_fields: Vec::new(), safe_fields: Vec::new() }
    }
}

/// Which events are not wanted: `filters` finds them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filters {
    /// Patterns of error messages, or `re:` and a regular expression.
    pub ignore_errors: Vec<String>,
    pub ignore_releases: Vec<String>,
    pub ignore_environments: Vec<String>,
    /// From where browsers may send; `*` is everywhere.
    pub allowed_origins: Vec<String>,
    pub ignore_localhost: bool,
    pub ignore_crawlers: bool,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            ignore_errors: Vec::new(),
            ignore_releases: Vec::new(),
            ignore_environments: Vec::new(),
            allowed_origins: vec!["*".into()],
            ignore_localhost: false,
            ignore_crawlers: false,
        }
    }
}

/// Events that are accepted with one key in any window of this many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub events: u32,
    pub window_seconds: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_another_version_wrote_is_read_with_the_defaults_of_what_is_missing() {
        for (case, text, expected) in [
            ("nothing recorded yet", json!({}), Settings::default()),
            (
                "an older version",
                json!({"privacy": {"scrubData": false}, "active": false}),
                Settings {
                    privacy: Privacy { scrub_data: false, ..Privacy::default() },
                    active: false,
                    ..Settings::default()
                },
            ),
            (
                "a newer version",
                json!({"filters": {"ignoreCrawlers": true, "ignoreMonkeys": 3}, "colour": "red"}),
                Settings { filters: Filters { ignore_crawlers: true, ..Filters::default() }, ..Settings::default() },
            ),
        ] {
            assert_eq!(serde_json::from_value::<Settings>(text).unwrap(), expected, "{case}");
        }
    }

    /// An installation of another version reads them: a name must not change.
    #[test]
    fn the_names_of_the_fields_are_those_of_the_custom_resource() {
        let defaults = json!({
            "privacy": {"scrubData": true, "scrubIPAddresses": false, "sensitiveFields": [], "safeFields": []},
            "filters": {
                "ignoreErrors": [], "ignoreReleases": [], "ignoreEnvironments": [], "allowedOrigins": ["*"],
                "ignoreLocalhost": false, "ignoreCrawlers": false,
            },
            "trustedProxies": [],
            "eventsPerMinute": null,
            "retentionDays": 90,
            "active": true,
        });
        assert_eq!(serde_json::to_value(Settings::default()).unwrap(), defaults);
    }
}
