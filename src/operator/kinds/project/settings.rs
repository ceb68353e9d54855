//! What of a project's spec is written down in its database, for people and for ingest. Pure.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::task::block_in_place;

use crate::{
    crd::ErrorTrackingProject,
    filters::{self, FilterError, FilterFault},
    protocol::proxies::{InvalidNetwork, TrustedProxies},
    settings::Settings,
    store::admin::ProjectSettings,
};

/// Characters that a message with the names of entries has, a little less than a condition takes, and those of one entry.
const LONGEST: usize = 1_000;
const MOST_CHARS: usize = 40;

/// What the spec comes to.
#[derive(Debug)]
pub struct Asked {
    /// What the database should hold, without entries that cannot be used: ingest goes on with the others.
    pub settings: ProjectSettings,
    /// Those entries, with their field and the cure.
    pub trouble: Option<String>,
}

impl Asked {
    #[must_use]
    pub fn of(project: &ErrorTrackingProject) -> Self {
        let (ingest, unusable) = usable(project.settings());
        Self { trouble: explained(&unusable), ..Self::as_written(project, ingest) }
    }

    fn as_written(project: &ErrorTrackingProject, ingest: Settings) -> Self {
        let settings = ProjectSettings {
            deletion_policy: project.spec.deletion_policy.into(),
            display_name: project.spec.display_name.clone(),
            platform: project.spec.platform.clone(),
            ingest,
        };
        Self { settings, trouble: None }
    }
}

/// What the specs come to that were looked at. An expression takes milliseconds to compile, and a project may have a
/// hundred: that is done once a generation.
#[derive(Debug, Default)]
pub struct AskedSettings(Mutex<HashMap<Box<str>, Judged>>);

#[derive(Debug)]
struct Judged {
    generation: Option<i64>,
    /// `None`: every entry can be used.
    otherwise: Option<Arc<Asked>>,
}

impl AskedSettings {
    #[must_use]
    pub fn of(&self, project: &ErrorTrackingProject) -> Arc<Asked> {
        let (uid, generation) = (project.metadata.uid.as_deref().unwrap_or_default(), project.metadata.generation);
        let judged = self.0.lock().get(uid).filter(|judged| judged.generation == generation).map(|judged| {
            let otherwise = judged.otherwise.clone();
            otherwise.unwrap_or_else(|| Arc::new(Asked::as_written(project, project.settings())))
        });
        judged.unwrap_or_else(|| {
            // The other tasks of this thread go on.
            let asked = Arc::new(block_in_place(|| Asked::of(project)));
            let otherwise = asked.trouble.is_some().then(|| asked.clone());
            self.0.lock().insert(uid.into(), Judged { generation, otherwise });
            asked
        })
    }

    /// Forgets the projects that are not among these uids.
    pub fn retain(&self, living: &HashSet<Box<str>>) {
        self.0.lock().retain(|uid, _| living.contains(uid));
    }
}

/// What ingest follows of the project.
#[must_use]
pub fn ingest_settings(project: &ErrorTrackingProject) -> Settings {
    Asked::of(project).settings.ingest
}

/// An entry of a list that no rule of the schema refuses and that ingest cannot follow.
enum Unusable {
    Filter(FilterError),
    Network(InvalidNetwork),
}

/// The settings without the entries that cannot be followed, and these.
fn usable(settings: Settings) -> (Settings, Vec<Unusable>) {
    let (filters, refused) = filters::followed(settings.filters);
    let mut unusable: Vec<Unusable> = refused.into_iter().map(Unusable::Filter).collect();
    let mut trusted_proxies = settings.trusted_proxies;
    // The API server refuses these too; it may take one that we do not.
    trusted_proxies.retain(|network| {
        let error = TrustedProxies::parse(&[network]).err();
        let is_network = error.is_none();
        unusable.extend(error.map(Unusable::Network));
        is_network
    });
    (Settings { filters, trusted_proxies, ..settings }, unusable)
}

