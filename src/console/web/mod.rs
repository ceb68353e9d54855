//! From a request to a response, once for every route: the name that it was asked by, which route, who asks, whether a
//! form is our own, the handler, the headers of every answer, its time in the metrics, and a span about it.
//!
//! In comes a warp request, out goes a response, whatever happens. Used by `mod`; `routes` lists what there is.

pub mod answer;
mod encoding;
pub mod headers;
pub mod origin;
pub mod request;
pub mod router;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Buf;
use futures::{Stream, StreamExt};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ALLOW, AUTHORIZATION, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::{Instrument, debug, error, field::Empty, info_span, warn};
use warp::{Filter, Reply, path::FullPath, reply::Response};

use self::{
    answer::{Answer, Json, Page},
    origin::{Host, Hosts, Sent},
    request::{Request, field},
    router::{Found, Route, Router},
};
use super::{
    auth::{Caller, Right},
    context::{Asked, Context},
    databases::Databases,
    metrics::Metrics,
    pages::{ProblemPage, Shell, SignInPage, for_program},
    problem::{self, Problem},
    rights::Rights,
    sign_in::{Credentials, Scopes, SignIn},
    trends::Trends,
};

/// Longest path that is looked at. Our own have at most 1,024 bytes; each slash costs a step in every link of the page
/// that says there is nothing.
const MAX_PATH_BYTES: usize = 2048;

/// How long a form may take to come: its connection is one of a few.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// What is held of the forms that are on their way: all of them, when all are as long and as slow as they may be, take
/// less than 16 MiB.
pub struct Forms {
    /// From people who are signed in.
    own: Lane,
    /// From anybody else, who can only sign in.
    strangers: Lane,
}

struct Lane {
    places: Semaphore,
    max_bytes: usize,
}

impl Default for Forms {
    fn default() -> Self {
        let lane = |places, max_bytes| Lane { places: Semaphore::new(places), max_bytes };
        // Ten thousand checkboxes, and a token.
        Self { own: lane(32, 256 * 1024), strangers: lane(256, 24 * 1024) }
    }
}

/// Seconds after which a database that is away, or a console that is crowded, is worth another try.
const RETRY: HeaderValue = HeaderValue::from_static("5");

/// Name in the metrics of what no route was found for.
const NO_ROUTE: &str = "other";

/// What answers requests.
pub struct Console {
    pub router: Router,
    pub hosts: Hosts,
    pub sign_in: SignIn,
    pub rights: Rights,
    pub databases: Databases,
    pub trends: Trends,
    pub metrics: Metrics,
    pub forms: Forms,
}

/// The console as a warp filter that answers every request.
pub fn filter(
    console: Console,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let console = Arc::new(console);
    let query = warp::query::raw().or_else(async |_| Ok::<_, Infallible>((String::new(),)));
    let head = warp::method().and(warp::path::full()).and(query).and(warp::header::headers_cloned());
    let asked = head.and(warp::body::stream()).then(
        move |method: Method, path: FullPath, query: String, headers: HeaderMap, body| {
            let console = Arc::clone(&console);
            async move {
                let (hosts, takes_gzip) = (console.hosts.clone(), encoding::takes_gzip(&headers));
                let asked = Asked { path: path.as_str().to_owned(), query, headers, hosts };
                let mut response =
                    if asked.host().is_ok() { console.respond(asked, &method, body).await } else { foreign_host() };
                headers::guard(response.headers_mut());
                encoding::encode(response, takes_gzip).await
            }
        },
    );
    asked.or_else(async |_| Ok::<_, Infallible>((StatusCode::BAD_REQUEST.into_response(),)))
}

/// No page, so that a foreign name learns nothing of what is here.
fn foreign_host() -> Response {
    let text = "This console does not answer to this name. It answers to localhost, to 127.0.0.1 and [::1], and to the \
                names that it was given with --host.\n";
    warp::reply::with_status(text, StatusCode::MISDIRECTED_REQUEST).into_response()
}

