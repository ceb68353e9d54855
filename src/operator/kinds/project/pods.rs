//! Why new ingest pods do not come up, in their own words: the scheduler's, the kubelet's, or how the program ended.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, Client, api::ListParams};
use tracing::debug;

use crate::kubernetes::names::PROJECT_LABEL;

/// Pods that are looked at.
const PODS: u32 = 20;
/// Longest text, in characters.
const LONGEST: usize = 300;

/// What the newest pod of the project that is not ready says; `None` when none says anything, or when they cannot be listed.
pub async fn trouble(client: &Client, namespace: &str, project: &str) -> Option<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector = format!("{PROJECT_LABEL}={project}");
    match pods.list(&ListParams::default().labels(&selector).limit(PODS)).await {
        Ok(listed) => words(listed.items),
        Err(error) => {
            debug!(%error, "Could not list the pods that do not come up.");
            None
        }
    }
}

fn words(mut pods: Vec<Pod>) -> Option<String> {
    pods.sort_by(|one, other| other.metadata.creation_timestamp.cmp(&one.metadata.creation_timestamp));
    let text = pods.iter().find_map(said)?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect())
}

fn said(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let unscheduled = conditions.find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(words) = unscheduled.and_then(|condition| condition.message.clone()) {
        return Some(words);
    }
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.filter(|container| !container.ready).find_map(container_said)
}

fn container_said(container: &ContainerStatus) -> Option<String> {
    let with = |reason: Option<&str>, message: Option<&str>| match (reason, message) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => reason.or(message).map(str::to_owned),
    };
    // What the program said last says more than that it is waited with its next start.
    let ended = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        let ended = state.as_ref()?.terminated.clone()?;
        let reason = ended.reason.unwrap_or_else(|| "Ended".into());
        with(Some(&format!("{reason}, exit code {}", ended.exit_code)), ended.message.as_deref())
    };
    let waits = || {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let begins = matches!(waiting.reason.as_deref(), Some("ContainerCreating" | "PodInitializing"));
        with(waiting.reason.as_deref(), waiting.message.as_deref()).filter(|_| !begins)
    };
    ended(&container.state).or_else(|| ended(&container.last_state)).or_else(waits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_tells_why_it_does_not_come_up() {
        let pod = |minute: u8, status: Value| -> Pod {
            let created = format!("2026-11-28T10:{minute:02}:00Z");
            serde_json::from_value(json!({"metadata": {"creationTimestamp": created}, "status": status})).unwrap()
        };
        let container = |state: Value, last: Value| {
            let status = json!({
                "name": "ingest", "image": "i", "imageID": "", "ready": false, "restartCount": 1, "state": state,
                "lastState": last,
            });
            json!({"containerStatuses": [status]})
        };
        let unscheduled =
            |message: &str| json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]});
        let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let crashed = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": "no certificate\n"}});
        for (pods, says) in [
            (vec![pod(1, unscheduled("old")), pod(2, unscheduled("1 Insufficient cpu."))], Some("1 Insufficient cpu.")),
            (
                vec![pod(1, container(waiting("ImagePullBackOff", "no such image"), json!({})))],
                Some("ImagePullBackOff: no such image"),
            ),
            (
                vec![pod(1, container(waiting("CrashLoopBackOff", "back-off 10s"), crashed))],
                Some("Error, exit code 1: no certificate"),
            ),
            (vec![pod(1, container(waiting("ContainerCreating", ""), json!({})))], None),
            (vec![pod(1, json!({}))], None),
            (vec![], None),
        ] {
            assert_eq!(words(pods).as_deref(), says);
        }
    }
}
