//! Finds the route of a request: `matchit` knows the paths, this file the methods. Pure.

use std::future::ready;

use futures::future::BoxFuture;
use http::Method;
use warp::reply::Response;

use super::{
    answer::Answer,
    request::{FromRequest, Request},
};
use crate::console::{auth::Right, context::Context, problem::Problem};

/// One line of the table of routes.
pub struct Route {
    pub method: Method,
    /// As `matchit` reads it: `{name}` stands for one part.
    pub path: &'static str,
    pub name: &'static str,
    /// What the caller must be allowed to.
    pub right: Right,
    handler: Handler,
}

type Handler = Box<dyn Fn(Context, &Request<'_>) -> Answering + Send + Sync>;
pub type Answering = BoxFuture<'static, Result<Response, Problem>>;

/// A route to `handler`, whose own type says what it reads of the request.
pub fn route<R, A, F>(
    method: Method,
    path: &'static str,
    name: &'static str,
    right: Right,
    handler: fn(Context, R) -> F,
) -> Route
where
    R: FromRequest + 'static,
    A: Answer,
    F: Future<Output = Result<A, Problem>> + Send + 'static,
{
    let handler: Handler = Box::new(move |context, request| match R::from_request(request) {
        Ok(asked) => {
            let answer = handler(context, asked);
            Box::pin(async move { answer.await?.into_response() })
        }
        Err(problem) => Box::pin(ready(Err(problem))),
    });
    Route { method, path, name, right, handler }
}

impl Route {
    /// Whether what it says is JSON, problems too.
    #[must_use]
    pub fn answers_programs(&self) -> bool {
        self.path.strip_suffix(".json").is_some()
    }

    pub fn answer(&self, context: Context, request: &Request<'_>) -> Answering {
        (self.handler)(context, request)
    }
}

/// All routes by path. The routes of one path differ in their methods.
pub struct Router(matchit::Router<Vec<Route>>);

/// A route that was found, and the parts of the path that it names.
pub struct Found<'r> {
    pub route: &'r Route,
    pub parameters: matchit::Params<'r, 'r>,
}

