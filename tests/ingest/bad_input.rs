//! What no client should send and some do: a clear answer to each, and never a 5xx.

use futures::future::join_all;
use serde_json::Value;

use crate::{
    client::{self, Client, Request},
    wire::{envelope, event_envelope, form},
    world::{EVENT, World},
};

const ID: &str = "9ec79c33ec9942ab8353589fcb2e04dc";

/// Sends events of these attributes, each of which is stored.
async fn stored(world: &World, events: &[Vec<u8>]) {
    let mut client = Client::connect(world.address).await.unwrap();
    for event in events {
        let before = world.count("SELECT count(*) FROM {schema}.events").await;
        let answer = client.send(&world.post("store", event.clone())).await.unwrap();
        let text = String::from_utf8_lossy(event);
        assert_eq!(answer.status, 200, "{text:.200}: {}", answer.body);
        assert_eq!(world.count("SELECT count(*) FROM {schema}.events").await, before + 1, "{text:.200}");
    }
    for payload in world.payloads().await {
        serde_json::from_str::<Value>(&payload).unwrap_or_else(|error| panic!("{error}: {payload:.200}"));
    }
}

#[tokio::test]
async fn deep_json_ends_no_server_wherever_it_is() {
    const DEPTH: usize = 100_000;
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let (open, closed) = ("[".repeat(DEPTH), format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH)));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(DEPTH), "}".repeat(DEPTH));
    let escaped = closed.replace('[', r#"[\"\",["#).replace(']', "]]");
    let key = world.key.as_str();
    let security = |body: String| {
        Request::post(format!("{}?sentry_key={key}", world.path("security")), body)
            .header("Content-Type", "application/json")
    };
    let nel = |body: String| Request::post(format!("{}?sentry_key={key}", world.path("nel")), body);
    let minidump = |field: &str, content: &[u8]| {
        let crash = form("X", &[("upload_file_minidump", b"MDMP"), (field, content)]);
        world.post("minidump", crash).header("Content-Type", "multipart/form-data; boundary=X")
    };
    let item = |kind: &str, payload: &str| world.post("envelope", envelope("{}", &[(kind, payload)]));
    let keys = format!("sentry{}", "[a]".repeat(1000));
    let cases = [
        ("event", world.post("store", format!(r#"{{"message":"m","extra":{closed}}}"#)), 200, 1),
        ("objects", world.post("store", format!(r#"{{"message":"m","contexts":{{"a":{objects}}}}}"#)), 200, 1),
        ("attribute", world.post("store", format!(r#"{{"message":"m","exception":{closed}}}"#)), 200, 1),
        ("in a string", world.post("store", format!(r#"{{"message":"m","extra":{{"b":"{escaped}"}}}}"#)), 200, 1),
        ("request body", world.post("store", format!(r#"{{"message":"m","request":{{"data":"{closed}"}}}}"#)), 200, 1),
        ("open", world.post("store", format!(r#"{{"message":"m","extra":{open}"#)), 400, 0),
        ("nothing else", world.post("store", open.clone()), 400, 0),
        ("array", world.post("store", closed.clone()), 400, 0),
        ("event item", item("event", &format!(r#"{{"message":"m","tags":{closed}}}"#)), 200, 1),
        ("envelope header", world.post("envelope", format!(r#"{{"trace":{closed}}}"#)), 400, 0),
        ("short envelope header", world.post("envelope", format!(r#"{{"trace":{}"#, "[".repeat(8000))), 400, 0),
        (
            "item header",
            world.post("envelope", format!("{{}}\n{{\"type\":\"event\",\"x\":{}", "[".repeat(8000))),
            400,
            0,
        ),
        ("session", item("session", &format!(r#"{{"attrs":{closed}}}"#)), 200, 0),
        ("sessions", item("sessions", &format!(r#"{{"aggregates":{closed}}}"#)), 200, 0),
        ("client report", item("client_report", &format!(r#"{{"discarded_events":{closed}}}"#)), 200, 0),
        ("user report", item("user_report", &format!(r#"{{"event_id":{objects}}}"#)), 200, 0),
        ("feedback", item("feedback", &format!(r#"{{"contexts":{{"feedback":{objects}}}}}"#)), 200, 0),
        ("security item", item("security", &format!(r#"{{"csp":{closed}}}"#)), 200, 1),
        ("policy report", security(format!(r#"{{"csp-report":{{"document-uri":{closed}}}}}"#)), 200, 1),
        ("policy reports", security(closed.clone()), 200, 0),
        ("open reports", security(open.clone()), 400, 0),
        ("network errors", nel(closed.clone()), 200, 0),
        ("open network errors", nel(open.clone()), 400, 0),
        ("dump with JSON", minidump("sentry", format!(r#"{{"extra":{closed}}}"#).as_bytes()), 200, 1),
        ("dump with keys", minidump(&keys, b"x"), 200, 1),
        (
            "dump with msgpack",
            minidump("__sentry-event", &[&[0x81, 0xa1, b'a'], vec![0x91; DEPTH].as_slice()].concat()),
            200,
            1,
        ),
    ];
    let mut expected = 0;
    let mut surprises = Vec::new();
    for (name, request, status, events) in cases {
        let answer = client.send(&request).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        expected += events;
        let found = world.stored().await;
        if (answer.status, found) != (status, expected) {
            surprises.push(format!("{name}: {} {}, {} events", answer.status, answer.body, found - expected + events));
            expected = found;
        }
    }
    assert_eq!(surprises, [""; 0]);
    stored(&world, &[EVENT.into()]).await;
}

#[tokio::test]
async fn huge_names_and_names_said_twice_are_stored_without_what_cannot_be() {
    let world = World::start().await;
    let name = "n".repeat(1_000_000);
    stored(
        &world,
        &[
            format!(r#"{{"message":"m","{name}":1}}"#).into(),
            format!(r#"{{"message":"m","extra":{{"{name}":{{"a":1}}}}}}"#).into(),
            format!(r#"{{"message":"m","tags":{{"{name}":"v"}}}}"#).into(),
            format!(r#"{{"message":"m","contexts":{{"{name}":{{}}}}}}"#).into(),
            format!(r#"{{"message":"{name}"}}"#).into(),
            format!(r#"{{"exception":[{{"type":"{name}","value":"v"}}]}}"#).into(),
            format!(r#"{{"message":"m","release":"{name}"}}"#).into(),
            format!(r#"{{"message":"m","environment":"{name}"}}"#).into(),
            format!(r#"{{"message":"m","user":{{"id":"{name}"}}}}"#).into(),
            format!(r#"{{"message":"m","fingerprint":["{name}"]}}"#).into(),
            br#"{"message":"a","message":"b","tags":{"a":"1","a":"2"},"level":"error","level":5}"#.to_vec(),
            br#"{"exception":[{"type":"A","type":"B"}],"exception":[{"type":"C"}]}"#.to_vec(),
        ],
    )
    .await;
    let twice = format!(r#"{{"message":"m","event_id":"{ID}","event_id":"{}"}}"#, "1".repeat(32));
    let answer = world.send(&world.post("store", twice)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let stored_as = world.texts("SELECT replace(event_id::text, '-', '') FROM {schema}.events").await;
    assert!(stored_as.contains(&answer.id().unwrap()));
    let many_bytes = format!(r#"{{"message":"m","{}":1}}"#, "n".repeat(1 << 20));
    assert_eq!(world.send(&world.post("store", many_bytes)).await.status, 413);
    let header = format!(r#"{{"event_id":"{}","event_id":"{ID}"}}"#, "1".repeat(32));
    let answer = world.send(&world.post("envelope", envelope(&header, &[("event", EVENT)]))).await;
    assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)), "{}", answer.body);
    let long = format!(r#"{{"{name}":1}}"#);
    assert_eq!(world.send(&world.post("envelope", envelope(&long, &[("event", EVENT)]))).await.status, 400);
}

/// An event that says `text` wherever text goes into a column of the database, or into a name.
fn everywhere(text: &str, number: u32) -> String {
    format!(
        r#"{{"event_id":"{number:032x}","message":"a{text}b","transaction":"a{text}b","release":"a{text}b","environment":"a{text}b",
            "platform":"a{text}b","logger":"a{text}b","server_name":"a{text}b","dist":"a{text}b","fingerprint":["a{text}b"],
            "level":"a{text}b","timestamp":"a{text}b","tags":{{"a{text}b":"a{text}b"}},"a{text}b":1,
            "user":{{"id":"a{text}b","ip_address":"a{text}b"}},"modules":{{"a{text}b":"a{text}b"}},
            "exception":[{{"type":"a{text}b","value":"a{text}b","module":"a{text}b","stacktrace":{{"frames":[
                {{"function":"a{text}b","filename":"a{text}b","vars":{{"a{text}b":"a{text}b"}}}}]}}}}],
            "request":{{"url":"a{text}b","method":"a{text}b","data":"a{text}b"}},"extra":{{"a{text}b":"{{\"a\":\"{text}\"}}"}}}}"#
    )
}

#[tokio::test]
async fn text_that_is_none_is_mended_and_stored() {
    let world = World::start().await;
    let mut events: Vec<Vec<u8>> = Vec::new();
    for (number, text) in (1..).zip([
        r"\u0000",
        "\0",
        r"\ud800",
        r"\udfff",
        r"\ud83d\ud83d",
        r"\uDC00\uD800",
        r"\u0001\u001f\u007f\u0080\ufffe\uffff",
        "\u{202e}\u{feff}\u{200b}",
        r"\ud83d\ude00",
        "\n\r\t",
    ]) {
        events.push(everywhere(text, number).into());
    }
    let bytes: [&[u8]; 5] = [b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80"];
    for (number, bytes) in (100..).zip(bytes) {
        let marked = everywhere("MARK", number);
        let parts: Vec<&[u8]> = marked.split("MARK").map(str::as_bytes).collect();
        events.push(parts.join(bytes));
    }
    stored(&world, &events).await;
    let payloads = world.payloads().await.join("\n");
    for gone in ["\0", r"\u0000", r"\ud800", r"\udfff"] {
        assert!(!payloads.contains(gone), "{gone:?}");
    }
    assert!(payloads.contains("\u{fffd}") && payloads.contains(r"\ud83d\ude00"));
    let titles = world.texts("SELECT title FROM {schema}.issues").await;
    assert!(titles.iter().all(|title| title.starts_with('a')), "{titles:?}");

    // The same beside events.
    let nul = |text: &str| text.replace('N', r"\u0000").replace('S', r"\ud800");
    let started = jiff::Timestamp::now().to_string();
    let session = format!(
        "{{\"sid\":\"{ID}\",\"init\":true,\"started\":\"{started}\",\"did\":\"{}\",\"attrs\":{{\"release\":\"{}\",\"environment\":\"{}\"}}}}",
        nul("aNb"),
        nul("1N.0S"),
        nul("prodNS")
    );
    let report =
        nul(&format!(r#"{{"event_id":"{ID}","name":"aNbS","email":"aNb","comments":"aNbS"}}"#).replace(ID, "ID"))
            .replace("ID", ID);
    let feedback = nul(r#"{"contexts":{"feedback":{"message":"aNbS","name":"aNb","url":"aNb"}}}"#);
    let discarded = nul(r#"{"discarded_events":[{"category":"eNr","reason":"qNoS","quantity":1}]}"#);
    let items = [
        ("session", &*session),
        ("user_report", &report),
        ("feedback", &feedback),
        ("client_report", &discarded),
        ("a\\u0000b", "x"),
    ];
    for item in items {
        let answer = world.send(&world.post("envelope", envelope("{}", &[item]))).await;
        assert_eq!(answer.status, 200, "{}: {}", item.0, answer.body);
    }
    assert_eq!(world.count("SELECT count(*) FROM {schema}.user_feedback").await, 2);
    let query = format!(
        "{}?sentry_key={}&sentry_release=1%00.0&sentry_environment=%ff%00",
        world.path("security"),
        world.key.as_str()
    );
    let csp =
        nul(r#"{"csp-report":{"document-uri":"https://h/NS","effective-directive":"imgN-src","blocked-uri":"SN"}}"#);
    let answer = world.send(&Request::post(query, csp).header("Content-Type", "application/csp-report")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.quarantine").await, 0);
}

#[tokio::test]
async fn numbers_and_times_beyond_all_bounds_are_stored_as_now() {
    let world = World::start().await;
    let digits = "9".repeat(5000);
    let times = [
        "-1",
        "-1e18",
        "1e400",
        "-1e400",
        "1e18",
        "253402300800",
        "253402300799.9999",
        "0",
        "0.1",
        "1e-400",
        "NaN",
        "Infinity",
        "-Infinity",
        "99999999999999999999999",
        digits.as_str(),
        r#""10000-01-01T00:00:00Z""#,
        r#""9999-12-31T23:59:59.999999999Z""#,
        r#""-0001-01-01T00:00:00Z""#,
        r#""0000-00-00T00:00:00Z""#,
        r#""2026-02-30T25:61:61Z""#,
        r#""1e400""#,
        r#""""#,
        "null",
        "true",
        "[]",
        "{}",
        r#""+292277026596-12-04T15:30:08Z""#,
    ];
    let mut events: Vec<Vec<u8>> = Vec::new();
    for time in times {
        events.push(format!(r#"{{"message":"m","timestamp":{time},"start_timestamp":{time},"breadcrumbs":[{{"timestamp":{time},"message":"c"}}]}}"#).into());
        events.push(format!(r#"{{"message":"m","extra":{{"a":{time}}},"user":{{"id":{time}}},"tags":{{"t":{time}}},"level":{time}}}"#).into());
        events.push(format!(r#"{{"exception":[{{"type":"E","value":{time},"thread_id":{time},"stacktrace":{{"frames":[{{"lineno":{time},"colno":{time},"function":"f"}}]}}}}]}}"#).into());
    }
    stored(&world, &events).await;
    let far = "SELECT count(*) FROM {schema}.events WHERE ts > received_at + interval '61 seconds' OR ts < received_at - interval '91 days'";
    assert_eq!(world.count(far).await, 0);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.quarantine").await, 0);
    // The client's clock of an envelope.
    for (number, time) in (1_u32..).zip(times) {
        let header = format!(r#"{{"event_id":"{number:032x}","sent_at":{time}}}"#);
        let answer = world.send(&world.post("envelope", envelope(&header, &[("event", EVENT)]))).await;
        assert!(matches!(answer.status, 200 | 400), "{time}: {} {}", answer.status, answer.body);
        let session = format!(
            r#"{{"sid":"{ID}","started":{time},"timestamp":{time},"seq":{time},"duration":{time},"errors":{time},"attrs":{{"release":"1"}}}}"#
        );
        let counts = format!(
            r#"{{"aggregates":[{{"started":"{}","exited":{time},"crashed":{time}}}],"attrs":{{"release":"1"}}}}"#,
            jiff::Timestamp::now()
        );
        let discarded = format!(r#"{{"discarded_events":[{{"category":"error","reason":"r","quantity":{time}}}]}}"#);
        for item in [("session", &*session), ("sessions", &counts), ("client_report", &discarded)] {
            let answer = world.send(&world.post("envelope", envelope("{}", &[item]))).await;
            assert_eq!(answer.status, 200, "{item:.300?}: {}", answer.body);
        }
    }
    assert_eq!(world.count(far).await, 0);
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_or_replaced_and_never_stored() {
    let world = World::start().await;
    for id in [
        "\"00000000000000000000000000000000\"",
        "\"00000000-0000-0000-0000-000000000000\"",
        "\"abc\"",
        "5",
        "null",
        "{}",
        "\"\"",
        "\"9ec79c33ec9942ab8353589fcb2e04dcff\"",
        "\"gggggggggggggggggggggggggggggggg\"",
    ] {
        let before = world.stored().await;
        let answer = world.send(&world.post("store", format!(r#"{{"event_id":{id},"message":"m"}}"#))).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.body);
        assert_ne!(answer.id().unwrap(), "0".repeat(32), "{id}");
        assert_eq!(world.stored().await, before + 1, "{id}");
        let of_envelope = world.post("envelope", envelope(&format!("{{\"event_id\":{id}}}"), &[("event", EVENT)]));
        let answer = world.send(&of_envelope).await;
        let stored = world.stored().await - before - 1;
        let expected = if matches!(id, "null" | "\"\"") { (200, 1) } else { (400, 0) };
        assert_eq!((answer.status, stored), expected, "{id}: {}", answer.body);
    }
    let zero = "SELECT count(*) FROM {schema}.events WHERE event_id = '00000000-0000-0000-0000-000000000000'";
    assert_eq!(world.count(zero).await, 0);
    for id in [ID.to_owned(), ID.to_uppercase(), "9EC79C33-ec99-42ab-8353-589fcb2e04dc".to_owned()] {
        let answer = world.send(&world.post("store", format!(r#"{{"event_id":"{id}","message":"m"}}"#))).await;
        assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)), "{id}");
    }
    let spelled = format!("SELECT count(*) FROM {{schema}}.events WHERE event_id = '{ID}'");
    assert_eq!(world.count(&spelled).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_is_stored_once_however_often_and_at_once_it_comes() {
    let world = World::start().await;
    let requests = [
        world.post("store", format!(r#"{{"event_id":"{ID}","message":"m","user":{{"id":"1"}}}}"#)),
        world.post("envelope", event_envelope(ID, r#"{"message":"another one"}"#)),
    ];
    let sending = (0..32).map(|number| {
        let (address, request) = (world.address, &requests[number % 2]);
        async move { client::send(address, request).await }
    });
    for answer in join_all(sending).await {
        assert_eq!((answer.status, answer.id().as_deref()), (200, Some(ID)), "{}", answer.body);
    }
    assert_eq!(world.stored().await, 1);
    assert_eq!(world.count("SELECT count(*) FROM {schema}.issues").await, 1, "no issue without an event");
    assert_eq!(world.metric("errortracking_ingest_events_total{outcome=\"duplicate\"}").await, 31);
}
