//! `/{namespace}/{project}/health`: whether a project receives; what was accepted, and what was not, by reason; which
//! keys need somebody.

use std::{cmp::Reverse, collections::BTreeMap};

use askama::Template;
use jiff::Timestamp;

use super::{
    ProjectHead, Shell,
    chart::{Hours, Sparkline},
    format::count,
    keys::{self, InUse},
    untrusted::visible,
    verdict::Verdict,
};
use crate::store::{
    console::{ClientKey, Deliveries, Project, Reception},
    ingest::Outcome,
};

/// Rows of one table; the words of clients are theirs.
const MAX_ROWS: usize = 60;

#[derive(Debug, Template)]
#[template(path = "health.html")]
pub struct HealthPage {
    shell: Shell,
    project: ProjectHead,
    verdict: Verdict,
    tables: Vec<Table>,
    /// `None`: the caller may not see keys.
    keys: Option<Keys>,
}

/// What came to the same thing, as far as somebody has to do something about it.
#[derive(Debug)]
struct Table {
    anchor: &'static str,
    heading: &'static str,
    explanation: &'static str,
    rows: Vec<Row>,
    /// Rows that are left out.
    omitted: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    what: String,
    /// What was sent: `event`, `session`, or the word of a client.
    category: String,
    spark: Sparkline,
    day: String,
    all: String,
}

/// Keys that need somebody.
#[derive(Debug)]
struct Keys {
    /// Refused, and somebody still sends with them.
    in_use: Vec<InUse>,
    /// Names of those that are retiring, and somebody still sends with them.
    retiring: Vec<String>,
}

/// What the page is about.
#[derive(Clone, Copy)]
pub struct Healthy<'r> {
    pub reception: &'r Reception,
    pub deliveries: &'r [Deliveries],
    /// `None`: the caller may not see them.
    pub keys: Option<&'r [ClientKey]>,
}

impl HealthPage {
    #[must_use]
    pub fn new(shell: Shell, project: &Project, healthy: &Healthy<'_>, now: Timestamp) -> Self {
        let Healthy { reception, deliveries, keys } = *healthy;
        let keys = keys.map(|keys| Keys {
            in_use: keys.iter().filter_map(|key| keys::in_use(key, now)).collect(),
            retiring: keys.iter().filter_map(|key| keys::retiring_in_use(key, now)).collect(),
        });
        Self {
            shell,
            project: ProjectHead::from(project),
            verdict: Verdict::new(reception, now),
            tables: tables(deliveries, now),
            keys,
        }
    }
}

fn tables(deliveries: &[Deliveries], now: Timestamp) -> Vec<Table> {
    let table = |anchor, heading, explanation, outcomes: &[Outcome]| {
        let mut rows = rows(deliveries, outcomes, now);
        let omitted = rows.len().saturating_sub(MAX_ROWS);
        rows.truncate(MAX_ROWS);
        Table { anchor, heading, explanation, rows, omitted }
    };
    vec![
        table("stored", "Accepted", "", &[Outcome::Accepted]),
        table(
            "refused",
            "Not stored",
            "What ingest kept out, answered with an error, or could not keep.",
            &[
                Outcome::Refused,
                Outcome::RateLimited,
                Outcome::Filtered,
                Outcome::Dropped,
                Outcome::Quarantined,
                Outcome::Lost,
            ],
        ),
        table(
            "floods",
            "Floods",
            "Stored, in a form that makes nothing new: so much of it came in an hour.",
            &[Outcome::Limited],
        ),
        table(
            "clients",
            "Not sent",
            "What SDKs report that they dropped by themselves, in their words.",
            &[Outcome::ClientDiscard],
        ),
    ]
}

#[derive(Default)]
struct Sum {
    /// Of the last 14 days.
    all: u64,
    hours: Vec<(Timestamp, u64)>,
}

/// The largest of the last 14 days first.
fn rows(deliveries: &[Deliveries], outcomes: &[Outcome], now: Timestamp) -> Vec<Row> {
    let mut sums: BTreeMap<(Outcome, &str, &str), Sum> = BTreeMap::new();
    for delivery in deliveries.iter().filter(|delivery| outcomes.contains(&delivery.outcome)) {
        let sum = sums.entry((delivery.outcome, delivery.reason.as_str(), delivery.category.as_str())).or_default();
        sum.all += delivery.quantity;
        sum.hours.extend(delivery.hour.map(|hour| (hour, delivery.quantity)));
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, sum)| Reverse(sum.all));
    let row = |((outcome, reason, category), sum): ((Outcome, &str, &str), Sum)| {
        let hours = Hours::new(now, sum.hours).of("item");
        Row {
            what: what(outcome, reason),
            category: visible(category),
            spark: Sparkline::from(&hours),
            day: count(hours.total()),
            all: count(sum.all),
        }
    };
    sums.into_iter().map(row).collect()
}

/// `rate limited: project quota`
fn what(outcome: Outcome, reason: &str) -> String {
    let reason = visible(&reason.replace('_', " "));
    match outcome {
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::ClientDiscard | Outcome::Limited | Outcome::Quarantined => reason,
        Outcome::Refused | Outcome::RateLimited | Outcome::Filtered | Outcome::Dropped | Outcome::Lost => {
            format!("{}: {reason}", outcome.as_str().replace('_', " "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_things_is_summed_by_who_has_to_act() {
        let now: Timestamp = "2026-11-22T12:20:00Z".parse().unwrap();
        let of = |hour: Option<&str>, outcome, category: &str, reason: &str, quantity| Deliveries {
            hour: hour.map(|hour| hour.parse().unwrap()),
            outcome,
            category: category.to_owned(),
            reason: reason.to_owned(),
            quantity,
        };
        let deliveries = [
            of(None, Outcome::Accepted, "error", "", 1000),
            of(Some("2026-11-22T12:00:00Z"), Outcome::Accepted, "error", "", 30),
            of(Some("2026-11-22T11:00:00Z"), Outcome::RateLimited, "error", "project_quota", 7),
            of(Some("2026-11-22T12:00:00Z"), Outcome::RateLimited, "error", "project_quota", 5),
            of(None, Outcome::Dropped, "attachment", "attachment", 50),
            of(None, Outcome::Limited, "error", "too_many_tags", 2),
            of(None, Outcome::ClientDiscard, "error", "\u{202e}sampled", 9),
        ];
        let tables = tables(&deliveries, now);
        let seen: Vec<_> = tables
            .iter()
            .flat_map(|table| table.rows.iter().map(|row| (table.anchor, &*row.what, &*row.day, &*row.all)))
            .collect();
        assert_eq!(
            seen,
            [
                ("stored", "accepted", "30", "1,030"),
                ("refused", "dropped: attachment", "0", "50"),
                ("refused", "rate limited: project quota", "12", "12"),
                ("floods", "too many tags", "0", "2"),
                ("clients", "\u{fffd}sampled", "0", "9"),
            ]
        );
        assert_eq!(tables[1].rows[1].spark.summary, "12 items in the last 24 hours, most at 11:00 UTC: 7");
    }

    #[test]
    fn the_words_of_clients_do_not_fill_the_page() {
        let word = |number: u64| Deliveries {
            hour: None,
            outcome: Outcome::ClientDiscard,
            category: "error".to_owned(),
            reason: format!("word {number}"),
            quantity: number,
        };
        let tables = tables(&(1..=100).map(word).collect::<Vec<_>>(), Timestamp::UNIX_EPOCH);
        assert_eq!((tables[3].rows.len(), tables[3].omitted, &*tables[3].rows[0].what), (MAX_ROWS, 40, "word 100"));
    }
}
