//! `/-/static/{file}`: the style sheet, the script and the icon.

use http::{
    HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use warp::{Reply, reply::Response};

use crate::console::{
    assets::{self, Asset},
    context::Context,
    problem::Problem,
    web::{
        answer::Answer,
        headers::FOR_EVER,
        request::{FromRequest, Request},
    },
};

pub struct AssetRequest {
    file: String,
}

impl FromRequest for AssetRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { file: request.parameter("file")? })
    }
}

impl Answer for &'static Asset {
    fn into_response(self) -> Result<Response, Problem> {
        let mut response = self.content.into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response.headers_mut().insert(CACHE_CONTROL, FOR_EVER);
        Ok(response)
    }
}

pub async fn download(_context: Context, request: AssetRequest) -> Result<&'static Asset, Problem> {
    assets::find(&request.file).ok_or(Problem::NotFound("file"))
}
