//! `/-/login`, `/-/oidc/…` and `/-/logout`: a pasted token or a way to the identity provider begins a session, a button
//! ends it.

use http::StatusCode;
use secrecy::SecretString;

use super::leads_here;
use crate::console::{
    context::Context,
    pages::SignInPage,
    problem::Problem,
    sign_in::{Arrival, Refusal},
    web::{
        answer::{Either, Page, SeeOther, WithCookies},
        request::{FromRequest, Request, field},
    },
};

pub struct SignInRequest {
    /// Where to go on to, relative to the console's root.
    to: String,
    token: Option<SecretString>,
}

impl FromRequest for SignInRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let to = field(request.query.as_bytes(), "to").or_else(|| request.field("to")).unwrap_or_default();
        let token = request.field("token").map(|token| SecretString::from(token.trim()));
        Ok(Self { to: if leads_here(&to) { to } else { String::new() }, token })
    }
}

/// A parameter that is there twice counts as it is there first.
impl FromRequest for Arrival {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let field = |name| field(request.query.as_bytes(), name);
        Ok(Self {
            state: field("state").unwrap_or_default(),
            code: field("code").map(SecretString::from),
            error: field("error"),
            issuer: field("iss"),
        })
    }
}

pub async fn ask(context: Context, request: SignInRequest) -> Result<Page<SignInPage>, Problem> {
    Ok(Page(SignInPage::new(context.shell, request.to, context.sign_in.provider(), None)))
}

/// The page again, with what was wrong.
type Again = (StatusCode, Page<SignInPage>);
/// On to the page that was asked for.
type Begun = Either<SeeOther, Again>;

pub async fn begin(context: Context, request: SignInRequest) -> Result<Begun, Problem> {
    let token = request.token.ok_or(Problem::BadQuery("the form has no field called token"))?;
    let begun = context.sign_in.begin(&token, &context.asked.headers, context.asked.host()?, context.now).await;
    match begun {
        Ok(cookie) => {
            let place = format!("{}{}", context.shell.root, request.to);
            Ok(Either::This(SeeOther { place, cookie: Some(cookie) }))
        }
        Err(refusal @ Refusal::NotValid) => Ok(Either::That(again(context, request.to, &refusal))),
        Err(other) => Err(other.into()),
    }
}

/// To the identity provider. From a link, as the policy of our pages lets no form lead there.
pub async fn depart(context: Context, request: SignInRequest) -> Result<Begun, Problem> {
    let departed = context.sign_in.depart(request.to.clone(), context.asked.host()?, context.now).await;
    match departed {
        Ok(Some((place, cookie))) => Ok(Either::This(SeeOther { place, cookie: Some(cookie) })),
        Ok(None) => Err(Problem::NotFound("page")),
        Err(refusal @ Refusal::Oidc(_)) => Ok(Either::That(again(context, request.to, &refusal))),
        Err(other) => Err(other.into()),
    }
}

/// Back from the identity provider.
pub async fn arrive(context: Context, arrival: Arrival) -> Result<Either<WithCookies<SeeOther, 2>, Again>, Problem> {
    let Context { sign_in, asked, now, .. } = &context;
    let arrived = sign_in.arrive(&arrival, &asked.headers, asked.host()?, *now).await;
    match arrived {
        // The cookie is the browser's: it may say anything.
        Ok(Some(begun)) => {
            let to = if leads_here(&begun.to) { begun.to.as_str() } else { "" };
            let onwards = SeeOther { place: format!("{}{to}", context.shell.root), cookie: None };
            Ok(Either::This(WithCookies(onwards, begun.cookies)))
        }
        Ok(None) => Err(Problem::NotFound("page")),
        Err(refusal @ Refusal::Oidc(_)) => Ok(Either::That(again(context, String::new(), &refusal))),
        Err(other) => Err(other.into()),
    }
}

fn again(context: Context, to: String, refusal: &Refusal) -> Box<Again> {
    let status = match refusal {
        Refusal::Oidc(error) if error.is_ours() => {
            tracing::warn!(%error, "Could not sign anybody in with the identity provider.");
            StatusCode::BAD_GATEWAY
        }
        _ => StatusCode::UNAUTHORIZED,
    };
    let page = SignInPage::new(context.shell, to, context.sign_in.provider(), Some(refusal));
    Box::new((status, Page(page)))
}

pub async fn end(context: Context, (): ()) -> Result<SeeOther, Problem> {
    let cookie = context.sign_in.end(&context.asked.headers, context.asked.host()?).await?;
    Ok(SeeOther { place: format!("{}-/login", context.shell.root), cookie: Some(cookie) })
}
