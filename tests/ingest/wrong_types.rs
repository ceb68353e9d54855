//! Every attribute of an event, and of what comes beside events, with every type that it does not have.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::{client::Client, wire::envelope, world::World};

/// Paths of attributes that have a type; `0` is the first of a list.
const ATTRIBUTES: &str = "
    message logentry logentry.message logentry.formatted logentry.params exception exception.values exception.values.0
    exception.values.0.type exception.values.0.value exception.values.0.module exception.values.0.thread_id
    exception.values.0.mechanism exception.values.0.mechanism.type exception.values.0.mechanism.handled
    exception.values.0.mechanism.synthetic exception.values.0.mechanism.exception_id exception.values.0.stacktrace
    exception.values.0.stacktrace.frames exception.values.0.stacktrace.frames.0
    exception.values.0.stacktrace.frames.0.function exception.values.0.stacktrace.frames.0.module
    exception.values.0.stacktrace.frames.0.filename exception.values.0.stacktrace.frames.0.abs_path
    exception.values.0.stacktrace.frames.0.lineno exception.values.0.stacktrace.frames.0.in_app
    exception.values.0.stacktrace.frames.0.context_line exception.values.0.stacktrace.frames.0.vars
    threads threads.values threads.values.0 threads.values.0.id threads.values.0.crashed threads.values.0.stacktrace
    stacktrace stacktrace.frames breadcrumbs breadcrumbs.values breadcrumbs.values.0 breadcrumbs.values.0.timestamp
    breadcrumbs.values.0.data request request.url request.method request.headers request.cookies request.data
    request.query_string request.env request.env.REMOTE_ADDR user user.id user.username user.email user.ip_address user.geo
    tags extra contexts contexts.os contexts.trace contexts.trace.trace_id modules sdk sdk.name sdk.version sdk.settings
    sdk.settings.infer_ip debug_meta debug_meta.images debug_meta.images.0 fingerprint level logger platform server_name
    release dist environment transaction culprit timestamp start_timestamp received type csp csp.effective_directive
    event_id site project errors _meta template sentry.interfaces.Exception sentry.interfaces.User
    sentry.interfaces.Http sentry.interfaces.Message sentry.interfaces.Csp sentry.interfaces.Breadcrumbs
    sentry.interfaces.Contexts sentry.interfaces.Stacktrace sentry.interfaces.Template checksum key_id ingest_path";

fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("text"),
        json!("12"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!([1, "a", {}]),
        json!(["a", "b"]),
        json!([["a", "b"], ["c"]]),
        json!({}),
        json!({"a": 1}),
        json!({"values": 5}),
        json!({"values": [null, 5, "a", [], {}]}),
        json!({"": {"": [{}]}}),
    ]
}

/// An event that says nothing but `value`, there.
fn at(path: &str, value: &Value) -> Value {
    let parts = if path.starts_with("sentry.") { vec![path] } else { path.split('.').collect() };
    parts.into_iter().rev().fold(value.clone(), |inner, part| match part {
        "0" => json!([inner]),
        name => json!({ name: inner }),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attribute_may_have_every_wrong_type() {
    let world = World::start().await;
    let mut events = Vec::new();
    for path in ATTRIBUTES.split_whitespace() {
        for value in values() {
            events.push(at(path, &value));
        }
    }
    let sent = events.len();
    let connections = 16;
    let sending = (0..connections).map(|connection| {
        let (world, events) = (&world, &events);
        async move {
            let mut client = Client::connect(world.address).await.unwrap();
            for event in events.iter().skip(connection).step_by(connections) {
                let answer = client.send(&world.post("store", event.to_string())).await.unwrap();
                assert_eq!(answer.status, 200, "{event}: {}", answer.body);
            }
        }
    });
    join_all(sending).await;
    println!("{sent} events");
    assert_eq!(world.stored().await, i64::try_from(sent).unwrap());
    assert_eq!(world.count("SELECT count(*) FROM {schema}.quarantine").await, 0);
    let nameless = "SELECT count(*) FROM {schema}.issues WHERE title = '' OR kind = '' OR platform = ''";
    assert_eq!(world.count(nameless).await, 0);
}

#[tokio::test]
async fn a_session_may_have_every_wrong_type_and_is_answered() {
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let started = jiff::Timestamp::now().to_string();
    for (kind, paths) in [
        ("session", "sid did seq init timestamp started duration status errors attrs attrs.release attrs.environment"),
        (
            "sessions",
            "aggregates aggregates.0 aggregates.0.started aggregates.0.did aggregates.0.exited attrs attrs.release",
        ),
        (
            "client_report",
            "timestamp discarded_events discarded_events.0 discarded_events.0.quantity discarded_events.0.reason",
        ),
        ("user_report", "event_id name email comments"),
        ("feedback", "contexts contexts.feedback contexts.feedback.message contexts.feedback.associated_event_id"),
    ] {
        for path in paths.split_whitespace() {
            for value in values() {
                let mut item = at(path, &value);
                if path != "started" && kind == "session" {
                    item["started"] = started.clone().into();
                }
                let answer =
                    client.send(&world.post("envelope", envelope("{}", &[(kind, &item.to_string())]))).await.unwrap();
                assert_eq!(answer.status, 200, "{kind} {item}: {}", answer.body);
            }
        }
    }
    assert_eq!(world.stored().await, 0);
}
