//! What browsers need to read an answer, and whose pages may send.

use serde_json::json;

use crate::{
    client::{Answer, Request},
    wire::event_envelope,
    world::{EVENT, World, until},
};

const REPORT: &str =
    r#"{"csp-report":{"document-uri":"https://shop.example/cart","effective-directive":"script-src"}}"#;

const CORS: [(&str, &str); 3] = [
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "x-sentry-error, x-sentry-rate-limits, retry-after"),
    ("cross-origin-resource-policy", "cross-origin"),
];

pub fn assert_readable_by_browsers(answer: &Answer, name: &str) {
    for (header, value) in CORS {
        assert_eq!(answer.header(header), Some(value), "{name}: {header}");
    }
}

#[tokio::test]
async fn a_browser_can_read_every_answer() {
    let world = World::start_set(json!({"eventsPerMinute": 3})).await;
    let key = world.key.as_str();
    let page = |request: Request| request.header("Origin", "https://shop.example");
    let large = vec![b' '; (20 << 20) + 1];
    let cases = [
        ("accepted", world.post("store", EVENT), 200),
        ("preflight", Request::new("OPTIONS", world.path("envelope")), 200),
        ("no event", world.post("envelope", "{}\n"), 200),
        ("bad body", world.post("envelope", "nonsense"), 400),
        ("no key", Request::post(world.path("envelope"), "{}\n"), 401),
        ("unknown key", Request::post(format!("/api/999/store/?sentry_key={key}"), EVENT), 403),
        ("no route", Request::post("/nowhere", EVENT), 404),
        ("no route to ask for", Request::new("OPTIONS", "/nowhere"), 404),
        ("method", Request::new("PUT", world.path("store")), 405),
        ("too large", world.post("envelope", large), 413),
        ("coding", world.post("envelope", EVENT).header("Content-Encoding", "lzma"), 415),
    ];
    for (name, request, status) in cases {
        let answer = world.send(&page(request)).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        assert_readable_by_browsers(&answer, name);
    }
    world.execute("ALTER FUNCTION {schema}.ingest_regrouped RENAME TO ingest_of_another_version").await;
    let answer = world.send(&page(world.post("store", EVENT))).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.header("retry-after").is_some());
    assert_readable_by_browsers(&answer, "no store");
    world.execute("ALTER FUNCTION {schema}.ingest_of_another_version RENAME TO ingest_regrouped").await;
    let mut answer = world.send(&page(world.post("store", EVENT))).await;
    for _ in 0..3 {
        if answer.status != 429 {
            answer = world.send(&page(world.post("store", EVENT))).await;
        }
    }
    assert_eq!((answer.status, answer.body.as_str()), (429, ""));
    assert!(answer.header("x-sentry-rate-limits").is_some() && answer.header("retry-after").is_some());
    assert_readable_by_browsers(&answer, "limited");
}

#[tokio::test]
async fn a_browser_that_asks_first_is_told_what_it_may_send() {
    let world = World::start().await;
    for endpoint in ["envelope", "store", "security", "csp-report", "nel", "minidump"] {
        let request = Request::new("OPTIONS", world.path(endpoint))
            .header("Origin", "https://shop.example")
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "x-sentry-auth,sentry-trace");
        let answer = world.send(&request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{endpoint}");
        assert_readable_by_browsers(&answer, endpoint);
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"), "{endpoint}");
        assert_eq!(answer.header("access-control-max-age"), Some("3600"), "{endpoint}");
        let headers: Vec<_> = answer.header("access-control-allow-headers").unwrap().split(", ").collect();
        for header in ["x-sentry-auth", "content-type", "content-encoding", "sentry-trace", "baggage"] {
            assert!(headers.contains(&header), "{endpoint}: {header}");
        }
    }
}

