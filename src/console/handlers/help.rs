//! `/-/help`: the keys of the console, and switches of one browser: that turns them off (WCAG 2.1.4), and that turns
//! stack traces round.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::leads_here;
use crate::console::{
    context::Context,
    pages::HelpPage,
    problem::Problem,
    web::{
        answer::{Page, SeeOther},
        request::{FromRequest, Request},
    },
};

/// Read by `static/console.js`. As [`OLDEST_FIRST`] a year long; neither says anything about anybody.
const OFF: &str = "errortracking-keys=off";
/// How somebody reads stack traces.
const OLDEST_FIRST: &str = "errortracking-frames=oldest";

pub struct SwitchRequest {
    cookie: &'static str,
    is_set: bool,
    /// Where the form was, relative to the console's root.
    to: String,
}

impl FromRequest for SwitchRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        let to = request.field("to").filter(|to| leads_here(to)).unwrap_or_else(|| "-/help".to_owned());
        let (cookie, is_set) = match (request.field("keys").as_deref(), request.field("frames").as_deref()) {
            (Some("on"), None) => (OFF, false),
            (Some("off"), None) => (OFF, true),
            (None, Some("newest")) => (OLDEST_FIRST, false),
            (None, Some("oldest")) => (OLDEST_FIRST, true),
            _ => return Err(Problem::BadForm("keys is on or off, or frames is newest or oldest")),
        };
        Ok(Self { cookie, is_set, to })
    }
}

pub async fn show(context: Context, (): ()) -> Result<Page<HelpPage>, Problem> {
    let off = says(&context.asked.headers, OFF);
    Ok(Page(HelpPage::new(context.shell, off)))
}

pub async fn switch(context: Context, request: SwitchRequest) -> Result<SeeOther, Problem> {
    let SwitchRequest { cookie, is_set, to } = request;
    let seconds = if is_set { 365 * 24 * 3600 } else { 0 };
    let cookie = HeaderValue::try_from(format!("{cookie}; Path=/; Max-Age={seconds}; SameSite=Lax")).ok();
    Ok(SeeOther { place: format!("{}{to}", context.shell.root), cookie })
}

/// Whether this browser wants the oldest call first.
pub fn reads_oldest_first(headers: &HeaderMap) -> bool {
    says(headers, OLDEST_FIRST)
}

fn says(headers: &HeaderMap, cookie: &str) -> bool {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).any(|pair| pair.trim() == cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_says_whether_keys_are_off() {
        for (cookie, off) in [
            ("errortracking-keys=off", true),
            ("a=b; errortracking-keys=off", true),
            ("errortracking-keys=offline", false),
            ("keys=off", false),
        ] {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(cookie))]);
            assert_eq!(says(&headers, OFF), off, "{cookie}");
        }
    }
}
