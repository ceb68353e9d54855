//! Asks the API server whose a token is.

use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, Client, api::PostParams};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::Semaphore, time::timeout};

use super::{AUDIENCE, sha256};
use crate::{console::recent::Recent, store::console::User};

/// How long an answer is believed: a program that asks for many pages costs one review in that time.
const FRESH: Duration = Duration::from_secs(10);

/// How long one answer of the API server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reviews under way at once, in all.
const AT_ONCE: usize = 8;

/// Answers that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Longest token that is asked about. Those of Kubernetes have about 1,200 bytes, those of identity providers several
/// thousand.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// Why the API server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unreviewed {
    #[error("the Kubernetes API server did not answer a review within {} s", PATIENCE.as_secs())]
    Silent,
    #[error(
        "the console may not ask Kubernetes who somebody is or what they may: {0}. Its ServiceAccount needs create on \
         tokenreviews.authentication.k8s.io and subjectaccessreviews.authorization.k8s.io"
    )]
    NotPermitted(String),
    #[error("the Kubernetes API server failed to answer a review: {0}")]
    Failed(String),
}

impl From<kube::Error> for Unreviewed {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => Self::NotPermitted(status.message.clone()),
            other => Self::Failed(other.to_string()),
        }
    }
}

pub struct Tokens {
    client: Client,
    turns: Semaphore,
    /// By digest of the token; `None`: it was refused.
    remembered: Recent<[u8; 32], Option<User>>,
}

/// What is known of a token without asking.
pub enum Known {
    User(User),
    Refused,
    Not,
}

impl Tokens {
    pub fn new(client: Client) -> Self {
        Self { client, turns: Semaphore::new(AT_ONCE), remembered: Recent::new(FRESH, MAX_REMEMBERED) }
    }

    /// What was found out about the token a moment ago, or is clear without asking.
    pub fn known(&self, token: &SecretString) -> Known {
        let token = token.expose_secret();
        let may_be_one =
            (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !may_be_one {
            return Known::Refused;
        }
        match self.remembered.get(&sha256(token.as_bytes())) {
            Some(user) => user.map_or(Known::Refused, Known::User),
            None => Known::Not,
        }
    }

    /// Whose it is. `None`: nobody's, or it was not made for [`AUDIENCE`].
    pub async fn review(&self, token: &SecretString) -> Result<Option<User>, Unreviewed> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.expose_secret().to_owned(),
                audiences: Some(vec![AUDIENCE.to_owned()]),
            },
            ..TokenReview::default()
        };
        let asking = async {
            let _turn = self.turns.acquire().await;
            let api: Api<TokenReview> = Api::all(self.client.clone());
            api.create(&PostParams::default(), &review).await
        };
        let answered = timeout(PATIENCE, asking).await.map_err(|_| Unreviewed::Silent)??;
        let user = user(answered);
        self.remembered.insert(sha256(token.expose_secret().as_bytes()), user.clone());
        Ok(user)
    }
}

/// An authenticator that knows nothing of audiences leaves them out of its answer: such a token may be one for the API
/// server, and is refused.
fn user(answered: TokenReview) -> Option<User> {
    let status = answered.status?;
    let ours = status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE);
    let user = status.user.filter(|_| ours && status.authenticated.unwrap_or(false))?;
    let name = user.username.filter(|name| (1..=1024).contains(&name.chars().count()))?;
    Some(User {
        name,
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
    })
}

/// When the token says that it ends, if it is a JWT. The API server has checked it: this only reads.
pub fn expiry(token: &SecretString) -> Option<Timestamp> {
    let claims = token.expose_secret().split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a fraction of a second, and saturating beyond")]
    let seconds = claims.get("exp")?.as_f64()? as i64;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_answer_for_our_audience_names_a_user() {
        let answered = |status| user(serde_json::from_value(json!({"spec": {}, "status": status})).unwrap());
        let ada = json!({"username": "ada", "groups": ["web"]});
        for (status, name) in [
            (json!({"authenticated": true, "user": ada, "audiences": ["errortracking"]}), Some("ada")),
            (json!({"authenticated": true, "user": ada, "audiences": ["a", "errortracking"]}), Some("ada")),
            (json!({"authenticated": true, "user": ada, "audiences": ["https://kubernetes.default.svc"]}), None),
            (json!({"authenticated": true, "user": ada}), None),
            (json!({"authenticated": false, "user": ada, "audiences": ["errortracking"]}), None),
            (json!({"user": ada, "audiences": ["errortracking"]}), None),
            (json!({"authenticated": true, "user": {"username": ""}, "audiences": ["errortracking"]}), None),
            (json!({"authenticated": true, "audiences": ["errortracking"]}), None),
            (json!({"authenticated": false, "error": "token has expired"}), None),
        ] {
            assert_eq!(answered(status.clone()).map(|user| user.name).as_deref(), name, "{status}");
        }
    }

    #[test]
    fn a_tokens_end_is_read_from_its_claims() {
        let jwt = |claims: &str| format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims));
        for (token, second) in [
            (jwt(r#"{"exp":1764500000}"#), Some(1_764_500_000)),
            (jwt(r#"{"exp":1764500000.5}"#), Some(1_764_500_000)),
            (jwt(r#"{"exp":"soon"}"#), None),
            (jwt(r#"{"exp":1e300}"#), None),
            (jwt("{}"), None),
            ("opaque".to_owned(), None),
            ("a.b.c".to_owned(), None),
        ] {
            assert_eq!(expiry(&SecretString::from(token.clone())).map(Timestamp::as_second), second, "{token}");
        }
    }
}
