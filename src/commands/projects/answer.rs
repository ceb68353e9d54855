//! What the command says: its JSON, and the table for people. Pure.

use jiff::Timestamp;
use serde::Serialize;

use crate::{commands::table::size, kubernetes::table::align, store::admin::OutcomeCount};

#[derive(Debug, Serialize)]
pub struct Answer {
    pub projects: Vec<Project>,
}

/// What is absent is not known, or is not there.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    pub namespace: String,
    pub name: String,
    /// The number in the DSN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<i32>,
    #[serde(rename = "last24Hours", skip_serializing_if = "Option::is_none")]
    pub received: Option<Received>,
    /// Of the schema with its indexes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// When it was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_event: Option<Timestamp>,
    pub database: Database,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// "host:port/dbname"; absent while it cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of the namespace of the project, when the database is its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Why it does not say what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// In whole hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// That were accepted.
    pub events: i64,
    /// What was sent and is not stored, the most first.
    pub dropped: Vec<Dropped>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    pub outcome: String,
    /// Of `client_discard` in the client's own words.
    pub reason: String,
    pub quantity: i64,
}

impl From<OutcomeCount> for Dropped {
    fn from(OutcomeCount { outcome, reason, quantity }: OutcomeCount) -> Self {
        Self { outcome, reason, quantity }
    }
}

pub fn table(answer: &Answer) -> String {
    if answer.projects.is_empty() {
        return "There is no project.\n".to_owned();
    }
    let head =
        ["NAMESPACE", "NAME", "NUMBER", "EVENTS(24h)", "DROPPED(24h)", "SIZE", "RETENTION", "OLDEST", "DATABASE"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(answer.projects.iter().map(|project| {
        [
            project.namespace.clone(),
            project.name.clone(),
            or_dash(project.id),
            or_dash(project.received.as_ref().map(|received| received.events)),
            or_dash(project.received.as_ref().map(dropped)),
            or_dash(project.bytes.map(size)),
            or_dash(project.retention_days.map(|days| format!("{days}d"))),
            or_dash(project.oldest_event),
            database(&project.database),
        ]
    }));
    align(&rows)
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// What is behind a `client_discard` is in the JSON: clients choose the words.
fn dropped(received: &Received) -> String {
    let discarded = |dropped: &&Dropped| dropped.outcome == "client_discard";
    let by_client: i64 = received.dropped.iter().filter(discarded).map(|dropped| dropped.quantity).sum();
    let ours = received.dropped.iter().filter(|dropped| !discarded(dropped));
    let mut counts: Vec<_> = ours.map(|dropped| format!("{} {}", dropped.quantity, dropped.reason)).collect();
    if by_client > 0 {
        counts.push(format!("{by_client} by clients"));
    }
    if counts.is_empty() { "0".to_owned() } else { counts.join(", ") }
}

fn database(Database { server, secret, problem }: &Database) -> String {
    let place = match (server, secret) {
        (Some(server), _) => server.clone(),
        (None, Some(secret)) => format!("Secret {secret}"),
        (None, None) => "the operator's".to_owned(),
    };
    match problem {
        None => place,
        Some(problem) => format!("{place} is away: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dropped_as(outcome: &str, reason: &str, quantity: i64) -> Dropped {
        Dropped { outcome: outcome.into(), reason: reason.into(), quantity }
    }

    fn answer() -> Answer {
        let known = Project {
            namespace: "web".into(),
            name: "shop".into(),
            id: Some(7),
            retention_days: Some(90),
            received: Some(Received {
                events: 1234,
                dropped: vec![
                    dropped_as("rate_limited", "project_quota", 56),
                    dropped_as("client_discard", "\u{1b}[31mqueue", 5),
                    dropped_as("client_discard", "sample_rate", 2),
                    dropped_as("filtered", "crawler", 1),
                ],
            }),
            bytes: Some(3 << 20),
            oldest_event: Some(Timestamp::from_second(0).unwrap()),
            database: Database { server: Some("pg:5432/errors".into()), secret: None, problem: None },
        };
        let silent = Project {
            name: "till".into(),
            received: Some(Received { events: 0, dropped: vec![] }),
            oldest_event: None,
            ..known.clone()
        };
        let away = Project {
            namespace: "ops".into(),
            id: None,
            received: None,
            bytes: None,
            database: Database {
                server: None,
                secret: Some("pg".into()),
                problem: Some("no answer\nwithin 3 s".into()),
            },
            ..silent.clone()
        };
        Answer { projects: vec![away, known, silent] }
    }

    #[test]
    fn the_table_says_of_each_project_what_it_received_and_stores() {
        assert_eq!(
            table(&answer()),
            "NAMESPACE   NAME   NUMBER   EVENTS(24h)   DROPPED(24h)                                SIZE      RETENTION   OLDEST                 DATABASE\n\
             ops         till   -        -             -                                           -         90d         -                      Secret pg is away: no answer within 3 s\n\
             web         shop   7        1234          56 project_quota, 1 crawler, 7 by clients   3.0 MiB   90d         1970-01-01T00:00:00Z   pg:5432/errors\n\
             web         till   7        0             0                                           3.0 MiB   90d         -                      pg:5432/errors\n"
        );
        assert_eq!(table(&Answer { projects: vec![] }), "There is no project.\n");
    }

    #[test]
    fn the_json_leaves_out_what_is_not_known() {
        let written = serde_json::to_value(answer()).unwrap();
        assert_eq!(
            written["projects"][0],
            json!({
                "namespace": "ops", "name": "till", "retentionDays": 90,
                "database": {"secret": "pg", "problem": "no answer\nwithin 3 s"},
            })
        );
        let shop = &written["projects"][1];
        assert_eq!((&shop["id"], &shop["last24Hours"]["events"]), (&json!(7), &json!(1234)));
        assert_eq!(
            shop["last24Hours"]["dropped"][0],
            json!({"outcome": "rate_limited", "reason": "project_quota", "quantity": 56})
        );
        assert_eq!(shop["oldestEvent"], "1970-01-01T00:00:00Z");
    }
}
