//! Who is at the other end: by a token that the API server knows, or by the session that such a token or an identity
//! provider began.
//!
//! In come a request's headers, a token that somebody pasted, or what a browser brought back from the provider
//! (`oidc`); out go a [`Caller`], or a new session and its cookie. A token counts when `TokenReview` says that it was
//! made for [`AUDIENCE`]: one for the API server itself is refused, so that nobody hands their access to the cluster to
//! this process. Sessions are in Postgres (`store::console`); nothing is kept here that another pod would need. Used by
//! `web` for every request, and by the handlers of `/-/login`, `/-/oidc/…` and `/-/logout`.

mod api_tokens;
mod cookie;
mod oidc;
mod reviews;
mod tickets;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

pub use self::{
    api_tokens::{Scope, Scopes},
    cookie::Secret,
    oidc::{Arrival, BadIssuer, Oidc, OidcError, OidcOptions},
    reviews::Unreviewed,
    tickets::Ticket,
};
use self::{
    cookie::Cookie,
    oidc::Departure,
    reviews::{Known, Tokens},
};
use super::{
    auth::Caller,
    databases::{Databases, SESSION_CONNECTIONS},
    recent::Recent,
    web::origin::Host,
};
pub use crate::console_api::AUDIENCE;
use crate::store::{
    StoreError,
    console::{Session, SessionDigest, TokenDigest, User},
};

/// Longest that a session lasts; its token may end it earlier.
const LONGEST: SignedDuration = SignedDuration::from_hours(8);

/// How long a session that was found in Postgres is believed for reading while Postgres is away. Another pod may have
/// ended it in that time.
const BRIDGED: Duration = Duration::from_mins(1);

/// Looked up at once, as many as there are connections for it: made-up cookies queue here, and not before them.
const AT_ONCE: usize = SESSION_CONNECTIONS as usize;

/// How long a look-up waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an API token that was found in Postgres is believed: one that is revoked ends within that time.
const USED: Duration = Duration::from_secs(10);

/// Sessions that are remembered for it, and tokens.
const MAX_BRIDGED: usize = 10_000;

/// How people show who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// By tokens that the Kubernetes API server reviews, and by an OpenID provider where one is set up.
    #[default]
    Kubernetes,
    /// Not at all: whoever reaches the address sees every project. On loopback only.
    None,
}

/// Clones share the sessions.
#[derive(Clone)]
pub enum SignIn {
    /// See [`Mode::None`].
    Off,
    On(Arc<SignedIn>),
}

pub struct SignedIn {
    tokens: Tokens,
    oidc: Option<Oidc>,
    databases: Databases,
    turns: Semaphore,
    bridged: Recent<SessionDigest, Session>,
    /// API tokens of a moment ago.
    used: Recent<TokenDigest, (User, Scopes)>,
}

/// An API token that is to be made.
pub struct NewApiToken {
    pub token: SecretString,
    pub digest: TokenDigest,
}

/// What the headers of a request say.
pub struct Credentials {
    pub caller: Caller,
    /// Of the session, where it was a cookie: what forms are signed with.
    pub secret: Option<Secret>,
    pub scopes: Scopes,
}

/// A session has begun for whoever came back from the identity provider.
pub struct Begun {
    /// Where to go on to, relative to the console's root.
    pub to: String,
    /// `Set-Cookie`: the session's cookie comes, that of the way to the provider goes.
    pub cookies: [HeaderValue; 2],
}

