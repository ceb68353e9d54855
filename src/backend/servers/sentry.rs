//! Sentry's API for the keys of a project: `/api/0/projects/{organization}/{project}/keys/`.

use std::{collections::HashSet, fmt};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    ServerError, Turns, Web,
    api::{Api, Call, Pages, Scheme, encoded, is_slug, segment},
    sentry_answers::{ToldHour, ToldKey, ToldListed, ToldProject, next_cursor},
    web::Answer,
};
use crate::{dsn::PublicKey, settings::RateLimit};

/// Projects that are offered to choose from, as in `status.sentry.availableProjects`.
const MOST_PROJECTS: usize = 100;
/// How far back the use of a key is looked for: so long Sentry keeps it by the hour.
const USE_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);

const PROJECT: &str = "project";
const KEY: &str = "key";
const READ: &str = "project:read";
const WRITE: &str = "project:write";
const ADMIN: &str = "project:admin";

/// The keys of one project of a Sentry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sentry {
    api: Api,
    organization: String,
    project: String,
}

/// A project as its server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectSeen {
    /// A decimal number.
    pub id: String,
    pub slug: String,
    pub name: String,
    /// `active`, or what keeps the project from being so, as `pending_deletion`.
    pub status: String,
}

/// A key as its server shows it.
#[derive(Clone)]
pub struct SentryKey {
    /// What the server calls it: its public key, as a rule.
    pub id: String,
    pub public: PublicKey,
    pub label: String,
    pub dsn: SecretString,
    /// The secret part, which only the deprecated form of a DSN has.
    pub secret: Option<SecretString>,
    pub active: bool,
    /// `None`: any number of events, also where the server knows no limits.
    pub limit: Option<RateLimit>,
    pub created_at: Option<Timestamp>,
}

/// Ids are public keys, and no whole key must reach a log line.
impl fmt::Debug for SentryKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id: _, public, label, dsn: _, secret: _, active, limit, created_at } = self;
        let mut shown = formatter.debug_struct("SentryKey");
        shown.field("public", public).field("label", label).field("active", active).field("limit", limit);
        shown.field("created_at", created_at).finish_non_exhaustive()
    }
}

impl Sentry {
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the token is this client's from now on")]
    pub fn new(web: Web, turns: &Turns, token: SecretString, organization: String, project: String) -> Self {
        Self { api: Api::new(web, turns, &token, Scheme::Bearer), organization, project }
    }

    /// Whether the token reaches the project, and the project is still called so.
    pub async fn check(&self) -> Result<ProjectSeen, ServerError> {
        let path = self.path("")?;
        let answer = self.api.ask(Call::get(&path, PROJECT, READ)).await?;
        let told: ToldProject = answer.json("a project of Sentry")?;
        // Sentry takes a project's number for its slug.
        if told.slug != self.project && told.id != self.project {
            return Err(ServerError::Moved { to: is_slug(&told.slug).then_some(told.slug) });
        }
        let ToldProject { id, slug, name, status } = told;
        Ok(ProjectSeen { id, name: name.unwrap_or_else(|| slug.clone()), slug, status })
    }

