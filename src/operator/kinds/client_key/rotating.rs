//! What the status says of a rotation. Pure.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{held::Held, life::Life};
use crate::{
    backend::{DsnSource, Key},
    crd::{ConditionStatus, Reason, RetiringKey, whole_seconds},
    operator::kinds::restarts::Verdict,
    rotation::{self, Overlap, Phase},
};

/// Workloads that a message names; the status has more.
const MOST_IN_WORDS: usize = 5;
/// So much of an annotation is repeated, in characters.
const MOST_OF_A_VALUE: usize = 40;

/// The part of a status that is about rotation.
#[derive(Clone, Debug)]
pub struct Rotating {
    pub retiring: Option<RetiringKey>,
    pub next_rotation_at: Option<Time>,
    pub status: ConditionStatus,
    pub reason: Reason,
    pub message: String,
    /// Who still sends with keys that have ended.
    pub dead_key_in_use: Option<String>,
}

/// What is said of the keys of an object, whose Secret has this name.
#[must_use]
pub fn describe(keys: &[Key], life: &Life, secret: &str) -> Rotating {
    let phase = life.decision.phase;
    let prefix = |index: usize| format!("{}…", keys[index].public_key.prefix());
    let retiring = match phase {
        Phase::Overlap(index) | Phase::HoldersUnknown(index) | Phase::Restored(index) | Phase::Withdrawn(index) => {
            Some(index)
        }
        _ => keys.iter().rposition(|key| key.state == rotation::State::Overlap),
    };
    let (reason, message) = match phase {
        Phase::Idle => match &life.unread {
            None => (Reason::Idle, "No rotation is under way.".to_owned()),
            Some(text) => (Reason::Invalid, unread(text)),
        },
        Phase::WaitingForIngest(next) => (
            Reason::WaitingForIngest,
            format!(
                "Key {} is made. Secret {secret} names it as soon as every ingest pod knows it; {} has not told yet.",
                prefix(next),
                life.silent.join(", ")
            ),
        ),
        Phase::Publishing(next) => {
            (Reason::Publishing, format!("Secret {secret} is being written with key {}.", prefix(next)))
        }
        Phase::Overlap(index) => {
            let is_reverted = life.restarts.iter().any(|restart| matches!(restart.verdict, Verdict::Reverted(_)));
            let reason = if is_reverted { Reason::RestartReverted } else { Reason::Overlap };
            (reason, beside(keys, index, secret) + &awaited(&keys[index], life) + &restarts(life))
        }
        Phase::HoldersUnknown(index) => {
            (Reason::HoldersUnknown, beside(keys, index, secret) + &unseen(&keys[index], life))
        }
        Phase::Withdrawn(index) => {
            let until = keys[index].retiring_since.map(|since| life.rules.overlap.not_before(since));
            let until = until.map(|until| format!(" until {}", whole_seconds(until))).unwrap_or_default();
            let prefix = prefix(index);
            let message = format!("Key {prefix} is accepted{until}, though this namespace is not let in any more.");
            (Reason::NotAllowed, message)
        }
        Phase::Restored(index) => (
            Reason::Restored,
            format!(
                "Key {} is accepted again while the annotation {} names it.",
                prefix(index),
                crate::crd::RESTORE_ANNOTATION
            ),
        ),
    };
    Rotating {
        retiring: retiring.map(|index| retiring_key(&keys[index], life)),
        next_rotation_at: life.decision.next_rotation.map(|at| Time(whole_seconds(at))),
        status: (phase != Phase::Idle).into(),
        reason,
        message,
        dead_key_in_use: life.dead_key_in_use.clone(),
    }
}

fn unread(text: &str) -> String {
    let text: String = text.chars().take(MOST_OF_A_VALUE).collect();
    format!(
        "The annotation {} is {text:?}, and no time as 2026-11-22T10:00:00Z: nothing is rotated.",
        crate::crd::ROTATE_ANNOTATION
    )
}

