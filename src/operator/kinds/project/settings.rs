//! What of a project's spec is written down in its database, for people and for ingest. Pure.

use crate::{
    crd::{ErrorTrackingProject, Filters, Integrated, Privacy},
    protocol::{
        proxies::TrustedProxies,
        settings::{self, Settings, ignore_expression},
    },
    store::admin::ProjectSettings,
};

/// What the spec comes to. Made once a pass: an expression takes milliseconds to compile.
pub struct Asked {
    /// What the database should hold, without entries that cannot be used: ingest goes on with the others.
    pub settings: ProjectSettings,
    /// The first of those entries, with its field and the cure.
    pub trouble: Option<String>,
}

impl Asked {
    #[must_use]
    pub fn of(project: &ErrorTrackingProject) -> Self {
        let Some(integrated) = &project.spec.backend.integrated else {
            return Self { settings: recorded(project, Settings::default()), trouble: None };
        };
        let mut troubles = Vec::new();
        let ingest = Settings { active: project.spec.active, ..followed(integrated, &mut troubles) };
        Self { settings: recorded(project, ingest), trouble: troubles.into_iter().next() }
    }
}

/// What ingest follows of the project.
#[must_use]
pub fn ingest_settings(project: &ErrorTrackingProject) -> Settings {
    Asked::of(project).settings.ingest
}

fn recorded(project: &ErrorTrackingProject, ingest: Settings) -> ProjectSettings {
    ProjectSettings {
        deletion_policy: project.spec.deletion_policy.into(),
        display_name: project.spec.display_name.clone(),
        platform: project.spec.platform.clone(),
        ingest,
    }
}

/// What no rule of the schema can tell to be of no use is left out and named in `troubles`.
fn followed(integrated: &Integrated, troubles: &mut Vec<String>) -> Settings {
    let number = |number: i32| u32::try_from(number).ok();
    let filters = filters(&integrated.filters, troubles);
    // The API server refuses these too; it may take one that we do not.
    let proxies = integrated.ingest.trusted_proxies.iter().filter(|network| {
        let error = TrustedProxies::parse(&[network]).err();
        let trouble =
            |error| format!("spec.backend.integrated.ingest.trustedProxies: {error}. Correct it, or take it out.");
        troubles.extend(error.as_ref().map(trouble));
        error.is_none()
    });
    Settings {
        privacy: privacy(&integrated.privacy),
        filters,
        trusted_proxies: proxies.cloned().collect(),
        events_per_minute: integrated.quota.as_ref().and_then(|quota| quota.events_per_minute).and_then(number),
        retention_days: number(integrated.retention_days).unwrap_or_default(),
        ..Settings::default()
    }
}

fn privacy(of: &Privacy) -> settings::Privacy {
    settings::Privacy {
        scrub_data: of.scrub_data,
        scrub_ip_addresses: of.scrub_ip_addresses,
        sensitive_fields: of.sensitive_fields.clone(),
        safe_fields: of.safe_fields.clone(),
    }
}

fn filters(of: &Filters, troubles: &mut Vec<String>) -> settings::Filters {
    let errors = of.ignore_errors.iter().filter(|entry| {
        let error = ignore_expression(entry).and_then(Result::err);
        let trouble = |error| {
            format!(
                "spec.backend.integrated.filters.ignoreErrors has {entry:?}, whose regular expression cannot be used \
                 ({}): correct it, or take it out. The other entries are followed.",
                reason(error)
            )
        };
        troubles.extend(error.as_ref().map(trouble));
        error.is_none()
    });
    settings::Filters {
        ignore_errors: errors.cloned().collect(),
        ignore_releases: of.ignore_releases.clone(),
        ignore_environments: of.ignore_environments.clone(),
        allowed_origins: of.allowed_origins.clone(),
        ignore_localhost: of.ignore_localhost,
        ignore_crawlers: of.ignore_crawlers,
    }
}

/// The last line of what the parser says, which draws the place in the lines before.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{crd::ErrorTrackingProjectSpec, store::admin::DeletionPolicy};

    fn project(spec: Value) -> ErrorTrackingProject {
        ErrorTrackingProject::new("shop", serde_json::from_value::<ErrorTrackingProjectSpec>(spec).unwrap())
    }

    fn integrated(integrated: &Value) -> ErrorTrackingProject {
        project(json!({"backend": {"integrated": integrated}}))
    }

    #[test]
    fn a_project_without_a_word_about_it_has_the_defaults() {
        let asked = Asked::of(&project(json!({})));
        assert_eq!(asked.settings.ingest, Settings::default());
        assert_eq!(asked.settings.deletion_policy, DeletionPolicy::Retain);
        assert_eq!(asked.trouble, None);
    }

    #[test]
    fn every_field_reaches_ingest_under_its_own_name() {
        let everything = json!({
            "retentionDays": 30,
            "quota": {"eventsPerMinute": 6000},
            "privacy": {
                "scrubData": false, "scrubIPAddresses": true, "sensitiveFields": ["diagnosis"], "safeFields": ["pin_count"],
            },
            "filters": {
                "ignoreErrors": ["re:^AbortError", "*timeout*"], "ignoreReleases": ["shop@0.*"],
                "ignoreEnvironments": ["dev"], "allowedOrigins": ["https://*.example.com"],
                "ignoreLocalhost": true, "ignoreCrawlers": true,
            },
            "ingest": {"trustedProxies": ["10.0.0.0/8"]},
        });
        let asked = Asked::of(&project(json!({"active": false, "backend": {"integrated": everything}})));
        let mut expected = json!({
            "active": false, "retentionDays": 30, "eventsPerMinute": 6000, "trustedProxies": ["10.0.0.0/8"],
        });
        for part in ["privacy", "filters"] {
            expected[part] = everything[part].clone();
        }
        assert_eq!(serde_json::to_value(asked.settings.ingest).unwrap(), expected);
        assert_eq!(asked.trouble, None);
    }

    #[test]
    fn an_entry_of_no_use_is_named_with_its_cure_and_left_out() {
        for (spec, named, left) in [
            (
                json!({"filters": {"ignoreErrors": ["re:(", "*timeout*"]}}),
                r#"spec.backend.integrated.filters.ignoreErrors has "re:(", whose regular expression cannot be used (unclosed group): correct it"#,
                json!({"filters": {"ignoreErrors": ["*timeout*"]}}),
            ),
            (
                json!({"filters": {"ignoreErrors": ["re:(a{1000}){1000}"]}}),
                "cannot be used (Compiled regex exceeds size limit of 524288 bytes.)",
                json!({}),
            ),
            (
                json!({"ingest": {"trustedProxies": ["10.0.0.0/8", "10.0.0.0/99"]}}),
                r#"spec.backend.integrated.ingest.trustedProxies: "10.0.0.0/99" is neither an IP address nor a network"#,
                json!({"ingest": {"trustedProxies": ["10.0.0.0/8"]}}),
            ),
        ] {
            let asked = Asked::of(&integrated(&spec));
            let message = asked.trouble.unwrap();
            assert!(message.contains(named), "{message}");
            assert_eq!(asked.settings, Asked::of(&integrated(&left)).settings, "{message}");
        }
    }
}
