//! `/-/help`: the keys of the console, and the switch that turns them off in one browser (WCAG 2.1.4).

use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::console::{
    context::Context,
    pages::HelpPage,
    problem::Problem,
    web::{
        answer::{Page, SeeOther},
        request::{FromRequest, Request},
    },
};

/// Read by `static/console.js`. A year long; it says nothing about anybody.
const OFF: &str = "errortracking-keys=off";

pub struct SwitchRequest {
    on: bool,
}

impl FromRequest for SwitchRequest {
    fn from_request(request: &Request<'_>) -> Result<Self, Problem> {
        match request.field("keys").as_deref() {
            Some("on") => Ok(Self { on: true }),
            Some("off") => Ok(Self { on: false }),
            _ => Err(Problem::BadForm("keys is on or off")),
        }
    }
}

pub async fn show(context: Context, (): ()) -> Result<Page<HelpPage>, Problem> {
    let off = are_off(&context.asked.headers);
    Ok(Page(HelpPage::new(context.shell, off)))
}

pub async fn switch(context: Context, request: SwitchRequest) -> Result<SeeOther, Problem> {
    let seconds = if request.on { 0 } else { 365 * 24 * 3600 };
    let cookie = HeaderValue::try_from(format!("{OFF}; Path=/; Max-Age={seconds}; SameSite=Lax")).ok();
    Ok(SeeOther { place: format!("{}-/help", context.shell.root), cookie })
}

fn are_off(headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).any(|pair| pair.trim() == OFF)
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
            assert_eq!(are_off(&headers), off, "{cookie}");
        }
    }
}
