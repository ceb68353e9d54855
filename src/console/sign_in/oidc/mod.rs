//! Sign-in at an OpenID provider: the code flow with PKCE (RFC 7636), and an id token that says who somebody is.
//!
//! In come a [`Departure`] and what the browser brought back, out goes the [`User`] whom Kubernetes is asked about.
//! Only the server that the settings name is asked for anything. Used by `sign_in` alone.
//!
//! `departure` (what the browser takes along) → `provider` (what it says of itself, by `fetch`) → `id_token` (whether
//! it counts) → `identity` (whom it names).

mod address;
mod departure;
mod error;
mod fetch;
mod id_token;
mod identity;
mod provider;

use std::{path::PathBuf, sync::Arc};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Semaphore;

use self::{
    address::Issuer,
    error::word,
    id_token::{BadToken, Expected},
    identity::Naming,
    provider::{FRESH, Known, Provider, RECENT},
};
pub use self::{
    departure::{Departure, LASTS},
    error::OidcError,
};
use crate::{console::web::origin::Host, store::console::User};

/// Codes that are exchanged at once.
const AT_ONCE: usize = 16;

/// Longest code. Those of providers have up to some hundred bytes.
const MAX_CODE_BYTES: usize = 4096;

const TOKENS: &str = "answer to the code";

/// Where the provider sends browsers back to, below the console's root.
const CALLBACK: &str = "-/oidc/callback";

/// Options of the OpenID provider. Without an issuer there is none.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OidcOptions {
    /// An OpenID provider that people may sign in with, as its tokens name it: `https://login.example.com/realms/team`.
    #[arg(
        long = "oidc-issuer",
        env = "ERROR_TRACKING_OIDC_ISSUER",
        value_name = "URL",
        requires_all = ["client_id", "secret"]
    )]
    pub issuer: Option<String>,
    /// What the page of sign-in calls the provider; otherwise its host.
    #[arg(long = "oidc-name", env = "ERROR_TRACKING_OIDC_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// What the provider calls this console.
    #[arg(long = "oidc-client-id", env = "ERROR_TRACKING_OIDC_CLIENT_ID", value_name = "ID")]
    pub client_id: Option<String>,
    /// Folder of the mounted Secret with `client-secret`, and with `ca.crt` where the provider's certificate is signed
    /// by an authority of your own: then no other is trusted.
    #[arg(long = "oidc-secret", env = "ERROR_TRACKING_OIDC_SECRET", value_name = "DIR")]
    pub secret: Option<PathBuf>,
    /// What the provider is asked to tell; for several, several times.
    #[arg(
        long = "oidc-scope",
        env = "ERROR_TRACKING_OIDC_SCOPES",
        value_name = "SCOPE",
        value_delimiter = ',',
        default_values = ["openid", "profile", "email"]
    )]
    pub scopes: Vec<String>,
    /// The claim of the id token that names the user to Kubernetes. `email` counts when it is verified.
    #[arg(
        long = "oidc-username-claim",
        env = "ERROR_TRACKING_OIDC_USERNAME_CLAIM",
        value_name = "CLAIM",
        default_value = "sub"
    )]
    pub username_claim: String,
    /// What stands before the names of users, as the API server has it.
    #[arg(
        long = "oidc-username-prefix",
        env = "ERROR_TRACKING_OIDC_USERNAME_PREFIX",
        value_name = "PREFIX",
        default_value = "oidc:"
    )]
    pub username_prefix: String,
    /// The claim of the id token that names the user's groups.
    #[arg(
        long = "oidc-groups-claim",
        env = "ERROR_TRACKING_OIDC_GROUPS_CLAIM",
        value_name = "CLAIM",
        default_value = "groups"
    )]
    pub groups_claim: String,
    /// What stands before the names of groups, as the API server has it.
    #[arg(
        long = "oidc-groups-prefix",
        env = "ERROR_TRACKING_OIDC_GROUPS_PREFIX",
        value_name = "PREFIX",
        default_value = "oidc:"
    )]
    pub groups_prefix: String,
}

/// The issuer is no address that can be asked.
#[derive(Debug, thiserror::Error)]
#[error("--oidc-issuer {0} is neither an https address without a query nor an http one on loopback")]
pub struct BadIssuer(String);

/// A provider as it is set up here.
pub struct Oidc {
    name: String,
    client_id: String,
    scopes: String,
    naming: Naming,
    provider: Provider,
    turns: Semaphore,
}

/// What the browser brought back in the query: as strangers may write it.
pub struct Arrival {
    pub state: String,
    pub code: Option<SecretString>,
    pub error: Option<String>,
    /// RFC 9207
    pub issuer: Option<String>,
}

/// OpenID Connect Core 3.1.3.3; RFC 6749 5.2.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    error: Option<String>,
}