/// The first entry with its field and the cure, and the names of all others that fit.
fn explained(unusable: &[Unusable]) -> Option<String> {
    let (first, others) = unusable.split_first()?;
    let mut message = first.cure();
    if others.is_empty() {
        if matches!(first, Unusable::Filter(_)) {
            message.push_str(" The other entries are followed.");
        }
        return Some(message);
    }
    message.push_str(" Not followed either: ");
    let end = message.len();
    for (number, name) in others.iter().map(Unusable::name).enumerate() {
        if message.chars().count() + name.chars().count() > LONGEST {
            let _ = write!(message, " and {} more", others.len() - number);
            break;
        }
        let separator = if message.len() == end { "" } else { ", " };
        let _ = write!(message, "{separator}{name}");
    }
    message.push('.');
    Some(message)
}

impl Unusable {
    fn name(&self) -> String {
        let shortened = |entry: &str| format!("{:?}", entry.chars().take(MOST_CHARS).collect::<String>());
        match self {
            Self::Filter(FilterError { entry, .. }) | Self::Network(InvalidNetwork(entry)) => shortened(entry),
        }
    }

    fn cure(&self) -> String {
        const INTEGRATED: &str = "spec.backend.integrated";
        match self {
            Self::Filter(FilterError { list, entry, source, .. }) => {
                let field = format!("{INTEGRATED}.filters.{}", list.name());
                match source {
                    FilterFault::Unreadable(error) => format!(
                        "{field} has {entry:?}, whose regular expression cannot be used ({}): correct it, or take it \
                         out.",
                        reason(error)
                    ),
                    FilterFault::TooLargeTogether(error) => format!(
                        "{field} has {entry:?}, which is too large together with the entries before it ({}): shorten \
                         some, or take some out.",
                        reason(error)
                    ),
                }
            }
            Self::Network(error) => {
                format!("{INTEGRATED}.ingest.trustedProxies: {error}. Correct it, or take it out.")
            }
        }
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_spec_is_judged_once_a_generation() {
        let judged = AskedSettings::default();
        let mut asks = project(json!({"backend": {"integrated": {"filters": {"ignoreErrors": ["re:("]}}}}));
        asks.metadata.uid = Some("u1".into());
        asks.metadata.generation = Some(1);
        let (first, second) = (judged.of(&asks), judged.of(&asks));
        assert!(Arc::ptr_eq(&first, &second) && first.trouble.is_some());
        asks.spec = project(json!({"backend": {"integrated": {"filters": {"ignoreErrors": ["re:a"]}}}})).spec;
        asks.metadata.generation = Some(2);
        for _ in 0..2 {
            let corrected = judged.of(&asks);
            assert_eq!(corrected.trouble, None);
            assert_eq!(corrected.settings.ingest.filters.ignore_errors, ["re:a"]);
        }
        judged.retain(&HashSet::new());
        assert!(judged.0.lock().is_empty());
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

    #[test]
    fn expressions_that_are_too_large_together_are_named_and_not_handed_on() {
        let entries: Vec<String> = (0..100).map(|number| format!(r"re:\w{{4}}\w{{4}}{number}$")).collect();
        let asked = Asked::of(&integrated(&json!({"filters": {"ignoreErrors": entries}})));
        let followed = asked.settings.ingest.filters.ignore_errors;
        assert!(followed.len() > 1 && followed.len() < 94, "{} are followed", followed.len());
        assert_eq!(followed, entries[..followed.len()]);
        let (first, others) = (&entries[followed.len()], &entries[followed.len() + 1..]);
        let message = asked.trouble.unwrap();
        let begin = format!(
            "spec.backend.integrated.filters.ignoreErrors has {first:?}, which is too large together with the entries \
             before it (Compiled regex exceeds size limit of 2097152 bytes.): shorten some, or take some out. Not \
             followed either: {:?}, {:?}, ",
            others[0], others[1]
        );
        assert!(message.starts_with(&begin), "{message}");
        let named = others.iter().filter(|entry| message.contains(&format!("{entry:?}"))).count();
        let rest = if named == others.len() { ".".to_owned() } else { format!(" and {} more.", others.len() - named) };
        assert!(message.ends_with(&rest) && message.chars().count() < LONGEST + 20, "{message}");
    }

    #[test]
    fn each_entry_of_no_use_is_named() {
        let spec = json!({"filters": {"ignoreErrors": ["re:(", "a", "re:["]}, "ingest": {"trustedProxies": ["x"]}});
        let message = Asked::of(&integrated(&spec)).trouble.unwrap();
        assert!(message.ends_with(r#"take it out. Not followed either: "re:[", "x"."#), "{message}");
    }
}