/// Why no session came of a token, or of a way to the identity provider.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the token is not valid for the audience {AUDIENCE}, or it has expired")]
    NotValid,
    #[error(transparent)]
    Oidc(#[from] OidcError),
    #[error(transparent)]
    Unreviewed(#[from] Unreviewed),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SignIn {
    #[must_use]
    pub fn of_kubernetes(client: Client, oidc: Option<Oidc>, databases: Databases) -> Self {
        let (tokens, turns) = (Tokens::new(client), Semaphore::new(AT_ONCE));
        let (bridged, used) = (Recent::new(BRIDGED, MAX_BRIDGED), Recent::new(USED, MAX_BRIDGED));
        Self::On(Arc::new(SignedIn { tokens, oidc, databases, turns, bridged, used }))
    }

    /// What people call the identity provider, where there is one.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        let Self::On(signed_in) = self else { return None };
        signed_in.oidc.as_ref().map(Oidc::name)
    }

    /// Who sent these headers. An `Authorization` header counts before a cookie; a cookie of a session that is over is
    /// as none.
    pub async fn authenticate(
        &self,
        method: &Method,
        headers: &HeaderMap,
        host: Host<'_>,
    ) -> Result<Credentials, Refusal> {
        let credentials = |caller, secret, scopes| Ok(Credentials { caller, secret, scopes });
        let Self::On(signed_in) = self else { return credentials(Caller::Everybody, None, Scopes::All) };
        if let Some(header) = headers.get(AUTHORIZATION) {
            let token = bearer(header).ok_or(Refusal::NotValid)?;
            let (user, scopes) = match api_tokens::digest(&token) {
                Some(digest) => signed_in.of_api_token(digest).await?,
                None => (signed_in.review(&token).await?, Scopes::All),
            };
            return credentials(Caller::User(user.into()), None, scopes);
        }
        if let Some(secret) = cookie::secret(headers, host)
            && let Some(session) = signed_in.session(secret.digest(), method).await?
        {
            return credentials(Caller::User(session.user.into()), Some(secret), Scopes::All);
        }
        credentials(Caller::Nobody, None, Scopes::All)
    }

    /// Begins a session for whoever has that token, and ends the one that the request came with: the value of
    /// `Set-Cookie`.
    pub async fn begin(
        &self,
        token: &SecretString,
        headers: &HeaderMap,
        host: Host<'_>,
        now: Timestamp,
    ) -> Result<HeaderValue, Refusal> {
        let Self::On(signed_in) = self else { return Err(Refusal::NotValid) };
        let user = signed_in.review(token).await?;
        let session = Session { user, expires_at: end_of(token, now) };
        if session.expires_at <= now {
            return Err(Refusal::NotValid);
        }
        let cookie = signed_in.begin(&session, headers, host, now).await?;
        tracing::info!(user = session.user.name, until = %session.expires_at, "Signed in.");
        Ok(cookie)
    }

    /// Sends a browser to the identity provider, which sends it back within [`oidc::LASTS`]: the address to go to, and
    /// the value of `Set-Cookie`. `None`: there is no provider.
    pub async fn depart(
        &self,
        to: String,
        host: Host<'_>,
        now: Timestamp,
    ) -> Result<Option<(String, HeaderValue)>, Refusal> {
        let Some((_, oidc)) = self.with_provider() else { return Ok(None) };
        let departure = Departure::new(rand::random(), now, to);
        let place = oidc.place(&departure, host).await?;
        Ok(Some((place, Cookie::Departure.set(host, &departure.encode(), oidc::LASTS))))
    }

    /// Begins a session for whoever came back from the identity provider. `None`: there is none.
    pub async fn arrive(
        &self,
        arrival: &Arrival,
        headers: &HeaderMap,
        host: Host<'_>,
        now: Timestamp,
    ) -> Result<Option<Begun>, Refusal> {
        let Some((signed_in, oidc)) = self.with_provider() else { return Ok(None) };
        let departures = Cookie::Departure.values(headers, host, Departure::decode);
        let ours = departures.into_iter().find(|departure| departure.has_state(&arrival.state));
        let departure = ours.filter(|departure| !departure.is_over(now)).ok_or(OidcError::NotBegun)?;
        let user = oidc.user(&departure, arrival, host, now).await?;
        // The id token's own end is that of its delivery, some minutes.
        let session = Session { user, expires_at: now + LONGEST };
        let secret = Secret::random();
        let database = signed_in.databases.sessions();
        if !database.begin_session_once(departure.digest(), secret.digest(), &session).await? {
            return Err(OidcError::NotBegun.into());
        }
        signed_in.end(headers, host).await?;
        tracing::info!(user = session.user.name, until = %session.expires_at, "Signed in.");
        let cookies = [secret.cookie(host, LONGEST), Cookie::Departure.removed(host)];
        Ok(Some(Begun { to: departure.into_place(), cookies }))
    }

    /// Ends the session of the request on the server: a copy of the cookie is worth nothing while Postgres answers. The
    /// value of `Set-Cookie` that takes it out of the browser.
    pub async fn end(&self, headers: &HeaderMap, host: Host<'_>) -> Result<HeaderValue, StoreError> {
        if let Self::On(signed_in) = self {
            signed_in.end(headers, host).await?;
        }
        Ok(Cookie::Session.removed(host))
    }

    fn with_provider(&self) -> Option<(&SignedIn, &Oidc)> {
        let Self::On(signed_in) = self else { return None };
        signed_in.oidc.as_ref().map(|oidc| (&**signed_in, oidc))
    }
}

