//! The states of a binding, built by the function that builds every status.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    configured::Configured,
    plan::{Observed, tests::settled},
    rollout::{Rollout, State},
    status::{self, Has},
};
use crate::{
    crd::{BoundPods, Reason, RunnerBinding, RunnerBindingStatus},
    operator::kinds::{
        failure::{Failure, Unmet},
        health_states::{HealthState, invalid, object, paused},
    },
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn spec() -> Value {
    json!({
        "clientKeyRef": {"name": "runners"},
        "runner": {"environment": {"workloadRef": {"kind": "Deployment", "name": "gitlab-runner"}}},
    })
}

fn written(observed: &Observed) -> Value {
    let binding: RunnerBinding = serde_json::from_value(object("RunnerBinding", json!({}), spec(), None)).unwrap();
    let failure = match &observed.configured {
        Configured::Stalled(reason, message) => {
            Some(Failure::from(Unmet::Runner { reason: *reason, message: message.clone() }))
        }
        _ => None,
    };
    let has = Has { key_id: "7".into(), since: NOW, dsn_digest: None };
    let view = status::View {
        binding: &binding,
        before: &RunnerBindingStatus::default(),
        observed,
        has: Some(&has),
        whose: "Deployment gitlab-runner",
        restarted: false,
        failure: failure.as_ref(),
    };
    serde_json::to_value(status::build(&view, NOW)).unwrap()
}

fn state(
    name: &'static str,
    observed: &Observed,
    conditions: &'static str,
    kstatus: &'static str,
    argocd: &'static str,
) -> HealthState {
    let object = object("RunnerBinding", json!({}), spec(), Some(written(observed)));
    HealthState { name, object, conditions, kstatus, argocd }
}

pub fn all() -> Vec<HealthState> {
    let configured = |configured| Observed { configured, rollout: None, ..settled() };
    let stalled = |reason| configured(Configured::Stalled(reason, "As it says.".into()));
    let awaited = |reason| configured(Configured::Awaited(reason, "As it says.".into()));
    let behind = |state| {
        let pods = Some(BoundPods { total: 2, current: 1 });
        Observed { rollout: Some(Rollout { pods, state, former: true }), ..settled() }
    };
    let bare = |name, metadata, status, conditions, kstatus, argocd| HealthState {
        name,
        object: object("RunnerBinding", metadata, spec(), status),
        conditions,
        kstatus,
        argocd,
    };
    let waits = ("InProgress", "Progressing");
    let fails = ("Failed", "Degraded");
    vec![
        bare("just created, no status yet", json!({}), None, "", "Current", "Progressing"),
        state("every pod has the key", &settled(), "Configured Ready", "Current", "Healthy"),
        state("its pods are replaced", &behind(State::UnderWay), "Configured Ready", "Current", "Healthy"),
        state("pods go on with the key before", &behind(State::Required), "Configured Ready", "Current", "Healthy"),
        state(
            "its key is not there",
            &awaited(Reason::ClientKeyNotFound),
            "ClientKeyNotFound Reconciling",
            waits.0,
            waits.1,
        ),
        state(
            "its workload is not there",
            &awaited(Reason::WorkloadNotFound),
            "WorkloadNotFound Reconciling",
            waits.0,
            waits.1,
        ),
        state("the DSN is being written", &configured(Configured::Due), "Progressing Reconciling", waits.0, waits.1),
        state("the variable is missing", &stalled(Reason::EnvMissing), "EnvMissing Stalled", fails.0, fails.1),
        state("somebody undoes it", &stalled(Reason::Drifted), "Drifted Stalled", fails.0, fails.1),
        state("config.toml is no TOML", &stalled(Reason::ConfigInvalid), "ConfigInvalid Stalled", fails.0, fails.1),
        state("another binding is older", &stalled(Reason::AlreadyBound), "AlreadyBound Stalled", fails.0, fails.1),
        state(
            "the cluster knows no Runners",
            &stalled(Reason::RunnerOperatorMissing),
            "RunnerOperatorMissing Stalled",
            fails.0,
            fails.1,
        ),
        state("the installation does none", &stalled(Reason::NotEnabled), "NotEnabled Stalled", fails.0, fails.1),
        bare("cannot be read", json!({}), Some(invalid()), "Invalid Stalled", fails.0, fails.1),
        bare(
            "paused",
            json!({"annotations": {"errortracking.dev/paused": "true"}}),
            Some(paused(Some(written(&settled())))),
            "Configured Ready Paused",
            "Current",
            "Suspended",
        ),
    ]
}
