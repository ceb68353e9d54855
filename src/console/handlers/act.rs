//! What people do to errors: `POST /{namespace}/{project}/issues` for several, `…/issues/{issue}` for one, `/-/undo`.
//!
//! The same with `.json` at the end says what came of it as JSON.
//!
//! Nothing asks whether one is sure: what was done can be undone for a day. A form leads back to the page that it was on,
//! which then offers the undo.

use std::{collections::BTreeSet, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tracing::info;
use uuid::Uuid;

use super::{issues, leads_here};
use crate::{
    console::{
        auth::{Caller, Right},
        context::Context,
        pages::{OutcomePage, json, with_done},
        problem::Problem,
        selection::Everything,
        web::{
            answer::{Either, Json, Page, SeeOther},
            request::{FromRequest, Request},
        },
    },
    console_api,
    store::console::{
        Action, Change, Ignoring, MAX_COMMENT, MAX_ISSUES, MAX_NAME, Outcome, Project, ProjectAddress, Resolution,
    },
};

pub struct ActRequest {
    project: ProjectAddress,
    meant: Meant,
    asked: Asked,
    /// The form's own word, which another page does not have: sent twice, it acts once.
    form: Option<String>,
    /// Where the form was, relative to the console's root.
    to: String,
}

/// Which errors a form is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Meant {
    /// Numbers within the project.
    Some(BTreeSet<u32>),
    /// Whatever is ticked besides.
    All(Everything),
}

/// An action as a form names it: issues by number.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Resolve(Resolution),
    Ignore(Ignore),
    Reopen,
    Assign(Option<String>),
    Comment(String),
    Delete,
    Merge { into: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ignore {
    Forever,
    For(SignedDuration),
    Events(u32),
    Users(u32),
}

/// For one error, which the path names.
pub struct ActOnIssueRequest(ActRequest);

impl FromRequest for ActOnIssueRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self(read(request, Meant::Some(BTreeSet::from([request.parameter("issue")?])))?))
    }
}

impl FromRequest for ActRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        if let Some(all) = request.field("all") {
            return read(request, Meant::All(all.parse().map_err(Problem::BadQuery)?));
        }
        let numbers: Option<BTreeSet<u32>> = request.fields("issue").map(|number| number.parse().ok()).collect();
        let issues = numbers.ok_or(Problem::BadQuery("issue is the number of an error"))?;
        if issues.is_empty() {
            return Err(Problem::BadQuery("no error was selected: tick some, then choose what to do with them"));
        }
        if issues.len() > MAX_ISSUES as usize {
            return Err(TOO_MANY);
        }
        read(request, Meant::Some(issues))
    }
}

const TOO_MANY: Problem = Problem::BadQuery("at most 10,000 errors can be changed at once");

fn read(request: &Request<'_>, meant: Meant) -> Result<ActRequest, Problem> {
    let project = ProjectAddress::from_request(request)?;
    let asked = asked(&project.name, &|name| request.field(name))?;
    let to = request.field("to").filter(|to| leads_here(to)).unwrap_or_default();
    Ok(ActRequest { project, meant, asked, form: request.field("form"), to })
}

