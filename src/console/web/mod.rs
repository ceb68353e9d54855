//! From a request to a response, once for every route: the name that it was asked by, which route, who asks, whether a
//! form is our own, the handler, the headers of every answer, its time in the metrics, and a span about it.
//!
//! In comes a warp request, out goes a response, whatever happens. Used by `mod`; `routes` lists what there is.

pub mod answer;
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
use tracing::{Instrument, debug, error, field::Empty, info_span, warn};
use warp::{Filter, Reply, path::FullPath, reply::Response};

use self::{
    answer::{Answer, Page},
    origin::{Host, Hosts, Sent},
    request::{Request, field},
    router::{Found, Router},
};
use super::{
    auth::{Caller, Right},
    context::{Asked, Context},
    databases::Databases,
    metrics::Metrics,
    pages::{ProblemPage, Shell, SignInPage},
    problem::{self, Problem},
    rights::Rights,
    sign_in::{Credentials, SignIn},
};
use crate::server::Peer;

/// Longest path that is looked at. Our own have at most 1,024 bytes; each slash costs a step in every link of the page
/// that says there is nothing.
const MAX_PATH_BYTES: usize = 2048;

/// How long a form may take to come: its connection is one of a few.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest form: a token, or ten thousand checkboxes.
const MAX_FORM_BYTES: usize = 256 * 1024;

/// Seconds after which a database that is away is worth another try.
const RETRY: HeaderValue = HeaderValue::from_static("5");
/// After which one more token is.
const RETRY_SIGN_IN: HeaderValue = HeaderValue::from_static("60");

/// Name in the metrics of what no route was found for.
const NO_ROUTE: &str = "other";

/// What answers requests.
pub struct Console {
    pub router: Router,
    pub hosts: Hosts,
    pub sign_in: SignIn,
    pub rights: Rights,
    pub databases: Databases,
    pub metrics: Metrics,
}

/// The console as a warp filter that answers every request.
pub fn filter(
    console: Console,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let console = Arc::new(console);
    let query = warp::query::raw().or_else(async |_| Ok::<_, Infallible>((String::new(),)));
    let head = warp::method().and(warp::path::full()).and(query).and(warp::header::headers_cloned());
    let asked = head.and(warp::ext::optional::<Peer>()).and(warp::body::stream()).then(
        move |method: Method, path: FullPath, query: String, headers: HeaderMap, peer: Option<Peer>, body| {
            let console = Arc::clone(&console);
            async move {
                let hosts = console.hosts.clone();
                let peer = peer.map(|Peer(address)| address.ip());
                let asked = Asked { path: path.as_str().to_owned(), query, headers, hosts, peer };
                let mut response =
                    if asked.host().is_ok() { console.respond(asked, &method, body).await } else { foreign_host() };
                headers::guard(response.headers_mut());
                response
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
        let span = info_span!("request", route = name, project = Empty);
        let answered = async {
            let by_header = asked.headers.contains_key(AUTHORIZATION);
            let answer = match found {
                Ok(found) => self.answer(asked, found, body, &mut shell).await,
                Err(problem) => Err(problem),
            };
            answer.unwrap_or_else(|problem| tell(shell, &problem, by_header))
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
            Credentials { caller: Caller::Nobody, secret: None }
        } else {
            self.sign_in.authenticate(&asked.headers, host, asked.peer).await?
        };
        shell.show(&credentials);
        let form = if route.method == Method::POST {
            let reading = tokio::time::timeout(FORM_TIMEOUT, read(body));
            let form = reading.await.map_err(|_| Problem::BadQuery("the form came too slowly"))??;
            check_form(&asked.headers, host, route.right, &credentials, &form)?;
            form
        } else {
            Vec::new()
        };
        if route.right != Right::None && matches!(credentials.caller, Caller::Nobody) {
            return Err(if route.method == Method::POST { Problem::SessionOver } else { Problem::NotSignedIn });
        }
        let query = asked.query.clone();
        let context = Context {
            caller: credentials.caller,
            right: route.right,
            rights: self.rights.clone(),
            databases: self.databases.clone(),
            shell: shell.clone(),
            now: Timestamp::now(),
            asked,
            sign_in: self.sign_in.clone(),
        };
        let answering = route.answer(context, &Request { parameters, query: &query, form: &form });
        answering.await
    }
}

/// A form counts when a page of ours sent it; one that acts for somebody carries the token of their session too. A
/// program that shows who it is in a header has no cookie that a foreign page could use.
fn check_form(
    headers: &HeaderMap,
    host: Host<'_>,
    right: Right,
    credentials: &Credentials,
    form: &[u8],
) -> Result<(), Problem> {
    if headers.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    match origin::of_form(headers, host) {
        Sent::Here => {}
        Sent::HereWithoutTls => return Err(Problem::BadQuery("signing in needs HTTPS here: this page came without")),
        Sent::Elsewhere => return Err(Problem::ForeignForm),
    }
    match &credentials.secret {
        Some(secret) if right != Right::None => {
            let token = field(form, "form_token").unwrap_or_default();
            if secret.made_form(&token) { Ok(()) } else { Err(Problem::ForeignForm) }
        }
        _ => Ok(()),
    }
}

async fn read<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>>) -> Result<Vec<u8>, Problem> {
    let mut form = Vec::new();
    let mut body = std::pin::pin!(body);
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|_| Problem::BadQuery("the form ended early"))?;
        if form.len() + piece.remaining() > MAX_FORM_BYTES {
            return Err(Problem::TooLong(MAX_FORM_BYTES));
        }
        while piece.has_remaining() {
            let read = piece.chunk().len();
            form.extend_from_slice(piece.chunk());
            piece.advance(read);
        }
    }
    Ok(form)
}

