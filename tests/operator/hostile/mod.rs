//! What one tenant does to hurt the others, or to wedge the operator, with objects that the API server accepts. Each
//! attack is made in a namespace of its own while a bystander goes on. `make test-hostile` runs them all in a cluster of
//! their own; the last line is "hostile: A attacks, H held, others waited at most S s".

mod bounds;
mod bystander;
mod databases;
mod logins;
mod memory;
mod namespaces;
mod statuses;

use std::time::Duration;

use self::bystander::Bystander;
use super::world::alone;

/// Longest that a bystander may wait for what it asks while somebody attacks.
const PATIENCE: Duration = Duration::from_secs(20);

/// A row of the table.
struct Attack {
    name: &'static str,
    /// Makes the attack, and looks at the bystander meanwhile.
    make: fn(&Bystander) -> Outcome,
}

/// What came of an attack.
struct Outcome {
    /// What the attacker is told, or what else shows that the attack was held.
    held: Result<String, String>,
    /// Longest that the bystander waited.
    waited: Duration,
}

/// One list for each topic.
const ATTACKS: &[&[Attack]] =
    &[bounds::ATTACKS, statuses::ATTACKS, namespaces::ATTACKS, logins::ATTACKS, databases::ATTACKS, memory::ATTACKS];

#[test]
#[ignore = "make test-hostile runs it: it floods the cluster, and takes long"]
fn no_tenant_hurts_another() {
    // A word of the names of the attacks that are made; all of them without it.
    attack(&std::env::var("HOSTILE_ATTACKS").unwrap_or_default());
}

/// The attacks that are over in seconds.
#[test]
fn a_forged_status_hurts_nobody() {
    attack("status");
}

/// Makes the attacks with this word in their name.
fn attack(word: &str) {
    let _turn = alone();
    let bystander = Bystander::new();
    let attacks: Vec<_> = ATTACKS.iter().copied().flatten().filter(|attack| attack.name.contains(word)).collect();
    let (mut broken, mut longest) = (Vec::new(), Duration::ZERO);
    for attack in &attacks {
        let Outcome { held, waited } = (attack.make)(&bystander);
        println!("{}\n    a bystander waited {:.1} s", attack.name, waited.as_secs_f64());
        match &held {
            Ok(told) => println!("    held: {}", told.trim()),
            Err(harm) => println!("    NOT HELD: {harm}"),
        }
        longest = longest.max(waited);
        if held.is_err() || waited > PATIENCE {
            broken.push(attack.name);
        }
    }
    let (all, held) = (attacks.len(), attacks.len() - broken.len());
    println!("hostile: {all} attacks, {held} held, others waited at most {:.1} s", longest.as_secs_f64());
    assert!(broken.is_empty(), "not held: {broken:?}");
}
