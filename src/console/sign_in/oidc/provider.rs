//! What the provider says of itself: where people sign in, where codes are exchanged, and which keys sign. Found out
//! when somebody signs in, and believed for a while.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::Uri;
use secrecy::SecretString;
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{OidcError, address::Issuer, fetch::Asking, id_token::Keys};

/// How long it is believed: a key that the provider withdraws ends within that time.
pub const FRESH: Duration = Duration::from_mins(10);

/// How old it is at least before a key that is not in it makes us ask again.
pub const RECENT: Duration = Duration::from_secs(10);

/// How long after a failure nobody asks again: whoever comes meanwhile is told the same at once.
const PAUSE: Duration = Duration::from_secs(5);

const DESCRIPTION: &str = "description of itself";
const KEYS: &str = "set of keys";

/// The mounted Secret.
const CLIENT_SECRET: &str = "client-secret";
const AUTHORITY: &str = "ca.crt";

pub struct Provider {
    pub issuer: Issuer,
    secrets: PathBuf,
    /// Held while it is asked: one asks, the others wait for the answer.
    learned: Mutex<Learned>,
}

enum Learned {
    Nothing,
    Known(Arc<Known>),
    Failed(Instant, OidcError),
}

/// What the provider said at one time, and the way to it.
pub struct Known {
    pub authorization: Uri,
    pub token: Uri,
    /// Whether it takes the client's secret in the form only, and not in a header.
    pub secret_in_form: bool,
    pub keys: Keys,
    pub asking: Asking,
    since: Instant,
}

/// OpenID Connect Discovery 3.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Provider {
    /// `secrets`: the folder of the mounted Secret.
    pub fn new(issuer: Issuer, secrets: PathBuf) -> Self {
        Self { issuer, secrets, learned: Mutex::new(Learned::Nothing) }
    }

    /// What it says of itself, as of `age` ago at most.
    pub async fn known(&self, age: Duration) -> Result<Arc<Known>, OidcError> {
        let mut learned = self.learned.lock().await;
        match &*learned {
            Learned::Known(known) if known.since.elapsed() < age => return Ok(Arc::clone(known)),
            Learned::Failed(at, error) if at.elapsed() < PAUSE => return Err(error.clone()),
            _ => {}
        }
        match self.learn().await {
            Ok(known) => {
                let known = Arc::new(known);
                *learned = Learned::Known(Arc::clone(&known));
                Ok(known)
            }
            Err(error) => {
                *learned = Learned::Failed(Instant::now(), error.clone());
                Err(error)
            }
        }
    }

    async fn learn(&self) -> Result<Known, OidcError> {
        let asking = Asking::new(self.secret(AUTHORITY).await?.as_deref())?;
        let place = self.issuer.description().ok_or(OidcError::NotUnderstood(DESCRIPTION))?;
        let described = asking.get(DESCRIPTION, &place).await?;
        let described: Description =
            serde_json::from_slice(&described).map_err(|_| OidcError::NotUnderstood(DESCRIPTION))?;
        if described.issuer != self.issuer.name {
            return Err(OidcError::Elsewhere("issuer"));
        }
        let here = |what, address: &str| self.issuer.here(address).ok_or(OidcError::Elsewhere(what));
        let authorization = here("page to sign in at", &described.authorization_endpoint)?;
        let token = here("place of tokens", &described.token_endpoint)?;
        let keys = asking.get(KEYS, &here(KEYS, &described.jwks_uri)?).await?;
        let keys = Keys::parse(&keys).ok_or(OidcError::NotUnderstood(KEYS))?;
        // Without a word of it the header is meant.
        let takes = |method: &str, methods: &[String]| methods.iter().any(|known| known == method);
        let secret_in_form = described
            .token_endpoint_auth_methods_supported
            .is_some_and(|known| !takes("client_secret_basic", &known) && takes("client_secret_post", &known));
        Ok(Known { authorization, token, secret_in_form, keys, asking, since: Instant::now() })
    }

    /// Read anew each time: the Secret may have changed.
    pub async fn client_secret(&self) -> Result<SecretString, OidcError> {
        let bytes = self.secret(CLIENT_SECRET).await?.ok_or(OidcError::BadSecret(CLIENT_SECRET))?;
        let text = String::from_utf8(bytes).map_err(|_| OidcError::BadSecret(CLIENT_SECRET))?;
        Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
    }

    /// `None`: the Secret has no such key.
    async fn secret(&self, key: &'static str) -> Result<Option<Vec<u8>>, OidcError> {
        let file = self.secrets.join(key);
        let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
        match read.map_err(|_| OidcError::BadSecret(key))? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(OidcError::BadSecret(key)),
        }
    }
}
