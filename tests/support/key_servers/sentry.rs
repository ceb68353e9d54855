//! The double of Sentry's API for projects and client keys.
//!
//! Where Sentry's documents say nothing: a public key that exists already is an internal error, as of a unique column,
//! and what a token may not see is not there (404).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    KeptKey, KeyServer,
    quota::{Quota, RateLimit},
    server::{Api, Double},
    wire::{Reply, Request},
};

pub type SentryDouble = Double<Sentry>;

/// A token of a new double, with every scope.
pub const TOKEN: &str = "fake-sentry-token";

/// Most characters of a key's name.
const MAX_NAME: usize = 64;

pub struct Sentry {
    /// Scheme, host and port of links and DSNs.
    pub origin: String,
    pub switches: SentrySwitches,
    pub tokens: Vec<SentryToken>,
    pub projects: Vec<SentryProject>,
    /// Organization and slug of a project that was renamed, and its slug now.
    pub renamed: BTreeMap<(String, String), String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SentrySwitches {
    /// The plan has rate limits of keys; without, they are ignored silently.
    pub key_rate_limits: bool,
    /// POST takes a public key of the client; without, it is ignored silently.
    pub chosen_public_keys: bool,
    /// Keys have stats; without, 404.
    pub key_stats: bool,
    /// Objects in a page.
    pub page: usize,
    /// Calls of each token.
    pub rate_limit: Option<RateLimit>,
}

#[derive(Clone, Debug)]
pub struct SentryToken {
    /// What calls are listed under.
    pub name: String,
    pub value: String,
    /// Slugs.
    pub organizations: BTreeSet<String>,
    pub scopes: BTreeSet<String>,
    pub expires: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct SentryProject {
    pub id: u64,
    pub organization: String,
    pub slug: String,
    pub name: String,
    pub created: Timestamp,
    /// The oldest first.
    pub keys: Vec<SentryKey>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SentryKey {
    /// Its id too.
    pub public: String,
    pub secret: String,
    pub name: String,
    pub active: bool,
    /// Seconds and events.
    pub rate_limit: Option<(u64, u64)>,
    pub created: Timestamp,
    pub usage: Vec<Usage>,
}

/// Events that came with a key at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub at: Timestamp,
    pub accepted: u64,
    pub filtered: u64,
    pub dropped: u64,
}

impl Default for SentrySwitches {
    fn default() -> Self {
        Self { key_rate_limits: true, chosen_public_keys: true, key_stats: true, page: 10, rate_limit: None }
    }
}

impl SentryToken {
    /// For some organizations and with some scopes, both separated by spaces.
    pub fn new(name: &str, value: &str, organizations: &str, scopes: &str) -> Self {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let (organizations, scopes) = (words(organizations), words(scopes));
        Self { name: name.into(), value: value.into(), organizations, scopes, expires: None }
    }

    fn has(&self, scopes: &[&str]) -> Result<(), Reply> {
        if scopes.iter().any(|scope| self.scopes.contains(*scope)) {
            return Ok(());
        }
        Err(Reply::detail(403, "You do not have permission to perform this action."))
    }
}

impl SentryKey {
    pub fn new(name: &str, now: Timestamp) -> Self {
        let [public, secret] = [(); 2].map(|()| Uuid::new_v4().simple().to_string());
        Self { public, secret, name: name.into(), active: true, rate_limit: None, created: now, usage: Vec::new() }
    }
}

impl SentryProject {
    pub fn key(&mut self, public: &str) -> Option<&mut SentryKey> {
        self.keys.iter_mut().find(|key| key.public == public)
    }
}

impl Sentry {
    /// Makes a project, with the key that Sentry gives each new one.
    pub fn add_project(&mut self, organization: &str, slug: &str) -> &mut SentryProject {
        let id = self.projects.iter().map(|project| project.id).max().map_or(4_501, |id| id + 1);
        let now = Timestamp::now();
        let (organization, slug) = (organization.to_owned(), slug.to_owned());
        let keys = vec![SentryKey::new("Default", now)];
        self.projects.push(SentryProject { id, organization, name: slug.clone(), slug, created: now, keys });
        self.projects.last_mut().unwrap()
    }

    /// A project by its organization and slug, as "acme/shop".
    pub fn project(&mut self, path: &str) -> Option<&mut SentryProject> {
        let (organization, slug) = path.split_once('/')?;
        self.projects.iter_mut().find(|it| it.organization == organization && it.slug == slug)
    }