#[tokio::test]
async fn a_foreign_page_is_refused_and_counted_from_when_the_project_says_so() {
    let mut world = World::start().await;
    let envelope = |number: u32| event_envelope(&format!("{number:032x}"), EVENT);
    let foreign = |number| world.post("envelope", envelope(number)).header("Origin", "https://evil.example");
    assert_eq!(world.send(&foreign(1)).await.status, 200, "at first every page may send");
    world.record(json!({"filters": {"allowedOrigins": ["https://*.shop.example", "localhost:3000"]}})).await;
    until("the server follows", async || world.send(&foreign(1)).await.status == 403).await;

    let refused_before = world.metric(FORBIDDEN).await;
    let key = world.key.as_str();
    let dsn =
        format!("{{\"dsn\":\"https://{key}@errors.example/{}\"}}\n{{\"type\":\"event\"}}\n{EVENT}", world.project);
    let report = || {
        Request::post(format!("{}?sentry_key={key}", world.path("security")), REPORT)
            .header("Content-Type", "application/csp-report")
    };
    let cases = [
        ("Origin", foreign(2), false),
        ("Referer", world.post("store", EVENT).header("Referer", "https://evil.example/page"), false),
        ("no origin at all", world.post("store", EVENT).header("Origin", "null"), false),
        (
            "key in the envelope",
            Request::post(world.path("envelope"), dsn).header("Origin", "https://evil.example"),
            false,
        ),
        ("report", report().header("Origin", "https://evil.example"), false),
        ("other port", world.post("store", EVENT).header("Origin", "http://localhost:4000"), false),
        ("below", world.post("store", EVENT).header("Origin", "https://www.shop.example"), true),
        ("page", world.post("store", EVENT).header("Referer", "https://www.shop.example/cart?x"), true),
        ("port", world.post("store", EVENT).header("Origin", "http://localhost:3000"), true),
        ("report of it", report().header("Origin", "https://shop.example"), true),
        ("a program", world.post("store", EVENT), true),
    ];
    let refused = cases.iter().filter(|(.., allowed)| !allowed).count() as u64;
    for (name, request, allowed) in cases {
        let before = world.stored().await;
        let answer = world.send(&request).await;
        assert_readable_by_browsers(&answer, name);
        assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{name}: {}", answer.body);
        assert_eq!(world.stored().await - before, i64::from(allowed), "{name}");
        if !allowed {
            assert_eq!(answer.header("x-sentry-error"), Some("invalid origin"), "{name}");
        }
    }
    assert_eq!(world.metric(FORBIDDEN).await - refused_before, refused);
    world.end().await;
    let told = world.outcomes().await;
    let of = |category: &str, quantity: u64| format!("{category} filtered forbidden_origin x{quantity}");
    assert!(told.contains(&of("security", 1)) && told.contains(&of("error", refused_before + refused - 1)), "{told:?}");
}

const FORBIDDEN: &str = "errortracking_ingest_outcomes_total{outcome=\"filtered\",reason=\"forbidden_origin\"}";

#[tokio::test]
async fn browser_system_and_device_are_there_to_search_by() {
    let world = World::start().await;
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
        Version/17.1.2 Mobile/15E148 Safari/604.1";
    let tags = async || {
        let statement =
            "SELECT k.key || '=' || t.value FROM {schema}.issue_tags AS t JOIN {schema}.tag_keys AS k USING (key_id)
            WHERE k.key <> 'mechanism'";
        let mut tags = world.texts(statement).await;
        tags.sort_unstable();
        tags
    };
    // The page's own browser sends it.
    let event = json!({"platform": "javascript", "message": "hello"}).to_string();
    let answer =
        world.send(&world.post("envelope", event_envelope(&"a".repeat(32), &event)).header("User-Agent", phone)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected =
        ["browser.name=Mobile Safari", "browser=Mobile Safari 17.1.2", "device=iPhone", "os.name=iOS", "os=iOS 17.1.2"];
    assert_eq!(tags().await, expected);
    let stored: serde_json::Value = serde_json::from_str(&world.payloads().await[0]).unwrap();
    assert_eq!(stored["contexts"]["browser"], json!({"type": "browser", "name": "Mobile Safari", "version": "17.1.2"}));
    assert_eq!(stored["message"], "hello");
    // Of a server's event the request that it answered; how its SDK calls itself says nothing.
    let event = json!({"platform": "python", "message": "hello", "contexts": {"os": {"name": "Linux"}},
        "request": {"headers": {"User-Agent": "curl/8.4.0"}}});
    let event = event_envelope(&"b".repeat(32), &event.to_string());
    let answer = world.send(&world.post("envelope", event).header("User-Agent", "sentry.python/2.68.0")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let added: Vec<_> = tags().await.into_iter().filter(|tag| !expected.contains(&tag.as_str())).collect();
    assert_eq!(added, ["browser.name=curl", "browser=curl 8.4.0", "os.name=Linux", "os=Linux"]);
}
