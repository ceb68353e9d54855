//! `/-/suggest/{namespace}/{project}.json?before=`: what may come next in a query, for the field that somebody types in.

use crate::{
    console::{
        auth::Right,
        context::Context,
        pages::{Suggested, Suggestion},
        problem::Problem,
        query::{self, Reader, Typed},
        web::{
            answer::Json,
            request::{FromRequest, Request, field},
        },
    },
    dsn::ProjectId,
    store::{
        StoreError,
        console::{Project, ProjectAddress, Search, Snapshot},
    },
};

/// Most values.
const VALUES: u32 = 10;
/// Most keys, and tags that they are looked for in.
const KEYS: usize = 20;
const TAGS: u32 = 500;

pub struct SuggestRequest {
    project: ProjectAddress,
    /// The query up to the caret.
    before: String,
}

impl FromRequest for SuggestRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let before = field(request.query.as_bytes(), "before").unwrap_or_default();
        if before.len() > query::MAX_BYTES {
            return Err(Problem::BadQuery("before is a query up to the caret, and a query has at most 1024 bytes"));
        }
        Ok(Self { project: ProjectAddress::from_request(request)?, before })
    }
}

pub async fn suggest(context: Context, request: SuggestRequest) -> Result<Json, Problem> {
    let SuggestRequest { project: address, before } = request;
    let typed = query::typed(&before);
    let reader = context.reader();
    // Tags are parts of events.
    let may_read_events = context.also(Right::ReadEvents, &address).await?;
    let reading = async |mut snapshot: Snapshot, project: Project| {
        let options = match &typed {
            None => Vec::new(),
            Some(typed @ Typed { key: None, .. }) => {
                let tags = if may_read_events { snapshot.tag_keys(project.id, TAGS).await? } else { Vec::new() };
                query::keys(&tags, &typed.text).take(KEYS).map(Suggestion::of_key).collect()
            }
            Some(typed @ Typed { key: Some(key), .. }) => {
                let asked = Asked { snapshot: &mut snapshot, project: project.id, typed, key, reader };
                asked.values(may_read_events).await?
            }
        };
        snapshot.end().await?;
        Ok(options)
    };
    let options = context.read(&address, reading).await?;
    let from = typed.as_ref().map_or(0, |typed| before[..typed.from].encode_utf16().count());
    Json::of(&Suggested { from, options })
}

/// A key with the beginning of a value.
struct Asked<'a> {
    snapshot: &'a mut Snapshot,
    project: ProjectId,
    typed: &'a Typed,
    key: &'a str,
    reader: Reader<'a>,
}

impl Asked<'_> {
    async fn values(self, may_read_events: bool) -> Result<Vec<Suggestion>, StoreError> {
        let Self { project, key, .. } = self;
        let start = self.typed.text.as_str();
        let lower = key.to_ascii_lowercase();
        let is_counted = self.snapshot.has_environments(project).await?;
        let named = match lower.as_str() {
            "environment" | "release" | "firstrelease" | "first-release" if !is_counted => Vec::new(),
            "environment" => self.snapshot.environments_beginning(project, start, VALUES).await?,
            "release" => self.snapshot.releases_beginning(project, start, VALUES).await?,
            "firstrelease" | "first-release" => {
                let releases = self.snapshot.releases_beginning(project, start, VALUES).await?;
                return self.of_issues(releases.into_iter().map(|(name, _)| name).collect()).await;
            }
            "assigned" => {
                let assignees = self.snapshot.assignees_beginning(project, start, VALUES).await?;
                return self.of_issues(assignees).await;
            }
            _ if !query::is_tag(key) => return self.of_issues(Vec::new()).await,
            _ if may_read_events => self.snapshot.tag_values_beginning(project, key, start, VALUES).await?,
            _ => Vec::new(),
        };
        Ok(named.iter().map(|(name, errors)| Suggestion::of_name(self.typed, name, *errors)).collect())
    }

    /// What is often written behind the key, and these names. They speak of errors as a whole, which are counted at once.
    async fn of_issues(self, names: Vec<String>) -> Result<Vec<Suggestion>, StoreError> {
        let Self { snapshot, project, typed, key, reader } = self;
        let usual = query::usual_values(key).iter().filter(|value| query::begins(value, &typed.text));
        let usual = usual.map(|value| ((*value).to_owned(), (*value).to_owned()));
        let texts = usual.chain(names.into_iter().map(|name| {
            let text = query::quoted(&name);
            (name, text)
        }));
        // Nobody is "me" to a console without sign-in.
        let searched = texts.filter_map(|(name, text)| {
            let query = query::parse(&format!("{key}:{text}"), reader).ok()?;
            Some(((name, text), query.search()))
        });
        let (texts, searches): (Vec<_>, Vec<_>) = searched.take(VALUES as usize).unzip();
        if searches.is_empty() {
            return Ok(Vec::new());
        }
        let counts = snapshot.counts(project, &Search::default(), &searches).await?;
        let counted = texts.iter().zip(counts);
        Ok(counted.map(|((name, text), errors)| Suggestion::of_value(typed, name, text, errors)).collect())
    }
}