    /// Gives a project another slug; its old one leads to it.
    pub fn rename_project(&mut self, path: &str, slug: &str) {
        let project = self.project(path).unwrap();
        let (organization, old) = (project.organization.clone(), std::mem::replace(&mut project.slug, slug.into()));
        self.renamed.insert((organization, old), slug.into());
    }

    /// Gives a project to another organization; nothing leads to it.
    pub fn transfer_project(&mut self, path: &str, organization: &str) {
        self.project(path).unwrap().organization = organization.into();
    }

    pub fn delete_project(&mut self, path: &str) {
        let id = self.project(path).unwrap().id;
        self.projects.retain(|project| project.id != id);
    }

    fn respond(&mut self, request: &Request) -> Result<Reply, Reply> {
        let token = self.authenticate(request)?;
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["api", "0", rest @ ..] = segments.as_slice() else { return Err(not_found()) };
        if !request.path.ends_with('/') {
            return Err(not_found());
        }
        match (request.method.as_str(), rest) {
            ("GET", []) => {
                Ok(Reply::json(200, json!({"version": "0", "auth": {"scopes": token.scopes}, "user": null})))
            }
            ("GET", ["projects"]) => {
                token.has(&["project:read", "project:write", "project:admin"])?;
                self.list_projects(request, |project| token.organizations.contains(&project.organization))
            }
            ("GET", ["organizations", organization, "projects"]) => {
                if !token.organizations.contains(*organization) {
                    return Err(not_found());
                }
                token.has(&["org:read", "org:write", "org:admin"])?;
                self.list_projects(request, |project| project.organization == *organization)
            }
            (_, ["projects", organization, project, rest @ ..]) => {
                let place = self.find_project(request, &token, organization, project)?;
                self.within_project(request, &token, place, rest)
            }
            _ => Err(not_found()),
        }
    }

    fn authenticate(&self, request: &Request) -> Result<SentryToken, Reply> {
        let Some(value) = request.bearer() else {
            return Err(Reply::detail(401, "Authentication credentials were not provided."));
        };
        let token = self.tokens.iter().find(|token| token.value == value);
        let token = token.filter(|token| token.expires.is_none_or(|expires| request.now < expires));
        token.cloned().ok_or_else(|| Reply::detail(401, "Invalid token"))
    }

    fn list_projects(&self, request: &Request, seen: impl Fn(&SentryProject) -> bool) -> Result<Reply, Reply> {
        let projects = self.projects.iter().filter(|project| seen(project)).map(project_object).collect();
        self.page(request, projects)
    }

    fn find_project(
        &self,
        request: &Request,
        token: &SentryToken,
        organization: &str,
        slug: &str,
    ) -> Result<usize, Reply> {
        if !token.organizations.contains(organization) {
            return Err(not_found());
        }
        let found = self.projects.iter().position(|it| it.organization == organization && it.slug == slug);
        found.ok_or_else(|| {
            let Some(now) = self.renamed.get(&(organization.to_owned(), slug.to_owned())) else { return not_found() };
            let url = request.path.replacen(&format!("/{organization}/{slug}/"), &format!("/{organization}/{now}/"), 1);
            let detail = json!({
                "code": "resource-moved", "message": "Resource has been moved", "extra": {"url": url, "slug": now},
            });
            Reply::json(302, json!({"slug": now, "detail": detail})).header("location", &url)
        })
    }

    fn within_project(
        &mut self,
        request: &Request,
        token: &SentryToken,
        place: usize,
        rest: &[&str],
    ) -> Result<Reply, Reply> {
        token.has(match request.method.as_str() {
            "GET" => &["project:read", "project:write", "project:admin"],
            "POST" | "PUT" => &["project:write", "project:admin"],
            _ => &["project:admin"],
        })?;
        let project = &self.projects[place];
        match (request.method.as_str(), rest) {
            ("GET", []) => Ok(Reply::json(200, project_object(project))),
            ("GET", ["keys"]) => {
                let wanted = match request.parameter("status") {
                    Some("active") => Some(true),
                    Some("inactive") => Some(false),
                    _ => None,
                };
                let keys = project.keys.iter().rev().filter(|key| wanted.is_none_or(|active| key.active == active));
                self.page(request, keys.map(|key| self.key_object(project, key)).collect())
            }
            ("POST", ["keys"]) => self.make_key(request, place),
            (method, ["keys", public, rest @ ..]) => {
                let Some(at) = project.keys.iter().position(|key| key.public == *public) else {
                    return Err(not_found());
                };
                match (method, rest) {
                    ("GET", []) => Ok(Reply::json(200, self.key_object(project, &project.keys[at]))),
                    ("GET", ["stats"]) if self.switches.key_stats => stats(request, &project.keys[at]),
                    ("PUT", []) => self.change_key(request, place, at),
                    ("DELETE", []) => {
                        self.projects[place].keys.remove(at);
                        Ok(Reply::empty(204))
                    }
                    (_, []) => Err(not_allowed(method)),
                    _ => Err(not_found()),
                }
            }
            (method, [] | ["keys"]) => Err(not_allowed(method)),
            _ => Err(not_found()),
        }
    }

