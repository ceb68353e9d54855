//! Every endpoint that clients know, with the answer that belongs to it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    browsers::assert_readable_by_browsers,
    client::Request,
    wire::{CODINGS, coded, event_envelope, form},
    world::{EVENT, World},
};

const REPORT: &str = r#"{"csp-report":{"document-uri":"https://shop.example/cart","blocked-uri":"https://cdn.example/a.js",
    "violated-directive":"script-src 'self'","effective-directive":"script-src"}}"#;

const REPORTS: &str = r#"[
    {"type":"csp-violation","url":"https://shop.example/a","body":{"effectiveDirective":"img-src","blockedURL":"https://a.example/1.png"}},
    {"type":"deprecation","body":{"id":"old"}},
    {"type":"csp-violation","url":"https://shop.example/b","body":{"effectiveDirective":"font-src","blockedURL":"https://b.example/2.woff"}},
    {"type":"intervention","body":{}}]"#;

/// The stored events of a world, read again.
async fn stored(world: &World) -> Vec<Value> {
    world.payloads().await.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect()
}

#[tokio::test]
async fn an_image_sends_an_event_in_its_address() {
    let world = World::start().await;
    let event = STANDARD.encode(EVENT).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let key = world.key.as_str();
    for (number, path) in [world.path("store"), "/api/store/".to_owned()].into_iter().enumerate() {
        let request = Request::new("GET", format!("{path}?sentry_version=7&sentry_key={key}&sentry_data={event}"));
        let answer = world.send(&request).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/gif")), "{path}");
        assert!(answer.body.starts_with("GIF89a"), "{path}: {}", answer.body);
        assert_readable_by_browsers(&answer, &path);
        assert_eq!(world.stored().await, i64::try_from(number + 1).unwrap(), "{path}");
    }
    assert!(stored(&world).await.iter().all(|event| event["message"] == "hello"));
}

#[tokio::test]
async fn a_path_without_a_project_means_the_one_of_the_key() {
    let world = World::start().await;
    let auth = format!("Sentry sentry_key={},sentry_version=7", world.key.as_str());
    let answer = world.send(&Request::post("/api/store/", EVENT).header("X-Sentry-Auth", auth)).await;
    assert_eq!((answer.status, world.stored().await), (200, 1), "{}", answer.body);
    assert_eq!(answer.id().map(|id| id.len()), Some(32));
    for (name, request, status) in [
        ("no key", Request::post("/api/store/", EVENT), 401),
        ("a strange key", Request::post(format!("/api/store/?sentry_key={}", "f".repeat(32)), EVENT), 403),
    ] {
        assert_eq!(world.send(&request).await.status, status, "{name}");
    }
    assert_eq!(world.stored().await, 1);
}