/// `field` is a field of the form by its name.
fn asked(project: &str, field: &dyn Fn(&str) -> Option<String>) -> Result<Asked, Problem> {
    let text = |name: &str, most: usize| {
        field(name).map(|text| text.trim().to_owned()).filter(|text| text.chars().count() <= most)
    };
    let action = field("action").unwrap_or_default();
    let (action, detail) = action.split_once(' ').unwrap_or((&action, ""));
    Ok(match action {
        "resolve" => Asked::Resolve(match detail {
            "" => Resolution::Now,
            "current" => Resolution::InCurrentRelease,
            "next" => Resolution::InNextRelease,
            "in" => Resolution::InRelease(
                text("release", 250)
                    .filter(|release| !release.is_empty())
                    .ok_or(Problem::BadQuery("release is the name of a release, of at most 250 characters"))?,
            ),
            _ => {
                return Err(Problem::BadQuery(
                    "an error is resolved now, or in the current, the next or a named release",
                ));
            }
        }),
        "ignore" => Asked::Ignore(detail.parse().map_err(Problem::BadQuery)?),
        "reopen" => Asked::Reopen,
        "assign" => {
            let to =
                text("assignee", MAX_NAME).ok_or(Problem::BadQuery("assignee is a name of at most 256 characters"))?;
            Asked::Assign(Some(to).filter(|to| !to.is_empty()))
        }
        "unassign" => Asked::Assign(None),
        "comment" => Asked::Comment(
            text("comment", MAX_COMMENT)
                .filter(|text| !text.is_empty())
                .ok_or(Problem::BadQuery("a comment has 1 to 4096 characters"))?,
        ),
        "delete" => Asked::Delete,
        "merge" => {
            let into = field("into").and_then(|into| number_in(project, into.trim()));
            Asked::Merge { into: into.ok_or(Problem::BadQuery("into is the number of an error of this project"))? }
        }
        _ => {
            return Err(Problem::BadQuery(
                "action is one of resolve, ignore, reopen, assign, unassign, comment, merge and delete",
            ));
        }
    })
}

/// `12`, `#12` or `SHOP-12`; of another project it is no number here.
fn number_in(project: &str, text: &str) -> Option<u32> {
    let number = match text.rsplit_once('-') {
        Some((name, number)) => number.parse().ok().filter(|_| name.eq_ignore_ascii_case(project))?,
        None => text.strip_prefix('#').unwrap_or(text).parse().ok()?,
    };
    Some(number)
}

impl FromStr for Ignore {
    type Err = &'static str;

    /// `""` for ever, `24h`, `100 events`, `10 users`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str =
            "an error is ignored for ever, for hours as 24h, or until so many more events or users come";
        const MOST: u32 = 1_000_000_000;
        let number = |number: &str| number.parse().ok().filter(|number| (1..=MOST).contains(number)).ok_or(WRONG);
        match text.split_once(' ') {
            Some((events, "events")) => Ok(Self::Events(number(events)?)),
            Some((users, "users")) => Ok(Self::Users(number(users)?)),
            Some(_) => Err(WRONG),
            None if text.is_empty() => Ok(Self::Forever),
            None => {
                let hours = number(text.strip_suffix('h').ok_or(WRONG)?)?;
                if hours > 24 * 366 { Err(WRONG) } else { Ok(Self::For(SignedDuration::from_hours(hours.into()))) }
            }
        }
    }
}

impl Asked {
    fn action(self, project: &Project, now: Timestamp) -> Action {
        match self {
            Self::Resolve(resolution) => Action::Resolve(resolution),
            Self::Ignore(Ignore::Forever) => Action::Ignore(Ignoring::Forever),
            Self::Ignore(Ignore::For(time)) => Action::Ignore(Ignoring::Until(now + time)),
            Self::Ignore(Ignore::Events(events)) => Action::Ignore(Ignoring::MoreEvents(events)),
            Self::Ignore(Ignore::Users(users)) => Action::Ignore(Ignoring::MoreUsers(users)),
            Self::Reopen => Action::Reopen,
            Self::Assign(to) => Action::Assign(to),
            Self::Comment(text) => Action::Comment(text),
            Self::Delete => Action::Delete,
            Self::Merge { into } => Action::Merge { into: project.issue_id(into) },
        }
    }
}

/// Back to where the form was, or a page about what was not done.
type Acted = Either<SeeOther, Page<OutcomePage>>;

pub async fn on_issue(context: Context, request: ActOnIssueRequest) -> Result<Acted, Problem> {
    on_issues(context, request.0).await
}

pub async fn on_issues(context: Context, request: ActRequest) -> Result<Acted, Problem> {
    let (address, to) = (request.project.clone(), request.to.clone());
    let Done { batch, outcomes } = act(&context, request).await?;
    if outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Changed | Outcome::Unchanged)) {
        return Ok(Either::This(back(&context, &to, batch)));
    }
    let page = OutcomePage::of_action(context.shell, &address, &to, batch, &outcomes);
    Ok(Either::That(Box::new(Page(page))))
}

