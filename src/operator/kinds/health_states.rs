//! Every state that the operator can leave an object in, with what other tools should think of it. `tests/health`
//! applies kstatus and Argo CD's rules to what is written here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;
use serde_json::{Value, json};

use super::KINDS;

/// One object as the operator leaves it.
#[derive(Serialize)]
pub struct HealthState {
    #[serde(rename = "state")]
    pub name: &'static str,
    pub object: Value,
    /// What the conditions say, as [`summary`] puts it; empty without a status.
    #[serde(skip)]
    pub conditions: &'static str,
    pub kstatus: &'static str,
    pub argocd: &'static str,
}

/// "reason of Ready", then the conditions that are True of Ready, Reconciling, Stalled and Paused.
fn summary(object: &Value) -> String {
    let conditions: Vec<Condition> = serde_json::from_value(object["status"]["conditions"].clone()).unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.reason.clone());
    let holds = |kind: &&str| conditions.iter().any(|condition| condition.type_ == *kind && condition.status == "True");
    ready
        .into_iter()
        .chain(
            ["Ready", "Reconciling", "Stalled", "Paused", "Rotating"]
                .iter()
                .filter(|kind| holds(kind))
                .map(ToString::to_string),
        )
        .collect::<Vec<_>>()
        .join(" ")
}

/// An object of the second generation.
pub fn object(kind: &str, metadata: Value, spec: impl Serialize, status: Option<Value>) -> Value {
    let mut object = json!({
        "apiVersion": "errortracking.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "shop", "namespace": "web", "generation": 2},
        "spec": spec,
    });
    if let (Some(into), Value::Object(more)) = (object["metadata"].as_object_mut(), metadata) {
        into.extend(more);
    }
    if let Some(status) = status {
        object["status"] = status;
    }
    object
}

/// As every pass leaves an object that is paused: what its status said before, and that nothing is done.
pub fn paused(status: Option<Value>) -> Value {
    let mut status = status.unwrap_or_else(|| json!({"conditions": []}));
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.push(condition("Paused", "True", "Paused"));
    }
    status
}

/// As the status of an object is left that cannot be read.
pub fn invalid() -> Value {
    let conditions = [("Ready", "False", "Invalid"), ("Reconciling", "False", "Idle"), ("Stalled", "True", "Invalid")];
    json!({
        "observedGeneration": 2,
        "conditions": conditions.map(|(kind, status, reason)| condition(kind, status, reason)),
    })
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "1970-01-01T00:00:00Z",
    })
}

#[test]
fn every_state_has_the_conditions_that_tell_it_apart() {
    let states: Vec<HealthState> = KINDS.iter().flat_map(|kind| (kind.health_states)()).collect();
    for state in &states {
        assert_eq!(summary(&state.object), state.conditions, "{} {}", state.object["kind"], state.name);
    }
    // kstatus and Argo CD agree on what is done, but for what kstatus cannot know: that nobody has looked yet, and
    // pauses.
    for state in states.iter().filter(|state| !state.object["status"].is_null() && state.argocd != "Suspended") {
        assert_eq!(state.kstatus == "Current", state.argocd == "Healthy", "{} {}", state.object["kind"], state.name);
    }
    if let Some(file) = std::env::var_os("ERROR_TRACKING_HEALTH_STATES") {
        std::fs::write(file, serde_json::to_vec_pretty(&states).unwrap()).unwrap();
    }
}
