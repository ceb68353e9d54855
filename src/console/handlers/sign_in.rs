//! `/-/login` and `/-/logout`: a pasted token begins a session, a button ends it.

use http::StatusCode;
use secrecy::SecretString;

use super::leads_here;
use crate::console::{
    context::Context,
    pages::SignInPage,
    problem::Problem,
    sign_in::Refusal,
    web::{
        answer::{Either, Page, SeeOther},
        request::{FromRequest, Request, field},
    },
};

/// Where to go on to, relative to the console's root.
pub struct SignInRequest {
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

pub async fn ask(context: Context, request: SignInRequest) -> Result<Page<SignInPage>, Problem> {
    Ok(Page(SignInPage::new(context.shell, request.to, None)))
}

/// On to the page that was asked for, or the form again with what was wrong.
type Begun = Either<SeeOther, (StatusCode, Page<SignInPage>)>;

pub async fn begin(context: Context, request: SignInRequest) -> Result<Begun, Problem> {
    let token = request.token.ok_or(Problem::BadQuery("the form has no field called token"))?;
    let begun = context.sign_in.begin(&token, &context.asked.headers, context.asked.host()?, context.now).await;
    match begun {
        Ok(cookie) => {
            let place = format!("{}{}", context.shell.root, request.to);
            Ok(Either::This(SeeOther { place, cookie: Some(cookie) }))
        }
        Err(refusal @ Refusal::NotValid) => {
            let page = SignInPage::new(context.shell, request.to, Some(&refusal));
            Ok(Either::That(Box::new((StatusCode::UNAUTHORIZED, Page(page)))))
        }
        Err(other) => Err(other.into()),
    }
}

pub async fn end(context: Context, (): ()) -> Result<SeeOther, Problem> {
    let cookie = context.sign_in.end(&context.asked.headers, context.asked.host()?).await?;
    Ok(SeeOther { place: format!("{}-/login", context.shell.root), cookie: Some(cookie) })
}