impl Console {
    async fn respond<B: Buf>(
        &self,
        asked: Asked,
        method: &Method,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Response {
        let path = asked.path.clone();
        if path.len() > MAX_PATH_BYTES {
            return warp::reply::with_status("This address is too long.\n", StatusCode::URI_TOO_LONG).into_response();
        }
        let started = Instant::now();
        let mut shell = Shell::at(&path, &asked.query);
        let found = self.router.find(method, &path);
        let name = found.as_ref().map_or(NO_ROUTE, |found| found.route.name);
        let to_program = match &found {
            Ok(found) => found.route.answers_programs(),
            Err(_) => path.trim_end_matches('/').strip_suffix(".json").is_some(),
        };
        let span = info_span!("request", route = name, project = Empty);
        let answered = async {
            let to = if to_program {
                Reader::Program
            } else if asked.headers.contains_key(AUTHORIZATION) {
                Reader::SignedInByHeader
            } else {
                Reader::Person
            };
            let answer = match found {
                Ok(found) => self.answer(asked, found, body, &mut shell).await,
                Err(problem) => Err(problem),
            };
            answer.unwrap_or_else(|problem| tell(shell, &problem, to))
        };
        let response = answered.instrument(span).await;
        self.metrics.observe(name, response.status(), started.elapsed());
        response
    }

    async fn answer<B: Buf>(
        &self,
        asked: Asked,
        found: Found<'_>,
        body: impl Stream<Item = Result<B, warp::Error>>,
        shell: &mut Shell,
    ) -> Result<Response, Problem> {
        let Found { route, parameters } = found;
        let host = asked.host()?;
        let credentials = if route.right == Right::None {
            Credentials { caller: Caller::Nobody, secret: None, scopes: Scopes::All }
        } else {
            self.sign_in.authenticate(&route.method, &asked.headers, host).await?
        };
        shell.show(&credentials);
        let is_form = route.method == Method::POST;
        if is_form {
            check_sender(&asked.headers, host, route)?;
        }
        if route.right != Right::None && matches!(credentials.caller, Caller::Nobody) {
            return Err(if is_form { Problem::SessionOver } else { Problem::NotSignedIn });
        }
        // Nothing is read of a form before it is clear that it may count.
        let form = if is_form { self.forms.read(route.right, body).await? } else { Vec::new() };
        if is_form {
            check_token(route.right, &credentials, &form)?;
        }
        if !credentials.scopes.cover(route.right) {
            return Err(Problem::NotInScope);
        }
        let query = asked.query.clone();
        let context = Context {
            caller: credentials.caller,
            scopes: credentials.scopes,
            right: route.right,
            rights: self.rights.clone(),
            databases: self.databases.clone(),
            trends: self.trends.clone(),
            shell: shell.clone(),
            now: Timestamp::now(),
            asked,
            sign_in: self.sign_in.clone(),
        };
        let answering = route.answer(context, &Request { parameters, query: &query, form: &form });
        answering.await
    }
}

/// A form counts when a page of ours sent it. A program that shows who it is in a header has no cookie that a foreign page
/// could use; for a form where nobody needs to be anybody, the header says nothing.
fn check_sender(headers: &HeaderMap, host: Host<'_>, route: &Route) -> Result<(), Problem> {
    if (route.right != Right::None || route.answers_programs()) && headers.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    match origin::of_form(headers, host) {
        Sent::Here => Ok(()),
        Sent::HereWithoutTls => Err(Problem::BadQuery("signing in needs HTTPS here: this page came without")),
        Sent::Elsewhere => Err(Problem::ForeignForm),
    }
}

/// One that acts for the session of a cookie carries the token of that session.
fn check_token(right: Right, credentials: &Credentials, form: &[u8]) -> Result<(), Problem> {
    match &credentials.secret {
        Some(secret) if right != Right::None => {
            let token = field(form, "form_token").unwrap_or_default();
            if secret.made_form(&token) { Ok(()) } else { Err(Problem::ForeignForm) }
        }
        _ => Ok(()),
    }
}

impl Forms {
    /// The whole of a form. Errors: it is too long or too slow, or as many are being read as may be.
    async fn read<B: Buf>(
        &self,
        right: Right,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Vec<u8>, Problem> {
        let lane = if right == Right::None { &self.strangers } else { &self.own };
        let _place = lane.places.try_acquire().map_err(|_| Problem::Crowded)?;
        let reading = tokio::time::timeout(FORM_TIMEOUT, read(body, lane.max_bytes));
        reading.await.map_err(|_| Problem::BadForm("it came too slowly"))?
    }
}

async fn read<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>>, max_bytes: usize) -> Result<Vec<u8>, Problem> {
    let mut form = Vec::new();
    let mut body = std::pin::pin!(body);
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| Problem::BadForm("it ended early"))?;
        if form.len() + piece.remaining() > max_bytes {
            return Err(Problem::TooLong(max_bytes));
        }
        while piece.has_remaining() {
            let read = piece.chunk().len();
            form.extend_from_slice(piece.chunk());
            piece.advance(read);
        }
    }
    Ok(form)
}

/// Who reads what is said of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Person,
    /// A program that asks for a page: it gets the status, and the page.
    SignedInByHeader,
    /// One that asks for JSON.
    Program,
}

