//! Which pods of a runner have the key that it is configured with, and what is done about the others. Pure, but for the
//! memory of what is being read anew.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use parking_lot::Mutex;

use super::configured::{Restarts, grace_too_short};
use crate::{
    crd::{BoundPods, ConditionStatus, Reason},
    kubernetes::holders::{CACHE_AGE, PodFacts, Published},
    operator::kinds::restarts::{AFTER_PUBLISHING, Verdict},
};

/// How long the GitLab Runner Operator may take to replace the pods of a Runner whose DSN is another one.
const OPERATORS_TURN: SignedDuration = SignedDuration::from_mins(2);
/// What is remembered of a file that is read anew is of no use after this time.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// How a change reaches pods that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They took this Secret when they began.
    Secret(String),
    /// The kubelet renews the file, and the runner reads it; `true`: it has been long enough since.
    Reload(bool),
    /// They read it when they begin.
    Start,
}

/// The pods that can send, with those that are terminating, and how many of them have what was published.
#[must_use]
pub fn count(pods: &[PodFacts], reach: &Reach, published: &Published) -> BoundPods {
    let alive: Vec<_> = pods.iter().filter(|pod| !pod.ended).collect();
    let has_it = |pod: &&&PodFacts| match reach {
        Reach::Secret(secret) => pod.refers_to(secret) && !pod.holds_former_key(secret, published),
        Reach::Start => pod.began_after(published),
        // One that was told to end reads nothing any more, and goes on with its jobs.
        Reach::Reload(reloaded) => {
            let ends = pod.told_to_end.map(|told| told.duration_since(published.at));
            pod.began_after(published) || *reloaded && ends.is_none_or(|after| after > CACHE_AGE)
        }
    };
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    BoundPods { total: number(alive.len()), current: number(alive.iter().filter(has_it).count()) }
}

/// What is known of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// `None`: the pods cannot be listed.
    pub pods: Option<BoundPods>,
    pub state: State,
    /// A key before this one is accepted.
    pub former: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Done,
    Unknown,
    /// The runner reads its config.toml anew within minutes.
    Reloading,
    /// Somebody else restarts it: whoever runs it, or the GitLab Runner Operator.
    Required,
    /// It belongs to the GitLab Runner Operator, which has its turn.
    Operators,
    GraceTooShort {
        seconds: i64,
        least: u32,
    },
    /// Its restart follows in this time.
    Soon(SignedDuration),
    /// It is restarted; the uid of the workload.
    Due(String),
    UnderWay,
    Reverted(String),
    Untouched(String),
}

/// What a rollout is judged by.
pub struct Judged<'a> {
    pub pods: Option<BoundPods>,
    pub reach: &'a Reach,
    pub restarts: Restarts,
    /// Of the workload, if it is one that may be restarted; `None`: the GitLab Runner Operator does that.
    pub verdict: Option<Verdict>,
    /// Since the runner is configured with the key.
    pub age: SignedDuration,
    pub former: bool,
}

/// What is to be done about pods that do not have the key.
#[must_use]
pub fn judge(judged: Judged<'_>) -> Rollout {
    let Judged { pods, reach, restarts, verdict, age, former } = judged;
    let state = match pods {
        None => State::Unknown,
        Some(pods) if pods.current >= pods.total => State::Done,
        Some(_) if *reach == Reach::Reload(false) => State::Reloading,
        Some(_) => match (verdict, restarts) {
            (None, _) if age < OPERATORS_TURN => State::Operators,
            // Whatever has begun goes on.
            (Some(Verdict::UnderWay), _) => State::UnderWay,
            (None, _) | (_, Restarts::Never) => State::Required,
            // Those that are left have been told to end, or will be.
            (Some(_), _) if matches!(reach, Reach::Reload(_)) => State::Required,
            (_, Restarts::GraceTooShort { seconds, least }) => State::GraceTooShort { seconds, least },
            (Some(Verdict::Due(_)), _) if age < AFTER_PUBLISHING => State::Soon(AFTER_PUBLISHING - age),
            (Some(Verdict::Due(uid)), _) => State::Due(uid),
            (Some(Verdict::Reverted(manager)), _) => State::Reverted(manager),
            (Some(Verdict::Untouched(why)), _) => State::Untouched(why),
        },
    };
    Rollout { pods, state, former }
}

