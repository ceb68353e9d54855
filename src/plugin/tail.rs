//! Prints errors as they happen.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    PluginError,
    cluster::{self, name},
    console::{self, Console},
    issues::{PERIOD, is_cursor},
    output::{note, print},
};
use crate::{
    console_api::{Issue, IssueList},
    text::in_one_line,
};

/// Pages that are read of what happened within one period.
const MAX_PAGES: usize = 10;

/// Print the errors of a project as they happen, until interrupted.
///
/// A line is an error and how often it happened since the line before. Errors that are ignored are left out.
#[derive(Clone, Debug, clap::Args)]
pub struct Tail {
    #[arg(value_parser = name)]
    project: String,
    #[command(flatten)]
    console: console::Options,
}

pub async fn tail(command: &Tail, options: &cluster::Options) -> Result<(), PluginError> {
    let mut console = command.console.find(options).await?;
    let mut seen = Seen::default();
    seen.news(&since(&mut console, &command.project, Timestamp::MAX).await?);
    note(&format!("Waiting for errors of project {}.", command.project));
    let mut away = false;
    loop {
        tokio::time::sleep(PERIOD).await;
        match since(&mut console, &command.project, seen.until).await {
            Ok(issues) => {
                away = false;
                print(&seen.news(&issues))?;
            }
            Err(error) if error.may_pass() => {
                if !std::mem::replace(&mut away, true) {
                    note(&format!("{error}. It is asked again until it answers."));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// The errors that happened last, back to that time at least if they fit.
async fn since(console: &mut Console, project: &str, time: Timestamp) -> Result<Vec<Issue>, PluginError> {
    let base = format!("/{}/{project}/issues.json?sort=last_seen", console.namespace);
    let (mut issues, mut path) = (Vec::new(), base.clone());
    for _ in 0..MAX_PAGES {
        let page: IssueList = console.get(&path).await?;
        issues.extend(page.issues);
        let older = issues.last().is_none_or(|issue: &Issue| issue.last_seen <= time);
        let Some(next) = page.next.filter(|next| !older && is_cursor(next)) else { break };
        path = format!("{base}&after={next}");
    }
    Ok(issues)
}

/// What was printed, or was there before.
#[derive(Debug, Default)]
struct Seen {
    /// Of each error by its number.
    events: BTreeMap<u32, u64>,
    until: Timestamp,
}

impl Seen {
    /// A line for each error that happened since, the oldest first.
    fn news(&mut self, issues: &[Issue]) -> String {
        let mut lines = Vec::new();
        for issue in issues {
            let before = self.events.insert(issue.number, issue.events);
            let more = match before {
                Some(before) if before >= issue.events => continue,
                Some(before) => format!("+{}", issue.events - before),
                None if issue.last_seen <= self.until => continue,
                None if issue.first_seen > self.until => "new".to_owned(),
                // It was not among those that were read.
                None => "again".to_owned(),
            };
            lines.push((issue.last_seen, line(issue, &more)));
        }
        self.until = issues.iter().map(|issue| issue.last_seen).fold(self.until, Timestamp::max);
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// `2026-11-30T11:55:00Z SHOP-12 error KeyError: 'plum' (+3, 41 events)`
fn line(issue: &Issue, more: &str) -> String {
    let Issue { short_id, level, title, events, last_seen, .. } = issue;
    let time = last_seen.strftime("%Y-%m-%dT%H:%M:%SZ");
    in_one_line(&format!("{time} {short_id} {level} {title} ({more}, {events} events)")) + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issue(number: u32, events: u64, first_seen: &str, last_seen: &str) -> Issue {
        serde_json::from_value(json!({
            "id": number, "number": number, "shortID": format!("SHOP-{number}"), "title": "KeyError\nSHOP-9",
            "culprit": "", "level": "error", "status": "unresolved", "assignee": null, "events": events, "users": 0,
            "merged": 0, "firstSeen": first_seen, "lastSeen": last_seen,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_happened_since_is_printed() {
        let [early, noon, later] = ["2026-11-30T11:00:00Z", "2026-11-30T12:00:00Z", "2026-11-30T12:00:05Z"];
        let mut seen = Seen::default();
        seen.news(&[issue(1, 4, early, noon), issue(2, 1, early, early)]);
        assert_eq!(seen.news(&[issue(1, 4, early, noon), issue(2, 1, early, early)]), "");
        assert_eq!(
            seen.news(&[
                issue(3, 1, later, later),
                issue(1, 6, early, later),
                issue(4, 9, early, later),
                issue(2, 1, early, early)
            ]),
            "2026-11-30T12:00:05Z SHOP-1 error KeyError SHOP-9 (+2, 6 events)\n\
             2026-11-30T12:00:05Z SHOP-3 error KeyError SHOP-9 (new, 1 events)\n\
             2026-11-30T12:00:05Z SHOP-4 error KeyError SHOP-9 (again, 9 events)\n"
        );
        // One that was reopened by hand happened before.
        assert_eq!(seen.news(&[issue(5, 3, early, noon)]), "");
    }
}