fn tell(shell: Shell, problem: &Problem, by_header: bool) -> Response {
    let mut status = problem.status();
    match status {
        StatusCode::SERVICE_UNAVAILABLE => warn!(error = %problem, "Could not show a page."),
        StatusCode::INTERNAL_SERVER_ERROR => error!(error = %problem, "Could not show a page."),
        _ => debug!(error = %problem, "Refused a request."),
    }
    let place = match problem {
        Problem::Moved(place) | Problem::See(place) => Some(format!("{}{place}", shell.root)),
        // A program gets the status, a person the page.
        Problem::NotSignedIn if by_header => {
            status = StatusCode::UNAUTHORIZED;
            None
        }
        Problem::NotSignedIn => Some(SignInPage::address(&shell)),
        _ => None,
    };
    let page = match place {
        Some(_) => Ok(status.into_response()),
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
        StatusCode::TOO_MANY_REQUESTS => drop(headers.insert(RETRY_AFTER, RETRY_SIGN_IN)),
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
    use http::header::HOST;

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
            sign_in: SignIn::of_kubernetes(client.clone(), databases.clone()),
            rights: Rights::of_kubernetes(client),
            databases,
            metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
        }
    }

    async fn respond(console: &Console, method: &Method, path: &str) -> Response {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        let hosts = console.hosts.clone();
        let asked = Asked { path: path.to_owned(), query: String::new(), headers, hosts, peer: None };
        console.respond(asked, method, stream::empty::<Result<&[u8], warp::Error>>()).await
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
            let response = respond(&console, &route.method, &path).await;
            let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok()).unwrap_or_default();
            // A form is refused: this one was not sent from a page of ours either.
            let refused = place.contains("-/login") || response.status() == StatusCode::FORBIDDEN;
            let shows = route.right == Right::None && route.method == Method::GET;
            assert_eq!(refused, !shows, "{path}: {} {place}", response.status());
        }
        let place = respond(&console, &Method::GET, "/web/shop/issues").await.headers()[LOCATION].clone();
        assert_eq!(place, "../../-/login?to=web%2Fshop%2Fissues");
    }

    #[tokio::test]
    async fn a_form_of_another_page_does_nothing() {
        let console = console();
        for path in ["/-/login", "/-/logout"] {
            assert_eq!(respond(&console, &Method::POST, path).await.status(), StatusCode::FORBIDDEN, "{path}");
        }
    }
}
