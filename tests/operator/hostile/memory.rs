//! As many objects as large as they can be: of the present definition with as much beside it as the API server takes, of an
//! older definition that had no bounds, and foreign ones that wear the operator's labels.

#[path = "../../support/noise.rs"]
mod noise;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use self::noise::noise;
use super::{Attack, Bystander, Outcome};
use crate::world::{INSTALLATION, Namespace, OPERATOR, kubectl, pause, try_kubectl, wait_for};

pub const ATTACKS: &[Attack] =
    &[Attack { name: "objects that are together larger than the memory", make: fills_the_memory }];

/// How many there are of each kind of them; `HOSTILE_OBJECTS` makes fewer, for a short run.
const OF_THE_DEFINITION: u64 = 1_000;
const OF_BEFORE: u64 = 200;
const FOREIGN: u64 = 1_000;

/// Objects in one call of kubectl.
const AT_ONCE: u64 = 20;

fn key(name: &str, annotations: &Value, template: &Value) -> Value {
    json!({
        "apiVersion": "errortracking.dev/v1alpha1", "kind": "ClientKey",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"projectRef": {"name": "shop"}, "secretTemplate": {"annotations": template}},
    })
}

/// So many annotations of 4,000 bytes each.
fn template(seed: u64, annotations: u64) -> Value {
    let named = |n| (format!("note-{n}"), noise(seed * 100 + n, 1_000).into());
    (0..annotations).map(named).collect::<serde_json::Map<_, _>>().into()
}

/// As large as the definition lets it be, and 248 KB beside it.
fn of_the_definition(number: u64, annotations: u64) -> Value {
    key(&format!("large-{number}"), &json!({"note": noise(number, 62_000)}), &template(number, annotations))
}

fn of_before(number: u64) -> Value {
    let note = noise(number, 4_000);
    let template: serde_json::Map<_, _> = (0..60).map(|n| (format!("note-{n}"), note.clone().into())).collect();
    key(&format!("old-{number}"), &json!({}), &template.into())
}

/// The most annotations that the definition lets in, of a few sizes.
fn most_annotations(namespace: &Namespace) -> u64 {
    let is_let_in = |annotations: &u64| {
        namespace.try_create(&of_the_definition(OF_THE_DEFINITION, *annotations).to_string()).is_ok()
    };
    [48, 32, 16, 8, 4, 2, 1].into_iter().find(is_let_in).expect("a key with one annotation is let in")
}

fn foreign(number: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("foreign-{number}"), "labels": {
            "app.kubernetes.io/managed-by": OPERATOR, "errortracking.dev/client-key": format!("large-{number}"),
        }},
        "stringData": {"note": noise(number, 250_000)},
    })
}

fn create(namespace: &Namespace, count: u64, object: impl Fn(u64) -> Value) {
    let most = std::env::var("HOSTILE_OBJECTS").ok().and_then(|most| most.parse().ok());
    let count = count.min(most.unwrap_or(u64::MAX));
    for first in (0..count).step_by(usize::try_from(AT_ONCE).unwrap()) {
        let items: Vec<_> = (first..count.min(first + AT_ONCE)).map(&object).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        store(namespace, &list);
    }
}

/// Again when etcd has not answered in time, which is none of the operator's doing: some of them may be there by then.
fn store(namespace: &Namespace, list: &str) {
    for attempt in 0.. {
        let Err(error) = namespace.try_create(list) else { return };
        let is_there = |line: &str| line.contains("AlreadyExists");
        if error.lines().filter(|line| !line.is_empty()).all(is_there) {
            return;
        }
        assert!(attempt < 20 && error.contains("etcdserver: request timed out"), "{error}");
        pause(Duration::from_secs(2));
    }
}

/// Makes what the definition refuses by now: an older one is put in its place meanwhile.
fn create_before_the_upgrade(namespace: &Namespace) {
    const DEFINITION: &str = "customresourcedefinition/clientkeys.errortracking.dev";
    let template = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/secretTemplate";
    let text = kubectl(&["get", DEFINITION, "-o", "json"]);
    let definition: Value = serde_json::from_str(&text).unwrap();
    let now = definition.pointer(template).unwrap();
    let name = json!({"type": "string", "maxLength": 253});
    let before = json!({"type": "object", "properties": {"name": name}, "x-kubernetes-preserve-unknown-fields": true});
    let replace = |schema: &Value| {
        let patch = json!([{"op": "replace", "path": template, "value": schema}]).to_string();
        kubectl(&["patch", DEFINITION, "--type=json", "--patch", &patch]);
    };
    replace(&before);
    // The API server takes the definition up in a moment.
    pause(Duration::from_secs(5));
    create(namespace, OF_BEFORE, of_before);
    replace(now);
}

/// What the process of the leader takes now, in MiB, and how often its container was started again.
fn memory() -> (u64, u64) {
    let leader = kubectl(&["get", "lease", "-n", INSTALLATION, OPERATOR, "-o", "jsonpath={.spec.holderIdentity}"]);
    let path = format!("/api/v1/namespaces/{INSTALLATION}/pods/{leader}:8081/proxy/metrics");
    let metrics = try_kubectl(&["get", "--raw", &path]).unwrap_or_default();
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let bytes: f64 = line.and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
    let restarts = "jsonpath={range .items[*]}{.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let operators = format!("app.kubernetes.io/name={OPERATOR}");
    let restarts = kubectl(&["get", "pods", "-n", INSTALLATION, "-l", &operators, "-o", restarts]);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
    ((bytes as u64) >> 20, restarts.lines().map(|count| count.parse::<u64>().unwrap()).sum())
}

fn fills_the_memory(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("flood");
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 0}}}}");
    let (_, restarts_before) = memory();
    let ended = AtomicBool::new(false);
    let mut waited = Duration::ZERO;
    let largest = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut told = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                told.push(memory().0);
                pause(Duration::from_secs(2));
            }
            told
        });
        // Ends the watching also when something fails.
        let attack = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            create_before_the_upgrade(&namespace);
            create(&namespace, FOREIGN, foreign);
            let annotations = most_annotations(&namespace);
            println!("    {annotations} annotations of 4,000 bytes are as large as the definition lets a key be");
            create(&namespace, OF_THE_DEFINITION, |number| of_the_definition(number, annotations));
            waited = waited.max(bystander.waits_for_a_key());
            // The next leader lists all of it.
            kubectl(&["rollout", "restart", "-n", INSTALLATION, &format!("deployment/{OPERATOR}")]);
            kubectl(&["rollout", "status", "-n", INSTALLATION, &format!("deployment/{OPERATOR}"), "--timeout=120s"]);
            for _ in 0..5 {
                waited = waited.max(bystander.waits_for_a_key());
                pause(Duration::from_secs(10));
            }
            wait_for("a key of the flood is told", Duration::from_mins(3), || {
                (namespace.condition("etk/old-0", "Ready", "status") == "False").then_some(())
            });
        }));
        ended.store(true, Ordering::Relaxed);
        let told = watching.join().unwrap();
        println!("    memory of the leader over time, in MiB: {told:?}");
        attack.map(|()| told.into_iter().max().unwrap_or_default())
    });
    let largest = match largest {
        Ok(largest) => largest,
        Err(failed) => std::panic::resume_unwind(failed),
    };
    let (_, restarts) = memory();
    let held = if restarts == restarts_before {
        Ok(format!("the leader took at most {largest} MiB"))
    } else {
        Err(format!("the operator was started again {} times", restarts - restarts_before))
    };
    Outcome { held, waited }
}
