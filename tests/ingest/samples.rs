//! Events of real clients: each is stored whatever way it comes, and grouped by what it is and not by how it is written.
//! `ERROR_TRACKING_SAMPLES` names the folder of them.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::{
    client::{Client, Request},
    wire::{CODINGS, coded, event_envelope, raven},
    world::World,
};

/// The samples by name, in the order of their names.
fn samples() -> Option<Vec<(String, Map<String, Value>)>> {
    let Some(folder) = std::env::var_os("ERROR_TRACKING_SAMPLES") else {
        println!("skipped: ERROR_TRACKING_SAMPLES does not name a folder of events");
        return None;
    };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
    };
    Some(files.into_iter().map(read).collect())
}

/// The sample under an id of its own.
fn numbered(sample: &Map<String, Value>, number: u32) -> Map<String, Value> {
    let mut event = sample.clone();
    event.insert("event_id".into(), format!("{number:032x}").into());
    event
}

/// The group of each event, by its number.
async fn hashes(world: &World) -> Vec<(String, String)> {
    let statement = format!(
        "SELECT event_id::text, encode(hash, 'hex') FROM {0}.events JOIN {0}.issue_hashes USING (issue_id)",
        world.project.schema()
    );
    sqlx::query_as(sqlx::AssertSqlSafe(statement)).fetch_all(&world.pool).await.unwrap()
}

async fn hash_of(world: &World, number: u32) -> String {
    let id = uuid::Uuid::from_u128(number.into()).to_string();
    let found = hashes(world).await;
    found.into_iter().find(|(event, _)| *event == id).unwrap_or_else(|| panic!("{id} is not stored")).1
}

async fn sent(client: &mut Client, request: &Request, name: &str) {
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status, 200, "{name}: {}", answer.body);
}

#[tokio::test]
async fn samples_are_stored_by_both_endpoints_in_every_coding_as_one_group() {
    let Some(samples) = samples() else { return };
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let mut number = 0;
    let mut ways = 0;
    for (name, sample) in &samples {
        let first = number;
        let mut next = || {
            number += 1;
            (number, serde_json::to_string(&numbered(sample, number)).unwrap())
        };
        for coding in CODINGS {
            let (_, event) = next();
            sent(&mut client, &coded(world.post("store", event), coding), name).await;
            let (id, event) = next();
            let body = event_envelope(&format!("{id:032x}"), &event);
            sent(&mut client, &coded(world.post("envelope", body), coding), name).await;
        }
        for way in [0, 1] {
            let (_, event) = next();
            let (_, body) = raven(&event).into_iter().nth(way).unwrap();
            sent(&mut client, &world.post("store", body), name).await;
        }
        ways = number - first;
    }
    assert_eq!(world.stored().await, i64::from(number));
    let per_event: std::collections::HashMap<_, _> = hashes(&world).await.into_iter().collect();
    assert_eq!(per_event.len(), usize::try_from(number).unwrap(), "one hash an issue");
    for (index, (name, _)) in (0..).zip(&samples) {
        let of = |way: u32| &per_event[&uuid::Uuid::from_u128((index * ways + way + 1).into()).to_string()];
        for way in 1..ways {
            assert_eq!(of(way), of(0), "{name}: way {way}");
        }
    }
    let unreadable = "SELECT count(*) FROM {schema}.issues WHERE title = '' OR title IS NULL";
    assert_eq!(world.count(unreadable).await, 0);
    let issues = world.count("SELECT count(*) FROM {schema}.issues").await;
    println!("{} samples, each in {ways} ways: {number} events in {issues} issues", samples.len());
}

