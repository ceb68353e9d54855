//! `/-/tokens`: the API tokens of whoever is signed in, and their sessions.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use tracing::info;
use uuid::Uuid;

use crate::{
    console::{
        auth::Caller,
        context::Context,
        pages::TokensPage,
        problem::Problem,
        sign_in::{NewApiToken, Scope},
        web::{
            answer::{Json, Page, SeeOther},
            request::{FromRequest, Request},
        },
    },
    console_api,
    store::console::{NewToken, User},
};

/// Longest name of a token, in characters.
const MAX_NAME: usize = 100;

/// Longest life of a token, in days.
const MAX_DAYS: i64 = 366;

pub struct MakeRequest {
    name: String,
    scopes: Vec<Scope>,
    lasts: SignedDuration,
}

impl FromRequest for MakeRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let name = request.field("name").unwrap_or_default().trim().to_owned();
        if !(1..=MAX_NAME).contains(&name.chars().count()) || name.contains(char::is_control) {
            return Err(Problem::BadQuery("a token has a name of up to 100 characters"));
        }
        let scopes: Option<Vec<_>> = request.fields("scope").map(|name| Scope::named(&name)).collect();
        let scopes = scopes.filter(|scopes| (1..=Scope::ALL.len()).contains(&scopes.len()));
        let days =
            request.field("days").and_then(|days| days.parse().ok()).filter(|days| (1..=MAX_DAYS).contains(days));
        Ok(Self {
            name,
            scopes: scopes.ok_or(Problem::BadQuery("a token needs a scope, and knows those of the page alone"))?,
            lasts: days
                .map(|days: i64| SignedDuration::from_hours(24 * days))
                .ok_or(Problem::BadQuery("a token lasts for 1 to 366 days"))?,
        })
    }
}

pub struct RevokeRequest {
    token: Uuid,
}

impl FromRequest for RevokeRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let token = request.field("token").and_then(|token| token.parse().ok());
        Ok(Self { token: token.ok_or(Problem::BadQuery("token is the number of a token"))? })
    }
}

pub async fn list(context: Context, (): ()) -> Result<Page<TokensPage>, Problem> {
    let user = user(&context)?;
    let tokens = context.databases.sessions().api_tokens_of(&user.name).await?;
    Ok(Page(TokensPage::new(context.shell, &tokens, None, context.now)))
}

/// The page, with the token on it: it is shown once.
pub async fn make(context: Context, request: MakeRequest) -> Result<Page<TokensPage>, Problem> {
    let user = user(&context)?;
    let (token, _) = new_token(&context, &user, request).await?;
    let tokens = context.databases.sessions().api_tokens_of(&user.name).await?;
    Ok(Page(TokensPage::new(context.shell, &tokens, Some(&token), context.now)))
}

/// For a program whose user has a token of Kubernetes.
pub async fn make_json(context: Context, request: MakeRequest) -> Result<Json, Problem> {
    let user = user(&context)?;
    let (token, expires_at) = new_token(&context, &user, request).await?;
    Json::of(&console_api::ApiToken { token: token.expose_secret().to_owned(), expires_at })
}

async fn new_token(context: &Context, user: &User, request: MakeRequest) -> Result<(SecretString, Timestamp), Problem> {
    let NewApiToken { token, digest } = NewApiToken::random();
    let scopes = request.scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let expires_at = context.now + request.lasts;
    let new = NewToken { digest, name: request.name, scopes, user: user.clone(), expires_at };
    if !context.databases.sessions().make_api_token(&new).await? {
        return Err(Problem::BadQuery("nobody may have more than fifty tokens: revoke one first"));
    }
    info!(user = user.name, token = new.name, scopes = ?new.scopes, until = %expires_at, "Made an API token.");
    Ok((token, expires_at))
}

pub async fn revoke(context: Context, request: RevokeRequest) -> Result<SeeOther, Problem> {
    let user = user(&context)?;
    context.databases.sessions().revoke_api_token(&user.name, request.token).await?;
    info!(user = user.name, token = %request.token, "Revoked an API token.");
    Ok(SeeOther { place: format!("{}-/tokens", context.shell.root), cookie: None })
}

/// In this browser and in all others.
pub async fn end_sessions(context: Context, (): ()) -> Result<SeeOther, Problem> {
    let user = user(&context)?;
    context.databases.sessions().end_sessions_of(&user.name).await?;
    info!(user = user.name, "Ended all sessions.");
    let cookie = context.sign_in.end(&context.asked.headers, context.asked.host()?).await?;
    Ok(SeeOther { place: format!("{}-/login", context.shell.root), cookie: Some(cookie) })
}

/// Without sign-in there is nobody who could have tokens.
fn user(context: &Context) -> Result<Arc<User>, Problem> {
    match &context.caller {
        Caller::User(user) => Ok(Arc::clone(user)),
        _ => Err(Problem::NotFound("page")),
    }
}