fn tell(shell: Shell, problem: &Problem, to: Reader) -> Response {
    let mut status = problem.status();
    match status {
        StatusCode::SERVICE_UNAVAILABLE => warn!(error = %problem, "Could not show a page."),
        StatusCode::INTERNAL_SERVER_ERROR => error!(error = %problem, "Could not show a page."),
        _ => debug!(error = %problem, "Refused a request."),
    }
    let place = match problem {
        Problem::Moved(place) | Problem::See(place) => Some(format!("{}{place}", shell.root)),
        Problem::NotSignedIn if to != Reader::Person => {
            status = StatusCode::UNAUTHORIZED;
            None
        }
        Problem::NotSignedIn => Some(SignInPage::address(&shell)),
        _ => None,
    };
    let page = match place {
        Some(_) => Ok(status.into_response()),
        None if to == Reader::Program => Json::of(&for_program(shell, problem, status)).and_then(Json::into_response),
        None => Page(ProblemPage::new(shell, problem)).into_response(),
    };
    let mut response = page.unwrap_or_else(|_| problem.to_string().into_response());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(Ok(place)) = place.map(HeaderValue::try_from) {
        headers.insert(LOCATION, place);
    }
    match status {
        StatusCode::SERVICE_UNAVAILABLE => drop(headers.insert(RETRY_AFTER, RETRY)),
        StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        _ => {}
    }
    if let Problem::MethodNotAllowed(methods) = problem
        && let Ok(allow) = HeaderValue::try_from(problem::names(methods))
    {
        headers.insert(ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http::header::{HOST, ORIGIN};

    use super::*;
    use crate::console::{assets, routes::routes};

    /// A console whose API server and database nobody could reach.
    fn console() -> Console {
        let directory = std::env::temp_dir().join(format!("console-web-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).unwrap();
        for (file, text) in [("host", "127.0.0.1"), ("port", "1"), ("dbname", "d"), ("username", "u")] {
            std::fs::write(directory.join(file), text).unwrap();
        }
        let databases = Databases::open(&directory).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        let client = kube::Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        Console {
            router: Router::new(routes()).unwrap(),
            hosts: Hosts::default(),
            sign_in: SignIn::of_kubernetes(client.clone(), None, databases.clone()),
            rights: Rights::of_kubernetes(client),
            databases,
            trends: Trends::default(),
            metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
            forms: Forms::default(),
        }
    }

    /// With a body that must not be read.
    async fn respond(console: &Console, method: &Method, path: &str, origin: &'static str) -> Response {
        let value = HeaderValue::from_static;
        let headers = HeaderMap::from_iter([(HOST, value("localhost")), (ORIGIN, value(origin))]);
        let hosts = console.hosts.clone();
        let unread = stream::once(async { panic!("the form was read") });
        let asked = Asked { path: path.to_owned(), query: String::new(), headers, hosts };
        console.respond(asked, method, unread.map(Ok::<&[u8], warp::Error>)).await
    }

    #[tokio::test]
    async fn nobody_sees_anything_of_a_project_without_signing_in() {
        let console = console();
        for route in routes() {
            let path = route
                .path
                .replace("{namespace}", "web")
                .replace("{project}", "shop")
                .replace("{issue}", "1")
                .replace("{event}", "0123456789abcdef0123456789abcdef")
                .replace("{file}", &assets::ICON.name);
            if route.right == Right::None && route.method == Method::POST {
                continue;
            }
            let response = respond(&console, &route.method, &path, "http://localhost").await;
            let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok()).unwrap_or_default();
            // A program is not sent to a form.
            let refused = place.contains("-/login") || response.status() == StatusCode::UNAUTHORIZED;
            let shows = route.right == Right::None;
            assert_eq!(refused, !shows, "{path}: {} {place}", response.status());
        }
        let place = respond(&console, &Method::GET, "/web/shop/issues", "").await.headers()[LOCATION].clone();
        assert_eq!(place, "../../-/login?to=web%2Fshop%2Fissues");
    }

    #[tokio::test]
    async fn a_form_of_another_page_does_nothing() {
        let console = console();
        for path in ["/-/login", "/-/logout", "/web/shop/issues/1"] {
            let status = respond(&console, &Method::POST, path, "https://attacker.example").await.status();
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        }
    }

    #[tokio::test]
    async fn forms_are_read_up_to_their_length_and_only_so_many_at_once() {
        let forms = Forms::default();
        let of =
            |bytes: usize| stream::once(async move { Ok::<_, warp::Error>(bytes::Bytes::from(vec![b'x'; bytes])) });
        for (right, most) in [(Right::None, 24 * 1024), (Right::UpdateIssues, 256 * 1024)] {
            assert_eq!(forms.read(right, of(most)).await.unwrap().len(), most);
            assert!(matches!(forms.read(right, of(most + 1)).await, Err(Problem::TooLong(_))));
        }
        let _taken = forms.strangers.places.acquire_many(256).await.unwrap();
        assert!(matches!(forms.read(Right::None, of(1)).await, Err(Problem::Crowded)));
        assert!(forms.read(Right::UpdateIssues, of(1)).await.is_ok());
    }
}
