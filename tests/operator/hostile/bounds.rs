//! Objects as large as the API server lets in.

use std::{fs, path::PathBuf};

use super::{Attack, Bystander, Outcome};
use crate::world::Namespace;

pub const ATTACKS: &[Attack] =
    &[Attack { name: "keys with a megabyte of annotations each", make: asks_for_large_secrets }];

/// 60 annotations of 4,096 four-byte characters: each is within its own bound.
fn asks_for_large_secrets(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("hoarder");
    let text = "𝒳".repeat(4096);
    let annotations: Vec<_> = (0..60).map(|number| format!("note-{number}: {text}")).collect();
    let annotations = annotations.join(", ");
    let refusals: Vec<_> = (0..10)
        .filter_map(|number| {
            let manifest = format!(
                "apiVersion: errortracking.dev/v1alpha1\nkind: ClientKey\nmetadata: {{name: large-{number}}}\n\
                 spec: {{projectRef: {{name: shop}}, secretTemplate: {{annotations: {{{annotations}}}}}}}\n"
            );
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("large.yaml");
            fs::write(&file, manifest).unwrap();
            // Not applied: kubectl would write all of it into an annotation, which is refused for its own size.
            namespace.try_kubectl(&["create", "-f", file.to_str().unwrap()]).err()
        })
        .filter(|refusal| refusal.contains("annotations may hold at most 4096 bytes all together"))
        .collect();
    let waited = bystander.waits_for_a_key();
    let held = match refusals.len() {
        10 => Ok(refusals[0].clone()),
        some => Err(format!("{some} of ten were refused for their size")),
    };
    Outcome { held, waited }
}