pub async fn on_issue_json(context: Context, request: ActOnIssueRequest) -> Result<Json, Problem> {
    on_issues_json(context, request.0).await
}

pub async fn on_issues_json(context: Context, request: ActRequest) -> Result<Json, Problem> {
    let address = request.project.clone();
    let Done { batch, outcomes } = act(&context, request).await?;
    let batch = batch.map(|batch| batch.to_string());
    Json::of(&console_api::Acted { batch, outcomes: json::outcomes(&address, &outcomes) })
}

/// What was done.
struct Done {
    /// What it can be undone by; `None`: nothing changed.
    batch: Option<Uuid>,
    outcomes: Vec<(i64, Outcome)>,
}

async fn act(context: &Context, request: ActRequest) -> Result<Done, Problem> {
    let (actor, now) = (actor(context)?, context.now);
    let batch = batch(&actor, &request);
    let ActRequest { project: address, meant, asked, form, .. } = request;
    if asked == Asked::Delete && !context.also(Right::DeleteIssues, &address).await? {
        return Err(Problem::NoProject(address, Right::DeleteIssues));
    }
    let numbers = match meant {
        Meant::Some(numbers) => numbers,
        Meant::All(everything) => issues::everything(context, &address, &everything).await?,
    };
    if numbers.len() > MAX_ISSUES as usize {
        return Err(TOO_MANY);
    }
    let acting = async |mut change: Change, project: Project| {
        let ids: Vec<_> = numbers.iter().map(|number| project.issue_id(*number)).collect();
        let action = asked.action(&project, now);
        if ids.is_empty() {
            return Ok((action, Vec::new()));
        }
        let outcomes = change.act(project.id, &ids, &action, &actor, batch).await?;
        change.commit().await?;
        Ok((action, outcomes))
    };
    let (action, outcomes) = context.change(&address, acting).await?;
    let changed = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Changed).count();
    info!(user = actor, namespace = address.namespace, project = address.name, action = action.name(), %batch, issues = changed, "Changed errors.");
    // Of a form that is sent twice nothing may be left to change.
    let may_be_done = form.is_some() && outcomes.is_empty();
    Ok(Done { batch: (changed > 0 || may_be_done).then_some(batch), outcomes })
}

/// The same for the same form that is sent again, and for nothing else.
fn batch(actor: &str, request: &ActRequest) -> Uuid {
    let ActRequest { project, meant, asked, form: Some(form), .. } = request else { return Uuid::new_v4() };
    let digest = Sha256::digest(format!("{:?}", (form, actor, project, meant, asked)));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

pub struct UndoRequest {
    project: ProjectAddress,
    batch: Uuid,
    to: String,
}

impl FromRequest for UndoRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let batch = request.field("batch").and_then(|batch| batch.parse().ok());
        Ok(Self {
            project: ProjectAddress::from_request(request)?,
            batch: batch.ok_or(Problem::BadQuery("batch is the id of what was done"))?,
            to: request.field("to").filter(|to| leads_here(to)).unwrap_or_default(),
        })
    }
}

pub async fn undo(context: Context, request: UndoRequest) -> Result<Acted, Problem> {
    let UndoRequest { project: address, batch, to } = request;
    let actor = actor(&context)?;
    let undoing = async |mut change: Change, project: Project| {
        if change.is_deletion(project.id, batch).await? && !context.also(Right::DeleteIssues, &address).await? {
            return Err(Problem::NoProject(address.clone(), Right::DeleteIssues));
        }
        let undone = change.undo(project.id, batch, &actor).await?;
        change.commit().await?;
        Ok(undone)
    };
    let undone = context.change(&address, undoing).await?;
    info!(user = actor, namespace = address.namespace, project = address.name, %batch, "Undid a change of errors.");
    Ok(match OutcomePage::of_undo(context.shell.clone(), &address, &to, &undone) {
        None => Either::This(back(&context, &to, None)),
        Some(page) => Either::That(Box::new(Page(page))),
    })
}

/// To where the form was, with a bar about what was done.
fn back(context: &Context, to: &str, done: Option<Uuid>) -> SeeOther {
    SeeOther { place: format!("{}{}", context.shell.root, with_done(to, done)), cookie: None }
}

