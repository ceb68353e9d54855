//! `/-/go?q=` leads to the error or the event that somebody typed or pasted, `/-/e/{event}` to an event.
//!
//! Everything is looked for among the projects that the caller may see, and nowhere else: what is not found and what may
//! not be seen are one answer, after the same work.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, stream};
use http::StatusCode;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::{
    console::{
        auth::Right,
        context::Context,
        databases::Found,
        lookup::Lookup,
        pages::{GoPage, Hit, Looked},
        problem::Problem,
        web::{
            answer::{Either, Page, SeeOther},
            request::{FromRequest, Request, field},
        },
    },
    protocol::event::EventId,
    store::console::{ProjectAddress, Wanted},
};

/// Projects that are looked through.
const MAX_PROJECTS: usize = 200;
/// And for how long.
const MAX_TIME: Duration = Duration::from_secs(2);
/// So many at once: other pages need connections too.
const AT_ONCE: usize = 2;

pub struct GoRequest {
    /// As typed.
    text: String,
}

impl FromRequest for GoRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { text: field(request.query.as_bytes(), "q").unwrap_or_default() })
    }
}

pub struct EventIdRequest(EventId);

impl FromRequest for EventIdRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self(request.parameter("event")?))
    }
}

/// On to what was found, or a page about what was.
type Gone = Either<SeeOther, (StatusCode, Page<GoPage>)>;

pub async fn find(context: Context, request: GoRequest) -> Result<Gone, Problem> {
    if request.text.trim().is_empty() {
        return Ok(answer(context, "", &Looked::Nowhere));
    }
    match Lookup::parse(&request.text) {
        Some(lookup) => go(context, &request.text, &lookup).await,
        None => Ok(answer(context, &request.text, &Looked::NotUnderstood)),
    }
}

pub async fn event(context: Context, EventIdRequest(event): EventIdRequest) -> Result<Gone, Problem> {
    go(context, &event.to_string(), &Lookup::Event(event)).await
}

async fn go(context: Context, text: &str, lookup: &Lookup) -> Result<Gone, Problem> {
    let (hits, cut) = search(&context, lookup).await?;
    if let ([hit], false) = (&*hits, cut) {
        let place = format!("{}{}", context.shell.root, hit.place());
        return Ok(Either::This(SeeOther { place, cookie: None }));
    }
    Ok(answer(context, text, &Looked::Found { hits, cut }))
}

fn answer(context: Context, text: &str, looked: &Looked) -> Gone {
    let status = match looked {
        Looked::NotUnderstood => StatusCode::BAD_REQUEST,
        Looked::Found { hits, .. } if hits.is_empty() => StatusCode::NOT_FOUND,
        Looked::Nowhere | Looked::Found { .. } => StatusCode::OK,
    };
    Either::That(Box::new((status, Page(GoPage::new(context.shell, text, looked)))))
}

/// What was found, by namespace and project, and whether not everything was looked through.
async fn search(context: &Context, lookup: &Lookup) -> Result<(Vec<Hit>, bool), Problem> {
    if let Lookup::In { project, .. } = lookup {
        let permitted = context.also(context.right, project).await?;
        let hit = if permitted { look(context, project.clone(), lookup).await? } else { None };
        return Ok((hit.into_iter().collect(), false));
    }
    // Payloads are not read, but whose an event is says something of it.
    let right = if matches!(lookup, Lookup::Event(_)) { Right::ReadEvents } else { context.right };
    if !context.scopes.cover(right) {
        return Err(Problem::NotInScope);
    }
    let (addresses, mut cut) = context.databases.addresses().await?;
    let permitted = context.rights.permitted(&context.caller, right, addresses).await?;
    let among = candidates(context, lookup, permitted).await?;
    cut |= among.len() > MAX_PROJECTS;
    let deadline = Instant::now() + MAX_TIME;
    let looks = among.into_iter().take(MAX_PROJECTS).map(|project| look(context, project, lookup));
    let mut looking = stream::iter(looks).buffered(AT_ONCE);
    let mut hits = Vec::new();
    loop {
        match timeout_at(deadline, looking.next()).await {
            Ok(Some(Ok(hit))) => hits.extend(hit),
            // A database that does not answer hides nothing of the others.
            Ok(Some(Err(error))) => {
                warn!(%error, "Could not look through a project.");
                cut = true;
            }
            Ok(None) => break,
            Err(_) => {
                cut = true;
                break;
            }
        }
    }
    Ok((hits, cut))
}

/// The projects that it may be in, of those that the caller may see.
async fn candidates(
    context: &Context,
    lookup: &Lookup,
    mut permitted: BTreeSet<ProjectAddress>,
) -> Result<BTreeSet<ProjectAddress>, Problem> {
    match lookup {
        Lookup::Short { project, .. } => permitted.retain(|address| address.name == *project),
        Lookup::Id { project, .. } => {
            let found = context.databases.find(&Wanted::Number(*project)).await?.map(|found| found.project.address());
            permitted.retain(|address| Some(address) == found.as_ref());
        }
        Lookup::In { .. } | Lookup::Number(_) | Lookup::Event(_) => {}
    }
    Ok(permitted)
}

/// The error or the event in one project, which the caller may see.
async fn look(context: &Context, project: ProjectAddress, lookup: &Lookup) -> Result<Option<Hit>, Problem> {
    let Some(found) = context.databases.find(&Wanted::Address(project)).await? else { return Ok(None) };
    let Found { database, mut snapshot, project } = found;
    let looking = async {
        let (id, event) = match lookup {
            Lookup::Short { number, .. } | Lookup::Number(number) | Lookup::Id { number, .. } => {
                (Some(project.issue_id(*number)), None)
            }
            Lookup::In { number, event, .. } => (Some(project.issue_id(*number)), *event),
            Lookup::Event(event) => (snapshot.issue_of_event(project.id, *event).await?, Some(*event)),
        };
        let Some(id) = id else { return Ok(None) };
        let mut issue = snapshot.issue(project.id, id).await?;
        if issue.is_none()
            && let Some(into) = snapshot.merged_into(project.id, id).await?
        {
            issue = snapshot.issue(project.id, into).await?;
        }
        snapshot.end().await?;
        Ok::<_, Problem>(issue.map(|issue| Hit { project, issue, event }))
    };
    database.in_time(looking).await
}