impl Oidc {
    /// `None`: no provider is set up.
    pub fn new(options: OidcOptions) -> Result<Option<Self>, BadIssuer> {
        let (Some(issuer), Some(client_id), Some(secret)) = (options.issuer, options.client_id, options.secret) else {
            return Ok(None);
        };
        let issuer = Issuer::parse(&issuer).ok_or(BadIssuer(issuer))?;
        let mut scopes = options.scopes;
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        Ok(Some(Self {
            name: options.name.unwrap_or_else(|| issuer.host().to_owned()),
            client_id,
            scopes: scopes.join(" "),
            naming: Naming {
                username_claim: options.username_claim,
                username_prefix: options.username_prefix,
                groups_claim: options.groups_claim,
                groups_prefix: options.groups_prefix,
            },
            provider: Provider::new(issuer, secret),
            turns: Semaphore::new(AT_ONCE),
        }))
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the browser goes now.
    pub async fn place(&self, departure: &Departure, host: Host<'_>) -> Result<String, OidcError> {
        let known = self.provider.known(FRESH).await?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &callback(host))
            .append_pair("scope", &self.scopes)
            .append_pair("state", &departure.state())
            .append_pair("nonce", &departure.nonce())
            .append_pair("code_challenge", &departure.challenge())
            .append_pair("code_challenge_method", "S256");
        let joint = if known.authorization.query().is_some() { '&' } else { '?' };
        Ok(format!("{}{joint}{}", known.authorization, query.finish()))
    }

    /// Who came back with that.
    pub async fn user(
        &self,
        departure: &Departure,
        arrival: &Arrival,
        host: Host<'_>,
        now: Timestamp,
    ) -> Result<User, OidcError> {
        if arrival.issuer.as_ref().is_some_and(|issuer| *issuer != self.provider.issuer.name) {
            return Err(OidcError::OtherIssuer);
        }
        if let Some(error) = &arrival.error {
            return Err(OidcError::Denied(word(error)));
        }
        let usable = |code: &&SecretString| (1..=MAX_CODE_BYTES).contains(&code.expose_secret().len());
        let code = arrival.code.as_ref().filter(usable).ok_or(OidcError::Denied(None))?;
        let _turn = self.turns.try_acquire().map_err(|_| OidcError::Busy)?;
        let known = self.provider.known(FRESH).await?;
        let token = self.exchange(&known, code, departure, host).await?;
        let nonce = departure.nonce();
        let expected = Expected { issuer: &self.provider.issuer.name, client_id: &self.client_id, nonce: &nonce, now };
        let verify = |known: &Arc<Known>| known.keys.verify(token.expose_secret(), &expected);
        let claims = match verify(&known) {
            // The provider may have begun to sign with a new key.
            Err(BadToken::UnknownKey) => verify(&self.provider.known(RECENT).await?),
            verified => verified,
        }?;
        Ok(self.naming.user(&claims)?)
    }

    /// The id token for a code.
    async fn exchange(
        &self,
        known: &Known,
        code: &SecretString,
        departure: &Departure,
        host: Host<'_>,
    ) -> Result<SecretString, OidcError> {
        let secret = self.provider.client_secret().await?;
        let (callback, verifier) = (callback(host), departure.verifier());
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose_secret()),
            ("redirect_uri", &callback),
            ("code_verifier", &verifier),
        ];
        if known.secret_in_form {
            form.extend([("client_id", self.client_id.as_str()), ("client_secret", secret.expose_secret())]);
        }
        let authorization = (!known.secret_in_form).then(|| basic(&self.client_id, &secret));
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let (status, answer) = known.asking.post(TOKENS, &known.token, authorization, form).await?;
        let tokens: Option<Tokens> = serde_json::from_slice(&answer).ok();
        if status != StatusCode::OK {
            let error = tokens.and_then(|tokens| word(&tokens.error?));
            return Err(OidcError::NotExchanged { status: status.as_u16(), error });
        }
        let token = tokens.and_then(|tokens| tokens.id_token).ok_or(OidcError::NotUnderstood(TOKENS))?;
        Ok(SecretString::from(token))
    }
}

/// RFC 6749 2.3.1: both are encoded as in a form before they are put together.
fn basic(client_id: &str, secret: &SecretString) -> HeaderValue {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let both = format!("{}:{}", encode(client_id), encode(secret.expose_secret()));
    // Base64 is ASCII.
    let value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(both)));
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// The address that the provider sends browsers back to: the console under the name it was asked by, which is one of
/// its own. The provider has a list of those that it knows.
fn callback(host: Host<'_>) -> String {
    let scheme = if host.is_loopback { "http" } else { "https" };
    format!("{scheme}://{}/{CALLBACK}", host.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_secret_is_encoded_before_it_is_sent() {
        let header = basic("a console", &"p:ä+".into());
        assert!(header.is_sensitive());
        let sent = BASE64_STANDARD.decode(header.to_str().unwrap().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(sent, b"a+console:p%3A%C3%A4%2B");
    }

    #[test]
    fn browsers_come_back_to_the_name_that_they_asked() {
        for (name, is_loopback, place) in [
            ("errors.example", false, "https://errors.example/-/oidc/callback"),
            ("errors.example:8443", false, "https://errors.example:8443/-/oidc/callback"),
            ("127.0.0.1:8000", true, "http://127.0.0.1:8000/-/oidc/callback"),
        ] {
            assert_eq!(callback(Host { name, is_loopback }), place);
        }
    }

    #[test]
    fn a_provider_needs_an_address_that_can_be_asked() {
        let options = |issuer: &str| OidcOptions {
            issuer: Some(issuer.to_owned()),
            client_id: Some("console".to_owned()),
            secret: Some("/nowhere".into()),
            scopes: vec!["groups".to_owned()],
            ..OidcOptions::default()
        };
        assert!(Oidc::new(OidcOptions::default()).unwrap().is_none());
        assert!(Oidc::new(options("http://login.example")).is_err());
        let oidc = Oidc::new(options("https://login.example/team")).unwrap().unwrap();
        assert_eq!((oidc.name(), oidc.scopes.as_str()), ("login.example", "openid groups"));
    }
}
