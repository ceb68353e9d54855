//! Who asks the console: whose token it is shown.

use std::{path::Path, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use secrecy::SecretString;
use tokio::time::Instant;

use crate::{
    console_api::AUDIENCE,
    plugin::{PluginError, cluster::Cluster, error::Asked},
};

/// Where a token may be.
pub const TOKEN_VARIABLE: &str = "ERRORTRACKING_TOKEN";

/// How long a token lasts that is made for a command; Kubernetes makes none for less.
pub const OF_COMMAND: Duration = Duration::from_mins(10);

/// After this time another one is made.
const FRESH: Duration = Duration::from_mins(5);

pub enum Who {
    /// No token: a console without sign-in answers all the same.
    Nobody,
    Token(SecretString),
    ServiceAccount {
        name: String,
        cluster: Cluster,
        lasts: Duration,
        made: Option<(SecretString, Instant)>,
    },
}

impl Who {
    /// The token in that file, as a pod has it mounted.
    pub fn of_file(path: &Path) -> Result<Self, PluginError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| PluginError::Refused(format!("the token cannot be read: {}: {error}", path.display())))?;
        Self::of_text(&text)
            .ok_or_else(|| PluginError::Refused(format!("there is no token in {}, one line of text", path.display())))
    }

    /// The token in the environment; `None`: there is none.
    pub fn of_environment() -> Option<Self> {
        Self::of_text(&std::env::var(TOKEN_VARIABLE).ok()?)
    }

    fn of_text(text: &str) -> Option<Self> {
        let token = text.trim();
        let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_one.then(|| Self::Token(SecretString::from(token)))
    }

    pub fn of_service_account(name: String, cluster: Cluster, lasts: Duration) -> Self {
        Self::ServiceAccount { name, cluster, lasts, made: None }
    }

    pub async fn token(&mut self) -> Result<Option<SecretString>, PluginError> {
        match self {
            Self::Nobody => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::ServiceAccount { name, cluster, lasts, made } => {
                if let Some((token, at)) = made
                    && at.elapsed() < FRESH
                {
                    return Ok(Some(token.clone()));
                }
                let token = make(name, cluster, *lasts).await?;
                *made = Some((token.clone(), Instant::now()));
                Ok(Some(token))
            }
        }
    }
}

/// A token that the console takes and nobody else does.
async fn make(name: &str, cluster: &Cluster, lasts: Duration) -> Result<SecretString, PluginError> {
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(vec![AUDIENCE.to_owned()]),
            expiration_seconds: i64::try_from(lasts.as_secs()).ok(),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let asked = Asked {
        verb: "create",
        kind: "ServiceAccount".to_owned(),
        plural: "serviceaccounts/token".to_owned(),
        namespace: Some(cluster.namespace.clone()),
        name: name.to_owned(),
    };
    let made = api.create_token_request(name, &PostParams::default(), &request).await;
    let token = made.map_err(PluginError::on(asked))?.status.and_then(|status| status.token);
    let without = || PluginError::Refused(format!("the API server made no token of ServiceAccount {name}"));
    token.map(SecretString::from).ok_or_else(without)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn a_token_is_one_word() {
        for (text, token) in
            [("abc.def\n", Some("abc.def")), ("", None), ("  \n", None), ("two words", None), ("a\u{1b}b", None)]
        {
            let found = match Who::of_text(text) {
                Some(Who::Token(token)) => Some(token.expose_secret().to_owned()),
                _ => None,
            };
            assert_eq!(found.as_deref(), token, "{text:?}");
        }
    }
}
