//! Sign-in by Kubernetes tokens, and who sees what: against an API server that reviews as it is told to.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};

use crate::{
    client::{Answer, get, send},
    events,
    support::proxy::Mode,
    world::{World, project},
};

/// An API server that knows two reviews.
#[derive(Clone, Default)]
pub struct Cluster(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What was asked, in order: `token TOKEN`, `USER VERB SUBRESOURCE NAMESPACE/NAME`.
    asked: Vec<String>,
    /// Of users and groups: `WHO VERB SUBRESOURCE NAMESPACE/NAME`, where an empty part stands for all.
    rights: BTreeSet<String>,
    /// Whether it answers 403 to everything.
    refuses: bool,
}

impl Cluster {
    pub fn start(rights: &[&str]) -> (Self, kube::Client) {
        let cluster = Self::default();
        cluster.0.lock().unwrap().rights = rights.iter().map(|right| (*right).to_owned()).collect();
        let answering = cluster.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let answering = answering.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect_bytes().await.unwrap();
                let (status, answer) = answering.answer(&path, &serde_json::from_slice(&body).unwrap());
                let body = kube::client::Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(http::Response::builder().status(status).body(body).unwrap())
            }
        });
        let client = kube::Client::new(service, "default");
        (cluster, client)
    }

    fn answer(&self, path: &str, review: &Value) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        if state.refuses {
            return (
                403,
                json!({"kind": "Status", "apiVersion": "v1", "code": 403, "message": "no", "reason": "Forbidden"}),
            );
        }
        let mut answer = review.clone();
        let spec = &review["spec"];
        match path {
            "/apis/authentication.k8s.io/v1/tokenreviews" => {
                assert_eq!(spec["audiences"], json!(["errortracking"]));
                let token = spec["token"].as_str().unwrap();
                state.asked.push(format!("token {token}"));
                // `NAME` or a JWT whose signature is the name.
                let name = token.rsplit('.').next().unwrap();
                let user = json!({"username": name, "uid": format!("{name}-uid"), "groups": ["team", "system:authenticated"], "extra": {"node": ["n"]}});
                answer["status"] = match name {
                    "ada" | "bob" | "eve" => {
                        json!({"authenticated": true, "user": user, "audiences": ["errortracking"]})
                    }
                    "root" => json!({"authenticated": true, "user": user}),
                    _ => json!({"authenticated": false, "error": "invalid bearer token"}),
                };
            }
            "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
                let name = spec["user"].as_str().unwrap();
                let groups: Vec<String> = serde_json::from_value(spec["groups"].clone()).unwrap();
                if name.starts_with("oidc:") {
                    assert_eq!((spec.get("uid"), &spec["extra"]), (None, &json!({})));
                } else {
                    assert_eq!(spec["uid"], json!(format!("{name}-uid")));
                    assert_eq!(groups, ["team", "system:authenticated"]);
                    assert_eq!(spec["extra"], json!({"node": ["n"]}));
                }
                let asked = &spec["resourceAttributes"];
                assert_eq!(
                    (&asked["group"], &asked["resource"]),
                    (&json!("errortracking.dev"), &json!("errortrackingprojects"))
                );
                let part = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
                let [verb, subresource, namespace, object] = ["verb", "subresource", "namespace", "name"].map(part);
                state.asked.push(format!("{name} {verb} {subresource} {namespace}/{object}"));
                let wider = [format!("{namespace}/{object}"), format!("{namespace}/"), "/".to_owned()];
                let allowed = groups.iter().map(String::as_str).chain([name]).any(|subject| {
                    let right = |scope| format!("{subject} {verb} {subresource} {scope}");
                    wider.iter().any(|scope| state.rights.contains(&right(scope)))
                });
                answer["status"] = json!({"allowed": allowed});
            }
            other => panic!("{other} was asked"),
        }
        (201, answer)
    }

    pub fn grant(&self, right: &str) {
        self.0.lock().unwrap().rights.insert(right.to_owned());
    }

    /// Whether it answers 403 to everything.
    pub fn refuse(&self, refuses: bool) {
        self.0.lock().unwrap().refuses = refuses;
    }

    /// What was asked since this was called last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

pub const LOOPBACK: (&str, &str) = ("Host", "127.0.0.1:8000");
pub const FROM_HERE: (&str, &str) = ("Origin", "http://127.0.0.1:8000");

async fn log_in(world: &World, token: &str) -> Answer {
    let form = format!("token={token}&to=web%2Fshop%2Fissues%2F1");
    send(world.console, "POST", "/-/login", &[LOOPBACK, FROM_HERE], &form).await
}