    fn make_key(&mut self, request: &Request, place: usize) -> Result<Reply, Reply> {
        let body = object(request)?;
        let mut key = SentryKey::new("Key", request.now);
        if let Some(public) = body.get("public").filter(|public| !public.is_null()) {
            let public = public.as_str().filter(|it| it.len() == 32 && it.bytes().all(|it| it.is_ascii_hexdigit()));
            let public = public.ok_or_else(|| invalid("public", "This value does not match the required pattern."))?;
            if self.switches.chosen_public_keys {
                key.public = public.into();
            }
        }
        self.apply(&body, &mut key)?;
        if self.projects.iter_mut().any(|project| project.key(&key.public).is_some()) {
            return Err(Reply::detail(500, "Internal Error"));
        }
        let made = self.key_object(&self.projects[place], &key);
        self.projects[place].keys.push(key);
        Ok(Reply::json(201, made))
    }

    fn change_key(&mut self, request: &Request, place: usize, at: usize) -> Result<Reply, Reply> {
        let mut key = self.projects[place].keys[at].clone();
        self.apply(&object(request)?, &mut key)?;
        let changed = self.key_object(&self.projects[place], &key);
        self.projects[place].keys[at] = key;
        Ok(Reply::json(200, changed))
    }

    /// What POST and PUT may set.
    fn apply(&self, body: &Map<String, Value>, key: &mut SentryKey) -> Result<(), Reply> {
        match body.get("name") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name.chars().count() <= MAX_NAME => key.name.clone_from(name),
            Some(Value::String(_)) => {
                return Err(invalid("name", &format!("Ensure this field has no more than {MAX_NAME} characters.")));
            }
            Some(_) => return Err(invalid("name", "Not a valid string.")),
        }
        match body.get("isActive") {
            None => {}
            Some(Value::Bool(active)) => key.active = *active,
            Some(_) => return Err(invalid("isActive", "Must be a valid boolean.")),
        }
        if let Some(limit) = body.get("rateLimit") {
            let limit = if limit.is_null() {
                None
            } else {
                let number = |name: &str| {
                    limit[name].as_u64().ok_or_else(|| invalid("rateLimit", "A valid integer is required."))
                };
                let limit = (number("window")?, number("count")?);
                (limit.0 > 0 && limit.1 > 0).then_some(limit)
            };
            if self.switches.key_rate_limits {
                key.rate_limit = limit;
            }
        }
        Ok(())
    }

    fn key_object(&self, project: &SentryProject, key: &SentryKey) -> Value {
        let SentryKey { public, secret, name, active, rate_limit, created, .. } = key;
        let (origin, id) = (&self.origin, project.id);
        let (scheme, host) = origin.split_once("://").unwrap();
        json!({
            "id": public,
            "name": name,
            "label": name,
            "public": public,
            "secret": secret,
            "projectId": id,
            "isActive": active,
            "rateLimit": rate_limit.map(|(window, count)| json!({"window": window, "count": count})),
            "dsn": {
                "public": self.dsn(project, key),
                "secret": format!("{scheme}://{public}:{secret}@{host}/{id}"),
                "csp": format!("{origin}/api/{id}/csp-report/?sentry_key={public}"),
                "security": format!("{origin}/api/{id}/security/?sentry_key={public}"),
                "minidump": format!("{origin}/api/{id}/minidump/?sentry_key={public}"),
                "unreal": format!("{origin}/api/{id}/unreal/{public}/"),
                "crons": format!("{origin}/api/{id}/cron/___MONITOR_SLUG___/{public}/"),
                "cdn": format!("{origin}/js-sdk-loader/{public}.min.js"),
            },
            "dateCreated": date(*created),
            "browserSdkVersion": "10.x",
            "browserSdk": {"choices": [["latest", "latest"], ["10.x", "10.x"]]},
            "dynamicSdkLoaderOptions": {"hasReplay": false, "hasPerformance": false, "hasDebug": false},
        })
    }

