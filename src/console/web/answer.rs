//! What a handler comes to, as a response. A kind of answer is a type with [`Answer`].

use askama::Template;
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION, SET_COOKIE},
};
use serde::Serialize;
use warp::{Reply, reply::Response};

use crate::console::problem::Problem;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub trait Answer {
    fn into_response(self) -> Result<Response, Problem>;
}

/// A template and its fields.
pub struct Page<T>(pub T);

/// JSON: as it is stored, or made for a program. Nothing of it runs: not HTML, not sniffed, and the policy forbids the rest.
pub struct Json(pub Vec<u8>);

impl Json {
    pub fn of(value: &impl Serialize) -> Result<Self, Problem> {
        Ok(Self(serde_json::to_vec(value)?))
    }
}

/// On to another address by GET, relative to the one asked for, or away from here.
pub struct SeeOther {
    pub place: String,
    /// `Set-Cookie`
    pub cookie: Option<HeaderValue>,
}

impl<T: Template> Answer for Page<T> {
    fn into_response(self) -> Result<Response, Problem> {
        Ok(typed(HTML, self.0.render()?.into_bytes()))
    }
}

impl Answer for Json {
    fn into_response(self) -> Result<Response, Problem> {
        Ok(typed(JSON, self.0))
    }
}

impl Answer for SeeOther {
    fn into_response(self) -> Result<Response, Problem> {
        let mut response = StatusCode::SEE_OTHER.into_response();
        if let Ok(place) = HeaderValue::try_from(self.place) {
            response.headers_mut().insert(LOCATION, place);
        }
        if let Some(cookie) = self.cookie {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// An answer that sets these cookies.
pub struct WithCookies<A, const N: usize>(pub A, pub [HeaderValue; N]);

impl<A: Answer, const N: usize> Answer for WithCookies<A, N> {
    fn into_response(self) -> Result<Response, Problem> {
        let mut response = self.0.into_response()?;
        for cookie in self.1 {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// What a form comes to: on to another page, or a page about why not.
pub enum Either<A, B> {
    This(A),
    That(Box<B>),
}

impl<A: Answer, B: Answer> Answer for Either<A, B> {
    fn into_response(self) -> Result<Response, Problem> {
        match self {
            Self::This(answer) => answer.into_response(),
            Self::That(answer) => answer.into_response(),
        }
    }
}

/// A page that belongs to an unusual status.
impl<A: Answer> Answer for (StatusCode, A) {
    fn into_response(self) -> Result<Response, Problem> {
        let mut response = self.1.into_response()?;
        *response.status_mut() = self.0;
        Ok(response)
    }
}

fn typed(content_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
