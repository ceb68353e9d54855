//! What was decided about an error, by whom, and the forms that decide it.

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Shell,
    format::{Moment, count, counted},
    outcome::UndoForm,
    short_id,
    untrusted::visible,
};
use crate::store::console::{
    Activity, Done, Happened, Issue, IssueStatus, Project, ProjectAddress, StatusRule, issue_number,
};

/// Longest comment that is shown whole is the longest there is; names are cut.
const MAX_NAME_CHARS: usize = 80;

/// What a form of a page carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// `None`: signed in by a header, which needs none.
    pub token: Option<String>,
    /// What the page's forms have and those of no other page.
    pub word: String,
    /// The page itself, to come back to.
    pub to: String,
}

impl Form {
    #[must_use]
    pub fn of(shell: &Shell) -> Self {
        let user = shell.user.as_ref();
        let token = user.and_then(|user| user.form_token.clone());
        let word = user.map(|user| user.form_word.clone()).unwrap_or_default();
        Self { token, word, to: with_done(&shell.here, None) }
    }
}

/// What the caller may do to the errors of a page, and did just before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    pub may_act: bool,
    pub may_delete: bool,
    pub done: Option<DoneBar>,
}

/// `Resolved 3 errors.` with a button that takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneBar {
    pub text: String,
    /// `None`: it was undone.
    pub undo: Option<UndoForm>,
}

impl DoneBar {
    /// `batch`: where the caller may undo it.
    #[must_use]
    pub fn new(shell: &Shell, project: &ProjectAddress, batch: Option<Uuid>, done: &Done) -> Self {
        let what = match done.kind.as_str() {
            "resolved" => "Resolved",
            "ignored" => "Ignored",
            "unresolved" => "Reopened",
            "assigned" => "Assigned",
            "comment" => "Commented on",
            "deleted" => "Deleted",
            "merged" => "Merged",
            _ => "Changed",
        };
        let undone = if done.is_undone { " Undone." } else { "" };
        let text = format!("{what} {}.{undone}", counted(done.issues, "error"));
        let undo = batch.filter(|_| !done.is_undone).map(|batch| UndoForm::new(project, batch, Form::of(shell)));
        Self { text, undo }
    }
}

/// The same place, and on it the bar about a batch; without the one that was there before.
#[must_use]
pub fn with_done(to: &str, batch: Option<Uuid>) -> String {
    let (path, query) = to.split_once('?').unwrap_or((to, ""));
    let mut kept: Vec<String> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("done=")).map(str::to_owned).collect();
    kept.extend(batch.map(|batch| format!("done={batch}")));
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// `Resolved in shop@1.2`, `Ignored until it has 120 events`; nothing for an unresolved one.
#[must_use]
pub fn state(issue: &Issue) -> Option<String> {
    let status = match issue.status {
        IssueStatus::Unresolved => return None,
        IssueStatus::Resolved => "Resolved",
        IssueStatus::Ignored => "Ignored",
    };
    Some(match &issue.rule {
        StatusRule::Plain => status.to_owned(),
        rule => format!("{status} {}", until(rule)),
    })
}

fn until(rule: &StatusRule) -> String {
    match rule {
        StatusRule::Plain => String::new(),
        StatusRule::ResolvedIn(release) => format!("in {}", visible(release)),
        StatusRule::ResolvedInNext => "in the next release".to_owned(),
        StatusRule::IgnoredUntil(until) => format!("until {}", until.strftime("%Y-%m-%d %H:%M UTC")),
        StatusRule::IgnoredUntilEvents(events) => format!("until it has {}", counted(*events, "event")),
        StatusRule::IgnoredUntilUsers(users) => format!("until it has {}", counted(*users, "user")),
    }
}

/// What happened to an error once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityRow {
    pub at: Moment,
    /// `ada resolved it in shop@1.2`
    pub text: String,
    pub comment: Option<String>,
    /// `undone by bob`
    pub undone: Option<String>,
    pub undo: Option<UndoForm>,
}