impl Rollout {
    /// Status, reason and sentence of the condition. `whose`: as "Deployment gitlab-runner".
    #[must_use]
    pub fn said(&self, whose: &str) -> (ConditionStatus, Reason, String) {
        let Some(pods) = self.pods else {
            let message = format!(
                "The pods of {whose} cannot be listed, so nobody knows which key they have: the key before ends at its maximum."
            );
            return (ConditionStatus::Unknown, Reason::PodsUnknown, message);
        };
        let BoundPods { total, current } = pods;
        let former = match (self.former, total - current) {
            (false, _) => "",
            (true, 1) => ", and the key before stays accepted for it",
            (true, _) => ", and the key before stays accepted for them",
        };
        let left = match total - current {
            1 => format!("1 of {total} pods of {whose} goes on with what it had{former}"),
            left => format!("{left} of {total} pods of {whose} go on with what they had{former}"),
        };
        let (reason, message) = match &self.state {
            State::Done if total == 0 => (Reason::AllPodsCurrent, format!("{whose} has no pods.")),
            State::Done if total == 1 => (Reason::AllPodsCurrent, format!("The pod of {whose} has the key.")),
            State::Done => (Reason::AllPodsCurrent, format!("All {total} pods of {whose} have the key.")),
            State::Unknown => (Reason::PodsUnknown, left),
            State::Reloading => (
                Reason::Reloading,
                format!("{left}: the kubelet renews config.toml within minutes, and nothing is restarted."),
            ),
            State::Required => (
                Reason::RestartRequired,
                format!("{left}: restart {whose} when no job runs, or wait until the pods are gone."),
            ),
            State::Operators => (Reason::RollingOut, format!("{left}: the GitLab Runner Operator has its turn.")),
            State::GraceTooShort { seconds, least } => {
                (Reason::GraceTooShort, format!("{left}. {}", grace_too_short(whose, *seconds, *least)))
            }
            State::Soon(_) => (Reason::RollingOut, format!("{left}: {whose} is restarted within a minute.")),
            State::Due(_) | State::UnderWay => {
                (Reason::RollingOut, format!("{left}: {whose} is being restarted, and each pod ends its jobs first."))
            }
            State::Reverted(manager) => (
                Reason::RestartReverted,
                format!(
                    "{left}. The restart of {whose} was undone by {manager}: restart it yourself, and let that leave \
                     /spec/template/metadata/annotations/errortracking.dev~1restarted-at alone (ignoreDifferences in Argo CD)."
                ),
            ),
            State::Untouched(why) => (
                Reason::RestartRequired,
                format!("{left}. {whose} is not restarted, since {why}: restart it when no job runs."),
            ),
        };
        ((self.state == State::Done).into(), reason, message)
    }

    /// When it is worth another look, if anything is under way.
    #[must_use]
    pub fn look_again(&self) -> Option<Duration> {
        match &self.state {
            State::Done | State::Unknown => None,
            State::Soon(left) => Some(Duration::try_from(*left).unwrap_or_default()),
            State::Due(_) | State::UnderWay | State::Operators => Some(Duration::from_secs(2)),
            State::Reloading => Some(Duration::from_secs(10)),
            State::Required | State::GraceTooShort { .. } | State::Reverted(_) | State::Untouched(_) => {
                Some(Duration::from_secs(15))
            }
        }
    }
}

/// Since when each runner has been seen with its key in its config.toml, by the clock of this process alone: that of
/// another machine could say that the time of a reload is over before it is.
#[derive(Default)]
pub struct Reloads(Mutex<HashMap<String, (String, Instant)>>);