    fn dsn(&self, project: &SentryProject, key: &SentryKey) -> String {
        let (scheme, host) = self.origin.split_once("://").unwrap();
        format!("{scheme}://{}@{host}/{}", key.public, project.id)
    }

    /// A cursor is "objects in a page:number of the page:whether it goes back".
    fn page(&self, request: &Request, objects: Vec<Value>) -> Result<Reply, Reply> {
        let size = self.switches.page;
        // sentry-cli asks for the first page with an empty cursor.
        let page = match request.parameter("cursor") {
            None | Some("") => 0,
            Some(cursor) => {
                let parts: Vec<&str> = cursor.split(':').collect();
                let [_, page, _] = parts.as_slice() else {
                    return Err(Reply::detail(400, "Invalid cursor parameter."));
                };
                page.parse::<usize>().map_err(|_| Reply::detail(400, "Invalid cursor parameter."))?
            }
        };
        let more = objects.len() > (page + 1) * size;
        let objects: Vec<Value> = objects.into_iter().skip(page * size).take(size).collect();
        let link = link(&self.origin, request, size, page.try_into().unwrap(), more);
        Ok(Reply::json(200, objects.into()).header("link", &link))
    }
}

impl Api for Sentry {
    type Switches = SentrySwitches;

    const PAGE: &'static str = "cursor";

    fn new(origin: String) -> Self {
        let scopes = "org:read project:read project:write project:admin";
        let tokens = vec![SentryToken::new("all", TOKEN, "acme", scopes)];
        let switches = SentrySwitches::default();
        let mut sentry = Self { origin, switches, tokens, projects: Vec::new(), renamed: BTreeMap::new() };
        sentry.add_project("acme", "shop");
        sentry
    }

    fn set_origin(&mut self, origin: &str) {
        origin.clone_into(&mut self.origin);
    }

    fn switches(&mut self) -> &mut SentrySwitches {
        &mut self.switches
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.switches.rate_limit
    }

    fn token_name(&self, request: &Request) -> Option<String> {
        let value = request.bearer()?;
        self.tokens.iter().find(|token| token.value == value).map(|token| token.name.clone())
    }

    fn answer(&mut self, request: &Request) -> Reply {
        self.respond(request).unwrap_or_else(|refusal| refusal)
    }

    fn refuse(quota: &Quota) -> Reply {
        let detail = format!(
            "You are attempting to use this endpoint too frequently. Limit is {} requests in {} seconds",
            quota.limit, quota.window_seconds
        );
        Reply::detail(429, &detail).header("retry-after", &quota.retry_after())
    }

    fn quota_headers(quota: &Quota, now: Timestamp) -> Vec<(&'static str, String)> {
        let reset = now.as_second() + i64::try_from(quota.retry_after()).unwrap();
        vec![
            ("x-sentry-rate-limit-limit", quota.limit.to_string()),
            ("x-sentry-rate-limit-remaining", quota.remaining().to_string()),
            ("x-sentry-rate-limit-reset", reset.to_string()),
            ("x-sentry-rate-limit-concurrentlimit", "25".into()),
            ("x-sentry-rate-limit-concurrentremaining", "24".into()),
        ]
    }

    fn stranger(&mut self, request: &Request) {
        if let ["api", "0", "projects", organization, slug, ..] =
            request.segments().iter().map(String::as_str).collect::<Vec<_>>().as_slice()
            && let Some(project) = self.project(&format!("{organization}/{slug}"))
        {
            project.keys.push(SentryKey::new("of a stranger", request.now));
        }
    }

    fn mistake_key(key: &mut Map<String, Value>) {
        let Some(public) = key.get("public").and_then(Value::as_str).map(str::to_owned) else { return };
        let other = Uuid::new_v4().simple().to_string();
        let text = Value::Object(std::mem::take(key)).to_string().replace(&public, &other);
        *key = serde_json::from_str(&text).unwrap();
    }