#[tokio::test]
async fn reports_of_a_pages_policy_become_events() {
    let mut world = World::start().await;
    let post = |endpoint: &str, content_type: &str, body: &str| {
        let query = format!("?sentry_key={}&sentry_release=1.4&sentry_environment=production", world.key.as_str());
        Request::post(world.path(endpoint) + &query, body)
            .header("Content-Type", content_type)
            .header("Origin", "https://shop.example")
            .header("User-Agent", "Firefox/128.0")
    };
    for (endpoint, content_type, body, events) in [
        ("security", "application/csp-report", REPORT, 1),
        ("csp-report", "application/json", REPORT, 1),
        ("security", "application/reports+json; charset=utf-8", REPORTS, 2),
        ("security", "application/reports+json", "[]", 0),
    ] {
        let before = world.stored().await;
        let answer = world.send(&post(endpoint, content_type, body)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{endpoint} {body}");
        assert_readable_by_browsers(&answer, body);
        assert_eq!(world.stored().await - before, events, "{endpoint} {body}");
    }
    for (content_type, body, status) in [
        ("text/plain", REPORT, 415),
        ("application/csp-report", "{", 400),
        ("application/csp-report", r#"{"expect-ct-report":{}}"#, 400),
        ("application/csp-report", "", 400),
    ] {
        let answer = world.send(&post("security", content_type, body)).await;
        assert_eq!(answer.status, status, "{content_type} {body}: {}", answer.body);
        assert_readable_by_browsers(&answer, body);
    }
    let issues = "SELECT kind || ': ' || title || ' (' || events || ')' FROM {schema}.issues
                  JOIN {schema}.issue_counters USING (issue_id) ORDER BY title";
    let expected = [
        "csp: Blocked 'font-src' from 'b.example' (1)",
        "csp: Blocked 'img-src' from 'a.example' (1)",
        "csp: Blocked 'script-src' from 'cdn.example' (2)",
    ];
    assert_eq!(world.texts(issues).await, expected);
    let named = "SELECT count(*) FROM {schema}.events JOIN {schema}.releases USING (release_id)
                 JOIN {schema}.environments USING (env_id) WHERE (release, environment) = ('1.4', 'production')";
    assert_eq!(world.count(named).await, 4);
    world.end().await;
    let outcomes = [
        "security accepted x4",
        "security dropped invalid_report x3",
        "security dropped unsupported_item x2",
        "security refused empty_body x1",
    ];
    assert_eq!(world.outcomes().await, outcomes);
}

#[tokio::test]
async fn network_errors_are_taken_and_only_counted() {
    let mut world = World::start().await;
    let body = r#"[{"type":"network-error","body":{"phase":"dns"}},{"type":"network-error","body":{}}]"#;
    let request = Request::post(format!("{}?sentry_key={}", world.path("nel"), world.key.as_str()), body);
    let answer = world.send(&request.header("Content-Type", "application/reports+json")).await;
    assert_eq!((answer.status, answer.body.as_str(), world.stored().await), (200, "", 0));
    assert_readable_by_browsers(&answer, "nel");
    world.end().await;
    assert_eq!(world.outcomes().await, ["security dropped unsupported_item x2"]);
}

#[tokio::test]
async fn of_a_crash_dump_the_event_is_kept_and_its_id_is_answered_as_a_uuid() {
    const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";
    const UUID: &str = "9ec79c33-ec99-42ab-8353-589fcb2e04dc";
    let mut world = World::start().await;
    let sentry = json!({"event_id": ID, "release": "game@1.0", "level": "fatal", "tags": {"gpu": "none"}}).to_string();
    let dump = b"MDMP\x93\xa7\0\0 stack".as_slice();
    let crash = form("X", &[("upload_file_minidump", dump), ("sentry", sentry.as_bytes()), ("log.txt", b"started")]);
    let post = |path: String, body: Vec<u8>| {
        Request::post(format!("{path}?sentry_key={}", world.key.as_str()), body)
            .header("Content-Type", "multipart/form-data; boundary=X")
    };
    for path in [world.path("minidump"), world.path("minidump").trim_end_matches('/').to_owned()] {
        let answer = world.send(&post(path.clone(), crash.clone())).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, UUID), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/plain"), "{path}");
        assert_readable_by_browsers(&answer, &path);
        assert_eq!(world.stored().await, 1, "the second time it is a duplicate");
    }
    let coded = coded(post(world.path("minidump"), crash), "gzip");
    assert_eq!((world.send(&coded).await.status, world.stored().await), (200, 1));
    let alone = Request::post(format!("{}?sentry_key={}", world.path("minidump"), world.key.as_str()), dump);
    let answer = world.send(&alone.header("Content-Type", "application/octet-stream")).await;
    assert_eq!((answer.status, answer.body.len(), world.stored().await), (200, 36, 2), "{}", answer.body);
    let payloads = world.payloads().await.join("\n");
    assert!(payloads.contains("game@1.0") && !payloads.contains("MDMP"), "{payloads}");

    let without_dump = form("X", &[("sentry", sentry.as_bytes())]);
    let no_dump = form("X", &[("upload_file_minidump", b"<html>")]);
    for (name, body) in [("none", without_dump), ("no dump", no_dump), ("cut", b"--X\r\nConte".to_vec())] {
        let answer = world.send(&post(world.path("minidump"), body)).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.body);
        assert!(answer.header("x-sentry-error").is_some(), "{name}");
    }
    assert_eq!(world.stored().await, 2);
    world.end().await;
    // The dump and the log of the first three, the dump alone of the fourth.
    let outcomes = ["attachment dropped attachment x7", "error accepted x4", "error refused invalid_event x3"];
    assert_eq!(world.outcomes().await, outcomes);
}