impl Router {
    /// Errors: a path that is none, or two that cannot be told apart.
    pub fn new(routes: Vec<Route>) -> Result<Self, matchit::InsertError> {
        let mut by_path: Vec<(&'static str, Vec<Route>)> = Vec::new();
        for route in routes {
            match by_path.iter_mut().find(|(path, _)| *path == route.path) {
                Some((_, routes)) => routes.push(route),
                None => by_path.push((route.path, vec![route])),
            }
        }
        let mut paths = matchit::Router::new();
        for (path, routes) in by_path {
            paths.insert(path, routes)?;
        }
        Ok(Self(paths))
    }

    /// The route of a path with or without a slash at its end: Sentry's addresses have one, ours and GitLab's none.
    pub fn find<'r>(&'r self, method: &Method, path: &'r str) -> Result<Found<'r>, Problem> {
        let path = path.strip_suffix('/').filter(|path| path.len() > 1).unwrap_or(path);
        let matched = self.0.at(path).map_err(|_| Problem::NotFound("page"))?;
        let asked = if method == Method::HEAD { &Method::GET } else { method };
        match matched.value.iter().find(|route| route.method == *asked) {
            Some(route) => Ok(Found { route, parameters: matched.params }),
            None => Err(Problem::MethodNotAllowed(allowed(matched.value))),
        }
    }
}

fn allowed(routes: &[Route]) -> Vec<Method> {
    let mut methods: Vec<_> = routes.iter().map(|route| route.method.clone()).collect();
    if let Some(get) = methods.iter().position(|method| *method == Method::GET) {
        methods.insert(get + 1, Method::HEAD);
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::web::answer::Json;

    async fn nothing(_context: Context, (): ()) -> Result<Json, Problem> {
        Ok(Json(Vec::new()))
    }

    fn router() -> Router {
        let plain = |method, path, name| route(method, path, name, Right::None, nothing);
        Router::new(vec![
            plain(Method::GET, "/", "root"),
            plain(Method::GET, "/projects/{project}", "project"),
            plain(Method::GET, "/projects/{project}/issues/{issue}", "issue"),
            plain(Method::GET, "/projects/{project}/issues/{issue}.json", "issue as JSON"),
            plain(Method::GET, "/projects/{project}/issues/{issue}/events/{event}", "event"),
            plain(Method::PUT, "/projects/{project}/issues/{issue}", "update"),
            plain(Method::POST, "/api/v4/projects/{project}/keys", "make a key"),
            plain(Method::GET, "/{namespace}/{project}/issues", "named"),
        ])
        .unwrap()
    }

    #[test]
    fn routes_are_found_by_method_and_path() {
        let router = router();
        for (method, path, expected) in [
            ("GET", "/", Ok("root")),
            ("HEAD", "/", Ok("root")),
            ("GET", "/projects/7", Ok("project")),
            ("GET", "/projects/7/", Ok("project")),
            ("GET", "/projects/7//", Err("not found")),
            ("GET", "//", Err("not found")),
            ("GET", "/projects/", Err("not found")),
            ("GET", "/projects//issues/1", Err("not found")),
            ("GET", "/projects/7/issues/1", Ok("issue")),
            ("GET", "/projects/7/issues/1.json", Ok("issue as JSON")),
            ("GET", "/projects/7/issues/1.json/", Ok("issue as JSON")),
            ("GET", "/projects/7/issues/.json", Ok("issue")),
            ("GET", "/projects/7/issues/1.json/events/2", Ok("event")),
            ("PUT", "/projects/7/issues/1.json", Err("GET, HEAD")),
            ("PUT", "/projects/7/issues/1", Ok("update")),
            ("POST", "/projects/7/issues/1", Err("GET, HEAD, PUT")),
            ("GET", "/api/v4/projects/7/keys", Err("POST")),
            ("HEAD", "/api/v4/projects/7/keys", Err("POST")),
            ("POST", "/api/v4/projects/group%2Fshop/keys/", Ok("make a key")),
            ("POST", "/nothing", Err("not found")),
            ("GET", "/web/shop/issues", Ok("named")),
            ("GET", "/%70rojects/7", Err("not found")),
            ("GET", "/projects/{project}", Ok("project")),
            ("GET", "", Err("not found")),
        ] {
            let found = match router.find(&method.parse().unwrap(), path) {
                Ok(found) => Ok(found.route.name),
                Err(Problem::MethodNotAllowed(methods)) => Err(crate::console::problem::names(&methods)),
                Err(_) => Err("not found".to_owned()),
            };
            assert_eq!(found, expected.map_err(str::to_owned), "{method} {path}");
        }
    }

    #[test]
    fn parts_of_the_path_are_decoded_one_by_one() {
        let router = router();
        for (path, project) in [
            ("/projects/42", Some("42")),
            ("/projects/%34%32", Some("42")),
            ("/projects/a%2Fb", Some("a/b")),
            ("/projects/%zz", Some("%zz")),
            ("/projects/%C3%A4", Some("ä")),
            ("/projects/%ff", None),
        ] {
            let found = router.find(&Method::GET, path).unwrap();
            let request = Request { parameters: found.parameters, query: "", form: &[] };
            assert_eq!(request.parameter::<String>("project").ok().as_deref(), project, "{path}");
        }
    }

    /// What comes later: pages, and two APIs of others beside them.
    #[test]
    fn a_table_of_hundreds_has_no_doubts() {
        let paths = ["", "/api/0/organizations/{organization}", "/api/v4/projects/{id}", "/-"];
        let table = (0..50).flat_map(|number| {
            let path = move |prefix: &str| -> &'static str { format!("{prefix}/part{number}/{{id}}/deep").leak() };
            paths.map(|prefix| route(Method::GET, path(prefix), "page", Right::ReadIssues, nothing))
        });
        let router = Router::new(table.collect()).unwrap();
        assert!(router.find(&Method::GET, "/api/v4/projects/3/part49/5/deep").is_ok());
    }

    #[test]
    fn two_routes_for_the_same_addresses_are_refused() {
        let twins = ["/projects/{project}", "/projects/{id}"];
        let routes = twins.map(|path| route(Method::GET, path, "twin", Right::None, nothing));
        assert!(Router::new(routes.into()).is_err());
    }
}
