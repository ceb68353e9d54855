//! The part of an `ErrorTrackingProject` about the events themselves: what is taken out of them, which are not wanted,
//! and how many are taken. Ingest pods follow it without a restart.
//!
//! [`crate::settings`] is the home of these fields and of their defaults. Here they get the rules and words that people
//! see, and a custom resource becomes [`Settings`]. Both are taken apart field by field: a new field does not compile
//! until it is in both.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{
    project::{ErrorTrackingProject, Integrated},
    rotation::Window,
};
use crate::settings::{self, Settings};

impl ErrorTrackingProject {
    /// What the spec says to those who receive the project's events; the defaults where it says nothing.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let Integrated { database: _, retention_days, quota, privacy, filters, ingest } =
            self.spec.backend.integrated.clone().unwrap_or_default();
        let Quota { events_per_minute } = quota.unwrap_or_default();
        Settings {
            privacy: privacy.into(),
            filters: filters.into(),
            trusted_proxies: ingest.trusted_proxies,
            events_per_minute: events_per_minute.and_then(number),
            retention_days: number(retention_days).unwrap_or_default(),
            active: self.spec.active,
        }
    }
}

/// The rules of the schema refuse what is negative.
fn number(number: i32) -> Option<u32> {
    u32::try_from(number).ok()
}

/// What is taken out of an event before it is stored or shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Privacy {
    /// Whether passwords, tokens, keys, card and account numbers and the like are taken out, as they are by default: by the names of fields, headers, cookies and variables, and by what values look like.
    #[serde(default = "scrub_data")]
    pub scrub_data: bool,

    /// Whether IP addresses are taken out too: of the user, of the request, and within texts. Users that have nothing else to be told apart by are not counted then.
    #[serde(rename = "scrubIPAddresses", default = "scrub_ip_addresses")]
    pub scrub_ip_addresses: bool,

    /// Further words that make a field sensitive wherever its name contains one, in any case, as "diagnosis". The value is taken out whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.map(text, bytes(text).size()).sum() <= 2048").message("privacy.sensitiveFields may hold at most 2048 bytes all together: take some out, or shorten them"))]
    pub sensitive_fields: Vec<String>,

    /// Names of fields whose values are kept as they are, in any case, as "passwordPolicy". They win over sensitiveFields and everything that is built in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.map(text, bytes(text).size()).sum() <= 2048").message("privacy.safeFields may hold at most 2048 bytes all together: take some out, or shorten them"))]
    pub safe_fields: Vec<String>,
}

fn scrub_data() -> bool {
    Privacy::default().scrub_data
}

fn scrub_ip_addresses() -> bool {
    Privacy::default().scrub_ip_addresses
}

impl Default for Privacy {
    fn default() -> Self {
        let settings::Privacy { scrub_data, scrub_ip_addresses, sensitive_fields, safe_fields } =
            settings::Privacy::default();
        Self { scrub_data, scrub_ip_addresses, sensitive_fields, safe_fields }
    }
}

impl From<Privacy> for settings::Privacy {
    fn from(privacy: Privacy) -> Self {
        let Privacy { scrub_data, scrub_ip_addresses, sensitive_fields, safe_fields } = privacy;
        Self { scrub_data, scrub_ip_addresses, sensitive_fields, safe_fields }
    }
}

