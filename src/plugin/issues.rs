//! Lists errors, of a project or of all projects of a namespace.

use std::{collections::BTreeMap, time::Duration};

use clap::ValueEnum;
use jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::json;

use super::{
    PluginError,
    cluster::{self, name, typed},
    console::{self, Console},
    output::{Output, note, print, print_document},
};
use crate::{
    console_api::{Issue, IssueList},
    crd::ErrorTrackingProject,
    kubernetes::table::{age, align},
};

/// How often the console is asked while errors are watched.
pub const PERIOD: Duration = Duration::from_secs(5);

/// Longest title in the usual table, in characters.
const TITLE: usize = 80;

/// List the errors of a project, or of every project of the namespace.
#[derive(Clone, Debug, clap::Args)]
pub struct Issues {
    /// Only those of this project.
    #[arg(value_parser = name)]
    project: Option<String>,
    /// Which ones; unresolved when absent.
    #[arg(long, value_enum, default_value = "unresolved", hide_default_value = true)]
    status: Status,
    /// Only those that this pod had, which is said by the server name of their events.
    #[arg(long, value_name = "POD", value_parser = name)]
    pod: Option<String>,
    /// Which ones first; those that happened last when absent.
    #[arg(long, value_enum, default_value = "last-seen", hide_default_value = true)]
    sort: Sort,
    /// Most errors of a project, 50 when absent; 0 for all.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, hide_default_value = true)]
    limit: usize,
    /// Go on to print errors that are new or happen again, until interrupted.
    #[arg(short, long)]
    watch: bool,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    #[command(flatten)]
    console: console::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Unresolved,
    Resolved,
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    LastSeen,
    FirstSeen,
    Events,
    Users,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }
}

impl Sort {
    /// As the console's address has it.
    fn as_str(self) -> &'static str {
        match self {
            Self::LastSeen => "last_seen",
            Self::FirstSeen => "first_seen",
            Self::Events => "events",
            Self::Users => "users",
        }
    }

    fn key(self, issue: &Issue) -> i64 {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match self {
            Self::LastSeen => issue.last_seen.as_microsecond(),
            Self::FirstSeen => issue.first_seen.as_microsecond(),
            Self::Events => count(issue.events),
            Self::Users => count(issue.users),
        }
    }
}

/// An error with where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub namespace: String,
    pub project: String,
    #[serde(flatten)]
    pub issue: Issue,
}

/// What was found, and how much more there is.
#[derive(Debug, Default)]
struct Found {
    issues: Vec<Listed>,
    all: u64,
}

pub async fn issues(command: &Issues, options: &cluster::Options) -> Result<(), PluginError> {
    let mut console = command.console.find(options).await?;
    let projects = match &command.project {
        Some(project) => vec![project.clone()],
        None => projects(options).await?,
    };
    let found = command.list(&mut console, &projects).await?;
    let is_document = command.output.is_some_and(|output| output.document().is_some());
    if found.issues.is_empty() && !is_document {
        note(&format!("No {} errors found in {} namespace.", command.status.as_str(), console.namespace));
    } else {
        show(command.output, &found.issues)?;
    }
    if (found.issues.len() as u64) < found.all {
        note(&format!(
            "The first {} of {} {} errors: --limit 0 lists all.",
            found.issues.len(),
            found.all,
            command.status.as_str()
        ));
    }
    if command.watch { command.watch(&mut console, &projects, found.issues).await } else { Ok(()) }
}

/// Projects of the namespace whose errors the console has.
async fn projects(options: &cluster::Options) -> Result<Vec<String>, PluginError> {
    let objects = options.connect().await?.objects::<ErrorTrackingProject>(false).await?;
    let unread =
        |object: DynamicObject| ErrorTrackingProject { metadata: object.metadata, ..ErrorTrackingProject::default() };
    let projects = typed(&objects, unread);
    Ok(projects.iter().filter(|project| project.server().is_none()).map(ResourceExt::name_any).collect())
}

