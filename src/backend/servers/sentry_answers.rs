//! What Sentry answers: fields that are used are as they should be, all others are let be.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

use super::{ServerError, api::key_and_dsn, sentry::SentryKey, web::Answer};
use crate::settings::RateLimit;

/// Longest cursor of a page.
const CURSOR_LIMIT: usize = 200;

/// The cursor of the page after this one: `Link: <…>; rel="next"; results="true"; cursor="100:1:0"`.
pub(super) fn next_cursor(answer: &Answer) -> Result<Option<String>, ServerError> {
    let links = answer.headers.get_all(http::header::LINK).into_iter().filter_map(|links| links.to_str().ok());
    for link in links.flat_map(|links| links.split(',')) {
        let parameter = |name: &str| {
            let given = link.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
            given.filter(|(given, _)| given.trim() == name).map(|(_, value)| value.trim().trim_matches('"')).next()
        };
        if parameter("rel") == Some("next") && parameter("results") == Some("true") {
            let plain = |cursor: &&str| {
                (1..=CURSOR_LIMIT).contains(&cursor.len()) && cursor.bytes().all(|byte| byte.is_ascii_graphic())
            };
            let wrong = ServerError::NotUnderstood { what: "a list with pages" };
            return parameter("cursor").filter(plain).map(|cursor| Some(cursor.to_owned())).ok_or(wrong);
        }
    }
    Ok(None)
}

#[derive(Deserialize)]
pub(super) struct ToldProject {
    pub(super) id: String,
    pub(super) slug: String,
    pub(super) name: Option<String>,
    /// Servers that are like Sentry do not tell it.
    #[serde(default = "active")]
    pub(super) status: String,
}

fn active() -> String {
    "active".into()
}

#[derive(Deserialize)]
pub(super) struct ToldListed {
    pub(super) slug: String,
    pub(super) organization: ToldOrganization,
}

#[derive(Deserialize)]
pub(super) struct ToldOrganization {
    pub(super) slug: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToldKey {
    id: String,
    public: String,
    label: Option<String>,
    name: Option<String>,
    is_active: bool,
    rate_limit: Option<ToldLimit>,
    dsn: ToldDsn,
    date_created: Option<Timestamp>,
    secret: Option<String>,
}

#[derive(Deserialize)]
struct ToldLimit {
    window: u32,
    count: u32,
}

#[derive(Deserialize)]
struct ToldDsn {
    public: String,
}

/// What a secret part may be to stand in a URL.
fn secret_part(secret: Option<String>) -> Option<SecretString> {
    let fit =
        |secret: &String| (1..=64).contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    secret.filter(fit).map(SecretString::from)
}

impl ToldKey {
    pub(super) fn read(self) -> Result<SentryKey, ServerError> {
        let (public, dsn) = key_and_dsn(&self.public, &self.dsn.public)?;
        let limit = self.rate_limit.filter(|limit| limit.window > 0);
        Ok(SentryKey {
            id: self.id,
            public,
            label: self.label.or(self.name).unwrap_or_default(),
            dsn,
            secret: secret_part(self.secret),
            active: self.is_active,
            limit: limit.map(|limit| RateLimit { events: limit.count, window_seconds: limit.window }),
            created_at: self.date_created,
        })
    }
}

/// What was sent with a key in one hour.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ToldHour {
    Outcomes {
        ts: i64,
        #[serde(default)]
        total: u64,
        #[serde(default)]
        accepted: u64,
        #[serde(default)]
        filtered: u64,
        #[serde(default)]
        dropped: u64,
    },
    /// Of servers that count only what was accepted.
    Count(i64, u64),
}

impl ToldHour {
    /// When the hour began, if anything was sent.
    pub(super) fn used(&self) -> Option<i64> {
        match *self {
            Self::Outcomes { ts, total, accepted, filtered, dropped } => {
                [total, accepted, filtered, dropped].iter().any(|count| *count > 0).then_some(ts)
            }
            Self::Count(ts, count) => (count > 0).then_some(ts),
        }
    }
}
