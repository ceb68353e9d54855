//! What a handler reads of a request: the parts of the path that the route names, and the query.

use std::{borrow::Cow, str::FromStr};

use percent_encoding::percent_decode_str;

use crate::{console::problem::Problem, store::console::ProjectAddress};

/// A request that a route was found for.
pub struct Request<'r> {
    /// As they stand in the path, percent-encoded.
    pub parameters: matchit::Params<'r, 'r>,
    /// What follows `?`; empty without one.
    pub query: &'r str,
    /// The body of a POST, as a browser writes a form; empty otherwise.
    pub form: &'r [u8],
}

impl Request<'_> {
    /// The part of the path that the route calls `name`, decoded: an encoded slash stays within its part. What cannot
    /// be such a value is nobody's address.
    pub fn parameter<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        self.decoded(name).and_then(|text| text.parse().ok()).ok_or(Problem::NotFound("page"))
    }

    /// Every field of the form that has this name, in their order.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = String> {
        form_urlencoded::parse(self.form).filter(move |(found, _)| found == name).map(|(_, value)| value.into_owned())
    }

    /// The first field of the form that has this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        field(self.form, name)
    }

    fn decoded(&self, name: &str) -> Option<Cow<'_, str>> {
        percent_decode_str(self.parameters.get(name)?).decode_utf8().ok()
    }
}

/// The first field of that name.
#[must_use]
pub fn field(form: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(form).find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
}

/// The project that the path names.
impl FromRequest for ProjectAddress {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        Ok(Self { namespace: request.parameter("namespace")?, name: request.parameter("project")? })
    }
}

/// What one handler is asked. Each handler has a type of its own beside it.
pub trait FromRequest: Sized {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem>;
}

/// For a page that needs to know nothing.
impl FromRequest for () {
    fn from_request(_request: &Request<'_>) -> Result<Self, Problem> {
        Ok(())
    }
}
