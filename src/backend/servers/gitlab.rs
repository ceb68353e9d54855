//! GitLab's API for the keys of a project: `/api/v4/projects/{id}/error_tracking/`.

use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{
    ServerError, Turns, Web,
    api::{Api, Call, Pages, Scheme, key_and_dsn, segment},
    web::Answer,
};
use crate::dsn::PublicKey;

/// Largest page that GitLab gives.
const PAGE: usize = 100;

const PROJECT: &str = "project";
const NEEDS: &str = "the scope api and the role Maintainer, in a project whose feature Monitor is switched on";

/// The keys of one project of a GitLab. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gitlab {
    api: Api,
    /// Id or path.
    project: String,
}

/// How a project tracks errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct GitlabSettings {
    pub active: bool,
    /// By GitLab itself; `active` without it means that the project shows the errors of a Sentry.
    pub integrated: bool,
}

impl GitlabSettings {
    /// Whether GitLab takes events with the project's keys.
    #[must_use]
    pub fn are_on(self) -> bool {
        self.active && self.integrated
    }
}

/// A key as its server shows it. GitLab's keys have no names, no limits, and cannot be disabled.
#[derive(Clone, Debug)]
pub struct GitlabKey {
    pub id: u64,
    pub public: PublicKey,
    pub dsn: SecretString,
    pub active: bool,
}

impl Gitlab {
    /// `project`: id or path, as `group/shop`.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "the token is this client's from now on")]
    pub fn new(web: Web, turns: &Turns, token: SecretString, project: String) -> Self {
        Self { api: Api::new(web, turns, &token, Scheme::PrivateToken), project }
    }

    /// `None`: error tracking was never configured.
    pub async fn settings(&self) -> Result<Option<GitlabSettings>, ServerError> {
        let answer = self.api.send(Call::get(&self.path("settings")?, PROJECT, NEEDS)).await?;
        // "404 Error Tracking Setting Not Found", and not "404 Project Not Found".
        if answer.status == StatusCode::NOT_FOUND && answer.words().contains("Setting") {
            return Ok(None);
        }
        read_settings(&self.accepted(answer)?).map(Some)
    }

    /// Makes GitLab take events with the project's keys; nothing is written if it does. The first time GitLab makes a
    /// key of its own accord.
    pub async fn switch_on(&self) -> Result<(), ServerError> {
        let method = match self.settings().await? {
            Some(settings) if settings.are_on() => return Ok(()),
            // PUT is unknown where the feature flag is off.
            Some(_) => Method::PATCH,
            None => Method::PUT,
        };
        let body = Some(json!({"active": true, "integrated": true}));
        let path = self.path("settings")?;
        let answer = self.ask(Call { method, path: &path, body, what: PROJECT, needs: NEEDS }).await?;
        // A service that failed answers with this status as well.
        let settings = read_settings(&answer)?;
        if !settings.active {
            return Err(ServerError::NotUnderstood { what: "what the settings were set to" });
        }
        // GitLab takes it for false wherever the feature flag is off.
        if settings.integrated { Ok(()) } else { Err(ServerError::FeatureOff) }
    }

    /// Every key of the project, whoever made it.
    pub async fn keys(&self) -> Result<Vec<GitlabKey>, ServerError> {
        let mut pages = Pages::new();
        let mut page: u64 = 1;
        loop {
            let path = format!("{}?per_page={PAGE}&page={page}", self.path("client_keys")?);
            let answer = self.ask(Call::get(&path, PROJECT, NEEDS)).await?;
            let told: Vec<ToldKey> = answer.json("a list of GitLab's keys")?;
            let count = told.len();
            let keys = told.into_iter().map(|told| told.read().map(|key| (key.id.to_string(), key)));
            pages.add(keys.collect::<Result<_, _>>()?)?;
            match next_page(&answer, page, count)? {
                Some(next) => page = next,
                None => return Ok(pages.finish()),
            }
        }
    }

    /// Makes a key. An answer that is lost leaves one that nobody knows: the call cannot be repeated.
    pub async fn make(&self) -> Result<GitlabKey, ServerError> {
        let path = self.path("client_keys")?;
        let call = Call { method: Method::POST, path: &path, body: None, what: PROJECT, needs: NEEDS };
        let answer = self.ask(call).await?;
        let made: ToldKey = answer.json("a key of GitLab")?;
        if answer.status != StatusCode::CREATED {
            return Err(ServerError::NotUnderstood { what: "a key that was made" });
        }
        made.read()
    }

    /// A key that is gone already is deleted; one of a project that the token cannot see is not known to be.
    pub async fn delete(&self, id: u64) -> Result<(), ServerError> {
        let path = self.path(&format!("client_keys/{id}"))?;
        let call = Call { method: Method::DELETE, path: &path, body: None, what: PROJECT, needs: NEEDS };
        match self.ask(call).await {
            // A 404 that is not the project's is the key's.
            Ok(_) | Err(ServerError::FeatureOff) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, call: Call<'_>) -> Result<Answer, ServerError> {
        self.accepted(self.api.send(call).await?)
    }

    /// A 404 in GitLab's words is that of a feature that is off, unless it is the project's.
    fn accepted(&self, answer: Answer) -> Result<Answer, ServerError> {
        let words = if answer.status == StatusCode::NOT_FOUND { answer.words() } else { String::new() };
        if !words.is_empty() && !words.contains("Project") {
            return Err(ServerError::FeatureOff);
        }
        self.api.accepted(answer, PROJECT, NEEDS)
    }

    fn path(&self, below: &str) -> Result<String, ServerError> {
        Ok(format!("/api/v4/projects/{}/error_tracking/{below}", segment(&self.project)?))
    }
}

fn read_settings(answer: &Answer) -> Result<GitlabSettings, ServerError> {
    answer.json("the settings of error tracking")
}

/// By `X-Next-Page`, which is empty on the last page.
fn next_page(answer: &Answer, page: u64, keys: usize) -> Result<Option<u64>, ServerError> {
    let wrong = ServerError::NotUnderstood { what: "a list with pages" };
    match answer.header("x-next-page") {
        Some("") => Ok(None),
        Some(next) => next.parse().ok().filter(|next| *next > page).map(Some).ok_or(wrong),
        // Something on the way has taken it out: a page that is not full is the last one.
        None if keys < PAGE => Ok(None),
        None => Err(wrong),
    }
}

#[derive(Deserialize)]
struct ToldKey {
    id: u64,
    active: bool,
    public_key: String,
    sentry_dsn: String,
}

impl ToldKey {
    fn read(self) -> Result<GitlabKey, ServerError> {
        let (public, dsn) = key_and_dsn(&self.public_key, &self.sentry_dsn)?;
        Ok(GitlabKey { id: self.id, public, dsn, active: self.active })
    }
}
