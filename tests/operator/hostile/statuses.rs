//! Statuses that a tenant writes.

use super::{Attack, Bystander, Outcome};
use crate::world::{Namespace, sql};

pub const ATTACKS: &[Attack] =
    &[Attack { name: "a status that claims the last number that there is", make: claims_the_last_number }];

fn last_number() -> i64 {
    sql("SELECT last_value FROM errortracking.project_ids").parse().unwrap()
}

fn claims_the_last_number(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("forger");
    let before = last_number();
    namespace.project("paused", "{}");
    namespace.kubectl(&["annotate", "etp/paused", "errortracking.dev/paused=true"]);
    let forged = r#"{"status":{"projectID":2147483646}}"#;
    namespace.kubectl(&["patch", "etp/paused", "--subresource=status", "--type=merge", "--patch", forged]);
    let waited = bystander.waits_for_a_project();
    let after = last_number();
    let held = if after - before < 20_000 {
        Ok(format!("the next number after {before} is {after}"))
    } else {
        Err(format!("the next number after {before} is {after}"))
    };
    Outcome { held, waited }
}
