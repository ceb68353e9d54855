//! Addresses of the console: a request becomes a page or a [`Problem`], with the headers of every answer.

use std::{convert::Infallible, time::Instant};

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use jiff::Timestamp;
use tracing::{debug, error, warn};
use warp::{Filter, Rejection, Reply, path::FullPath, reject::Reject, reply::Response};

use super::{
    assets,
    database::Database,
    handlers,
    headers::{self, FOR_EVER},
    metrics::Metrics,
    pages::{Problem, Shell, render},
};
use crate::{dsn::ProjectId, protocol::event::EventId};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Seconds after which a database that is away is worth another try.
const RETRY: HeaderValue = HeaderValue::from_static("5");

/// What a handler came to.
pub enum Answer {
    Page(String),
    /// An event as it was sent. Nothing of it runs: not HTML, not sniffed, and the policy forbids the rest.
    Json(Vec<u8>),
    /// To another address, relative to the one asked for.
    Redirect(String),
    Asset(&'static assets::Asset),
}

/// All of the console. Requests for another host than this machine are answered 421 before anything else.
pub fn routes(
    database: Database,
    metrics: Metrics,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let at = || warp::path::full().map(|path: FullPath| Shell::at(path.as_str()));
    let with = move || {
        let database = database.clone();
        warp::any().map(move || database.clone())
    };
    let query = || warp::query::raw().or(warp::any().map(String::new)).unify();
    let finish = move |name: &'static str| {
        let metrics = metrics.clone();
        move |shell: Shell, started: Instant, result: Result<Answer, Problem>| {
            let response = respond(shell, result);
            metrics.observe(name, response.status(), started.elapsed());
            response
        }
    };
    // A route is (shell, started, what came of it); `finish` makes the response of it.
    let timed = || at().map(|shell| (shell, Instant::now())).untuple_one();

    let projects = warp::path::end()
        .and(timed())
        .and(with())
        .then(async |shell: Shell, started, database: Database| {
            let page = handlers::projects(&database, shell.clone(), Timestamp::now());
            let result = database.in_time(page).await;
            (shell, started, result)
        })
        .untuple_one()
        .map(finish("projects"));
    let project = warp::path!("projects" / ProjectId)
        .and(timed())
        .map(|project: ProjectId, shell: Shell, started| {
            // From the root: the address asked for may end with a slash.
            let to = format!("{}projects/{project}/issues", shell.root);
            (shell, started, Ok(Answer::Redirect(to)))
        })
        .untuple_one()
        .map(finish("project"));
    let issues = warp::path!("projects" / ProjectId / "issues")
        .and(query())
        .and(timed())
        .and(with())
        .then(async |project, query: String, shell: Shell, started, database: Database| {
            let page = handlers::issues(&database, shell.clone(), project, &query, Timestamp::now());
            let result = database.in_time(page).await;
            (shell, started, result)
        })
        .untuple_one()
        .map(finish("issues"));
    let issue = warp::path!("projects" / ProjectId / "issues" / i64)
        .and(timed())
        .and(with())
        .then(async |project, issue, shell: Shell, started, database: Database| {
            let page = handlers::issue(&database, shell.clone(), project, issue, Timestamp::now());
            let result = database.in_time(page).await;
            (shell, started, result)
        })
        .untuple_one()
        .map(finish("issue"));
    let event = warp::path!("projects" / ProjectId / "events" / EventId / "json")
        .and(timed())
        .and(with())
        .then(async |project, event, shell: Shell, started, database: Database| {
            let page = handlers::event_json(&database, project, event);
            let result = database.in_time(page).await;
            (shell, started, result)
        })
        .untuple_one()
        .map(finish("event_json"));
    let asset = warp::path!("static" / String)
        .and(timed())
        .map(|name: String, shell, started| {
            (shell, started, assets::find(&name).map(Answer::Asset).ok_or(Problem::NotFound("file")))
        })
        .untuple_one()
        .map(finish("asset"));
    let other = warp::method()
        .and(timed())
        .map(|method: Method, shell, started| {
            let read = matches!(method, Method::GET | Method::HEAD);
            (shell, started, Err(if read { Problem::NotFound("page") } else { Problem::MethodNotAllowed }))
        })
        .untuple_one()
        .map(finish("other"));

    let read = warp::get().or(warp::head()).unify();
    let pages = projects.or(project).unify().or(issues).unify().or(issue).unify().or(event).unify().or(asset).unify();
    for_this_machine().and(read.and(pages).or(other).unify()).recover(refuse).unify()
}

/// The guard against DNS rebinding.
fn for_this_machine() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    warp::header::headers_cloned()
        .and_then(
            async |headers: HeaderMap| {
                if headers::is_for_loopback(&headers) { Ok(()) } else { Err(warp::reject::custom(ForeignHost)) }
            },
        )
        .untuple_one()
}

#[derive(Debug)]
struct ForeignHost;
impl Reject for ForeignHost {}

/// No page, so that a foreign name learns nothing of what is here.
async fn refuse(rejection: Rejection) -> Result<Response, Infallible> {
    let (status, text) = if rejection.find::<ForeignHost>().is_some() {
        (StatusCode::MISDIRECTED_REQUEST, "This console answers to localhost, 127.0.0.1 and [::1] only.\n")
    } else {
        (StatusCode::BAD_REQUEST, "This request is not understood.\n")
    };
    let mut response = warp::reply::with_status(text, status).into_response();
    headers::guard(response.headers_mut());
    Ok(response)
}

fn respond(shell: Shell, result: Result<Answer, Problem>) -> Response {
    let mut response = match result {
        Ok(answer) => answer.into_response(),
        Err(problem) => tell(shell, &problem),
    };
    headers::guard(response.headers_mut());
    response
}

fn tell(shell: Shell, problem: &Problem) -> Response {
    let status = problem.status();
    match status {
        StatusCode::SERVICE_UNAVAILABLE => warn!(error = %problem, "Could not show a page for want of the database."),
        StatusCode::INTERNAL_SERVER_ERROR => error!(error = %problem, "Could not show a page."),
        _ => debug!(error = %problem, "Refused a request."),
    }
    let body = render(&problem.page(shell)).unwrap_or_else(|_| problem.to_string());
    let mut response = Answer::Page(body).into_response();
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

impl Answer {
    fn into_response(self) -> Response {
        let (content_type, body) = match self {
            Self::Page(html) => (HTML, html.into_bytes()),
            Self::Json(json) => (JSON, json),
            Self::Asset(asset) => {
                let mut response = asset.content.into_response();
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
                response.headers_mut().insert(CACHE_CONTROL, FOR_EVER);
                return response;
            }
            Self::Redirect(to) => {
                let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
                if let Ok(to) = HeaderValue::try_from(to) {
                    response.headers_mut().insert(LOCATION, to);
                }
                return response;
            }
        };
        let mut response = body.into_response();
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}