impl Issues {
    async fn list(&self, console: &mut Console, projects: &[String]) -> Result<Found, PluginError> {
        let mut found = Found::default();
        for project in projects {
            match self.of_project(console, project, &mut found).await {
                // Of several, those that may be seen.
                Err(PluginError::Console { status: 404, message }) if self.project.is_none() => {
                    note(&format!("Project {project} is left out: {message}"));
                }
                listed => listed?,
            }
        }
        found.issues.sort_by_key(|listed| std::cmp::Reverse(self.sort.key(&listed.issue)));
        Ok(found)
    }

    /// As somebody would type it.
    fn query(&self) -> String {
        let pod = self.pod.as_ref().map(|pod| format!(" server_name:{pod}")).unwrap_or_default();
        format!("is:{}{pod}", self.status.as_str())
    }

    /// Page after page.
    async fn of_project(&self, console: &mut Console, project: &str, found: &mut Found) -> Result<(), PluginError> {
        let namespace = console.namespace.clone();
        let (query, sort) = (self.query(), self.sort.as_str());
        let most = if self.limit == 0 { usize::MAX } else { self.limit };
        let (mut after, mut number) = (None::<String>, 0);
        loop {
            let after_it = after.as_deref().map(|after| format!("&after={after}")).unwrap_or_default();
            let query = utf8_percent_encode(&query, NON_ALPHANUMERIC);
            let path = format!("/{namespace}/{project}/issues.json?query={query}&sort={sort}{after_it}");
            let IssueList { issues, total, next, .. } = console.get(&path).await?;
            if after.is_none() {
                found.all += total;
            }
            let wanted = issues.into_iter().take(most - number);
            let before = found.issues.len();
            let listed = |issue| Listed { namespace: namespace.clone(), project: project.to_owned(), issue };
            found.issues.extend(wanted.map(listed));
            number += found.issues.len() - before;
            after = next.filter(|next| number < most && is_cursor(next));
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn watch(
        &self,
        console: &mut Console,
        projects: &[String],
        mut seen: Vec<Listed>,
    ) -> Result<(), PluginError> {
        let mut away = false;
        loop {
            tokio::time::sleep(PERIOD).await;
            let found = match self.list(console, projects).await {
                Ok(found) => found.issues,
                Err(error) if error.may_pass() => {
                    if !std::mem::replace(&mut away, true) {
                        note(&format!("{error}. It is asked again until it answers."));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            away = false;
            let changed = changed(&seen, &found);
            if !changed.is_empty() {
                show_more(self.output, &changed)?;
            }
            seen = found;
        }
    }
}

/// As it stands in an address; anything else would be another parameter of it.
pub fn is_cursor(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

/// Those that are new, or not as they were, in their order.
pub fn changed(before: &[Listed], now: &[Listed]) -> Vec<Listed> {
    let before: BTreeMap<_, _> =
        before.iter().map(|listed| ((&listed.project, listed.issue.number), &listed.issue)).collect();
    let is_changed = |listed: &&Listed| before.get(&(&listed.project, listed.issue.number)) != Some(&&listed.issue);
    now.iter().filter(is_changed).cloned().collect()
}

fn show(output: Option<Output>, issues: &[Listed]) -> Result<(), PluginError> {
    match output {
        Some(Output::Name) => print(&names(issues)),
        None | Some(Output::Wide) => print(&table(issues, Timestamp::now(), output.is_some())),
        Some(output) => {
            output.document().map_or(Ok(()), |document| print_document(document, &json!({"issues": issues})))
        }
    }
}

/// What follows what was shown: no head again, and a document for each error.
fn show_more(output: Option<Output>, issues: &[Listed]) -> Result<(), PluginError> {
    match output.and_then(Output::document) {
        Some(document) => issues.iter().try_for_each(|issue| print_document(document, issue)),
        None if output == Some(Output::Name) => print(&names(issues)),
        None => {
            let table = table(issues, Timestamp::now(), output.is_some());
            print(table.split_once('\n').map_or("", |(_, rows)| rows))
        }
    }
}

fn names(issues: &[Listed]) -> String {
    issues.iter().flat_map(|listed| ["issue/", &listed.issue.short_id, "\n"]).collect()
}

fn table(issues: &[Listed], now: Timestamp, wide: bool) -> String {
    let cells = |cells: &[(&str, bool)]| -> Vec<String> {
        cells.iter().filter(|(_, usual)| wide || *usual).map(|(cell, _)| (*cell).to_owned()).collect()
    };
    let mut rows = vec![cells(&[
        ("ISSUE", true),
        ("STATUS", false),
        ("LEVEL", true),
        ("EVENTS", true),
        ("USERS", true),
        ("LAST SEEN", true),
        ("AGE", true),
        ("ASSIGNEE", false),
        ("CULPRIT", false),
        ("TITLE", true),
    ])];
    rows.extend(issues.iter().map(|Listed { issue, .. }| {
        let since = |at: Timestamp| age(now.duration_since(at));
        let title = if wide { issue.title.clone() } else { cut(&issue.title) };
        let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        cells(&[
            (&issue.short_id, true),
            (&issue.status, false),
            (&issue.level, true),
            (&issue.events.to_string(), true),
            (&issue.users.to_string(), true),
            (&since(issue.last_seen), true),
            (&since(issue.first_seen), true),
            (issue.assignee.as_deref().unwrap_or("-"), false),
            (&or_none(&issue.culprit), false),
            (&title, true),
        ])
    }));
    align(&rows)
}

fn cut(title: &str) -> String {
    match title.char_indices().nth(TITLE) {
        Some((end, _)) => format!("{}…", &title[..end]),
        None => title.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(number: u32, title: &str, events: u64) -> Listed {
        let issue = serde_json::from_value(json!({
            "id": number, "number": number, "shortID": format!("SHOP-{number}"), "title": title,
            "culprit": "shop.views.checkout", "level": "error", "status": "unresolved", "assignee": null,
            "events": events, "users": 7, "merged": 0,
            "firstSeen": "2026-11-28T12:00:00Z", "lastSeen": "2026-11-30T11:55:00Z", "later": "field",
        }));
        Listed { namespace: "web".into(), project: "shop".into(), issue: issue.unwrap() }
    }

    #[test]
    fn a_list_is_a_table_that_hostile_titles_cannot_leave() {
        let now = "2026-11-30T12:00:00Z".parse().unwrap();
        let issues = [listed(12, "KeyError: 'plum'", 41), listed(3, "\u{1b}[2J\u{202e}evil\nSHOP-4   error", 1)];
        assert_eq!(
            table(&issues, now, false),
            "ISSUE     LEVEL   EVENTS   USERS   LAST SEEN   AGE   TITLE\n\
             SHOP-12   error   41       7       5m          2d    KeyError: 'plum'\n\
             SHOP-3    error   1        7       5m          2d     [2J evil SHOP-4   error\n"
        );
        assert_eq!(
            table(&issues[..1], now, true),
            "ISSUE     STATUS       LEVEL   EVENTS   USERS   LAST SEEN   AGE   ASSIGNEE   CULPRIT               TITLE\n\
             SHOP-12   unresolved   error   41       7       5m          2d    -          shop.views.checkout   KeyError: 'plum'\n"
        );
        assert_eq!(names(&issues), "issue/SHOP-12\nissue/SHOP-3\n");
        assert_eq!(cut(&"é".repeat(90)), format!("{}…", "é".repeat(80)));
        assert_eq!(cut(&"é".repeat(80)), "é".repeat(80));
    }

    #[test]
    fn what_changed_is_shown_again() {
        let before = [listed(1, "a", 1), listed(2, "b", 1)];
        let now = [listed(3, "c", 1), listed(2, "b", 2), listed(1, "a", 1)];
        let changed: Vec<_> = changed(&before, &now).iter().map(|listed| listed.issue.number).collect();
        assert_eq!(changed, [3, 2]);
    }

    #[test]
    fn a_document_says_where_an_error_is() {
        let document = serde_json::to_value(listed(12, "KeyError", 41)).unwrap();
        assert_eq!(
            (&document["namespace"], &document["shortID"], &document["events"]),
            (&json!("web"), &json!("SHOP-12"), &json!(41))
        );
        assert_eq!(document["lastSeen"], json!("2026-11-30T11:55:00Z"));
    }

    #[test]
    fn a_cursor_adds_no_parameter() {
        assert!(is_cursor("1764489600000000.12") && is_cursor("-5.1"));
        assert!(!is_cursor("1&status=x") && !is_cursor("1 HTTP"));
    }
}
