//! What a project does not want: answered as if it were stored, because nobody needs to send it again, and counted.

use serde_json::json;

use crate::{
    client::Request,
    wire::{envelope, event_envelope},
    world::World,
};

const CRAWLER: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";

#[tokio::test]
async fn what_a_filter_stops_is_answered_with_its_id_and_only_counted() {
    let mut world = World::start_set(json!({"filters": {
        "ignoreErrors": ["re:^AbortError", "*ResizeObserver loop*"],
        "ignoreReleases": ["0.*"],
        "ignoreEnvironments": ["dev*"],
        "ignoreLocalhost": true,
        "ignoreCrawlers": true,
    }}))
    .await;
    let exception = |kind: &str, value: &str| json!({"exception": {"values": [{"type": kind, "value": value}]}});
    let page = |url: &str| json!({"message": "m", "request": {"url": url, "headers": {"User-Agent": "Firefox/128.0"}}});
    let cases = [
        ("type by expression", exception("AbortError", "gone"), Some("ignored_error")),
        ("value by pattern", exception("Error", "ResizeObserver loop limit exceeded"), Some("ignored_error")),
        ("message", json!({"message": "ResizeObserver loop: again"}), Some("ignored_error")),
        ("another type", exception("NotAbortError", "gone"), None),
        ("release", json!({"message": "m", "release": "0.9"}), Some("ignored_release")),
        ("another release", json!({"message": "m", "release": "1.0.9"}), None),
        ("environment", json!({"message": "m", "environment": "development"}), Some("ignored_environment")),
        ("environment tag", json!({"message": "m", "tags": {"environment": "dev"}}), Some("ignored_environment")),
        ("another environment", json!({"message": "m", "environment": "production"}), None),
        ("own machine", page("http://localhost:3000/"), Some("localhost")),
        ("own address", json!({"message": "m", "user": {"ip_address": "127.0.0.1"}}), Some("localhost")),
        ("a page", page("https://shop.example/"), None),
        ("crawler", json!({"message": "m", "request": {"headers": {"User-Agent": CRAWLER}}}), Some("crawler")),
    ];
    let mut number = 0_u32;
    let mut wanted = 0;
    for (name, event, reason) in &cases {
        for endpoint in ["store", "envelope"] {
            number += 1;
            let id = format!("{number:032x}");
            let mut event = event.clone();
            event["event_id"] = id.clone().into();
            let body = match endpoint {
                "store" => event.to_string().into_bytes(),
                _ => event_envelope(&id, &event.to_string()),
            };
            let answer = world.send(&world.post(endpoint, body)).await;
            assert_eq!((answer.status, answer.id()), (200, Some(id)), "{name} to {endpoint}: {}", answer.body);
            assert_eq!(answer.header("x-sentry-error"), None, "{name}");
            wanted += i64::from(reason.is_none());
            assert_eq!(world.stored().await, wanted, "{name} to {endpoint}");
        }
    }
    // A browser's SDK says nothing of itself: the request does.
    let crawler = world.post("store", r#"{"message":"m"}"#).header("User-Agent", CRAWLER);
    assert_eq!((world.send(&crawler).await.status, world.stored().await), (200, wanted));
    world.end().await;
    let expected = [
        format!("error accepted x{wanted}"),
        "error filtered crawler x3".into(),
        "error filtered ignored_environment x4".into(),
        "error filtered ignored_error x6".into(),
        "error filtered ignored_release x2".into(),
        "error filtered localhost x4".into(),
    ];
    assert_eq!(world.outcomes().await, expected);
}

#[tokio::test]
async fn a_filtered_event_does_not_take_what_came_with_it() {
    let mut world = World::start_set(json!({"filters": {"ignoreErrors": ["noise"]}})).await;
    let report = r#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","comments":"it broke"}"#;
    let body = envelope("{}", &[("event", r#"{"message":"noise"}"#), ("user_report", report)]);
    let answer = world.send(&world.post("envelope", body)).await;
    assert_eq!((answer.status, world.stored().await), (200, 0), "{}", answer.body);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.user_feedback").await, 1);
    world.end().await;
    assert_eq!(world.outcomes().await, ["error filtered ignored_error x1"]);
}

#[tokio::test]
async fn a_pages_report_is_filtered_like_an_event() {
    let mut world = World::start_set(json!({"filters": {"ignoreReleases": ["old"], "ignoreCrawlers": true}})).await;
    let report = r#"{"csp-report":{"document-uri":"https://shop.example/","effective-directive":"img-src"}}"#;
    let post = |query: &str| {
        let path = format!("{}?sentry_key={}{query}", world.path("security"), world.key.as_str());
        Request::post(path, report).header("Content-Type", "application/csp-report")
    };
    for (name, request, stored) in [
        ("release", post("&sentry_release=old"), 0),
        ("crawler", post("").header("User-Agent", CRAWLER), 0),
        ("neither", post("&sentry_release=new").header("User-Agent", "Firefox/128.0"), 1),
    ] {
        assert_eq!((world.send(&request).await.status, world.stored().await), (200, stored), "{name}");
    }
    world.end().await;
    let expected = ["security accepted x1", "security filtered crawler x1", "security filtered ignored_release x1"];
    assert_eq!(world.outcomes().await, expected);
}
