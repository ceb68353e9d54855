//! Every address of the console. Paths are matched without a trailing slash, with one they are the same; `HEAD` goes
//! with `GET`. A route's name is its label in metrics and traces.

use http::Method;

use super::{
    auth::Right,
    handlers::{asset, event, issue, issues, keys, project, projects},
    web::router::{Route, route},
};

const GET: Method = Method::GET;

#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    vec![
        //    method path                                         name          right              handler
        route(GET,   "/",                                         "projects",   Right::ReadIssues, projects::list),
        route(GET,   "/projects/{project}",                       "project",    Right::None,       project::redirect),
        route(GET,   "/projects/{project}/issues",                "issues",     Right::ReadIssues, issues::list),
        route(GET,   "/projects/{project}/keys",                  "keys",        Right::ReadIssues, keys::list),
        route(GET,   "/projects/{project}/issues/{issue}",        "issue",      Right::ReadEvents, issue::show),
        route(GET,   "/projects/{project}/events/{event}/json",   "event_json", Right::ReadEvents, event::json),
        route(GET,   "/static/{file}",                            "asset",      Right::None,       asset::download),
    ]
}
