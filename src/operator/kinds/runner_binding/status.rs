//! The status of a binding, made from the observation and the failure. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{configured::Configured, plan::Observed};
use crate::{
    crd::{ConditionStatus, ConditionType, Conditions, Reason, RunnerBinding, RunnerBindingStatus, whole_seconds},
    operator::kinds::{failure::Failure, kind::unread_pause},
};

/// What a runner was found to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Has {
    /// The key that it should have.
    pub key_id: String,
    /// Since when its configuration names it.
    pub since: Timestamp,
    /// Of the DSN, if the operator wrote it.
    pub dsn_digest: Option<String>,
}

/// Everything a status is made from.
pub struct View<'a> {
    pub binding: &'a RunnerBinding,
    pub before: &'a RunnerBindingStatus,
    pub observed: &'a Observed,
    /// `None`: it was not looked at.
    pub has: Option<&'a Has>,
    /// "Deployment gitlab-runner"
    pub whose: &'a str,
    /// The workload was restarted in this pass.
    pub restarted: bool,
    pub failure: Option<&'a Failure>,
}

/// The status to write; equal to the one before when nothing changed.
#[must_use]
pub fn build(view: &View<'_>, now: Timestamp) -> RunnerBindingStatus {
    let View { binding, before, observed, .. } = view;
    let mut conditions = Conditions::new(&before.conditions, binding.metadata.generation, now);
    let (configured, reason, message) = match (&observed.configured, view.failure) {
        (Configured::Yes(message), _) => (true, Reason::Configured, message.clone()),
        (Configured::Awaited(reason, message) | Configured::Stalled(reason, message), _) => {
            (false, *reason, message.clone())
        }
        (Configured::Due, Some(failure)) => (false, failure.reason(), failure.to_string()),
        (Configured::Due, None) => (false, Reason::Progressing, "The DSN is being written.".to_owned()),
    };
    conditions.set(ConditionType::Ready, configured.into(), reason, &message);
    let told = |failure: &Failure| (failure.reason(), failure.to_string());
    let stalled = view.failure.filter(|failure| failure.stalls()).map(told);
    // A runner that has its key is Ready whatever else is under way, as a restart.
    let under_way = view.failure.map(told).or_else(|| (!configured).then(|| (reason, message.clone())));
    conditions.set_progress(under_way, stalled);
    conditions.set(ConditionType::Configured, configured.into(), reason, &message);
    match &observed.rollout {
        Some(rollout) if configured => {
            let (status, reason, message) = rollout.said(view.whose);
            conditions.set(ConditionType::RolledOut, status, reason, message);
        }
        _ => {
            let message = "The runner is not configured with its key, so no pod has it.";
            conditions.set(ConditionType::RolledOut, ConditionStatus::False, reason, message);
        }
    }
    if let Some(value) = unread_pause(&binding.metadata) {
        conditions.set_pause_ignored(value);
    }
    let pods = observed.rollout.as_ref().map_or(before.pods, |rollout| rollout.pods);
    let mut status = RunnerBindingStatus {
        observed_generation: binding.metadata.generation,
        conditions: conditions.finish(),
        pods,
        ..(*before).clone()
    };
    if let Some(has) = view.has.filter(|_| configured) {
        let is_same = before.observed_key_id.as_deref() == Some(&has.key_id);
        if !is_same || status.configured_at.is_none() {
            status.configured_at = Some(Time(whole_seconds(has.since)));
        }
        status.observed_key_id = Some(has.key_id.clone());
        status.dsn_digest = has.dsn_digest.clone().or(status.dsn_digest);
        if view.restarted {
            status.restarted_key_id = Some(has.key_id.clone());
        }
    }
    status
}

/// Whether the status says that every pod had this key.
#[must_use]
pub fn was_rolled_out(status: &RunnerBindingStatus, key_id: &str) -> bool {
    let rolled_out = |kind: &str, status: &str| kind == ConditionType::RolledOut.as_str() && status == "True";
    status.observed_key_id.as_deref() == Some(key_id)
        && status.conditions.iter().any(|condition| rolled_out(&condition.type_, &condition.status))
}

/// Whether the status says, of the spec of this generation, that the DSN was given up.
#[must_use]
pub fn had_drifted(status: &RunnerBindingStatus, generation: Option<i64>) -> bool {
    status.observed_generation == generation
        && status.conditions.iter().any(|condition| {
            condition.type_ == ConditionType::Configured.as_str() && condition.reason == Reason::Drifted.as_str()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{
            plan::tests::settled,
            rollout::{Rollout, State},
        },
        *,
    };
    use crate::crd::BoundPods;

    fn binding() -> RunnerBinding {
        serde_json::from_value(json!({
            "metadata": {"name": "fleet", "generation": 2},
            "spec": {"clientKeyRef": {"name": "runners"}, "runner": {"runnerRef": {"name": "fleet"}}},
        }))
        .unwrap()
    }

    fn build(before: &RunnerBindingStatus, observed: &Observed, key: &str, second: i64) -> RunnerBindingStatus {
        let binding = binding();
        let has = Has {
            key_id: key.into(),
            since: Timestamp::from_second(second).unwrap(),
            dsn_digest: Some(format!("digest of {key}")),
        };
        let (has, whose) = (Some(&has), "Runner fleet");
        let view = View { binding: &binding, before, observed, has, whose, restarted: false, failure: None };
        super::build(&view, Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_key_is_remembered_with_the_time_at_which_it_came() {
        let seventh = build(&RunnerBindingStatus::default(), &settled(), "7", 1_000);
        assert_eq!(seventh.observed_key_id.as_deref(), Some("7"));
        assert_eq!(build(&seventh, &settled(), "7", 2_000), seventh, "another look is no news");
        assert!(was_rolled_out(&seventh, "7") && !was_rolled_out(&seventh, "8"));

        let configured = Configured::Stalled(Reason::Drifted, "It is another one now.".into());
        let given_up = build(&seventh, &Observed { configured, rollout: None, ..settled() }, "8", 3_000);
        assert_eq!((given_up.observed_key_id.as_deref(), given_up.pods), (Some("7"), seventh.pods));
        assert!(had_drifted(&given_up, Some(2)) && !had_drifted(&given_up, Some(3)) && !had_drifted(&seventh, Some(2)));

        let eighth = build(&given_up, &settled(), "8", 4_000);
        assert_eq!(eighth.configured_at.map(|at| at.0.as_second()), Some(4_000));
        assert_eq!(eighth.dsn_digest.as_deref(), Some("digest of 8"));
    }

    #[test]
    fn a_runner_that_has_its_key_is_ready_while_its_pods_are_replaced() {
        let pods = Some(BoundPods { total: 2, current: 1 });
        let observed = Observed { rollout: Some(Rollout { pods, state: State::UnderWay, former: true }), ..settled() };
        let status = build(&RunnerBindingStatus::default(), &observed, "7", 1_000);
        let says = |kind: &str| {
            let condition = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
            (condition.status.clone(), condition.reason.clone())
        };
        assert_eq!(says("Ready"), ("True".into(), "Configured".into()));
        assert_eq!(says("Reconciling"), ("False".into(), "Idle".into()));
        assert_eq!(says("RolledOut"), ("False".into(), "RollingOut".into()));
    }
}
