//! What is known of the keys of an object and of those who use them, for the rules of their life.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

use super::{
    KeyPass,
    dead_keys::{self, Senders, signed},
    held::Held,
};
use crate::{
    backend::{Backend, Ended, IngestInstance, Key},
    crd::{Period, RESTORE_ANNOTATION, REVOKE_ANNOTATION, ROTATE_ANNOTATION, Rotation},
    operator::kinds::{
        failure::Failure,
        restarts::{self, Restart},
    },
    rotation::{self, Decision, Overlap, Rules, Seen, State},
};

/// An ingest instance that reports every ten seconds and has not for so long is silent.
const SILENT: Duration = Duration::from_secs(30);
/// How often it is looked whether a dead key is still in use.
const LOOK_FOR_USE: SignedDuration = SignedDuration::from_secs(60);
/// Ingest instances that are named.
const MOST_INSTANCES: usize = 5;

/// What was weighed, and what comes of it.
#[derive(Clone, Debug)]
pub struct Life {
    /// By the clock that decided.
    pub now: Timestamp,
    pub decision: Decision,
    pub rules: Rules,
    /// Who holds the keys before; `None`: nobody asks, or nobody knows.
    pub held: Option<Held>,
    /// Ingest instances that have not told that they know the newest key.
    pub silent: Vec<String>,
    /// What is to be done about the workloads that hold the keys before, where it is asked for.
    pub restarts: Vec<Restart>,
    /// The spec asks for restarts, and the installation does not do any.
    pub restarts_off: bool,
    /// An annotation that is no time.
    pub unread: Option<String>,
    /// Who still sends with keys that have ended.
    pub dead_key_in_use: Option<String>,
}

/// What the ingest instances of a project have told.
#[derive(Clone, Debug, Default)]
struct Told {
    instances: Vec<IngestInstance>,
}

