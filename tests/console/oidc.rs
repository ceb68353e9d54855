//! Sign-in at an identity provider: the whole way, and everything that a provider, a browser or a stranger can do
//! wrong.

use std::{collections::BTreeMap, net::SocketAddr};

use error_tracking_operator::console::OidcOptions;
use serde_json::{Value, json};

use crate::{
    client::{Answer, get, send},
    events,
    provider::{CLIENT_ID, CLIENT_SECRET, ClientSecret, DESCRIPTION, Fault, Faults, Forgery, KEYS, Provider, TOKEN},
    sign_in::{Cluster, FROM_HERE, LOOPBACK, page},
    support::authority::Authority,
    world::{World, free_address},
};

/// Of a group, as the provider names it.
const RIGHTS: [&str; 2] = ["web get issues web/", "web get events web/"];

fn options(issuer: &str, secret: &ClientSecret) -> OidcOptions {
    OidcOptions {
        issuer: Some(issuer.to_owned()),
        name: Some("Team <Login>".to_owned()),
        client_id: Some(CLIENT_ID.to_owned()),
        secret: Some(secret.0.clone()),
        scopes: vec!["groups".to_owned()],
        username_claim: "sub".to_owned(),
        username_prefix: "oidc:".to_owned(),
        groups_claim: "groups".to_owned(),
        groups_prefix: String::new(),
    }
}

struct Login {
    world: World,
    cluster: Cluster,
    client: kube::Client,
    provider: Provider,
    secret: ClientSecret,
}

impl Login {
    async fn start() -> Self {
        let (provider, secret) = (Provider::start().await, ClientSecret::new(CLIENT_SECRET, None));
        let (cluster, client) = Cluster::start(&RIGHTS);
        let world = World::with_provider(client.clone(), options(&provider.issuer, &secret)).await;
        Self { world, cluster, client, provider, secret }
    }

    /// A console that has not asked that provider anything yet.
    async fn console_of(&self, issuer: &str, secret: &ClientSecret) -> SocketAddr {
        self.world.another_console(self.client.clone(), options(issuer, secret)).await
    }

    async fn console(&self) -> SocketAddr {
        self.console_of(&self.provider.issuer, &self.secret).await
    }

    /// The whole way of a browser, as one console sees it.
    async fn sign_in(&self, console: SocketAddr) -> Answer {
        let departed = depart(console).await;
        let code = self.provider.authorize(&departed.asked);
        arrive(console, &departed.with(&[("code", &code)]), &departed.cookie).await
    }
}

/// A browser on its way to the provider.
struct Departed {
    place: String,
    /// What the provider is asked.
    asked: BTreeMap<String, String>,
    cookie: String,
}

impl Departed {
    /// What the provider sends the browser back with.
    fn with(&self, more: &[(&str, &str)]) -> String {
        let state = ("state", self.asked["state"].as_str());
        form_urlencoded::Serializer::new(String::new()).extend_pairs(more.iter().copied().chain([state])).finish()
    }
}

async fn depart(console: SocketAddr) -> Departed {
    let answer = send(console, "GET", "/-/oidc/start?to=web%2Fshop%2Fissues%2F1", &[LOOPBACK], "").await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let (place, query) = answer.header("location").split_once('?').unwrap();
    let asked = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    Departed { place: place.to_owned(), asked, cookie }
}

async fn arrive(console: SocketAddr, query: &str, cookie: &str) -> Answer {
    send(console, "GET", &format!("/-/oidc/callback?{query}"), &[LOOPBACK, ("Cookie", cookie)], "").await
}