/// Who acts, as the history names them, which keeps names up to a length.
fn actor(context: &Context) -> Result<String, Problem> {
    let Caller::User(user) = &context.caller else { return Err(Problem::SessionOver) };
    Ok(user.name.chars().take(MAX_NAME).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_say_what_to_do() {
        let long = "x".repeat(251);
        for (form, expected) in [
            (&[("action", "resolve")][..], Some(Asked::Resolve(Resolution::Now))),
            (&[("action", "resolve current")], Some(Asked::Resolve(Resolution::InCurrentRelease))),
            (&[("action", "resolve next")], Some(Asked::Resolve(Resolution::InNextRelease))),
            (
                &[("action", "resolve in"), ("release", " shop@1.2 ")],
                Some(Asked::Resolve(Resolution::InRelease("shop@1.2".to_owned()))),
            ),
            (&[("action", "resolve in"), ("release", "")], None),
            (&[("action", "resolve in"), ("release", &long)], None),
            (&[("action", "resolve never")], None),
            (&[("action", "ignore")], Some(Asked::Ignore(Ignore::Forever))),
            (&[("action", "ignore 24h")], Some(Asked::Ignore(Ignore::For(SignedDuration::from_hours(24))))),
            (&[("action", "ignore 100 events")], Some(Asked::Ignore(Ignore::Events(100)))),
            (&[("action", "ignore 10 users")], Some(Asked::Ignore(Ignore::Users(10)))),
            (&[("action", "ignore 0 users")], None),
            (&[("action", "ignore -1h")], None),
            (&[("action", "ignore 99999h")], None),
            (&[("action", "ignore 10 years")], None),
            (&[("action", "reopen")], Some(Asked::Reopen)),
            (&[("action", "assign"), ("assignee", "ada")], Some(Asked::Assign(Some("ada".to_owned())))),
            (&[("action", "assign"), ("assignee", " ")], Some(Asked::Assign(None))),
            (&[("action", "assign")], None),
            (&[("action", "unassign")], Some(Asked::Assign(None))),
            (&[("action", "comment"), ("comment", "seen\nit")], Some(Asked::Comment("seen\nit".to_owned()))),
            (&[("action", "comment"), ("comment", "")], None),
            (&[("action", "merge"), ("into", "12")], Some(Asked::Merge { into: 12 })),
            (&[("action", "merge"), ("into", "SHOP-12")], Some(Asked::Merge { into: 12 })),
            (&[("action", "merge"), ("into", " #12 ")], Some(Asked::Merge { into: 12 })),
            (&[("action", "merge"), ("into", "PAY-12")], None),
            (&[("action", "merge"), ("into", "-12")], None),
            (&[("action", "merge"), ("into", "shop")], None),
            (&[("action", "delete")], Some(Asked::Delete)),
            (&[("action", "drop table")], None),
            (&[], None),
        ] {
            let field =
                |name: &str| form.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(asked("shop", &field).ok(), expected, "{form:?}");
        }
    }

    #[test]
    fn a_form_that_is_sent_twice_is_one_batch() {
        let request = |form: Option<&str>, issue: u32, asked: Asked| ActRequest {
            project: ProjectAddress { namespace: "web".to_owned(), name: "shop".to_owned() },
            meant: Meant::Some(BTreeSet::from([issue])),
            asked,
            form: form.map(str::to_owned),
            to: String::new(),
        };
        let once = batch("ada", &request(Some("f"), 1, Asked::Reopen));
        assert_eq!(once, batch("ada", &request(Some("f"), 1, Asked::Reopen)));
        for (actor, other) in [
            ("bob", request(Some("f"), 1, Asked::Reopen)),
            ("ada", request(Some("g"), 1, Asked::Reopen)),
            ("ada", request(Some("f"), 2, Asked::Reopen)),
            ("ada", request(Some("f"), 1, Asked::Delete)),
            ("ada", request(None, 1, Asked::Reopen)),
        ] {
            assert_ne!(once, batch(actor, &other));
        }
    }
}