/// The cookie that a browser sends from then on.
pub async fn session(world: &World, token: &str) -> String {
    let answer = log_in(world, token).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

/// The token of the forms of a page.
pub fn form_token(page: &str) -> String {
    Regex::new(r#"name="form_token" value="([^"]+)""#).unwrap().captures(page).unwrap()[1].to_owned()
}

pub async fn page(world: &World, cookie: &str, path: &str) -> Answer {
    send(world.console, "GET", path, &[LOOPBACK, ("Cookie", cookie)], "").await
}

pub async fn with_rights(rights: &[&str]) -> (World, Cluster) {
    let (cluster, client) = Cluster::start(rights);
    let world = World::with_sign_in(client).await;
    world.send(&[events::checkout()]).await;
    (world, cluster)
}

const ISSUES_OF_WEB: &str = "ada get issues web/";
const EVENTS_OF_WEB: &str = "ada get events web/";

#[tokio::test]
async fn a_token_leads_to_the_page_that_was_asked_for_and_a_sign_out_ends_it_everywhere() {
    let (world, _cluster) = with_rights(&[ISSUES_OF_WEB, EVENTS_OF_WEB]).await;
    let asked = get(world.console, "/web/shop/issues/1?a=b").await;
    assert_eq!((asked.status, asked.header("location")), (303, "../../../-/login?to=web%2Fshop%2Fissues%2F1%3Fa%3Db"));
    let form = get(world.console, "/-/login?to=web%2Fshop%2Fissues%2F1").await;
    assert!(form.status == 200 && form.body.contains(r#"name="to" value="web/shop/issues/1""#), "{}", form.body);
    assert!(form.body.contains("--audience errortracking"), "{}", form.body);

    let signed_in = log_in(&world, "ada").await;
    assert_eq!((signed_in.status, signed_in.header("location")), (303, "../web/shop/issues/1"));
    let cookie = signed_in.header("set-cookie");
    assert!(cookie.starts_with("errortracking=") && cookie.ends_with("; HttpOnly; SameSite=Lax"), "{cookie}");
    assert!(cookie.contains("Max-Age=28800"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let shown = page(&world, &cookie, "/web/shop/issues/1").await;
    assert!(shown.status == 200 && shown.body.contains("CheckoutFailed"), "{}", shown.body);
    assert!(shown.body.contains(r#"<span class="muted">ada</span>"#), "{}", shown.body);

    let out = send(world.console, "POST", "/-/logout", &[LOOPBACK, FROM_HERE, ("Cookie", &cookie)], "").await;
    assert_eq!((out.status, out.header("location")), (303, "../-/login"));
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.header("set-cookie"));
    assert_eq!(page(&world, &cookie, "/web/shop/issues/1").await.status, 303, "a copy of the cookie");
}

#[tokio::test]
async fn tokens_that_do_not_count_are_refused() {
    let (world, cluster) = with_rights(&[ISSUES_OF_WEB]).await;
    let jwt = |seconds: i64| {
        let claims = json!({"exp": Timestamp::now().as_second() + seconds}).to_string();
        format!("e30.{}.ada", BASE64_URL_SAFE_NO_PAD.encode(claims))
    };
    // Of nobody; of the API server itself; over already.
    for token in ["mallory", "root", &jwt(-1), "", "a%20b", &"x".repeat(20_000)] {
        let answer = log_in(&world, token).await;
        assert_eq!(answer.status, 401, "{token}");
        assert!(answer.body.contains("not valid here") && answer.header("set-cookie").is_empty(), "{}", answer.body);
        assert!(token.is_empty() || !answer.body.contains(token), "it is not shown again");
    }
    let short = log_in(&world, &jwt(600)).await;
    let cookie = short.header("set-cookie");
    assert!(short.status == 303 && (cookie.contains("Max-Age=599") || cookie.contains("Max-Age=600")), "{cookie}");
    cluster.asked();
    let again = log_in(&world, "mallory").await;
    assert_eq!((again.status, cluster.asked()), (401, Vec::new()), "the answer of a moment ago");
    // Those who come through one proxy are one sender: what one of them sends locks out nobody.
    for number in 0..40 {
        assert_eq!(log_in(&world, &format!("guess{number}")).await.status, 401);
    }
    assert_eq!(log_in(&world, "bob").await.status, 303);
}

#[tokio::test]
async fn who_signs_in_again_has_one_session() {
    let (world, _cluster) = with_rights(&[ISSUES_OF_WEB]).await;
    let first = session(&world, "ada").await;
    let headers = [LOOPBACK, FROM_HERE, ("Cookie", first.as_str())];
    let refused = send(world.console, "POST", "/-/login", &headers, "token=mallory").await;
    assert_eq!((refused.status, page(&world, &first, "/web/shop/issues").await.status), (401, 200));
    let again = send(world.console, "POST", "/-/login", &headers, "token=ada").await;
    let second = again.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(page(&world, &second, "/web/shop/issues").await.status, 200);
    assert_eq!(page(&world, &first, "/web/shop/issues").await.status, 303);
}

#[tokio::test]
async fn each_right_is_asked_about_before_anything_is_read() {
    let (world, cluster) =
        with_rights(&[ISSUES_OF_WEB, "bob get issues /", "bob get events /", "bob get keys /"]).await;
    world.another_project().await;
    let (ada, bob, eve) = (session(&world, "ada").await, session(&world, "bob").await, session(&world, "eve").await);
    cluster.asked();

    // Without the right to events the numbers stay.
    let numbers = page(&world, &ada, "/web/shop/issues/1").await;
    assert!(numbers.status == 200 && numbers.body.contains("CheckoutFailed"), "{}", numbers.body);
    assert!(!numbers.body.contains("shop.views") && !numbers.body.contains("ada@example.org"), "{}", numbers.body);
    assert!(numbers.body.contains("--subresource=events -n web"), "{}", numbers.body);
    assert_eq!(cluster.asked(), ["ada get events web/shop", "ada get issues web/shop", "ada update issues web/shop"]);
    assert_eq!(page(&world, &ada, "/web/shop/keys").await.status, 404);
    assert!(page(&world, &bob, "/web/shop/issues/1").await.body.contains("ada@example.org"));
    assert_eq!(page(&world, &bob, "/web/shop/keys").await.status, 200);

    // A list asks for the whole first; answers are believed for a while.
    cluster.asked();
    for _ in 0..3 {
        assert!(page(&world, &bob, "/").await.body.contains("2 projects"));
    }
    assert_eq!(cluster.asked(), ["bob get issues /"]);
    assert!(page(&world, &ada, "/").await.body.contains("2 projects"));
    assert_eq!(cluster.asked(), ["ada get issues /", "ada get issues web/"]);
    let nothing = page(&world, &eve, "/").await;
    assert!(nothing.body.contains("No project here") && !nothing.body.contains("shop</a>"), "{}", nothing.body);
    assert!(nothing.body.contains("--as=eve"), "{}", nothing.body);
}

/// Not by the words, not by what was done for them, not by an address of before.
#[tokio::test]
async fn what_one_may_not_see_is_as_what_there_is_not() {
    let (world, cluster) = with_rights(&["ada get issues team/"]).await;
    let ada = session(&world, "ada").await;
    let steady = |answer: &Answer, name: &str| answer.body.replace(name, "NAME");
    for rest in ["", "/issues", "/issues/1", "/keys", "/issues/1/events/0123456789abcdef0123456789abcdef"] {
        cluster.asked();
        let hidden = page(&world, &ada, &format!("/web/shop{rest}")).await;
        let asked = cluster.asked();
        let absent = page(&world, &ada, &format!("/web/none{rest}")).await;
        let asked_of_absent = cluster.asked();
        assert_eq!((hidden.status, absent.status), (404, 404), "{rest}");
        assert_eq!(steady(&hidden, "shop"), steady(&absent, "none"), "{rest}");
        assert_eq!(asked.len(), asked_of_absent.len(), "{rest}: {asked:?} {asked_of_absent:?}");
    }
    let (hidden, absent) = (format!("/projects/{}/issues", world.project), "/projects/999/issues");
    let (hidden, absent) = (page(&world, &ada, &hidden).await, page(&world, &ada, absent).await);
    let number = world.project.to_string();
    assert_eq!((hidden.status, absent.status), (404, 404));
    assert_eq!(hidden.body.replace(&format!("/{number}"), "/N"), absent.body.replace("/999", "/N"));
    // A name that is none is shown nowhere in a command.
    let strange = page(&world, &ada, "/web/$(id)/issues").await;
    assert!(strange.status == 404 && !strange.body.contains("kubectl"), "{}", strange.body);
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_within_seconds() {
    let (world, cluster) = with_rights(&[ISSUES_OF_WEB]).await;
    let ada = session(&world, "ada").await;
    assert_eq!(page(&world, &ada, "/web/shop/issues").await.status, 200);
    cluster.0.lock().unwrap().rights.clear();
    for _ in 0..200 {
        if page(&world, &ada, "/web/shop/issues").await.status == 404 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it still counts after 20 s");
}

#[tokio::test]
async fn programs_show_a_token_in_a_header() {
    let (world, cluster) = with_rights(&[ISSUES_OF_WEB]).await;
    cluster.asked();
    for (header, status) in [
        ("Bearer ada", 200),
        ("bearer ada", 200),
        ("Bearer eve", 404),
        ("Bearer mallory", 401),
        ("Bearer root", 401),
        ("Basic YWRhOmFkYQ==", 401),
        ("Bearer", 401),
    ] {
        let headers = [LOOPBACK, ("Authorization", header)];
        let answer = send(world.console, "GET", "/web/shop/issues", &headers, "").await;
        assert_eq!(answer.status, status, "{header}");
        assert_eq!(answer.header("www-authenticate"), if status == 401 { "Bearer" } else { "" }, "{header}");
    }
    let reviews = cluster.asked().iter().filter(|asked| *asked == "token ada").count();
    assert_eq!(reviews, 1, "an answer is believed for a while");
}

#[tokio::test]
async fn forms_of_other_pages_and_without_tls_do_nothing() {
    let (world, cluster) = with_rights(&[ISSUES_OF_WEB]).await;
    let ada = session(&world, "ada").await;
    cluster.asked();
    let public = ("Host", "errors.example");
    for (host, headers, status) in [
        (LOOPBACK, &[("Origin", "https://attacker.example")][..], 403),
        (LOOPBACK, &[("Origin", "null")], 403),
        (LOOPBACK, &[("Sec-Fetch-Site", "cross-site")], 403),
        (LOOPBACK, &[], 403),
        (public, &[("Origin", "http://errors.example")], 400),
        (public, &[("Origin", "http://127.0.0.1:8000")], 403),
    ] {
        let headers: Vec<_> = [host].into_iter().chain(headers.iter().copied()).collect();
        let answer = send(world.console, "POST", "/-/login", &headers, "token=ada").await;
        assert_eq!((answer.status, answer.header("set-cookie")), (status, ""), "{headers:?}");
        let with_cookie: Vec<_> = headers.iter().copied().chain([("Cookie", ada.as_str())]).collect();
        let answer = send(world.console, "POST", "/-/logout", &with_cookie, "").await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    assert_eq!(cluster.asked(), Vec::<String>::new());
    assert_eq!(page(&world, &ada, "/web/shop/issues").await.status, 200, "still signed in");

    let headers = [public, ("Origin", "https://errors.example")];
    let answer = send(world.console, "POST", "/-/login", &headers, "token=ada&to=https%3A%2F%2Fattacker.example").await;
    assert_eq!((answer.status, answer.header("location")), (303, "../"), "only to our own pages");
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-errortracking=") && cookie.ends_with("; Secure"), "{cookie}");
    // The cookie of one name is none for the other.
    let secret = cookie.split(';').next().unwrap().replace("__Host-", "");
    let answer = send(world.console, "GET", "/", &[public, ("Cookie", &secret)], "").await;
    assert_eq!(answer.status, 303);
    let long = "token=".to_owned() + &"x".repeat(25_000);
    assert_eq!(send(world.console, "POST", "/-/login", &headers, &long).await.status, 413);
    // A header that says who somebody is does not make a foreign form one of ours where nobody needs to be anybody.
    let headers = [LOOPBACK, ("Origin", "https://attacker.example"), ("Authorization", "Bearer ada")];
    for path in ["/-/login", "/-/logout"] {
        assert_eq!(send(world.console, "POST", path, &headers, "token=ada").await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn an_outage_of_kubernetes_or_postgres_is_said() {
    let (world, cluster) = with_rights(&[ISSUES_OF_WEB]).await;
    let ada = session(&world, "ada").await;
    cluster.0.lock().unwrap().refuses = true;
    let answer = page(&world, &ada, "/web/shop/issues").await;
    assert!(answer.status == 503 && answer.body.contains("Kubernetes does not answer"), "{}", answer.body);
    assert_eq!(log_in(&world, "bob").await.status, 503);
    cluster.0.lock().unwrap().refuses = false;
    assert_eq!(page(&world, &ada, "/web/shop/issues").await.status, 200);

    // Who was seen a moment ago is still known, so that projects in databases of their own show; nobody else is let in.
    let other = world.another_database(&project("web", "pay")).await;
    other.send(&[events::checkout()]).await;
    world.publish_login("web.pg.uri", &other, "first").await;
    for _ in 0..100 {
        if page(&world, &ada, "/web/pay/issues").await.status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    world.network.set(Mode::Refuse);
    assert_eq!(page(&world, &ada, "/web/pay/issues").await.status, 200);
    let form = send(world.console, "POST", "/web/pay/issues/1", &[LOOPBACK, FROM_HERE, ("Cookie", &ada)], "").await;
    assert_eq!(form.status, 503, "only for reading");
    assert_eq!(page(&world, "errortracking=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc", "/").await.status, 503);
    assert_eq!(log_in(&world, "bob").await.status, 503);
}