    fn announce_page(request: &Request, reply: &mut Reply, page: u64, origin: &str) {
        let size = reply.array_length().unwrap_or_default();
        reply.set_header("link", &link(origin, request, size, page.saturating_sub(1), true));
    }

    fn page_number(parameter: &str) -> u64 {
        parameter.split(':').nth(1).and_then(|page| page.parse().ok()).unwrap_or(0)
    }
}

impl KeyServer for SentryDouble {
    fn url(&self) -> String {
        self.url()
    }

    fn authority(&self) -> Option<String> {
        self.authority()
    }

    fn token(&self) -> String {
        TOKEN.into()
    }

    async fn keys_of(&self, project: &str) -> Vec<KeptKey> {
        self.with(|sentry| {
            let Some(project) = sentry.project(project).cloned() else { return Vec::new() };
            let kept = |key: &SentryKey| KeptKey {
                id: key.public.clone(),
                public: key.public.clone(),
                name: Some(key.name.clone()),
                active: key.active,
                dsn: sentry.dsn(&project, key),
            };
            project.keys.iter().map(kept).collect()
        })
    }
}

/// The two links around a page, in the one form that GitLab's expression reads.
fn link(origin: &str, request: &Request, size: usize, page: u64, more: bool) -> String {
    let base = format!("{origin}{}?{}", request.path, request.query_without("cursor"));
    let part = |page: i128, back: u8, rel: &str, results: bool| {
        let cursor = format!("{size}:{page}:{back}");
        format!("<{base}&cursor={cursor}>; rel=\"{rel}\"; results=\"{results}\"; cursor=\"{cursor}\"")
    };
    let page = i128::from(page);
    format!("{}, {}", part(page - 1, 1, "previous", page > 0), part(page + 1, 0, "next", more))
}

fn project_object(project: &SentryProject) -> Value {
    let SentryProject { id, organization, slug, name, created, .. } = project;
    json!({
        "id": id.to_string(),
        "slug": slug,
        "name": name,
        "status": "active",
        "platform": "other",
        "dateCreated": date(*created),
        "isMember": true,
        "team": null,
        "teams": [],
        // Numbers of organizations stand for nothing here.
        "organization": {"id": "1", "slug": organization, "name": organization},
    })
}

/// Intervals from `since` to `until`, those without events too.
fn stats(request: &Request, key: &SentryKey) -> Result<Reply, Reply> {
    let refused = || Reply::detail(400, "Invalid request data");
    let seconds = match request.parameter("resolution") {
        Some("10s") => 10,
        None | Some("1h") => 3_600,
        Some("1d") => 86_400,
        Some(_) => return Err(refused()),
    };
    let time = |name: &str, otherwise: Timestamp| match request.parameter(name) {
        None => Ok(otherwise.as_second()),
        Some(text) => text.parse::<f64>().map_err(|_| refused()).map(rounded),
    };
    let until = time("until", request.now)?;
    let since = time("since", request.now - SignedDuration::from_hours(24))?;
    let first = since.div_euclid(seconds) * seconds;
    if (until - first) / seconds > 10_000 {
        return Err(refused());
    }
    let mut intervals = Vec::new();
    let mut start = first;
    while start <= until {
        let within = key.usage.iter().filter(|usage| (start..start + seconds).contains(&usage.at.as_second()));
        let [accepted, filtered, dropped] = within.fold([0; 3], |[accepted, filtered, dropped], usage| {
            [accepted + usage.accepted, filtered + usage.filtered, dropped + usage.dropped]
        });
        let total = accepted + filtered + dropped;
        intervals.push(json!({
            "ts": start, "total": total, "accepted": accepted, "filtered": filtered, "dropped": dropped,
        }));
        start += seconds;
    }
    Ok(Reply::json(200, intervals.into()))
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of our time")]
fn rounded(seconds: f64) -> i64 {
    seconds as i64
}

/// "2026-11-29T08:00:00.000000Z"
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

fn object(request: &Request) -> Result<Map<String, Value>, Reply> {
    request.object().ok_or_else(|| Reply::detail(400, "JSON parse error"))
}

fn invalid(field: &str, reason: &str) -> Reply {
    Reply::json(400, json!({ field: [reason] }))
}

fn not_found() -> Reply {
    Reply::detail(404, "The requested resource does not exist")
}

fn not_allowed(method: &str) -> Reply {
    Reply::detail(405, &format!("Method \"{method}\" not allowed."))
}
