//! Statuses that a tenant writes.

use std::time::Duration;

use super::{Attack, Bystander, Outcome};
use crate::world::{Namespace, pause, sql};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "a status that claims the last number that there is", make: claims_the_last_number },
    Attack { name: "a new project whose status claims the last number that there is", make: asks_for_the_last_number },
];

const FORGED: &str = r#"{"status":{"projectID":2147483646}}"#;

fn last_number() -> i64 {
    sql("SELECT last_value FROM errortracking.project_ids").parse().unwrap()
}

/// A project that is paused before the operator has seen it, with a forged status.
fn forge(namespace: &Namespace) {
    namespace.apply(
        "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\n\
         metadata: {name: forged, annotations: {errortracking.dev/paused: \"true\"}}\n\
         spec: {backend: {integrated: {ingest: {replicas: 0}}}}\n",
    );
    namespace.kubectl(&["patch", "etp/forged", "--subresource=status", "--type=merge", "--patch", FORGED]);
}

fn verdict(before: i64) -> Result<String, String> {
    let after = last_number();
    let says = format!("the next number after {before} is {after}");
    if after - before < 20_000 { Ok(says) } else { Err(says) }
}

fn claims_the_last_number(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("forger");
    let before = last_number();
    forge(&namespace);
    let waited = bystander.waits_for_a_project();
    let told = || {
        let warnings = [
            "get",
            "events",
            "--field-selector",
            "reason=NumberIgnored",
            "-o",
            "jsonpath={.items[*].note}{.items[*].message}",
        ];
        namespace.try_kubectl(&warnings).unwrap_or_default()
    };
    let mut said = told();
    for _ in 0..25 {
        if !said.is_empty() {
            break;
        }
        pause(Duration::from_millis(200));
        said = told();
    }
    let held = verdict(before).and_then(|_| if said.is_empty() { Err("nobody is told".to_owned()) } else { Ok(said) });
    Outcome { held, waited }
}

fn asks_for_the_last_number(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("claimant");
    let before = last_number();
    forge(&namespace);
    namespace.kubectl(&["annotate", "etp/forged", "errortracking.dev/paused-"]);
    namespace.wait_ready("etp/forged");
    let number = namespace.get("etp/forged", ".status.projectID");
    let waited = bystander.waits_for_a_project();
    let held = verdict(before).and_then(|_| match number.as_str() {
        "2147483646" => Err("it has the number".to_owned()),
        number => Ok(format!("it has number {number}")),
    });
    Outcome { held, waited }
}
