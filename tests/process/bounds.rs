//! What the definitions let in is small, and what older ones let in stays usable.

use kube::api::PostParams;
use serde_json::{Map, Value, json};

use crate::world::{Namespace, World, manifest};

/// Somewhere that many things go. The sum of their keys and texts is bounded.
struct Bound {
    kind: &'static str,
    path: &'static str,
    bytes: usize,
    /// Something of this many bytes.
    make: fn(usize) -> Value,
}

const PROJECT: &str = "ErrorTrackingProject";
const INGEST: &str = "/backend/integrated/ingest";

const BOUNDS: &[Bound] = &[
    Bound { kind: "ClientKey", path: "/secretTemplate/labels", bytes: 2048, make: labels },
    Bound { kind: "ClientKey", path: "/secretTemplate/annotations", bytes: 4096, make: annotations },
    Bound { kind: PROJECT, path: "ingress/annotations", bytes: 4096, make: annotations },
    Bound { kind: PROJECT, path: "gateway/parentRefs", bytes: 2048, make: gateways },
    Bound { kind: PROJECT, path: "gateway/hostnames", bytes: 2048, make: |bytes| texts(bytes, 250) },
    Bound { kind: PROJECT, path: "podTemplate/metadata/labels", bytes: 2048, make: labels },
    Bound { kind: PROJECT, path: "podTemplate/metadata/annotations", bytes: 4096, make: annotations },
    Bound { kind: PROJECT, path: "podTemplate/nodeSelector", bytes: 2048, make: labels },
    Bound { kind: PROJECT, path: "podTemplate/tolerations", bytes: 2048, make: tolerations },
    Bound { kind: PROJECT, path: "podTemplate/affinity", bytes: 6144, make: affinity },
    Bound { kind: PROJECT, path: "podTemplate/topologySpreadConstraints", bytes: 4096, make: constraints },
    Bound { kind: PROJECT, path: "podTemplate/imagePullSecrets", bytes: 1024, make: secrets },
    Bound { kind: PROJECT, path: "podTemplate/resources/requests", bytes: 1024, make: resources },
    Bound { kind: PROJECT, path: "podTemplate/resources/limits", bytes: 1024, make: resources },
    Bound { kind: PROJECT, path: "/privacy/sensitiveFields", bytes: 2048, make: |bytes| texts(bytes, 100) },
    Bound { kind: PROJECT, path: "/privacy/safeFields", bytes: 2048, make: |bytes| texts(bytes, 100) },
    Bound { kind: PROJECT, path: "/filters/ignoreErrors", bytes: 8192, make: |bytes| texts(bytes, 500) },
    Bound { kind: PROJECT, path: "/filters/ignoreReleases", bytes: 4096, make: |bytes| texts(bytes, 240) },
    Bound { kind: PROJECT, path: "/filters/ignoreEnvironments", bytes: 1024, make: |bytes| texts(bytes, 60) },
    Bound { kind: PROJECT, path: "/filters/allowedOrigins", bytes: 4096, make: |bytes| texts(bytes, 250) },
];

/// Different texts of together so many bytes, each of at most `longest`.
fn pieces(bytes: usize, longest: usize) -> Vec<String> {
    let count = bytes.div_ceil(longest);
    let piece = |index: usize| format!("{index:0>width$}", width = bytes * (index + 1) / count - bytes * index / count);
    (0..count).map(piece).collect()
}

fn texts(bytes: usize, longest: usize) -> Value {
    json!(pieces(bytes, longest))
}

fn labels(bytes: usize) -> Value {
    pieces(bytes, 70).into_iter().map(|text| (text[text.len() - 10..].to_owned(), json!(text[10..]))).collect()
}

/// In characters of four bytes.
fn annotations(bytes: usize) -> Value {
    let (key, rest) = ("k".repeat(4 + bytes % 4), bytes - 4 - bytes % 4);
    Value::Object(Map::from_iter([(key, json!("𝒳".repeat(rest / 4)))]))
}

fn gateways(bytes: usize) -> Value {
    pieces(bytes, 250).into_iter().map(|name| json!({"name": name})).collect()
}

fn secrets(bytes: usize) -> Value {
    gateways(bytes)
}

fn tolerations(bytes: usize) -> Value {
    pieces(bytes, 300).into_iter().map(|key| json!({"key": key})).collect()
}

/// 32 bytes count for each quantity.
fn resources(bytes: usize) -> Value {
    pieces(bytes, 128).into_iter().map(|name| (name[32..].to_owned(), json!(1))).collect()
}

fn affinity(bytes: usize) -> Value {
    let terms = pieces(bytes - 300, 500).into_iter().map(|text| {
        let expression = json!({"key": text[..200], "operator": "In", "values": [text[202..]]});
        json!({"matchExpressions": [expression]})
    });
    let required = json!({"nodeSelectorTerms": terms.collect::<Vec<_>>()});
    let neighbour = json!({"topologyKey": "k".repeat(300)});
    json!({
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required},
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [neighbour]},
    })
}