#[tokio::test]
async fn an_envelope_may_come_under_any_content_type() {
    let world = World::start().await;
    let types = [
        "text/plain;charset=UTF-8",
        "text/plain",
        "application/x-sentry-envelope",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "nonsense",
        "",
    ];
    for (number, content_type) in (1..).zip(types) {
        let id = format!("{number:032x}");
        let request = world.post("envelope", event_envelope(&id, EVENT)).header("Content-Type", content_type);
        let answer = world.send(&request).await;
        assert_eq!((answer.status, answer.id()), (200, Some(id)), "{content_type:?}");
        assert_eq!(world.stored().await, number, "{content_type:?}");
    }
}

#[tokio::test]
async fn every_coding_is_read_by_every_endpoint_that_takes_events() {
    let world = World::start().await;
    // The first are read at once, the others by a thread of their own.
    for padding in [0, 300_000] {
        for coding in CODINGS {
            for (endpoint, content_type) in
                [("store", "application/json"), ("store", "application/x-sentry-envelope"), ("envelope", "text/plain")]
            {
                let before = world.stored().await;
                let event = json!({"message": "hello", "extra": {"a": noise(padding)}}).to_string();
                let id = format!("{:032x}", before + 1);
                let body = match content_type {
                    "application/json" => event.into_bytes(),
                    _ => event_envelope(&id, &event),
                };
                let name = format!("{coding} {endpoint} {content_type} {padding}");
                let request = world.post(endpoint, body).header("Content-Type", content_type);
                let answer = world.send(&coded(request, coding)).await;
                assert_eq!(answer.status, 200, "{name}: {}", answer.body);
                assert_eq!(world.stored().await, before + 1, "{name}");
            }
        }
    }
    assert!(stored(&world).await.iter().all(|event| event["message"] == "hello"));
}

/// Text that no coding makes much smaller.
fn noise(length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).unwrap())
    };
    (0..length).map(letter).collect()
}

#[tokio::test]
async fn headers_are_known_by_whatever_case_and_coding_they_are_spelled_in() {
    let world = World::start().await;
    let key = world.key.as_str();
    let auth = format!("sEnTrY sentry_version=7,sentry_client=raven/1.0,sentry_timestamp=1,sentry_key={key}");
    let plain = || Request::post(world.path("store"), EVENT);
    let gzip = || coded(Request::post(world.path("store"), EVENT), "gzip");
    let body = gzip().body().to_vec();
    for (number, (name, request)) in (1..).zip([
        ("upper", plain().header("X-SENTRY-AUTH", auth.clone())),
        ("lower", plain().header("x-sentry-auth", auth.clone())),
        ("odd", plain().header("x-SeNtRy-aUtH", auth.clone())),
        ("Authorization", plain().header("AUTHORIZATION", auth.clone())),
        (
            "empty auth and query",
            Request::post(format!("{}?sentry_key={key}", world.path("store")), EVENT).header("X-Sentry-Auth", ""),
        ),
        (
            "Content-Encoding",
            plain().with_body(body.clone()).header("cOnTeNt-EnCoDiNg", "GZip").header("X-Sentry-Auth", auth.clone()),
        ),
        ("x-gzip", plain().with_body(body).header("Content-Encoding", "x-gzip").header("X-Sentry-Auth", auth.clone())),
        ("old Java", plain().header("Content-Encoding", "UTF-8").header("X-Sentry-Auth", auth.clone())),
        ("Ruby", plain().header("Content-Encoding", "").header("X-Sentry-Auth", auth.clone())),
        ("identity", plain().header("Content-Encoding", "identity").header("X-Sentry-Auth", auth)),
    ]) {
        let answer = world.send(&request).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        assert_eq!(world.stored().await, number, "{name}");
    }
}