fn beside(keys: &[Key], index: usize, secret: &str) -> String {
    let former = keys[index].public_key.prefix();
    match rotation::active(keys, |key| key.state) {
        Some(active) => {
            let active = keys[active].public_key.prefix();
            format!("Secret {secret} names key {active}…, and key {former}… is accepted beside it.")
        }
        None => format!("Key {former}… is accepted."),
    }
}

fn restarts(life: &Life) -> String {
    if life.restarts_off {
        return " rotation.restartWorkloads does nothing here: the platform team sets restartWorkloads.enabled of the chart."
            .to_owned();
    }
    let told = life.restarts.iter().take(MOST_IN_WORDS).map(|restart| format!(" {restart}"));
    told.collect()
}

/// What has to happen before the key ends.
fn awaited(key: &Key, life: &Life) -> String {
    let overlap = &life.rules.overlap;
    let mut words = match &life.held {
        Some(held) if held.pods > 0 => format!(" {}: restart what still runs with it.", holders(held)),
        _ => " No pod of this namespace holds it.".to_owned(),
    };
    if let Some(since) = key.retiring_since {
        // As it is written: of a least overlap of nothing, it would be told for the rest of a second.
        let least = whole_seconds(overlap.not_before(since));
        let early = least > life.now;
        if early {
            _ = write!(words, " It ends on {least} at the earliest");
        }
        if overlap.silence.is_positive() {
            words.push_str(if early { "," } else { " It ends" });
            _ = write!(words, " when nothing was sent with it for {}", span(overlap.silence));
        }
        if early || overlap.silence.is_positive() {
            words.push('.');
        }
    }
    words + &at_the_latest(key, overlap)
}

/// Where nobody can tell who holds the key.
fn unseen(key: &Key, life: &Life) -> String {
    let used = match (key.last_used_at, &key.dsn) {
        (Some(used), _) => format!(" It was used last on {}.", hour(used)),
        (None, DsnSource::Endpoint(_)) => " Nothing was sent with it yet.".to_owned(),
        // Its server does not tell, or counts for some days only.
        (None, _) => " When it was used last is not known.".to_owned(),
    };
    let end = at_the_latest(key, &life.rules.overlap);
    if end.is_empty() {
        format!(
            " Who holds it is not known:{used} It ends when the annotation {} is set to {}, or with a \
             rotation.overlap.maximum.",
            crate::crd::REVOKE_ANNOTATION,
            key.id
        )
    } else {
        format!(" Who holds it is not known:{used}{end}")
    }
}

fn at_the_latest(key: &Key, overlap: &Overlap) -> String {
    let until = key.retiring_since.zip(overlap.maximum).and_then(|(since, maximum)| since.checked_add(maximum).ok());
    until.map(|until| format!(" It ends on {} whoever holds it.", whole_seconds(until))).unwrap_or_default()
}

/// "37 pods hold it (Deployment shop 30, Job report 7)".
pub fn holders(held: &Held) -> String {
    let named = held.by.iter().take(MOST_IN_WORDS);
    let mut named: Vec<_> = named.map(|of| format!("{} {} {}", of.kind, of.name, of.pods)).collect();
    if held.by.len() > MOST_IN_WORDS {
        named.push("others".to_owned());
    }
    let words = if held.pods == 1 { "pod holds" } else { "pods hold" };
    format!("{} {words} it ({})", held.pods, named.join(", "))
}

fn retiring_key(key: &Key, life: &Life) -> RetiringKey {
    let since = key.retiring_since.unwrap_or(key.created_at);
    let held = life.held.as_ref();
    RetiringKey {
        key_id: key.id.to_string(),
        public_key_prefix: key.public_key.prefix().into(),
        since: Time(whole_seconds(since)),
        not_before: Some(Time(whole_seconds(life.rules.overlap.not_before(since)))),
        last_used_at: key.last_used_at.map(|used| Time(hour(used))),
        holders: held.map(|held| i32::try_from(held.pods).unwrap_or(i32::MAX)),
        held_by: held.map(|held| held.by.clone()).unwrap_or_default(),
    }
}

/// An exact time would be a write for each event.
fn hour(time: Timestamp) -> Timestamp {
    let seconds = time.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(3600)).unwrap_or(time)
}

/// As Go writes it without what is zero: "168h", "90s".
fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
