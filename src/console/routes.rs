//! Every address of the console. Paths are matched without a trailing slash, with one they are the same; `HEAD` goes
//! with `GET`. A route's name is its label in metrics and traces.

use http::Method;

use super::{
    auth::Right,
    handlers::{
        act, asset, event, events, go, health, help, issue, issues, keys, project, projects, releases, setup, sign_in,
        suggest, ticket, tokens,
    },
    web::router::{Route, route},
};

const GET: Method = Method::GET;
const POST: Method = Method::POST;

/// Our own pages are below `/-/`: no namespace can be called that.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    vec![
        //    method path                                                       name          right              handler
        route(GET,   "/",                                                       "projects",   Right::ReadIssues, projects::list),
        route(GET,   "/{namespace}/{project}",                                  "project",    Right::ReadIssues, project::errors),
        route(GET,   "/{namespace}/{project}/issues",                           "issues",     Right::ReadIssues, issues::list),
        route(GET,   "/{namespace}/{project}/issues/{issue}",                   "issue",      Right::ReadIssues, issue::show),
        route(GET,   "/{namespace}/{project}/issues.json",                      "issues_json", Right::ReadIssues, issues::list_json),
        route(GET,   "/{namespace}/{project}/issues/{issue}.json",              "issue_json", Right::ReadIssues, issue::show_json),
        route(POST,  "/{namespace}/{project}/issues.json",                      "act_issues_json", Right::UpdateIssues, act::on_issues_json),
        route(POST,  "/{namespace}/{project}/issues/{issue}.json",              "act_issue_json", Right::UpdateIssues, act::on_issue_json),
        route(POST,  "/{namespace}/{project}/issues",                           "act_issues", Right::UpdateIssues, act::on_issues),
        route(POST,  "/{namespace}/{project}/issues/{issue}",                   "act_issue",  Right::UpdateIssues, act::on_issue),
        route(GET,   "/{namespace}/{project}/issues/{issue}/events",            "events",     Right::ReadEvents, events::list),
        route(GET,   "/{namespace}/{project}/issues/{issue}/events/latest",     "latest",     Right::ReadEvents, events::latest),
        route(GET,   "/{namespace}/{project}/issues/{issue}/events/oldest",     "oldest",     Right::ReadEvents, events::oldest),
        route(GET,   "/{namespace}/{project}/issues/{issue}/events/{event}",    "event",      Right::ReadEvents, issue::show_event),
        route(GET,   "/{namespace}/{project}/events/{event}/json",              "event_json", Right::ReadEvents, event::json),
        route(GET,   "/{namespace}/{project}/keys",                             "keys",       Right::ReadKeys,   keys::list),
        route(GET,   "/{namespace}/{project}/health",                           "health",     Right::ReadIssues, health::show),
        route(GET,   "/{namespace}/{project}/releases",                         "releases",   Right::ReadIssues, releases::list),
        route(GET,   "/{namespace}/{project}/releases/{release}",               "release",    Right::ReadIssues, releases::show),
        route(GET,   "/{namespace}/{project}/setup",                            "setup",      Right::ReadIssues, setup::show),
        route(GET,   "/-/go",                                                   "go",         Right::ReadIssues, go::find),
        route(GET,   "/-/e/{event}",                                            "find_event", Right::ReadEvents, go::event),
        route(GET,   "/-/suggest/{namespace}/{project}.json",                   "suggest",    Right::ReadIssues, suggest::suggest),
        route(GET,   "/-/login",                                                "login",      Right::None,       sign_in::ask),
        route(POST,  "/-/login",                                                "sign_in",    Right::None,       sign_in::begin),
        route(GET,   "/-/oidc/start",                                           "oidc_start", Right::None,       sign_in::depart),
        route(GET,   "/-/oidc/callback",                                        "oidc_end",   Right::None,       sign_in::arrive),
        route(GET,   "/-/help",                                                 "help",       Right::None,       help::show),
        route(POST,  "/-/help",                                                 "switch_keys", Right::None,      help::switch),
        route(POST,  "/-/ticket.json",                                          "make_ticket", Right::None,      ticket::make),
        route(GET,   "/-/ticket",                                               "ticket",     Right::None,       ticket::show),
        route(POST,  "/-/ticket",                                               "use_ticket", Right::None,       ticket::begin),
        route(GET,   "/-/tokens",                                               "tokens",     Right::SignedIn,   tokens::list),
        route(POST,  "/-/tokens",                                               "make_token", Right::SignedIn,   tokens::make),
        route(POST,  "/-/tokens.json",                                          "make_token_json", Right::SignedIn, tokens::make_json),
        route(POST,  "/-/tokens/revoke",                                        "revoke_token", Right::SignedIn, tokens::revoke),
        route(POST,  "/-/sessions/end",                                         "end_sessions", Right::SignedIn, tokens::end_sessions),
        route(POST,  "/-/undo/{namespace}/{project}",                           "undo",       Right::UpdateIssues, act::undo),
        route(POST,  "/-/logout",                                               "sign_out",   Right::None,       sign_in::end),
        route(GET,   "/-/static/{file}",                                        "asset",      Right::None,       asset::download),
    ]
}