impl KeyPass<'_> {
    /// Looks at those who use the keys as far as it matters now, and decides.
    pub(super) async fn weigh(&self, backend: &Backend, named: Option<usize>, writable: bool) -> Result<Life, Failure> {
        let (rules, unread) = self.rules();
        let keys = self.keys.all();
        let former = keys.iter().any(|key| key.state == State::Overlap);
        let next = rotation::successor(keys, |key| key.state).map(|next| &keys[next]);
        let told = if former || next.is_some() { self.told(backend).await? } else { Told::default() };
        let silent = next.map(|next| told.ignorant(next)).unwrap_or_default();
        let (holders, held) = if former { self.holders(&rules).await } else { (rotation::Holders::None, None) };
        let now = self.now();
        let seen = Seen {
            now,
            keys: &keys.iter().map(|key| key.life(told.silence(key, self.keys.now()))).collect::<Vec<_>>(),
            named,
            named_by_second: self.named_by_binding(named),
            writable,
            newest_is_known: silent.is_empty(),
            holders,
        };
        let mut decision = rotation::decide(&seen, &rules);
        let (restarts, after) = self.restarts(held.as_ref(), now).await;
        if let Some(after) = after {
            decision.look_again(after);
        }
        let restarts_off = self.asks_for_restarts() && !self.context.restarts;
        let dead_key_in_use = self.dead_key_in_use(backend, now).await?;
        if dead_key_in_use.is_some() {
            decision.look_again(LOOK_FOR_USE);
        }
        Ok(Life { now, decision, rules, held, silent, restarts, restarts_off, unread, dead_key_in_use })
    }

    /// By the clock that made the times of the keys, or by this one: the earlier of the two ends no key too early.
    pub(super) fn now(&self) -> Timestamp {
        self.keys.now().min(Timestamp::now())
    }

    async fn dead_key_in_use(&self, backend: &Backend, now: Timestamp) -> Result<Option<String>, Failure> {
        let dead = |id: &str| self.keys.all().iter().any(|key| key.id.as_str() == id && !key.state.is_alive());
        if !self.keys.all().iter().any(|key| key.refused && !key.state.is_alive()) {
            return Ok(None);
        }
        let mut uses = backend.refused_uses(&self.uid).await?;
        uses.retain(|used| dead(&used.key_id.to_string()));
        if uses.is_empty() {
            return Ok(None);
        }
        let pods = self.context.pod_lists.of(&self.namespace, SILENT).await;
        let senders = Senders {
            pods: pods.as_deref(),
            secrets: &self.key.secret_names(),
            published: self.keys.active().and_then(|key| key.published_at),
            now,
        };
        Ok(Some(dead_keys::describe(&uses, &senders)))
    }

    /// As [`Self::weigh`], for an object that its project does not let in any more.
    pub(super) fn weigh_withdrawal(&self) -> Life {
        let (rules, unread) = self.rules();
        let lives: Vec<_> = self.keys.all().iter().map(|key| key.life(None)).collect();
        let now = self.now();
        Life {
            now,
            decision: rotation::withdraw(&lives, &rules.overlap, now),
            rules,
            held: None,
            silent: Vec::new(),
            restarts: Vec::new(),
            restarts_off: false,
            unread,
            dead_key_in_use: None,
        }
    }

    fn asks_for_restarts(&self) -> bool {
        self.key.spec.enabled && self.key.spec.rotation.as_ref().is_some_and(|rotation| rotation.restart_workloads)
    }

    /// What is to be done about the workloads that hold the keys before, and when it begins.
    async fn restarts(&self, held: Option<&Held>, now: Timestamp) -> (Vec<Restart>, Option<SignedDuration>) {
        let active = self.keys.active().and_then(|key| Some((key, key.published_at?)));
        let (Some(held), Some((active, published))) = (held.filter(|held| held.pods > 0), active) else {
            return (Vec::new(), None);
        };
        if !self.asks_for_restarts() || !self.context.restarts {
            return (Vec::new(), None);
        }
        let left = restarts::AFTER_PUBLISHING - now.duration_since(published);
        if left.is_positive() {
            return (Vec::new(), Some(left));
        }
        let client = &self.context.client;
        let mut restarts = restarts::look(client, &self.namespace, &held.by, published, &active.restarted).await;
        self.leave_bound(&mut restarts);
        (restarts, None)
    }

    /// What the spec and the annotations ask for, and an annotation that cannot be read.
    fn rules(&self) -> (Rules, Option<String>) {
        let Rotation { interval, requested_at, overlap, .. } = self.key.spec.rotation.clone().unwrap_or_default();
        let overlap = overlap.unwrap_or_default();
        let seconds = |period: &Period| SignedDuration::from_secs(period.seconds().into());
        let annotation = |name: &str| self.key.annotations().get(name).filter(|value| !value.is_empty());
        let place = |name: &str| {
            let id = annotation(name)?;
            self.keys.all().iter().position(|key| key.id.as_str() == *id)
        };
        let asked = annotation(ROTATE_ANNOTATION).map(|time| time.parse::<Timestamp>().map_err(|_| time.clone()));
        let (asked, unread) = match asked {
            Some(Ok(time)) => (Some(time), None),
            Some(Err(text)) => (None, Some(text)),
            None => (None, None),
        };
        let default = Overlap::default();
        let rules = Rules {
            interval: interval.as_ref().map(seconds),
            spread: spread(&self.uid),
            requests: requested_at
                .map(|time| time.0)
                .into_iter()
                .chain(asked)
                .chain(self.asked_by_endpoint())
                .collect(),
            overlap: Overlap {
                minimum: overlap.minimum.as_ref().map_or(default.minimum, seconds),
                silence: overlap.silence.as_ref().map_or(default.silence, seconds),
                maximum: overlap.maximum.as_ref().map(seconds),
            },
            revoke: place(REVOKE_ANNOTATION),
            restore: place(RESTORE_ANNOTATION),
        };
        (rules, unread)
    }

    /// What the ingest instances have told. One whose pod is gone without a last word is recorded as such: silence begins
    /// anew then, since it may have had something to tell.
    async fn told(&self, backend: &Backend) -> Result<Told, Failure> {
        let mut instances = self.keys.instances().to_vec();
        if instances.iter().any(is_silent)
            && let Some(pods) = self.context.pod_lists.of(self.key.project_namespace(), SILENT).await
        {
            let is_there = |name: &str| pods.iter().any(|pod| *pod.name == *name && !pod.ended);
            for instance in instances.iter_mut().filter(|instance| is_silent(instance) && !is_there(&instance.instance))
            {
                backend.instance_is_gone(&self.keys, &instance.instance).await?;
                instance.ended = Some(Ended { age: Duration::ZERO, clean: false });
            }
        }
        Ok(Told { instances })
    }
}