impl Reloads {
    /// Whether the pods of the binding with this uid had time to read the key with this id.
    pub fn are_over(&self, uid: &str, key_id: &str, now: Instant) -> bool {
        let mut seen = self.0.lock();
        seen.retain(|_, (_, since)| now.duration_since(*since) < FORGOTTEN);
        let (key, since) = seen.entry(uid.to_owned()).or_insert_with(|| (key_id.to_owned(), now));
        if key != key_id {
            (*key, *since) = (key_id.to_owned(), now);
        }
        now.duration_since(*since) > Duration::try_from(CACHE_AGE).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(created: &str, more: &Value) -> PodFacts {
        let mut pod = json!({
            "metadata": {"name": "runner-1", "creationTimestamp": created},
            "spec": {"containers": [{"name": "runner", "envFrom": [{"secretRef": {"name": "runners-dsn"}}]}]},
            "status": {"phase": "Running"},
        });
        for (part, fields) in more.as_object().unwrap() {
            pod[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        PodFacts::of(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_counts_until_it_has_the_key_or_is_gone() {
        let published = Published { at: "2026-11-22T10:00:00Z".parse().unwrap(), minimum_is_over: false };
        let (old, new) = ("2026-11-22T09:00:00Z", "2026-11-22T10:02:00Z");
        let told = |at: &str| json!({"metadata": {"deletionTimestamp": at, "deletionGracePeriodSeconds": 3600}});
        let none = json!({});
        let ended = json!({"status": {"phase": "Succeeded"}});
        let secret = || Reach::Secret("runners-dsn".into());
        let other = || Reach::Secret("other-dsn".into());
        for (case, created, more, reach, total, current) in [
            ("took the Secret before", old, &none, secret(), 1, 0),
            ("takes the Secret", new, &none, secret(), 1, 1),
            ("began before the variable was there", new, &none, other(), 1, 0),
            ("reads it when it begins, before", old, &none, Reach::Start, 1, 0),
            ("reads it when it begins", new, &none, Reach::Start, 1, 1),
            ("reads it anew, not yet", old, &none, Reach::Reload(false), 1, 0),
            ("reads it anew", old, &none, Reach::Reload(true), 1, 1),
            ("terminates since before", old, &told("2026-11-22T10:58:00Z"), Reach::Reload(true), 1, 0),
            ("terminates since soon after", old, &told("2026-11-22T11:04:00Z"), Reach::Reload(true), 1, 0),
            ("terminates since later", old, &told("2026-11-22T11:06:00Z"), Reach::Reload(true), 1, 1),
            ("terminates", old, &told("2026-11-22T11:06:00Z"), Reach::Start, 1, 0),
            ("has ended", old, &ended, Reach::Start, 0, 0),
        ] {
            let pod = pod(created, more);
            assert_eq!(count(&[pod], &reach, &published), BoundPods { total, current }, "{case}");
        }
    }

    #[test]
    fn a_restart_waits_for_who_may_be_cut() {
        let behind = Some(BoundPods { total: 3, current: 1 });
        let (due, long) = (|| Some(Verdict::Due("u".into())), SignedDuration::from_mins(10));
        let short = Restarts::GraceTooShort { seconds: 30, least: 3600 };
        let soon = SignedDuration::from_secs(20);
        for (case, pods, reach, restarts, verdict, age, state) in [
            ("nobody knows", None, Reach::Start, Restarts::Allowed, due(), long, State::Unknown),
            (
                "all have it",
                Some(BoundPods { total: 2, current: 2 }),
                Reach::Start,
                Restarts::Allowed,
                due(),
                long,
                State::Done,
            ),
            ("reloading", behind, Reach::Reload(false), Restarts::Allowed, due(), long, State::Reloading),
            ("those that terminate", behind, Reach::Reload(true), Restarts::Allowed, due(), long, State::Required),
            ("never", behind, Reach::Start, Restarts::Never, due(), long, State::Required),
            (
                "never, and somebody restarts it",
                behind,
                Reach::Start,
                Restarts::Never,
                Some(Verdict::UnderWay),
                long,
                State::UnderWay,
            ),
            ("grace", behind, Reach::Start, short, due(), long, State::GraceTooShort { seconds: 30, least: 3600 }),
            ("soon", behind, Reach::Start, Restarts::Allowed, due(), soon, State::Soon(SignedDuration::from_secs(40))),
            ("due", behind, Reach::Start, Restarts::Allowed, due(), long, State::Due("u".into())),
            (
                "undone",
                behind,
                Reach::Start,
                Restarts::Allowed,
                Some(Verdict::Reverted("argo".into())),
                long,
                State::Reverted("argo".into()),
            ),
            ("the other operator's turn", behind, Reach::Start, Restarts::Allowed, None, soon, State::Operators),
            ("the other operator does nothing", behind, Reach::Start, Restarts::Allowed, None, long, State::Required),
        ] {
            let rollout = judge(Judged { pods, reach: &reach, restarts, verdict, age, former: true });
            assert_eq!(rollout.state, state, "{case}");
            assert!(rollout.said("Deployment runner").2.len() < 600, "{case}");
        }
    }

    #[test]
    fn a_file_is_read_anew_within_minutes_of_being_seen() {
        let (reloads, began) = (Reloads::default(), Instant::now());
        for (second, key, over) in [
            (0, "7", false),
            (299, "7", false),
            (301, "7", true),
            (302, "8", false),
            (601, "8", false),
            (603, "8", true),
            (5_000, "8", false),
        ] {
            assert_eq!(reloads.are_over("u1", key, began + Duration::from_secs(second)), over, "{key} at {second} s");
        }
        assert!(!reloads.are_over("u2", "8", began + Duration::from_secs(5_001)));
    }
}