/// Which events are not wanted: they are counted and not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Filters {
    /// Errors by "Type: message" or by one of the two: a pattern in which "*" stands for anything, in any case, or "re:" and a regular expression (RE2's syntax) that is found in it, as "re:^AbortError". Of a long text the first 1024 bytes count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 512)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.map(text, bytes(text).size()).sum() <= 8192").message("filters.ignoreErrors may hold at most 8192 bytes all together: take some out, or shorten them"))]
    pub ignore_errors: Vec<String>,

    /// Releases, as patterns: "shop@0.*".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 250)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.map(text, bytes(text).size()).sum() <= 4096").message("filters.ignoreReleases may hold at most 4096 bytes all together: take some out, or shorten them"))]
    pub ignore_releases: Vec<String>,

    /// Environments, as patterns: "dev-*".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.map(text, bytes(text).size()).sum() <= 1024").message("filters.ignoreEnvironments may hold at most 1024 bytes all together: take some out, or shorten them"))]
    pub ignore_environments: Vec<String>,

    /// From which pages browsers may send: "https://shop.example.com", "https://*.example.com" for the domain and all below it, "*.example.com", with a port if need be. "*", the default, is everywhere; an empty list is nowhere. What is not a browser is not asked.
    #[serde(default = "allowed_origins")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(r"self.all(origin, origin.matches('^(([*]|[A-Za-z][-A-Za-z0-9+.]*)://)?([*]|([*][.])?[-A-Za-z0-9_.]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$'))").message("filters.allowedOrigins must be '*', or origins as https://shop.example.com or https://*.example.com:8443: no path"))]
    #[x_kube(validation = Rule::new("self.map(text, bytes(text).size()).sum() <= 4096").message("filters.allowedOrigins may hold at most 4096 bytes all together: take some out, or shorten them"))]
    pub allowed_origins: Vec<String>,

    /// Whether events of pages and servers on localhost are not wanted.
    #[serde(default = "ignore_localhost")]
    pub ignore_localhost: bool,

    /// Whether events that known crawlers and bots caused are not wanted, by their User-Agent.
    #[serde(default = "ignore_crawlers")]
    pub ignore_crawlers: bool,
}

fn allowed_origins() -> Vec<String> {
    Filters::default().allowed_origins
}

fn ignore_localhost() -> bool {
    Filters::default().ignore_localhost
}

fn ignore_crawlers() -> bool {
    Filters::default().ignore_crawlers
}

impl Default for Filters {
    fn default() -> Self {
        let settings::Filters {
            ignore_errors,
            ignore_releases,
            ignore_environments,
            allowed_origins,
            ignore_localhost,
            ignore_crawlers,
        } = settings::Filters::default();
        Self { ignore_errors, ignore_releases, ignore_environments, allowed_origins, ignore_localhost, ignore_crawlers }
    }
}

impl From<Filters> for settings::Filters {
    fn from(filters: Filters) -> Self {
        let Filters {
            ignore_errors,
            ignore_releases,
            ignore_environments,
            allowed_origins,
            ignore_localhost,
            ignore_crawlers,
        } = filters;
        Self { ignore_errors, ignore_releases, ignore_environments, allowed_origins, ignore_localhost, ignore_crawlers }
    }
}

/// How much is taken. What is above it is refused in a way that every SDK understands, and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Events a minute, over all keys and pods of the project; any number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100000000").message("quota.eventsPerMinute must be between 1 and 100000000; to take no events, set active: false"))]
    pub events_per_minute: Option<i32>,
}

/// Events with one key in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct RateLimit {
    /// Events that are accepted in a window; what is above it is refused in a way that every SDK understands, and counted.
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100000000").message("rateLimit.events must be between 1 and 100000000; to take no events, set enabled: false"))]
    pub events: i32,
    /// Length of the window: 1s to 24h, as "60s", "10m" or "1h30m".
    #[schemars(with = "String", length(min = 2, max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}[hms]){1,3}$') && duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("rateLimit.window must be a duration of whole seconds between 1s and 24h, as 60s, 10m or 1h30m"))]
    pub window: Window,
}

impl RateLimit {
    /// What ingest follows; `None` for a number that the rules of the schema refuse.
    #[must_use]
    pub fn settings(&self) -> Option<settings::RateLimit> {
        let Self { events, window } = self;
        Some(settings::RateLimit { events: number(*events)?, window_seconds: window.seconds() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_of_an_older_version_reads_with_the_defaults_of_new_fields() {
        assert_eq!(serde_json::from_value::<Privacy>(json!({})).unwrap(), Privacy::default());
        assert_eq!(serde_json::from_value::<Filters>(json!({})).unwrap(), Filters::default());
        assert_eq!(serde_json::from_value::<Quota>(json!({})).unwrap(), Quota::default());
    }

    #[test]
    fn a_resource_that_says_nothing_has_the_default_settings() {
        assert_eq!(ErrorTrackingProject::default().settings(), Settings::default());
    }
}