impl NewApiToken {
    #[must_use]
    pub fn random() -> Self {
        let token = api_tokens::token(rand::random());
        let digest = sha256(token.expose_secret().as_bytes());
        Self { token, digest }
    }
}

impl SignedIn {
    /// Whose the API token is, and what it may be used for.
    async fn of_api_token(&self, digest: TokenDigest) -> Result<(User, Scopes), Refusal> {
        if let Some(known) = self.used.get(&digest) {
            return Ok(known);
        }
        let _turn = self.turn().await?;
        let found = self.databases.sessions().use_api_token(digest).await?;
        let (user, scopes) = found.ok_or(Refusal::NotValid)?;
        let found = (user, Scopes::named(&scopes));
        self.used.insert(digest, found.clone());
        Ok(found)
    }

    /// Nobody else sees a token of our own.
    async fn review(&self, token: &SecretString) -> Result<User, Refusal> {
        if api_tokens::digest(token).is_some() {
            return Err(Refusal::NotValid);
        }
        let reviewed = match self.tokens.known(token) {
            Known::User(user) => Some(user),
            Known::Refused => None,
            Known::Not => self.tokens.review(token).await?,
        };
        reviewed.ok_or(Refusal::NotValid)
    }

    /// To ask Postgres for what anybody may have made up.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let turn = timeout(PATIENCE, self.turns.acquire()).await;
        // Nobody closes the semaphore.
        let turn = turn.ok().and_then(Result::ok);
        turn.ok_or_else(|| StoreError::Busy { message: "too many ask who is signed in".to_owned() })
    }

    /// Begins that session instead of the one that the request came with: the value of `Set-Cookie`.
    async fn begin(
        &self,
        session: &Session,
        headers: &HeaderMap,
        host: Host<'_>,
        now: Timestamp,
    ) -> Result<HeaderValue, StoreError> {
        let secret = Secret::random();
        self.databases.sessions().begin_session(secret.digest(), session).await?;
        self.end(headers, host).await?;
        Ok(secret.cookie(host, session.expires_at.duration_since(now)))
    }

    async fn end(&self, headers: &HeaderMap, host: Host<'_>) -> Result<(), StoreError> {
        if let Some(secret) = cookie::secret(headers, host) {
            self.databases.sessions().end_session(secret.digest()).await?;
            self.bridged.remove(&secret.digest());
        }
        Ok(())
    }

    async fn session(&self, digest: SessionDigest, method: &Method) -> Result<Option<Session>, StoreError> {
        let _turn = self.turn().await?;
        match self.databases.sessions().session(digest).await {
            Ok(found) => {
                self.bridge(digest, found.as_ref());
                Ok(found)
            }
            Err(error @ StoreError::Unavailable { .. }) if method.is_safe() => {
                self.bridged(digest).map(Some).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    fn bridge(&self, digest: SessionDigest, found: Option<&Session>) {
        match found {
            Some(session) => self.bridged.insert(digest, session.clone()),
            None => self.bridged.remove(&digest),
        }
    }

    fn bridged(&self, digest: SessionDigest) -> Option<Session> {
        self.bridged.get(&digest).filter(|session| session.expires_at > Timestamp::now())
    }
}

/// When a session that a token begins is over.
fn end_of(token: &SecretString, now: Timestamp) -> Timestamp {
    let longest = now + LONGEST;
    reviews::expiry(token).map_or(longest, |expiry| expiry.min(longest))
}

/// The token of `Authorization: Bearer …`.
fn bearer(header: &HeaderValue) -> Option<SecretString> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| SecretString::from(token.trim()))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_are_read_from_their_header() {
        for (header, token) in
            [("Bearer abc", Some("abc")), ("bearer  abc ", Some("abc")), ("Basic abc", None), ("abc", None), ("", None)]
        {
            let read = bearer(&HeaderValue::from_static(header));
            assert_eq!(read.as_ref().map(ExposeSecret::expose_secret), token, "{header:?}");
        }
    }
}