impl ActivityRow {
    /// Undo is offered where `may_act`, for a day.
    #[must_use]
    pub fn new(shell: &Shell, project: &Project, activity: &Activity, may_act: bool, now: Timestamp) -> Self {
        let recent = now.duration_since(activity.at).as_hours() < 24;
        let undo = activity.batch.filter(|_| may_act && recent && activity.undone.is_none()).map(|batch| UndoForm {
            label: if activity.with_others { "Undo for all its errors" } else { "Undo" },
            ..UndoForm::new(&project.address(), batch, Form::of(shell))
        });
        let comment = match &activity.what {
            Happened::Comment(text) if activity.undone.is_none() => Some(visible(text)),
            _ => None,
        };
        let undone = activity.undone.as_ref().map(|undone| format!("undone by {}", name(&undone.actor)));
        Self { at: Moment::new(activity.at, now), text: sentence(project, activity), comment, undone, undo }
    }
}

/// `ada resolved it in shop@1.2`
pub(super) fn sentence(project: &Project, activity: &Activity) -> String {
    let who = activity.actor.as_deref().map_or_else(|| "An event".to_owned(), name);
    let of = |release: &Option<String>| {
        release.as_deref().map(|release| format!(" of {}", visible(release))).unwrap_or_default()
    };
    match &activity.what {
        Happened::FirstSeen { release } => format!("First seen{}", in_release(release.as_deref())),
        Happened::Regression { release } => format!("{who}{} reopened it: a regression", of(release)),
        Happened::Unignored => format!("{who} reopened it, as it was ignored until then"),
        Happened::Status(IssueStatus::Unresolved, _) => format!("{who} reopened it"),
        Happened::Status(IssueStatus::Resolved, rule) => {
            format!("{who} resolved it {}", until(rule)).trim_end().to_owned()
        }
        Happened::Status(IssueStatus::Ignored, rule) => {
            format!("{who} ignored it {}", until(rule)).trim_end().to_owned()
        }
        Happened::Assigned { to: Some(to), .. } => format!("{who} assigned it to {}", name(to)),
        Happened::Assigned { to: None, .. } => format!("{who} assigned it to nobody"),
        Happened::Comment(_) => format!("{who} wrote"),
        Happened::Deleted => format!("{who} deleted it"),
        Happened::Merged { into } => {
            format!("{who} merged it into {}", short_id(&project.name, issue_number(*into)))
        }
        Happened::Other(kind) => format!("{who}: {}", visible(kind)),
    }
}

fn in_release(release: Option<&str>) -> String {
    release.map(|release| format!(" in {}", visible(release))).unwrap_or_default()
}

fn name(text: &str) -> String {
    let shown = visible(text);
    if shown.chars().count() <= MAX_NAME_CHARS {
        return shown;
    }
    shown.chars().take(MAX_NAME_CHARS).chain(['…']).collect()
}

/// `2 errors were merged into this one.`
#[must_use]
pub fn merged(issue: &Issue) -> Option<String> {
    match issue.merged {
        0 => None,
        1 => Some("1 other error was merged into this one.".to_owned()),
        merged => Some(format!("{} other errors were merged into this one.", count(merged))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_takes_the_place_of_the_one_before() {
        let batch = Uuid::nil();
        for (to, expected) in [
            ("web/shop/issues", "web/shop/issues?done=00000000-0000-0000-0000-000000000000"),
            (
                "web/shop/issues?status=resolved",
                "web/shop/issues?status=resolved&done=00000000-0000-0000-0000-000000000000",
            ),
            ("web/shop/issues?done=x&page=2", "web/shop/issues?page=2&done=00000000-0000-0000-0000-000000000000"),
        ] {
            assert_eq!(with_done(to, Some(batch)), expected);
        }
        assert_eq!(with_done("web/shop/issues?done=x", None), "web/shop/issues");
    }
}