fn constraints(bytes: usize) -> Value {
    let constraint =
        |text: String| json!({"topologyKey": text[13..], "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1});
    pieces(bytes, 310).into_iter().map(constraint).collect()
}

impl Bound {
    /// Puts something of so many bytes into a spec.
    fn fill(&self, spec: &mut Value, bytes: usize) {
        let path = match self.path {
            path if self.kind == "ClientKey" => path.to_owned(),
            path if path.starts_with('/') => format!("/backend/integrated{path}"),
            path => format!("{INGEST}/{path}"),
        };
        let mut at = &mut *spec;
        for field in path.split('/').skip(1) {
            at = &mut at[field];
        }
        *at = (self.make)(bytes);
        if self.path.starts_with("ingress") {
            spec.pointer_mut(INGEST).unwrap()["ingress"]["host"] = json!("e.example");
        }
        if self.path == "gateway/hostnames" {
            spec.pointer_mut(INGEST).unwrap()["gateway"]["parentRefs"] = json!([{"name": "public"}]);
        }
    }
}

/// The API server's answer.
async fn try_create(namespace: &Namespace, object: &Value, dry_run: bool) -> Result<Value, String> {
    let parameters = PostParams { dry_run, ..PostParams::default() };
    let object_of = serde_json::from_value(object.clone()).unwrap();
    let made = namespace.api(object["kind"].as_str().unwrap()).create(&parameters, &object_of).await;
    made.map(|made| serde_json::to_value(made).unwrap()).map_err(|error| error.to_string())
}

fn empty(kind: &str) -> Value {
    if kind == "ClientKey" { json!({"projectRef": {"name": "shop"}}) } else { json!({}) }
}

#[tokio::test]
async fn everything_that_holds_many_is_bounded_as_a_whole() {
    let world = World::new().await;
    let namespace = world.namespace("web").await;
    for bound in BOUNDS {
        let (kind, path) = (bound.kind, bound.path);
        let mut full = empty(kind);
        bound.fill(&mut full, bound.bytes);
        let taken = try_create(&namespace, &manifest(kind, "full", full), true).await;
        assert!(taken.is_ok(), "{path} at its bound: {taken:?}");
        let mut over = empty(kind);
        bound.fill(&mut over, bound.bytes + 1);
        let refusal = try_create(&namespace, &manifest(kind, "over", over), true).await.expect_err(path);
        let says = format!("may hold at most {} bytes all together", bound.bytes);
        assert!(refusal.contains(&says), "{path}: {refusal}");
        println!("{path}: {}", refusal.split_once("Invalid value").unwrap().1);
    }
}

#[tokio::test]
async fn an_object_at_every_bound_is_small() {
    let world = World::new().await;
    let namespace = world.namespace("web").await;
    for kind in ["ClientKey", PROJECT] {
        let mut spec = empty(kind);
        // An Ingress and a route exclude each other.
        let together = BOUNDS.iter().filter(|bound| bound.kind == kind && !bound.path.starts_with("gateway"));
        together.for_each(|bound| bound.fill(&mut spec, bound.bytes));
        let made = try_create(&namespace, &manifest(kind, "full", spec), false).await.unwrap();
        let size = |value: &Value| value.to_string().len();
        println!("{kind}: a spec of {} bytes in an object of {}", size(&made["spec"]), size(&made));
        assert!(size(&made["spec"]) <= 64 << 10);
        assert!(size(&made) <= 128 << 10, "with what the API server adds, as managedFields");
    }
}

/// The rules are about what changes: an object that breaks one can be read, reported on and corrected.
#[tokio::test]
async fn what_an_older_definition_let_in_stays_usable_until_that_field_changes() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let annotations: Map<String, Value> =
        (0..30).map(|number| (format!("note-{number}"), json!("x".repeat(4000)))).collect();
    let spec = json!({"projectRef": {"name": "shop"}, "secretTemplate": {"annotations": annotations}});
    world.store_unchecked(&namespace, &[manifest("ClientKey", "old", spec)]).await;

    namespace.ready("ClientKey", "old").await;
    namespace.patch("ClientKey", "old", json!({"spec": {"enabled": false}})).await;
    namespace.reason("ClientKey", "old", "Ready", "KeyDisabled").await;
    let more = json!({"spec": {"secretTemplate": {"annotations": {"note-0": "y"}}}});
    let refusal = namespace.try_patch("ClientKey", "old", more).await.unwrap_err().to_string();
    assert!(refusal.contains("annotations may hold at most 4096 bytes"), "{refusal}");
    let fewer: Map<String, Value> = (1..30).map(|number| (format!("note-{number}"), Value::Null)).collect();
    namespace.patch("ClientKey", "old", json!({"spec": {"secretTemplate": {"annotations": fewer}}})).await;
    drop(operator);
}