/// Other lines and columns in every frame, as after an edit of the program.
fn moved(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match name.as_str() {
                    "lineno" | "colno" if value.is_number() => *value = json!(value.as_u64().unwrap_or(1) + 17),
                    _ => moved(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(moved),
        _ => {}
    }
}

/// Attributes that nobody knows yet, in every object that has a schema.
fn extended(value: &mut Value, depth: u32) {
    match value {
        Value::Object(object) => {
            object.iter_mut().filter(|(name, _)| !FREE.contains(&name.as_str())).for_each(|(_, value)| {
                extended(value, depth + 1);
            });
            if depth == 0
                || ["type", "frames", "filename", "function", "stacktrace"].iter().any(|n| object.contains_key(*n))
            {
                object.insert("from_the_future".into(), json!({"nested": [1, {"a": null}]}));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| extended(value, depth + 1)),
        _ => {}
    }
}

/// Whose names and values are the application's own.
const FREE: [&str; 8] = ["vars", "extra", "tags", "modules", "headers", "data", "contexts", "params"];

/// The same JSON with the names of every object in the reverse order.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let members = object.iter().rev().map(|(name, value)| format!("{}:{}", json!(name), reversed(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(reversed).collect::<Vec<_>>().join(",")),
        value => value.to_string(),
    }
}

/// Another type for every exception, and an exception for an event that has none.
fn retyped(event: &mut Map<String, Value>) {
    let name =
        if event.contains_key("sentry.interfaces.Exception") { "sentry.interfaces.Exception" } else { "exception" };
    let values = match event.get_mut(name) {
        Some(Value::Object(object)) if object.contains_key("values") => object.get_mut("values"),
        other => other,
    };
    match values {
        Some(Value::Array(values)) if !values.is_empty() => values.iter_mut().for_each(retype),
        Some(exception @ Value::Object(_)) => retype(exception),
        _ => drop(event.insert(name.to_owned(), json!([{"type": "OtherError", "value": "of no sample"}]))),
    }
}

fn retype(exception: &mut Value) {
    let kind = exception.get("type").and_then(Value::as_str).unwrap_or_default();
    exception["type"] = format!("Other{kind}").into();
}

/// Its type is that of a signal or an error code, and says nothing about what is wrong.
fn synthetic(event: &Map<String, Value>) -> bool {
    serde_json::to_string(event).unwrap().contains("\"synthetic\":true")
}

#[tokio::test]
async fn a_sample_stays_in_its_group_however_it_is_written_and_leaves_it_with_another_type() {
    let Some(samples) = samples() else { return };
    let world = World::start().await;
    let mut client = Client::connect(world.address).await.unwrap();
    let (mut number, mut synthetics) = (0, 0);
    for (name, sample) in &samples {
        let base = number + 1;
        let mut same = vec![("as it is", serde_json::to_string(&numbered(sample, base)).unwrap())];
        let mut event = Value::Object(numbered(sample, base + 1));
        moved(&mut event);
        same.push(("other lines", event.to_string()));
        let mut event = Value::Object(numbered(sample, base + 2));
        extended(&mut event, 0);
        same.push(("unknown attributes", event.to_string()));
        let event = Value::Object(numbered(sample, base + 3));
        same.push(("order of names", reversed(&event)));
        for (variant, event) in &same {
            number += 1;
            sent(&mut client, &world.post("store", event.clone()), &format!("{name}: {variant}")).await;
        }
        let hash = hash_of(&world, base).await;
        for (way, (variant, _)) in (base..).zip(&same) {
            assert_eq!(hash_of(&world, way).await, hash, "{name}: {variant}");
        }
        number += 1;
        let mut other = numbered(sample, number);
        retyped(&mut other);
        sent(&mut client, &world.post("store", serde_json::to_string(&other).unwrap()), name).await;
        let other_hash = hash_of(&world, number).await;
        if synthetic(&other) {
            synthetics += 1;
            assert_eq!(other_hash, hash, "{name}: the type of a signal does not count");
        } else {
            assert_ne!(other_hash, hash, "{name}: another type");
        }
    }
    assert_eq!(world.stored().await, i64::from(number));
    println!("{} samples, {synthetics} of them of signals", samples.len());
    assert!(synthetics < samples.len() / 2);
}
