//! The number of ingest pods, which the project or a `HorizontalPodAutoscaler` chooses. It passes from one to the other
//! without a jump.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::rollout::Rollout;
use crate::{
    crd::{Autoscaling, Scale},
    kubernetes::names::FIELD_MANAGER,
    operator::objects::{
        ApplyError,
        child::{ChildKind, owned_by},
    },
};

/// Owns `.spec.replicas` from the moment when we give it up until the autoscaler changes it: a field without an owner
/// would fall to its default, 1.
const REPLICAS_MANAGER: &str = "error-tracking-operator-replicas";

/// Most pods that the spec asks for.
#[must_use]
pub fn most_pods(scale: Scale) -> u32 {
    match scale {
        Scale::Fixed(replicas) => replicas.unsigned_abs(),
        Scale::Automatic(bounds) => bounds.max_replicas.unsigned_abs(),
    }
}

/// Pods that the login must serve: those that the spec asks for. While more are running, as many as were granted: their
/// last commits need connections.
#[must_use]
pub fn pods_to_serve(scale: Scale, rollout: &Rollout, granted: Option<u32>) -> u32 {
    let asked = most_pods(scale);
    // One more comes up in a rollout before another one goes.
    let expected = if asked == 0 { 0 } else { asked.saturating_add(1) };
    match granted {
        Some(granted) if granted > asked && rollout.existing.unsigned_abs() > expected => granted,
        _ => asked,
    }
}

/// The spec of the autoscaler for the Deployment of this name.
#[must_use]
pub fn autoscaler(deployment: &str, bounds: Autoscaling) -> Value {
    json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
        "minReplicas": bounds.min_replicas,
        "maxReplicas": bounds.max_replicas,
        "metrics": [{
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": bounds.target_cpu_utilization_percentage},
            },
        }],
    })
}

/// Why the autoscaler does not scale, in its own word.
#[must_use]
pub fn autoscaler_trouble(autoscaler: &DynamicObject) -> Option<String> {
    let conditions = autoscaler.data["status"]["conditions"].as_array()?;
    let idle =
        conditions.iter().find(|condition| condition["type"] == "ScalingActive" && condition["status"] == "False");
    // Zero pods are never scaled: they are given the minimum first.
    idle?["reason"].as_str().filter(|reason| *reason != "ScalingDisabled").map(str::to_owned)
}

/// Whether the number of pods must be handed over before the Deployment is applied: an autoscaler will choose it, and
/// the manifest does not name it any more. An autoscaler does not start from zero.
#[must_use]
pub fn must_hand_over(scale: Scale, rollout: &Rollout, deployment_changed: bool) -> bool {
    matches!(scale, Scale::Automatic(_)) && (deployment_changed || rollout.desired == 0)
}

/// Passes `.spec.replicas` of the Deployment to a field manager of its own, with the number that it has now, or the
/// nearest that the autoscaler allows when it is zero. Nothing is written when we do not own the field.
pub async fn hand_over(
    client: &Client,
    namespace: &str,
    name: &str,
    owner_uid: &str,
    bounds: Autoscaling,
) -> Result<(), ApplyError> {
    let resource = ChildKind::Deployment.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let failed = |verb| ApplyError::kubernetes(verb, "Deployment", name);
    let Some(live) = api.get_opt(name).await.map_err(failed("get"))? else { return Ok(()) };
    let replicas = live.data["spec"]["replicas"].as_i64().unwrap_or_default();
    let ours = live.metadata.managed_fields.iter().flatten().any(owns_replicas);
    if !owned_by(&live, owner_uid) || !(ours || replicas == 0) {
        return Ok(());
    }
    let kept = if replicas == 0 { bounds.min_replicas.into() } else { replicas };
    // With the version: a change in between must not be taken back.
    let manifest = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": live.resource_version()},
        "spec": {"replicas": kept},
    });
    let parameters = PatchParams::apply(REPLICAS_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(&manifest)).await.map(|_| ()).map_err(failed("apply"))
}

fn owns_replicas(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:replicas").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_handed_over_when_the_manifest_stops_naming_it_and_at_zero() {
        let bounds = Autoscaling { min_replicas: 2, max_replicas: 4, target_cpu_utilization_percentage: 80 };
        let running = Rollout { desired: 3, ..Rollout::default() };
        for (case, scale, rollout, changed, expected) in [
            ("fixed", Scale::Fixed(3), &running, true, false),
            ("autoscaling is new", Scale::Automatic(bounds), &running, true, true),
            ("autoscaled", Scale::Automatic(bounds), &running, false, false),
            ("autoscaled at zero", Scale::Automatic(bounds), &Rollout::default(), false, true),
        ] {
            assert_eq!(must_hand_over(scale, rollout, changed), expected, "{case}");
        }
    }

    #[test]
    fn a_login_serves_the_pods_that_are_asked_for_and_those_that_still_run() {
        let automatic =
            Scale::Automatic(Autoscaling { min_replicas: 2, max_replicas: 8, target_cpu_utilization_percentage: 80 });
        for (case, scale, existing, granted, served) in [
            ("new", Scale::Fixed(2), 0, None, 2),
            ("as it was", Scale::Fixed(2), 2, Some(2), 2),
            ("in a rollout", Scale::Fixed(2), 3, Some(2), 2),
            ("more", Scale::Fixed(5), 2, Some(2), 5),
            ("fewer, and all are there", Scale::Fixed(2), 5, Some(5), 5),
            ("fewer, and they are gone", Scale::Fixed(2), 2, Some(5), 2),
            ("none, and one is there", Scale::Fixed(0), 1, Some(2), 2),
            ("none", Scale::Fixed(0), 0, Some(2), 0),
            ("scaled by hand", Scale::Fixed(2), 100, Some(2), 2),
            ("an autoscaler", automatic, 2, Some(2), 8),
        ] {
            let rollout = Rollout { existing, ..Rollout::default() };
            assert_eq!(pods_to_serve(scale, &rollout, granted), served, "{case}");
        }
    }

    #[test]
    fn only_trouble_is_told() {
        let autoscaler = |status: &str, reason: &str| -> DynamicObject {
            let conditions = json!([{"type": "ScalingActive", "status": status, "reason": reason}]);
            serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"conditions": conditions}})).unwrap()
        };
        let told = |status, reason| autoscaler_trouble(&autoscaler(status, reason));
        assert_eq!(told("False", "FailedGetResourceMetric").as_deref(), Some("FailedGetResourceMetric"));
        assert_eq!(told("False", "ScalingDisabled"), None);
        assert_eq!(told("True", "ValidMetricFound"), None);
    }
}