impl Told {
    /// Instances that live and do not follow settings with the key yet.
    fn ignorant(&self, key: &Key) -> Vec<String> {
        let alive = self.instances.iter().filter(|instance| instance.ended.is_none() && !is_silent(instance));
        let ignorant = alive.filter(|instance| instance.settings_version < key.settings_version);
        ignorant.take(MOST_INSTANCES).map(|instance| instance.instance.clone()).collect()
    }

    /// For how long nothing was sent with the key, as far as every instance has told. `None`: none is there to tell.
    fn silence(&self, key: &Key, now: Timestamp) -> Option<SignedDuration> {
        let untold =
            self.instances.iter().filter(|instance| instance.ended.is_none()).map(|instance| instance.seen_age);
        let untold = signed(untold.max()?);
        let gone = self.instances.iter().filter_map(|instance| instance.ended.filter(|ended| !ended.clean));
        let gone = gone.map(|ended| signed(ended.age)).min().unwrap_or(SignedDuration::MAX);
        let unused = now.duration_since(key.last_used_at.unwrap_or(key.created_at));
        Some((unused.min(gone) - untold).max(SignedDuration::ZERO))
    }
}

fn is_silent(instance: &IngestInstance) -> bool {
    instance.ended.is_none() && instance.seen_age > SILENT
}

/// The same for one object at all times.
fn spread(uid: &str) -> u16 {
    let digest = Sha256::digest(uid);
    u16::from_be_bytes([digest[0], digest[1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::admin::KeyRow;

    fn instance(name: &str, version: i64, seen: u64, ended: Option<(u64, bool)>) -> IngestInstance {
        let ended = ended.map(|(age, clean)| Ended { age: Duration::from_secs(age), clean });
        let seen_age = Duration::from_secs(seen);
        IngestInstance { instance: name.into(), settings_version: version, seen_age, ended }
    }

    fn key(last_used: Option<i64>) -> Key {
        Key {
            created_at: Timestamp::from_second(1_000).unwrap(),
            state: State::Overlap,
            last_used_at: last_used.map(|second| Timestamp::from_second(second).unwrap()),
            settings_version: 50,
            ..KeyRow::sample(1, 7).into()
        }
    }

    #[test]
    fn silence_counts_where_every_instance_has_told() {
        let now = Timestamp::from_second(2_000).unwrap();
        let (fresh, old) = (instance("a", 0, 3, None), instance("b", 0, 400, None));
        for (case, instances, last_used, silent) in [
            ("nobody is there to tell", vec![], Some(1_500), None),
            ("all have ended", vec![instance("a", 0, 9, Some((9, true)))], Some(1_500), None),
            ("used", vec![fresh.clone()], Some(1_500), Some(497)),
            ("never used", vec![fresh.clone()], None, Some(997)),
            ("one is cut off", vec![fresh.clone(), old.clone()], Some(1_500), Some(100)),
            ("one is cut off since then", vec![fresh.clone(), old], Some(1_900), Some(0)),
            ("one ended", vec![fresh.clone(), instance("c", 0, 70, Some((70, true)))], Some(1_500), Some(497)),
            ("one is gone without a word", vec![fresh, instance("c", 0, 70, Some((40, false)))], Some(1_500), Some(37)),
        ] {
            let silence = Told { instances }.silence(&key(last_used), now);
            assert_eq!(silence, silent.map(SignedDuration::from_secs), "{case}");
        }
    }

    #[test]
    fn a_key_is_known_when_every_instance_that_lives_follows_it() {
        for (case, instances, ignorant) in [
            ("none is there", vec![], vec![]),
            ("all do", vec![instance("a", 50, 1, None), instance("b", 51, 9, None)], vec![]),
            ("one does not", vec![instance("a", 49, 1, None), instance("b", 51, 9, None)], vec!["a"]),
            ("one is silent", vec![instance("a", 49, 31, None), instance("b", 51, 9, None)], vec![]),
            ("one has ended", vec![instance("a", 49, 1, Some((1, false)))], vec![]),
        ] {
            assert_eq!(Told { instances }.ignorant(&key(None)), ignorant, "{case}");
        }
    }
}