    /// What the token can see, as `organization/project`, in order; nothing for a token that may not list.
    pub async fn available_projects(&self) -> Result<Vec<String>, ServerError> {
        let listed = self.list("/api/0/projects/", MOST_PROJECTS, |answer| {
            let page: Vec<ToldListed> = answer.json("a list of Sentry's projects")?;
            let shown = page.into_iter().filter(|told| is_slug(&told.organization.slug) && is_slug(&told.slug));
            let names = shown.map(|told| format!("{}/{}", told.organization.slug, told.slug));
            Ok(names.map(|name| (name.clone(), name)).collect())
        });
        let mut names = match listed.await {
            Ok(names) => names,
            // Tokens of an organization alone are refused here.
            Err(ServerError::Unauthorized | ServerError::Forbidden { .. } | ServerError::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        names.sort_unstable();
        names.truncate(MOST_PROJECTS);
        Ok(names)
    }

    /// Every key of the project, whoever made it.
    pub async fn keys(&self) -> Result<Vec<SentryKey>, ServerError> {
        let path = self.path("keys/")?;
        let keys = self.list(&path, usize::MAX, |answer| {
            let page: Vec<ToldKey> = answer.json("a list of Sentry's keys")?;
            page.into_iter().map(|told| told.read().map(|key| (key.id.clone(), key))).collect()
        });
        keys.await
    }

    /// `None`: the project has no such key.
    pub async fn key(&self, id: &str) -> Result<Option<SentryKey>, ServerError> {
        match self.api.ask(Call::get(&self.key_path(id)?, KEY, READ)).await {
            Ok(answer) => read_key(&answer).and_then(|key| same(key, |key| key.id == id)).map(Some),
            Err(ServerError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a key. A server that does not take public keys chosen by others makes one up: the answer's `public` tells.
    /// A limit that its plan does not have is ignored by Sentry: `limit` tells.
    pub async fn make(&self, public: &str, label: &str, limit: Option<RateLimit>) -> Result<SentryKey, ServerError> {
        let body = json!({"name": label, "public": public, "rateLimit": told_limit(limit)});
        let path = self.path("keys/")?;
        let call = Call { method: Method::POST, path: &path, body: Some(body), what: PROJECT, needs: WRITE };
        let answer = self.api.ask(call).await?;
        same(read_key(&answer)?, |key| key.label == label)
    }

    /// Sets whether events with the key are accepted, and how many.
    pub async fn update(&self, id: &str, active: bool, limit: Option<RateLimit>) -> Result<SentryKey, ServerError> {
        let body = json!({"isActive": active, "rateLimit": told_limit(limit)});
        let path = self.key_path(id)?;
        let call = Call { method: Method::PUT, path: &path, body: Some(body), what: KEY, needs: WRITE };
        let answer = self.api.ask(call).await?;
        same(read_key(&answer)?, |key| key.id == id)
    }

    /// A key that is gone already is deleted.
    pub async fn delete(&self, id: &str) -> Result<(), ServerError> {
        let path = self.key_path(id)?;
        let call = Call { method: Method::DELETE, path: &path, body: None, what: KEY, needs: ADMIN };
        match self.api.ask(call).await {
            Ok(_) | Err(ServerError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The hour of the last seven days in which something was sent with the key last; `None`: in none, or the server
    /// does not tell. It proves use, and never silence.
    pub async fn last_use(&self, id: &str) -> Result<Option<Timestamp>, ServerError> {
        let now = Timestamp::now();
        let since = now.as_second() - USE_WINDOW.as_secs();
        let path = format!("{}stats/?resolution=1h&since={since}&until={}", self.key_path(id)?, now.as_second());
        match self.api.ask(Call::get(&path, KEY, READ)).await {
            Ok(answer) => {
                let hours: Vec<ToldHour> = answer.json("the statistics of a key")?;
                let used = hours.iter().filter_map(ToldHour::used).max();
                used.map(Timestamp::from_second)
                    .transpose()
                    .map(|used| used.map(|used| used.min(now)))
                    .map_err(|_| ServerError::NotUnderstood { what: "the statistics of a key" })
            }
            Err(ServerError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Entries of a list, page by page: at least `enough`, or all. `read` gives them with their ids. A page is asked
    /// for by the cursor alone, on the server of the page before.
    async fn list<T>(
        &self,
        path: &str,
        enough: usize,
        read: impl Fn(&Answer) -> Result<Vec<(String, T)>, ServerError>,
    ) -> Result<Vec<T>, ServerError> {
        let mut pages = Pages::new();
        let mut cursors = HashSet::new();
        let mut page = path.to_owned();
        loop {
            let answer = self.api.ask(Call::get(&page, PROJECT, READ)).await?;
            pages.add(read(&answer)?)?;
            let cursor = match next_cursor(&answer)? {
                Some(cursor) if pages.len() < enough => cursor,
                _ => return Ok(pages.finish()),
            };
            page = format!("{path}?cursor={}", encoded(&cursor));
            if !cursors.insert(cursor) {
                return Err(ServerError::NotUnderstood { what: "a list with an end" });
            }
        }
    }

    fn path(&self, below: &str) -> Result<String, ServerError> {
        Ok(format!("/api/0/projects/{}/{}/{below}", segment(&self.organization)?, segment(&self.project)?))
    }

    fn key_path(&self, id: &str) -> Result<String, ServerError> {
        self.path(&format!("keys/{}/", segment(id)?))
    }
}

fn told_limit(limit: Option<RateLimit>) -> Value {
    limit.map_or(Value::Null, |limit| json!({"window": limit.window_seconds, "count": limit.events}))
}

fn read_key(answer: &Answer) -> Result<SentryKey, ServerError> {
    answer.json::<ToldKey>("a key of Sentry")?.read()
}

/// An answer about another key is none.
fn same(key: SentryKey, asked: impl Fn(&SentryKey) -> bool) -> Result<SentryKey, ServerError> {
    if asked(&key) { Ok(key) } else { Err(ServerError::NotUnderstood { what: "about the key that was asked for" }) }
}