/// The cookie of the session that an answer begins.
fn session(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

fn is_refused(answer: &Answer, status: u16, words: &str) -> bool {
    answer.status == status && answer.body.contains(words) && answer.header("set-cookie").is_empty()
}

#[tokio::test]
async fn a_link_leads_to_the_provider_and_back_to_the_page_that_was_asked_for() {
    let login = Login::start().await;
    let Login { world, cluster, provider, .. } = &login;
    world.send(&[events::checkout()]).await;
    let other_pod = login.console().await;

    let form = get(world.console, "/-/login?to=web%2Fshop%2Fissues%2F1").await;
    let link = r#"href="../-/oidc/start?to=web%2Fshop%2Fissues%2F1">Sign in with Team &#60;Login&#62;</a>"#;
    assert!(form.body.contains(link) && form.body.contains("<details>"), "{}", form.body);
    assert!(form.body.find(link) < form.body.find(r#"name="token""#), "{}", form.body);
    assert_eq!(provider.asked(), Vec::<String>::new(), "nobody has asked to sign in yet");

    let departed = depart(world.console).await;
    assert_eq!(departed.place, format!("{}/authorize", provider.issuer));
    assert_eq!(departed.asked["theme"], "dark", "the provider's own query stays");
    assert_eq!(departed.asked["redirect_uri"], "http://127.0.0.1:8000/-/oidc/callback");
    assert!(departed.cookie.starts_with("errortracking-oidc="), "{}", departed.cookie);
    let code = provider.authorize(&departed.asked);
    let arrival = departed.with(&[("code", &code), ("iss", &provider.issuer)]);
    let arrived = arrive(other_pod, &arrival, &departed.cookie).await;
    assert_eq!((arrived.status, arrived.header("location")), (303, "../../web/shop/issues/1"), "{}", arrived.body);
    let cookies: Vec<_> = arrived.headers("set-cookie").collect();
    assert!(cookies[0].starts_with("errortracking=") && cookies[0].contains("Max-Age=28800"), "{cookies:?}");
    assert!(cookies[1].starts_with("errortracking-oidc=;") && cookies[1].contains("Max-Age=0"), "{cookies:?}");

    let cookie = session(&arrived);
    let shown = page(world, &cookie, "/web/shop/issues/1").await;
    assert!(shown.status == 200 && shown.body.contains("CheckoutFailed"), "{}", shown.body);
    assert!(shown.body.contains(r#"<span class="muted">oidc:ada</span>"#), "{}", shown.body);
    assert_eq!(cluster.asked()[..2], ["oidc:ada get events web/shop", "oidc:ada get issues web/shop"]);
    assert_eq!(page(world, &cookie, "/web/shop/keys").await.status, 404, "the group has no right to keys");

    // What is known of the provider is asked for once by each pod.
    provider.asked();
    session(&login.sign_in(world.console).await);
    assert_eq!(provider.asked(), [TOKEN]);

    let out = send(world.console, "POST", "/-/logout", &[LOOPBACK, FROM_HERE, ("Cookie", &cookie)], "").await;
    assert_eq!(out.status, 303);
    assert_eq!(page(world, &cookie, "/web/shop/issues/1").await.status, 303, "a copy of the cookie");
}

#[tokio::test]
async fn what_a_browser_brought_back_counts_once() {
    let login = Login::start().await;
    let (console, provider) = (login.world.console, &login.provider);
    let departed = depart(console).await;
    let code = provider.authorize(&departed.asked);
    let arrival = departed.with(&[("code", &code)]);
    let cookie = session(&arrive(console, &arrival, &departed.cookie).await);
    let again = arrive(console, &arrival, &departed.cookie).await;
    assert!(is_refused(&again, 502, "status 400: invalid_grant"), "{} {}", again.status, again.body);

    // Also where the provider does not care, in another pod, and when the session has ended.
    provider.behave(Faults { takes_codes_again: true, ..Faults::default() });
    let departed = depart(console).await;
    let code = provider.authorize(&departed.asked);
    let arrival = departed.with(&[("code", &code)]);
    let cookies = [cookie, session(&arrive(console, &arrival, &departed.cookie).await)];
    for console in [console, login.console().await] {
        let again = arrive(console, &arrival, &departed.cookie).await;
        assert!(is_refused(&again, 401, "this sign-in is over"), "{} {}", again.status, again.body);
    }
    for cookie in &cookies {
        assert_eq!(page(&login.world, cookie, "/").await.status, 200);
        send(console, "POST", "/-/logout", &[LOOPBACK, FROM_HERE, ("Cookie", cookie)], "").await;
    }
    let again = arrive(console, &arrival, &departed.cookie).await;
    assert!(is_refused(&again, 401, "this sign-in is over"), "{} {}", again.status, again.body);
}

#[tokio::test]
async fn an_arrival_that_nobody_departed_for_is_refused() {
    let login = Login::start().await;
    let (console, provider) = (login.world.console, &login.provider);
    let [mine, other] = [depart(console).await, depart(console).await];
    let code = provider.authorize(&mine.asked);
    let good = mine.with(&[("code", &code)]);
    provider.asked();
    let (secret, rest) = mine.cookie.split_once('.').unwrap();
    let (began, to) = rest.split_once('.').unwrap();
    let earlier = format!("{secret}.{}.{to}", began.parse::<i64>().unwrap() - 601);
    let elsewhere = format!("{secret}.{began}.aHR0cHM6Ly9hdHRhY2tlci5leGFtcGxl");
    for (name, query, cookie) in [
        ("no cookie", good.as_str(), ""),
        ("the cookie of another sign-in", &good, &other.cookie),
        ("the state of another sign-in", &other.with(&[("code", &code)]), &mine.cookie),
        ("no state", &format!("code={code}"), &mine.cookie),
        ("another time", &good, &earlier),
        ("another place", &good, &elsewhere),
        ("the cookie of the other kind of host", &good, &format!("__Host-{}", mine.cookie)),
        ("no cookie of ours", &good, "errortracking-oidc=x"),
        ("nothing", "", ""),
    ] {
        let answer = arrive(console, query, cookie).await;
        assert!(is_refused(&answer, 401, "this sign-in is over"), "{name}: {} {}", answer.status, answer.body);
    }
    assert_eq!(provider.asked(), Vec::<String>::new(), "the provider is not asked");

    for (name, query, words) in [
        ("a refusal", mine.with(&[("error", "access_denied")]), "did not sign you in: access_denied."),
        ("a refusal in other words", mine.with(&[("error", "<b>call 0900</b>")]), "did not sign you in."),
        ("no code", mine.with(&[]), "did not sign you in."),
        ("an endless code", mine.with(&[("code", &"x".repeat(5000))]), "did not sign you in."),
        ("another provider", mine.with(&[("code", &code), ("iss", "https://login.example")]), "another provider"),
    ] {
        let answer = arrive(console, &query, &mine.cookie).await;
        assert!(is_refused(&answer, 401, words), "{name}: {} {}", answer.status, answer.body);
        assert!(!answer.body.contains("0900") && !answer.body.contains(&code), "{name}: {}", answer.body);
    }
    assert_eq!(provider.asked(), Vec::<String>::new(), "the provider is not asked");
    // Nothing of that has used it up.
    session(&arrive(console, &good, &mine.cookie).await);

    // Those who come through one proxy are one sender: what one of them sends locks out nobody.
    for _ in 0..40 {
        let departed = depart(console).await;
        let answer = arrive(console, &departed.with(&[("code", "guess")]), &departed.cookie).await;
        assert!(answer.status == 401 || answer.status == 502, "{}", answer.body);
    }
    session(&login.sign_in(console).await);
}

#[tokio::test]
async fn an_id_token_counts_when_the_provider_made_it_for_this_sign_in() {
    let login = Login::start().await;
    let (console, provider) = (login.world.console, &login.provider);
    session(&login.sign_in(console).await);
    provider.behave(Faults { token: Forgery::Rsa, ..Faults::default() });
    session(&login.sign_in(console).await);

    let claims = |claims: Value| Faults { claims, ..Faults::default() };
    let token = |token: Forgery| Faults { token, ..Faults::default() };
    let many: Vec<String> = (0..1001).map(|number| format!("g{number}")).collect();
    for (name, faults, status, words) in [
        ("nonce", claims(json!({"nonce": "other"})), 502, "is for another sign-in"),
        ("no nonce", claims(json!({"nonce": null})), 502, "is for another sign-in"),
        ("audience", claims(json!({"aud": "another client"})), 502, "is for another client"),
        ("one of two audiences", claims(json!({"aud": [CLIENT_ID, "other"]})), 502, "is for another client"),
        ("authorised party", claims(json!({"azp": "another client"})), 502, "is for another client"),
        ("issuer", claims(json!({"iss": "https://login.example"})), 502, "is of another issuer"),
        ("expired", claims(json!({"exp": 1_700_000_000})), 502, "has expired"),
        ("no expiry", claims(json!({"exp": null})), 502, "has expired"),
        ("of tomorrow", claims(json!({"iat": 4_000_000_000_u64})), 502, "of a time that has not come yet"),
        ("alg none", token(Forgery::None), 502, "in another way than RS256 or ES256"),
        ("HS256 with the public key", token(Forgery::ByPublicKey), 502, "in another way than RS256 or ES256"),
        ("another's signature", token(Forgery::ByAnother), 502, "a signature that is not the provider"),
        ("unknown kid", token(Forgery::UnknownKey), 502, "a key that the provider does not publish"),
        ("no kid", token(Forgery::NoKeyNamed), 502, "a key that the provider does not publish"),
        ("no name", claims(json!({"sub": null})), 401, "does not say in its claim sub who you are"),
        ("an empty name", claims(json!({"sub": ""})), 401, "does not say in its claim sub who you are"),
        ("masters", claims(json!({"groups": ["web", "system:masters"]})), 401, "begins with system:"),
        ("groups that are none", claims(json!({"groups": [7]})), 401, "in its claim groups"),
        ("a thousand groups", claims(json!({"groups": many})), 401, "in its claim groups"),
    ] {
        provider.behave(faults);
        let answer = login.sign_in(console).await;
        assert!(is_refused(&answer, status, words), "{name}: {} {}", answer.status, answer.body);
    }
    for groups in [json!(null), json!([]), json!("web")] {
        provider.behave(claims(json!({"groups": groups})));
        session(&login.sign_in(console).await);
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_as_it_should_is_said() {
    let login = Login::start().await;
    let (console, provider) = (login.world.console, &login.provider);
    session(&login.sign_in(console).await);
    let answers = |fault| Faults { answers: [(TOKEN, fault)].into(), ..Faults::default() };
    for (fault, words) in [
        (Fault::Never, "did not answer in time"),
        (Fault::Status(500), "status 500."),
        (Fault::Status(302), "status 302."),
        (Fault::Large, "answer to the code is larger than the console reads"),
        (Fault::NoJson, "answer to the code is not as OpenID Connect has it"),
    ] {
        provider.behave(answers(fault));
        let answer = login.sign_in(console).await;
        assert!(is_refused(&answer, 502, words), "{words}: {} {}", answer.status, answer.body);
        assert!(answer.body.contains("/-/oidc/start\""), "{}", answer.body);
    }

    let elsewhere = Provider::start().await;
    let wrong = ClientSecret::new("wrong", None);
    let describes = |field: &str, place: String| Faults { description: json!({field: place}), ..Faults::default() };
    let on = |path, fault| Faults { answers: [(path, fault)].into(), ..Faults::default() };
    for (name, faults, words) in [
        ("issuer", describes("issuer", elsewhere.issuer.clone()), "another server as its issuer"),
        ("keys", describes("jwks_uri", format!("{}{KEYS}", elsewhere.issuer)), "another server as its set of keys"),
        ("tokens", describes("token_endpoint", format!("{}{TOKEN}", elsewhere.issuer)), "as its place of tokens"),
        ("page", describes("authorization_endpoint", "javascript:alert(1)".to_owned()), "as its page to sign in at"),
        ("metadata", describes("jwks_uri", "http://169.254.169.254/".to_owned()), "another server as its set of keys"),
        (
            "no tokens",
            Faults { description: json!({"token_endpoint": null}), ..Faults::default() },
            "description of itself is not",
        ),
        ("no JSON", on(DESCRIPTION, Fault::NoJson), "description of itself is not"),
        ("absent", on(DESCRIPTION, Fault::Status(404)), "status 404 instead of its description of itself"),
        ("moved", on(DESCRIPTION, Fault::Status(301)), "status 301 instead of its description of itself"),
        ("large", on(DESCRIPTION, Fault::Large), "description of itself is larger"),
        ("large keys", on(KEYS, Fault::Large), "set of keys is larger"),
        ("no keys", on(KEYS, Fault::NoJson), "set of keys is not"),
        ("slow", on(DESCRIPTION, Fault::Never), "did not answer in time"),
    ] {
        provider.behave(faults);
        let console = login.console().await;
        let answer = send(console, "GET", "/-/oidc/start", &[LOOPBACK], "").await;
        assert!(is_refused(&answer, 502, words), "{name}: {} {}", answer.status, answer.body);
        assert_eq!(answer.header("location"), "", "{name}");
        // Whoever comes next is told the same at once, and the provider is left alone.
        provider.asked();
        let answer = send(console, "GET", "/-/oidc/start", &[LOOPBACK], "").await;
        assert!(is_refused(&answer, 502, words), "{name}: {} {}", answer.status, answer.body);
        assert_eq!(provider.asked(), Vec::<String>::new(), "{name}");
    }
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "no other server is asked for anything");

    provider.behave(Faults::default());
    let answer = login.sign_in(login.console_of(&provider.issuer, &wrong).await).await;
    assert!(is_refused(&answer, 502, "status 401: invalid_client"), "{} {}", answer.status, answer.body);
    let closed = login.console_of(&format!("http://{}", free_address()), &login.secret).await;
    let answer = send(closed, "GET", "/-/oidc/start", &[LOOPBACK], "").await;
    assert!(is_refused(&answer, 502, "cannot be reached"), "{} {}", answer.status, answer.body);
    std::fs::remove_file(wrong.0.join("client-secret")).unwrap();
    let answer = login.sign_in(login.console_of(&provider.issuer, &wrong).await).await;
    assert!(is_refused(&answer, 502, "no client-secret that can be read"), "{} {}", answer.status, answer.body);
    // A token is as good as ever.
    let form = send(closed, "POST", "/-/login", &[LOOPBACK, FROM_HERE], "token=ada").await;
    assert_eq!(form.status, 303);
}

#[tokio::test]
async fn a_provider_may_change_its_keys_and_how_it_is_shown_the_secret() {
    let login = Login::start().await;
    let (console, provider) = (login.world.console, &login.provider);
    session(&login.sign_in(console).await);
    provider.change_key();
    let refused = login.sign_in(console).await;
    assert!(is_refused(&refused, 502, "a key that the provider does not publish"), "{}", refused.body);
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    provider.asked();
    session(&login.sign_in(console).await);
    assert_eq!(provider.asked(), [TOKEN, DESCRIPTION, KEYS]);

    let methods = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]});
    provider.behave(Faults { description: methods, ..Faults::default() });
    session(&login.sign_in(login.console().await).await);
}

#[tokio::test]
async fn only_an_authority_that_is_named_vouches_for_the_provider() {
    let [ours, another] = [Authority::create(), Authority::create()];
    let login = Login::start().await;
    let provider = Provider::start_secured(&ours).await;
    for (authority, trusted) in [(Some(&ours), true), (Some(&another), false), (None, false)] {
        let secret = ClientSecret::new(CLIENT_SECRET, authority);
        let console = login.console_of(&provider.issuer, &secret).await;
        let answer = send(console, "GET", "/-/oidc/start", &[LOOPBACK], "").await;
        if trusted {
            assert_eq!(answer.status, 303, "{}", answer.body);
            let departed = depart(console).await;
            let code = provider.authorize(&departed.asked);
            session(&arrive(console, &departed.with(&[("code", &code)]), &departed.cookie).await);
        } else {
            assert!(is_refused(&answer, 502, "cannot be reached"), "{} {}", answer.status, answer.body);
        }
    }
    let bad = ClientSecret::new(CLIENT_SECRET, None);
    std::fs::write(bad.0.join("ca.crt"), "no certificate").unwrap();
    let console = login.console_of(&provider.issuer, &bad).await;
    let answer = send(console, "GET", "/-/oidc/start", &[LOOPBACK], "").await;
    assert!(is_refused(&answer, 502, "no ca.crt that can be read"), "{} {}", answer.status, answer.body);
}

#[tokio::test]
async fn over_tls_the_way_back_is_the_name_that_was_asked_and_the_cookie_is_of_that_host_alone() {
    let login = Login::start().await;
    let host = ("Host", "errors.example");
    let answer = send(login.world.console, "GET", "/-/oidc/start?to=%2F%2Fattacker.example", &[host], "").await;
    let place = answer.header("location");
    assert!(place.contains("redirect_uri=https%3A%2F%2Ferrors.example%2F-%2Foidc%2Fcallback"), "{place}");
    let cookie = answer.header("set-cookie").to_owned();
    assert!(cookie.starts_with("__Host-errortracking-oidc=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(cookie.contains("Max-Age=600; HttpOnly; SameSite=Lax"), "{cookie}");
    let asked = form_urlencoded::parse(place.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
    let code = login.provider.authorize(&asked);
    let path = format!("/-/oidc/callback?code={code}&state={}", asked["state"]);
    let cookie = cookie.split(';').next().unwrap();
    let arrived = send(login.world.console, "GET", &path, &[host, ("Cookie", cookie)], "").await;
    assert_eq!((arrived.status, arrived.header("location")), (303, "../../"), "only to our own pages");
    assert!(arrived.headers("set-cookie").all(|cookie| cookie.starts_with("__Host-") && cookie.ends_with("; Secure")));
}

#[tokio::test]
async fn a_database_that_is_not_migrated_yet_lets_nobody_in_twice() {
    let login = Login::start().await;
    login.world.before_arrivals().await;
    assert_eq!(login.sign_in(login.world.console).await.status, 503);
}

#[tokio::test]
async fn without_a_provider_there_is_no_way_to_one() {
    let (_cluster, client) = Cluster::start(&RIGHTS);
    let world = World::with_sign_in(client).await;
    for path in ["/-/oidc/start", "/-/oidc/callback?code=a&state=b"] {
        assert_eq!(get(world.console, path).await.status, 404, "{path}");
    }
    let form = get(world.console, "/-/login").await;
    assert!(!form.body.contains("oidc") && !form.body.contains("<details"), "{}", form.body);
}
