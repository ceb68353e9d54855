//! From a request to a response, once for every route: who asks, which route, whether they may, the handler, the
//! headers of every answer, its time in the metrics, and a span about it.
//!
//! In comes a warp request, out goes a response, whatever happens. Used by `mod`; `routes` lists what there is.

pub mod answer;
pub mod headers;
pub mod request;
pub mod router;

use std::{convert::Infallible, sync::Arc, time::Instant};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, RETRY_AFTER},
};
use jiff::Timestamp;
use tracing::{Instrument, debug, error, field::Empty, info_span, warn};
use warp::{Filter, Reply, path::FullPath, reply::Response};

use self::{
    answer::{Answer, Page},
    request::Request,
    router::{Found, Router},
};
use super::{
    auth::{self, Caller, Policy, Right},
    context::Context,
    databases::Databases,
    metrics::Metrics,
    pages::{ProblemPage, Shell},
    problem::{self, Problem},
};

/// Longest path that is looked at. Our own have at most 128 bytes; each slash costs a step in every link of the page
/// that says there is nothing.
const MAX_PATH_BYTES: usize = 2048;

/// Seconds after which a database that is away is worth another try.
const RETRY: HeaderValue = HeaderValue::from_static("5");

/// Name in the metrics of what no route was found for.
const NO_ROUTE: &str = "other";

/// What answers requests.
pub struct Console {
    pub router: Router,
    pub policy: Policy,
    pub databases: Databases,
    pub metrics: Metrics,
}

/// The console as a warp filter that answers every request.
pub fn filter(
    console: Console,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let console = Arc::new(console);
    let query = warp::query::raw().or_else(async |_| Ok::<_, Infallible>((String::new(),)));
    warp::method().and(warp::path::full()).and(query).and(warp::header::headers_cloned()).then(
        move |method: Method, path: FullPath, query: String, headers: HeaderMap| {
            let console = Arc::clone(&console);
            async move {
                let mut response = match auth::authenticate(&headers) {
                    Some(caller) => console.respond(caller, &method, path.as_str(), &query).await,
                    None => foreign_host(),
                };
                headers::guard(response.headers_mut());
                response
            }
        },
    )
}

/// No page, so that a foreign name learns nothing of what is here.
fn foreign_host() -> Response {
    let text = "This console answers to localhost, 127.0.0.1 and [::1] only.\n";
    warp::reply::with_status(text, StatusCode::MISDIRECTED_REQUEST).into_response()
}

impl Console {
    async fn respond(&self, caller: Caller, method: &Method, path: &str, query: &str) -> Response {
        if path.len() > MAX_PATH_BYTES {
            return warp::reply::with_status("This address is too long.\n", StatusCode::URI_TOO_LONG).into_response();
        }
        let started = Instant::now();
        let shell = Shell::at(path);
        let found = self.router.find(method, path);
        let name = found.as_ref().map_or(NO_ROUTE, |found| found.route.name);
        let span = info_span!("request", route = name, project = Empty);
        let answered = async {
            let answer = match found {
                Ok(found) => self.answer(caller, found, query, shell.clone()).await,
                Err(problem) => Err(problem),
            };
            answer.unwrap_or_else(|problem| tell(shell, &problem))
        };
        let response = answered.instrument(span).await;
        self.metrics.observe(name, response.status(), started.elapsed());
        response
    }

    async fn answer(&self, caller: Caller, found: Found<'_>, query: &str, shell: Shell) -> Result<Response, Problem> {
        let Found { route, parameters } = found;
        // What is about one project is asked again by `Context`, once the project is known.
        if route.right != Right::None && !(self.policy)(caller, route.right, None) {
            return Err(Problem::NotFound("page"));
        }
        let context = Context {
            caller,
            right: route.right,
            policy: self.policy,
            databases: self.databases.clone(),
            shell,
            now: Timestamp::now(),
        };
        let answering = route.answer(context, &Request { parameters, query });
        answering.await
    }
}

fn tell(shell: Shell, problem: &Problem) -> Response {
    let status = problem.status();
    match status {
        StatusCode::SERVICE_UNAVAILABLE => warn!(error = %problem, "Could not show a page for want of the database."),
        StatusCode::INTERNAL_SERVER_ERROR => error!(error = %problem, "Could not show a page."),
        _ => debug!(error = %problem, "Refused a request."),
    }
    let page = Page(ProblemPage::new(shell, problem)).into_response();
    let mut response = page.unwrap_or_else(|_| problem.to_string().into_response());
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY);
    }
    if let Problem::MethodNotAllowed(methods) = problem
        && let Ok(allow) = HeaderValue::try_from(problem::names(methods))
    {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        console::{assets, routes::routes},
        dsn::ProjectId,
        store::console::Project,
    };

    /// A console whose database nobody could reach, for callers that the policy decides about.
    fn console(policy: Policy) -> Console {
        let directory = std::env::temp_dir().join(format!("console-web-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        for (file, text) in [("host", "127.0.0.1"), ("port", "1"), ("dbname", "d"), ("username", "u")] {
            std::fs::write(directory.join(file), text).unwrap();
        }
        let databases = Databases::open(&directory).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        Console { router: Router::new(routes()).unwrap(), policy, databases, metrics }
    }

    #[tokio::test]
    async fn every_route_asks_for_its_right() {
        let console = console(|_, _, _| false);
        for route in routes() {
            let path = route
                .path
                .replace("{project}", "7")
                .replace("{issue}", "30064771073")
                .replace("{event}", "0123456789abcdef0123456789abcdef")
                .replace("{file}", &assets::ICON.name);
            let response = console.respond(Caller::Loopback, &route.method, &path, "").await;
            assert_eq!(response.status() == StatusCode::NOT_FOUND, route.right != Right::None, "{path}");
        }
    }

    #[tokio::test]
    async fn a_project_is_asked_about_by_name_too() {
        let project = |name: &str| Project {
            id: ProjectId::try_from(7).unwrap(),
            namespace: "web".to_owned(),
            name: name.to_owned(),
            display_name: None,
            platform: None,
            server: None,
        };
        let console = console(|_, _, project| project.is_none_or(|project| project.name == "shop"));
        let context = Context {
            caller: Caller::Loopback,
            right: Right::ReadIssues,
            policy: console.policy,
            databases: console.databases,
            shell: Shell::at("/"),
            now: Timestamp::UNIX_EPOCH,
        };
        assert!(context.permits(&project("shop")) && !context.permits(&project("pay")));
    }
}
