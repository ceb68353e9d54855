//! The double of GitLab's API for error tracking: settings and client keys of a project.
//!
//! Where GitLab's documents say nothing: with the Monitor feature of a project switched off there is no error tracking
//! (404), and keys can be made whether integrated error tracking is on or not.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    KeptKey, KeyServer,
    quota::{Quota, RateLimit},
    server::{Api, Double},
    wire::{Reply, Request, http_date},
};

pub type GitlabDouble = Double<Gitlab>;

/// A token of a new double, of a Maintainer.
pub const TOKEN: &str = "fake-gitlab-token";

pub const DEVELOPER: u8 = 30;
pub const MAINTAINER: u8 = 40;

const DEFAULT_PAGE: usize = 20;
const MAX_PAGE: usize = 100;

pub struct Gitlab {
    /// Scheme, host and port of links and DSNs.
    pub origin: String,
    pub switches: GitlabSwitches,
    pub tokens: Vec<GitlabToken>,
    pub projects: Vec<GitlabProject>,
    last_key: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GitlabSwitches {
    /// The feature flag `integrated_error_tracking`.
    pub integrated_error_tracking: bool,
    /// The feature Monitor of projects.
    pub monitor: bool,
    /// Settings are not updated; the answer has status 200 and another body.
    pub update_fails: bool,
    /// What stands before the project's number in the path of a DSN; older servers have
    /// `api/v4/error_tracking/collector`.
    pub dsn_path: String,
    /// Calls of each token.
    pub rate_limit: Option<RateLimit>,
}

#[derive(Clone, Debug)]
pub struct GitlabToken {
    /// What calls are listed under.
    pub name: String,
    pub value: String,
    /// The role in each project, by its number.
    pub roles: BTreeMap<u64, u8>,
    /// With the scope `api`; without, `read_api`, which is too little for these calls.
    pub api: bool,
    pub expires: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct GitlabProject {
    pub id: u64,
    /// "acme/shop"
    pub path: String,
    /// `None`: never configured.
    pub settings: Option<GitlabSettings>,
    /// The oldest first.
    pub keys: Vec<GitlabKey>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitlabSettings {
    pub active: bool,
    pub integrated: bool,
    /// Of the Sentry that somebody configured in the web form.
    pub project_name: Option<String>,
    pub sentry_external_url: Option<String>,
    pub api_url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitlabKey {
    pub id: u64,
    pub active: bool,
    pub public: String,
}

impl Default for GitlabSwitches {
    fn default() -> Self {
        Self {
            integrated_error_tracking: true,
            monitor: true,
            update_fails: false,
            dsn_path: "errortracking/api/v1/projects".into(),
            rate_limit: None,
        }
    }
}

impl GitlabToken {
    pub fn new(name: &str, value: &str, project: u64, role: u8) -> Self {
        let roles = BTreeMap::from([(project, role)]);
        Self { name: name.into(), value: value.into(), roles, api: true, expires: None }
    }
}

impl Gitlab {
    pub fn add_project(&mut self, path: &str) -> &mut GitlabProject {
        let id = self.projects.iter().map(|project| project.id).max().map_or(5, |id| id + 1);
        self.projects.push(GitlabProject { id, path: path.into(), settings: None, keys: Vec::new() });
        self.projects.last_mut().unwrap()
    }

    /// A project by its path or its number.
    pub fn project(&mut self, name: &str) -> Option<&mut GitlabProject> {
        self.projects.iter_mut().find(|project| project.path == name || project.id.to_string() == name)
    }

    pub fn delete_project(&mut self, name: &str) {
        let id = self.project(name).unwrap().id;
        self.projects.retain(|project| project.id != id);
    }

    /// Makes a key, as POST does. Its number is greater than that of any key before.
    pub fn make_key(&mut self, project: &str) -> GitlabKey {
        self.last_key += 1;
        let key = GitlabKey { id: self.last_key, active: true, public: format!("glet_{}", Uuid::new_v4().simple()) };
        self.project(project).unwrap().keys.push(key.clone());
        key
    }

    fn respond(&mut self, request: &Request) -> Result<Reply, Reply> {
        let token = self.authenticate(request)?;
        let segments = request.segments();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["api", "v4", "projects", name, rest @ ..] = segments.as_slice() else {
            return Err(Reply::json(404, json!({"error": "404 Not Found"})));
        };
        let place = self.projects.iter().position(|it| it.path == *name || it.id.to_string() == *name);
        let place = place.filter(|place| token.roles.contains_key(&self.projects[*place].id));
        let place = place.ok_or_else(|| Reply::message(404, "404 Project Not Found"))?;
        if rest.is_empty() && request.method == "GET" {
            return Ok(Reply::json(200, self.project_object(place)));
        }
        let ["error_tracking", rest @ ..] = rest else {
            return Err(Reply::json(404, json!({"error": "404 Not Found"})));
        };
        if token.roles[&self.projects[place].id] < MAINTAINER {
            return Err(Reply::message(403, "403 Forbidden"));
        }
        if !self.switches.monitor {
            return Err(Reply::message(404, "404 Not Found"));
        }
        match (request.method.as_str(), rest) {
            ("GET", ["settings"]) => self.settings_object(place).ok_or_else(no_settings),
            ("PATCH", ["settings"]) => self.patch_settings(request, place),
            ("PUT", ["settings"]) => self.put_settings(request, place),
            ("GET", ["client_keys"]) => Ok(self.list_keys(request, place)),
            ("POST", ["client_keys"]) => {
                let path = self.projects[place].path.clone();
                let key = self.make_key(&path);
                Ok(Reply::json(201, self.key_object(place, &key)))
            }
            ("DELETE", ["client_keys", id]) => {
                let id: u64 = id.parse().map_err(|_| Reply::json(400, json!({"error": "key_id is invalid"})))?;
                let found = self.projects[place].keys.iter().position(|key| key.id == id);
                let found = found.ok_or_else(|| Reply::message(404, "404 Not found"))?;
                let key = self.projects[place].keys.remove(found);
                Ok(Reply::json(200, self.key_object(place, &key)))
            }
            (_, ["settings" | "client_keys"] | ["client_keys", _]) => {
                Err(Reply::json(405, json!({"error": "405 Not Allowed"})))
            }
            _ => Err(Reply::json(404, json!({"error": "404 Not Found"}))),
        }
    }

    fn authenticate(&self, request: &Request) -> Result<GitlabToken, Reply> {
        let value = token_value(request);
        let token = self.tokens.iter().find(|token| Some(token.value.as_str()) == value);
        let token = token.ok_or_else(|| Reply::message(401, "401 Unauthorized"))?;
        if token.expires.is_some_and(|expires| expires <= request.now) {
            let description = "Token is expired. You can either do re-authorization or token refresh.";
            return Err(Reply::json(401, json!({"error": "invalid_token", "error_description": description})));
        }
        if !token.api {
            let description = "The request requires higher privileges than provided by the access token.";
            return Err(Reply::json(
                403,
                json!({"error": "insufficient_scope", "error_description": description, "scope": "api"}),
            ));
        }
        Ok(token.clone())
    }

    fn patch_settings(&mut self, request: &Request, place: usize) -> Result<Reply, Reply> {
        let body = object(request)?;
        let active = boolean(&body, "active")?.ok_or_else(|| missing("active"))?;
        let integrated = boolean(&body, "integrated")?;
        let Some(settings) = self.projects[place].settings.clone() else { return Err(no_settings()) };
        let integrated = integrated.unwrap_or(settings.integrated);
        self.update_settings(place, GitlabSettings { active, integrated, ..settings })
    }

    fn put_settings(&mut self, request: &Request, place: usize) -> Result<Reply, Reply> {
        let body = object(request)?;
        let active = boolean(&body, "active")?.ok_or_else(|| missing("active"))?;
        let integrated = boolean(&body, "integrated")?.ok_or_else(|| missing("integrated"))?;
        if !self.switches.integrated_error_tracking {
            return Err(Reply::message(404, "404 Not Found"));
        }
        let settings = self.projects[place].settings.clone().unwrap_or_default();
        self.update_settings(place, GitlabSettings { active, integrated, ..settings })
    }

    fn update_settings(&mut self, place: usize, settings: GitlabSettings) -> Result<Reply, Reply> {
        if self.switches.update_fails {
            return Ok(Reply::json(200, json!({"message": "Could not update the settings", "status": "error"})));
        }
        let project = &mut self.projects[place];
        let first = settings.active && settings.integrated && project.keys.is_empty();
        project.settings = Some(settings);
        if first {
            let path = project.path.clone();
            self.make_key(&path);
        }
        self.settings_object(place).ok_or_else(no_settings)
    }

    fn settings_object(&self, place: usize) -> Option<Reply> {
        let settings = self.projects[place].settings.as_ref()?;
        let GitlabSettings { active, integrated, project_name, sentry_external_url, api_url } = settings;
        Some(Reply::json(
            200,
            json!({
                "active": active,
                "project_name": project_name,
                "sentry_external_url": sentry_external_url,
                "api_url": api_url,
                "integrated": *integrated && self.switches.integrated_error_tracking,
            }),
        ))
    }

    fn list_keys(&self, request: &Request, place: usize) -> Reply {
        let number = |name: &str, otherwise: usize| {
            request.parameter(name).and_then(|text| text.parse().ok()).filter(|it| *it > 0).unwrap_or(otherwise)
        };
        let (page, size) = (number("page", 1), number("per_page", DEFAULT_PAGE).min(MAX_PAGE));
        let keys = &self.projects[place].keys;
        let pages = keys.len().div_ceil(size).max(1);
        let shown = keys.iter().skip((page - 1) * size).take(size).map(|key| self.key_object(place, key));
        let next = (page < pages).then_some(page + 1);
        let previous = (page > 1).then(|| page - 1);
        let text = |page: Option<usize>| page.map(|page| page.to_string()).unwrap_or_default();
        Reply::json(200, shown.collect::<Vec<_>>().into())
            .header("x-page", &page)
            .header("x-per-page", &size)
            .header("x-total", &keys.len())
            .header("x-total-pages", &pages)
            .header("x-next-page", &text(next))
            .header("x-prev-page", &text(previous))
            .header("link", &links(&self.origin, request, size, previous, next, pages))
    }

    fn key_object(&self, place: usize, key: &GitlabKey) -> Value {
        let GitlabKey { id, active, public } = key;
        json!({"id": id, "active": active, "public_key": public, "sentry_dsn": self.dsn(place, key)})
    }

    fn dsn(&self, place: usize, key: &GitlabKey) -> String {
        let (scheme, host) = self.origin.split_once("://").unwrap();
        let path = &self.switches.dsn_path;
        format!("{scheme}://{}@{host}/{path}/{}", key.public, self.projects[place].id)
    }

    fn project_object(&self, place: usize) -> Value {
        let GitlabProject { id, path, .. } = &self.projects[place];
        let name = path.rsplit('/').next();
        json!({"id": id, "name": name, "path_with_namespace": path, "web_url": format!("{}/{path}", self.origin)})
    }
}

impl Api for Gitlab {
    type Switches = GitlabSwitches;

    const PAGE: &'static str = "page";

    fn new(origin: String) -> Self {
        let (switches, projects) = (GitlabSwitches::default(), Vec::new());
        let mut gitlab = Self { origin, switches, tokens: Vec::new(), projects, last_key: 0 };
        let id = gitlab.add_project("acme/shop").id;
        gitlab.tokens.push(GitlabToken::new("maintainer", TOKEN, id, MAINTAINER));
        gitlab
    }

    fn set_origin(&mut self, origin: &str) {
        origin.clone_into(&mut self.origin);
    }

    fn switches(&mut self) -> &mut GitlabSwitches {
        &mut self.switches
    }

    fn rate_limit(&self) -> Option<RateLimit> {
        self.switches.rate_limit
    }

    fn token_name(&self, request: &Request) -> Option<String> {
        let value = token_value(request)?;
        self.tokens.iter().find(|token| token.value == value).map(|token| token.name.clone())
    }

    fn answer(&mut self, request: &Request) -> Reply {
        self.respond(request).unwrap_or_else(|refusal| refusal)
    }

    fn refuse(quota: &Quota) -> Reply {
        Reply::text(429, "text/plain", "Retry later\n").header("retry-after", &quota.retry_after())
    }

    fn quota_headers(quota: &Quota, now: Timestamp) -> Vec<(&'static str, String)> {
        let reset = now.as_second() + i64::try_from(quota.retry_after()).unwrap();
        vec![
            ("ratelimit-limit", quota.limit.to_string()),
            ("ratelimit-name", "throttle_authenticated_api".into()),
            ("ratelimit-observed", quota.observed.to_string()),
            ("ratelimit-remaining", quota.remaining().to_string()),
            ("ratelimit-reset", reset.to_string()),
            ("ratelimit-resettime", http_date(Timestamp::from_second(reset).unwrap())),
        ]
    }

    fn stranger(&mut self, request: &Request) {
        if let ["api", "v4", "projects", name, ..] =
            request.segments().iter().map(String::as_str).collect::<Vec<_>>().as_slice()
            && self.project(name).is_some()
        {
            self.make_key(name);
        }
    }

    fn mistake_key(key: &mut Map<String, Value>) {
        let Some(public) = key.get("public_key").and_then(Value::as_str).map(str::to_owned) else { return };
        let other = format!("glet_{}", Uuid::new_v4().simple());
        if let Some(dsn) = key.get("sentry_dsn").and_then(Value::as_str) {
            let dsn = dsn.replace(&public, &other);
            key.insert("sentry_dsn".into(), dsn.into());
        }
        let id = key.get("id").and_then(Value::as_u64).unwrap_or_default() + 1_000_000;
        key.insert("id".into(), id.into());
        key.insert("public_key".into(), other.into());
    }

    fn announce_page(request: &Request, reply: &mut Reply, page: u64, origin: &str) {
        let size = request.parameter("per_page").and_then(|size| size.parse().ok()).unwrap_or(DEFAULT_PAGE);
        let next = usize::try_from(page).unwrap() + 1;
        reply.set_header("x-next-page", &next);
        reply.set_header("link", &links(origin, request, size, None, Some(next), next));
    }

    fn page_number(parameter: &str) -> u64 {
        parameter.parse::<u64>().unwrap_or(1).saturating_sub(1)
    }
}

impl KeyServer for GitlabDouble {
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
        self.with(|gitlab| {
            let place = gitlab.projects.iter().position(|it| it.path == project || it.id.to_string() == project);
            let Some(place) = place else { return Vec::new() };
            let kept = |key: &GitlabKey| KeptKey {
                id: key.id.to_string(),
                public: key.public.clone(),
                name: None,
                active: key.active,
                dsn: gitlab.dsn(place, key),
            };
            gitlab.projects[place].keys.iter().map(kept).collect()
        })
    }
}

fn token_value(request: &Request) -> Option<&str> {
    request.header("private-token").or_else(|| request.bearer())
}

/// GitLab's Link header: those of prev, next, first and last that there are.
fn links(
    origin: &str,
    request: &Request,
    size: usize,
    previous: Option<usize>,
    next: Option<usize>,
    last: usize,
) -> String {
    let mut others = request.query.clone();
    others.retain(|(name, _)| name != "page" && name != "per_page");
    let part = |page: usize, rel: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&others).append_pair("page", &page.to_string()).append_pair("per_page", &size.to_string());
        format!("<{origin}{}?{}>; rel=\"{rel}\"", request.path, query.finish())
    };
    let around = [previous.map(|page| part(page, "prev")), next.map(|page| part(page, "next"))];
    let parts: Vec<String> = around.into_iter().flatten().chain([part(1, "first"), part(last, "last")]).collect();
    parts.join(", ")
}

fn no_settings() -> Reply {
    Reply::message(404, "404 Error Tracking Setting Not Found")
}

fn missing(parameter: &str) -> Reply {
    Reply::json(400, json!({"error": format!("{parameter} is missing")}))
}

/// A body of JSON or of a form; parameters of the query count too.
fn object(request: &Request) -> Result<Map<String, Value>, Reply> {
    let content_type = request.header("content-type").unwrap_or("application/x-www-form-urlencoded");
    let mut parameters: Map<String, Value> =
        request.query.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    if content_type.starts_with("application/json") {
        let body = request.object();
        parameters.extend(body.ok_or_else(|| Reply::json(400, json!({"error": "400 Bad Request"})))?);
    } else {
        let form = form_urlencoded::parse(&request.body).into_owned();
        parameters.extend(form.map(|(name, value)| (name, value.into())));
    }
    Ok(parameters)
}

fn boolean(parameters: &Map<String, Value>, name: &str) -> Result<Option<bool>, Reply> {
    match parameters.get(name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(_) => Err(Reply::json(400, json!({"error": format!("{name} is invalid")}))),
    }
}
