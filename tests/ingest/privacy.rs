//! What is taken out of events before anything is stored: by example through the real server, and by a search of the
//! whole database for secrets that were planted.

use std::fmt::Write;

use serde_json::json;

use crate::{
    client::{Client, Request},
    support::postgres,
    wire::{CODINGS, coded, envelope, event_envelope, form, raven},
    world::{World, until},
};

/// An attribute of an event as it comes, and as it is stored; `…` says that nothing is changed. All rules are in the
/// table of `src/scrub/table.rs`.
const BY_DEFAULT: [(&str, &str); 16] = [
    (r#""extra":{"password":"hunter2","n":1}"#, r#""extra":{"password":"[Filtered]","n":1}"#),
    (r#""extra":{"pass\u0077ord":"hunter2"}"#, r#""extra":{"pass\u0077ord":"[Filtered]"}"#),
    (r#""extra":{"secret":1,"secret":"b"}"#, r#""extra":{"secret":null,"secret":"[Filtered]"}"#),
    (r#""breadcrumbs":[{"message":"password: abc"}]"#, r#""breadcrumbs":[{"message":"password: [Filtered]"}]"#),
    (r#""message":"card 4111111111111111""#, r#""message":"card [creditcard]""#),
    (r#""extra":{"a":"ssn 078-05-1120"}"#, r#""extra":{"a":"ssn [Filtered]"}"#),
    (r#""exception":[{"value":"refused: bearer abc.def"}]"#, r#""exception":[{"value":"refused: bearer [token]"}]"#),
    (r#""extra":{"a":"postgres://app:hunter2@db/shop"}"#, r#""extra":{"a":"postgres://app:[Filtered]@db/shop"}"#),
    (r#""tags":[["customer","ann@example.com"]]"#, r#""tags":[["customer","[email]"]]"#),
    (
        r#""request":{"headers":{"Authorization":"Basic YTpi","Accept":"*/*"}}"#,
        r#""request":{"headers":{"Authorization":"[Filtered]","Accept":"*/*"}}"#,
    ),
    (
        r#""request":{"cookies":"theme=dark; PHPSESSID=x;su=1"}"#,
        r#""request":{"cookies":"theme=dark; PHPSESSID=[Filtered];su=[Filtered]"}"#,
    ),
    (
        r#""request":{"data":"name=ann&pass%77ord=a%20b","query_string":"q=1&token=x"}"#,
        r#""request":{"data":"name=ann&pass%77ord=[Filtered]","query_string":"q=1&token=[Filtered]"}"#,
    ),
    (
        r#""extra":{"body":"{\"password\":\"x\",\"a\":[1, 2]}"}"#,
        r#""extra":{"body":"{\"password\":\"[Filtered]\",\"a\":[1, 2]}"}"#,
    ),
    (
        r#""exception":[{"stacktrace":{"frames":[{"vars":{"password":"'x'","n":"1"}}]}}]"#,
        r#""exception":[{"stacktrace":{"frames":[{"vars":{"password":"[Filtered]","n":"1"}}]}}]"#,
    ),
    (r#""user":{"id":"7","email":"ann@example.com","ip_address":"10.0.0.1"}"#, "…"),
    (r#""message":"the password was wrong","release":"auth@1.0","fingerprint":["secret"]"#, "…"),
];

/// Sends each row by both endpoints and looks at what is stored of it.
async fn check(settings: serde_json::Value, rows: &[(&str, &str)]) {
    let world = World::start_set(settings).await;
    let mut client = Client::connect(world.address).await.unwrap();
    for (attributes, stored) in rows {
        let event = format!("{{{attributes}}}");
        let expected = format!("{{{}}}", if *stored == "…" { attributes } else { stored });
        for request in
            [world.post("store", event.clone()), world.post("envelope", envelope("{}", &[("event", &event)]))]
        {
            let answer = client.send(&request).await.unwrap();
            assert_eq!(answer.status, 200, "{event}: {}", answer.body);
        }
        assert_eq!(world.payloads().await, [expected.clone(), expected], "{event}");
        world.execute("DELETE FROM {schema}.events").await;
    }
}

#[tokio::test]
async fn events_are_stored_as_the_table_says() {
    check(json!({}), &BY_DEFAULT).await;
}

#[tokio::test]
async fn a_project_may_ask_for_more_for_less_and_for_nothing() {
    let own_words = json!({"privacy": {"sensitiveFields": ["Pin", "salary"], "safeFields": ["author"]}});
    check(
        own_words,
        &[
            (
                r#""extra":{"user_PIN":"1","Salary":5,"author":"auth","password":"x"}"#,
                r#""extra":{"user_PIN":"[Filtered]","Salary":null,"author":"auth","password":"[Filtered]"}"#,
            ),
            (r#""request":{"url":"/?pin=1&author=2"}"#, r#""request":{"url":"/?pin=[Filtered]&author=2"}"#),
        ],
    )
    .await;
    check(
        json!({"privacy": {"scrubData": false}}),
        &[
            (r#""extra":{"password":"4111111111111111","a":"b@c.de"}"#, "…"),
            (r#""request":{"cookies":"session=x","url":"/?token=x"}"#, "…"),
            (r#""extra":"x\u0000y""#, r#""extra":"xy""#),
        ],
    )
    .await;
    check(
        json!({"privacy": {"scrubIPAddresses": true}}),
        &[
            (r#""user":{"id":"7","ip_address":"203.0.113.7"}"#, r#""user":{"id":"7","ip_address":null}"#),
            (r#""user":{"ip_address":"{{auto}}"}"#, r#""user":{"ip_address":null}"#),
            (r#""request":{"env":{"REMOTE_ADDR":"203.0.113.7"}}"#, r#""request":{"env":{"REMOTE_ADDR":null}}"#),
            (r#""message":"peer 203.0.113.7 and 2001:db8::1 left""#, r#""message":"peer [ip] and [ip] left""#),
        ],
    )
    .await;
}

#[tokio::test]
async fn changed_settings_hold_for_the_events_after_them() {
    let world = World::start().await;
    let event = r#"{"extra":{"salary":"planted"}}"#;
    assert_eq!(world.send(&world.post("store", event)).await.status, 200);
    assert_eq!(world.payloads().await, [event]);
    world.record(json!({"privacy": {"sensitiveFields": ["salary"]}})).await;
    until("the server follows", async || {
        world.execute("DELETE FROM {schema}.events").await;
        assert_eq!(world.send(&world.post("store", event)).await.status, 200);
        world.payloads().await == [r#"{"extra":{"salary":"[Filtered]"}}"#]
    })
    .await;
}

#[tokio::test]
async fn the_address_of_a_user_is_the_one_that_the_trusted_proxies_tell() {
    let trusted = json!({"trustedProxies": ["127.0.0.0/8", "10.0.0.0/8"]});
    for (settings, forwarded, expected) in [
        (json!({}), &["203.0.113.7"][..], "127.0.0.1"),
        (trusted.clone(), &[], "127.0.0.1"),
        (trusted.clone(), &["203.0.113.7"], "203.0.113.7"),
        (trusted.clone(), &["198.51.100.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7"),
        (trusted.clone(), &["203.0.113.7", "10.1.2.3"], "203.0.113.7"),
        (trusted.clone(), &["[2001:db8::7]:4711"], "2001:db8::7"),
        (trusted, &["nonsense, 10.1.2.3"], "10.1.2.3"),
    ] {
        let world = World::start_set(settings).await;
        let event = r#"{"message":"m","user":{"ip_address":"{{auto}}"}}"#;
        let mut request = world.post("envelope", envelope("{}", &[("event", event)]));
        for line in forwarded {
            request = request.header("X-Forwarded-For", *line);
        }
        assert_eq!(world.send(&request).await.status, 200);
        assert_eq!(world.payloads().await, [event.replace("{{auto}}", expected)], "{forwarded:?}");
        assert_eq!(world.count("SELECT users FROM {schema}.issue_counters").await, 1, "{forwarded:?}");
    }
}

#[tokio::test]
async fn browsers_are_told_apart_by_their_address_and_servers_are_not() {
    let world = World::start_set(json!({"trustedProxies": ["127.0.0.1"]})).await;
    for (platform, address) in [
        ("javascript", "203.0.113.7"),
        ("javascript", "203.0.113.8"),
        ("javascript", "203.0.113.7"),
        ("python", "203.0.113.9"),
    ] {
        let event = json!({"exception": [{"type": "E"}], "platform": platform}).to_string();
        let request = world.post("store", event).header("X-Forwarded-For", address);
        assert_eq!(world.send(&request).await.status, 200);
    }
    let counted = "SELECT events || ' events ' || users || ' users' FROM {schema}.issue_counters";
    assert_eq!(world.texts(counted).await, ["4 events 2 users"]);
    assert!(!postgres::dump(&world.owner.dbname).contains("203.0.113."), "only keyed hashes are kept of them");
}

/// Must be found, or the search proves nothing.
const CONTROL: &str = "plainly visible";

/// In every place of an event that clients put secrets in. None may be in the database.
const PLANTED: [&str; 24] = [
    "planted-header",
    "planted-cookie",
    "planted-header-cookie",
    "planted-environment",
    "planted-variable",
    "planted-extra",
    "planted-nested",
    "planted-nested-twice",
    "planted-form",
    "planted-crumb",
    "planted-crumb-data",
    "planted-url",
    "planted-query",
    "planted-pairs",
    "planted-first",
    "planted-second",
    "planted-escaped",
    "planted-context",
    "planted-tag",
    "planted-bearer",
    "plantedpem",
    "planted-feedback",
    "planted-report",
    "4242424242424242",
];

/// What is never kept, whatever a project says: the user of a session as text, and the dump of a crash.
const ALWAYS_GONE: [&str; 3] = ["planted-did", "203.0.113.7", "planted-dump"];

const EVENT: &str = r#"{
    "message":"Bearer planted-bearer paid by 4242424242424242",
    "request":{
        "url":"https://ann:planted-url@shop.example/cart?token=planted-query",
        "query_string":[["api_key","planted-pairs"],["page","2"]],
        "headers":[["Authorization","Bearer planted-header"],["Cookie","theme=dark; sessionid=planted-header-cookie"]],
        "cookies":{"csrftoken":"planted-cookie"},
        "env":{"DB_PASSWORD":"planted-environment"},
        "data":"name=ann&passwd=planted-form"
    },
    "exception":{"values":[{"type":"PaymentError","value":"plainly visible: no answer of https://u:planted-url@h/ for 4242424242424242",
        "stacktrace":{"frames":[{"function":"pay","vars":{"password":"'planted-variable'"}}]}}]},
    "breadcrumbs":{"values":[{"message":"password: planted-crumb","data":{"access_token":"planted-crumb-data"}}]},
    "contexts":{"app":{"client_secret":"planted-context"}},
    "tags":{"auth":"planted-tag","card":"4242424242424242"},
    "extra":{
        "api-key":"planted-extra",
        "secret":"planted-first","secret":"planted-second",
        "pass\u0077ord":"planted-escaped",
        "body":"{\"token\":\"planted-nested\",\"inner\":\"{\\\"password\\\":\\\"planted-nested-twice\\\"}\"}",
        "key":"-----BEGIN PRIVATE KEY-----\nplantedpem\n-----END PRIVATE KEY-----"
    }"#;

/// The event under an id of its own.
fn event(number: u32) -> String {
    format!("{EVENT},\"event_id\":\"{number:032x}\"}}")
}

fn full_envelope(number: u32) -> Vec<u8> {
    let id = format!("{number:032x}");
    let feedback = json!({"contexts": {"feedback": {
        "message": "see https://u:planted-feedback@h/ and 4242424242424242", "url": "https://h/?token=planted-feedback",
    }}});
    let report = json!({"event_id": id, "comments": "log in with https://u:planted-report@h/, card 4242424242424242"});
    let session = json!({
        "sid": id, "init": true, "started": jiff::Timestamp::now().to_string(), "did": "planted-did",
        "attrs": {"release": "1.0", "ip_address": "203.0.113.7"},
    });
    let (feedback, report, session) = (feedback.to_string(), report.to_string(), session.to_string());
    let items = [("event", &*event(number)), ("feedback", &feedback), ("user_report", &report), ("session", &session)];
    envelope(&format!("{{\"event_id\":\"{id}\"}}"), &items)
}

/// All that a database holds after the events, reports and sessions came in every way there is.
struct Searched {
    dump: String,
    /// Decompressed, also of what is kept aside.
    payloads: String,
}

impl Searched {
    async fn after_everything(settings: serde_json::Value) -> Self {
        let mut world = World::start_set(settings).await;
        // One event is refused by the events' table, and kept aside.
        world
            .execute(
                "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     RAISE EXCEPTION 'not welcome' USING ERRCODE = 'check_violation';
                 END $$;
                 CREATE TRIGGER refuse BEFORE INSERT ON {schema}.events FOR EACH ROW
                 WHEN (NEW.event_id = '00000000-0000-0000-0000-000000000001') EXECUTE FUNCTION public.refuse()",
            )
            .await;
        let requests = every_way(&world);
        let mut client = Client::connect(world.address).await.unwrap();
        for (name, request) in &requests {
            let answer = client.send(request).await.unwrap();
            assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        }
        // Of one that is cut off nothing is kept.
        let cut = event(91);
        assert_eq!(client.send(&world.post("store", &cut.as_bytes()[..cut.len() - 1])).await.unwrap().status, 400);
        assert_eq!(world.stored().await, i64::try_from(requests.len()).unwrap() - 1);
        assert_eq!(world.count("SELECT count(*) FROM {schema}.quarantine").await, 1);
        assert_eq!(world.count("SELECT count(*) FROM {schema}.user_feedback").await, 2 * 5);
        world.end().await;

        let mut payloads = world.payloads().await;
        let statement = format!("SELECT payload FROM {}.quarantine", world.project.schema());
        let kept: Vec<Vec<u8>> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(&world.pool).await.unwrap();
        payloads.extend(kept.iter().map(|row| String::from_utf8(zstd::decode_all(row.as_slice()).unwrap()).unwrap()));
        assert_eq!(payloads.len(), requests.len());
        Self { dump: postgres::dump(&world.owner.dbname), payloads: payloads.join("\n") }
    }

    /// Where `text` is, with what stands before it; as text or as the bytes of one.
    fn find(&self, text: &str) -> Option<String> {
        let hex = text.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let places = [("dump", &self.dump, text), ("payloads", &self.payloads, text), ("bytes", &self.dump, &hex)];
        places.into_iter().find_map(|(place, all, text)| {
            let at = all.find(text)?;
            let before = all[..at].char_indices().rev().nth(150).map_or(0, |(start, _)| start);
            Some(format!("{text} is in the {place} behind {}", &all[before..at]))
        })
    }
}

fn every_way(world: &World) -> Vec<(&'static str, Request)> {
    let mut requests = vec![("quarantined", world.post("store", event(1)))];
    for (number, coding) in (2..).step_by(2).zip(CODINGS) {
        requests.push((coding, coded(world.post("store", event(number)), coding)));
        requests.push((coding, coded(world.post("envelope", full_envelope(number + 1)), coding)));
    }
    for (number, form) in (50..).zip([0, 1]) {
        let (name, body) = raven(&event(number)).into_iter().nth(form).unwrap();
        requests.push((name, world.post("store", body)));
    }
    let dump = form("X", &[("upload_file_minidump", b"MDMP planted-dump"), ("sentry", event(90).as_bytes())]);
    requests.push(("dump", world.post("minidump", dump).header("Content-Type", "multipart/form-data; boundary=X")));
    let path = format!("{}?sentry_key={}", world.path("security"), world.key.as_str());
    requests.push(("report", Request::post(path, REPORT).header("Content-Type", "application/csp-report")));
    requests
}

const REPORT: &str = r#"{"csp-report":{"document-uri":"https://u:planted-url@shop.example/?token=planted-query",
    "effective-directive":"img-src","blocked-uri":"https://h/?api_key=planted-pairs","referrer":"https://h/?token=planted-query"}}"#;

#[tokio::test]
async fn no_planted_secret_is_anywhere_in_the_database() {
    let searched = Searched::after_everything(json!({})).await;
    println!("{} bytes of a dump, {} of payloads", searched.dump.len(), searched.payloads.len());
    assert!(searched.dump.contains(CONTROL), "titles are in the dump");
    assert_eq!(searched.payloads.matches(CONTROL).count(), 14, "every event but the report");
    let found: Vec<_> = PLANTED.iter().chain(&ALWAYS_GONE).filter_map(|secret| searched.find(secret)).collect();
    assert_eq!(found, [""; 0]);
}

#[tokio::test]
async fn the_search_finds_what_a_project_wants_to_keep() {
    let searched = Searched::after_everything(json!({"privacy": {"scrubData": false}})).await;
    let missing: Vec<_> = PLANTED.iter().filter(|secret| searched.find(secret).is_none()).collect();
    assert_eq!(missing, [&""; 0]);
    let found: Vec<_> = ALWAYS_GONE.iter().filter_map(|secret| searched.find(secret)).collect();
    assert_eq!(found, [""; 0]);
}

#[tokio::test]
async fn the_type_that_an_event_names_is_no_way_around() {
    let world = World::start().await;
    for (number, kind) in (1..).zip(["error", "default", "csp", "generic", "nonsense"]) {
        let event = json!({"type": kind, "message": "m", "extra": {"password": "planted-extra"}}).to_string();
        let answer = world.send(&world.post("envelope", event_envelope(&format!("{number:032x}"), &event))).await;
        assert_eq!((answer.status, world.stored().await), (200, number), "{kind}");
    }
    assert!(!world.payloads().await.join("").contains("planted"));
}
