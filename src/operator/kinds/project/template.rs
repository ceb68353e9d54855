//! The operator's part of the pod template: all but what the project asks for. It changes with the version of the operator,
//! and reaches the pods together with the image of that version, when it is the project's turn. Pure.

use std::{collections::BTreeMap, sync::LazyLock};

use kube::{ResourceExt, api::DynamicObject};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    children::{self, SCHEDULING},
    names::IngestImage,
};
use crate::{
    crd::{ErrorTrackingProject, ErrorTrackingProjectSpec},
    dsn::{ProjectId, hex},
    operator::objects::child::Child,
};

/// On the Deployment: which operator's part its pods have. Not on the pods, which it would roll.
pub const ANNOTATION: &str = "errortracking.dev/pod-template";

/// Digest of this version's part. It is the same for every project: that of one which asks for nothing.
pub static DIGEST: LazyLock<String> = LazyLock::new(|| {
    let project = ErrorTrackingProject::new("project", ErrorTrackingProjectSpec::default());
    // The image is told apart by itself.
    let image = IngestImage { image: String::new(), pull_policy: String::new() };
    let pod = ProjectId::new(1).map(|id| children::pod_of(&project, id, &image));
    hex(&Sha256::digest(json!(pod).to_string())[..8])
});

/// Leaves the operator's part of the live pods as it is, and takes the rest from the Deployment as it should be.
pub fn keep(deployment: &mut Child, live: &DynamicObject) {
    let asked = deployment.manifest["spec"]["template"]["spec"].take();
    let mut pod = live.data["spec"]["template"]["spec"].clone();
    let Some(fields) = pod.as_object_mut() else { return };
    for field in SCHEDULING {
        fields.remove(field);
        if let Some(value) = asked.get(field) {
            fields.insert(field.into(), value.clone());
        }
    }
    let containers = fields.get_mut("containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter(|container| container["name"] == "ingest") {
        container["resources"] = asked["containers"][0]["resources"].clone();
    }
    deployment.manifest["spec"]["template"]["spec"] = pod;
    let kept = live.annotations().get(ANNOTATION).map(|digest| (ANNOTATION.to_owned(), digest.clone()));
    *deployment = deployment.clone().annotated(&BTreeMap::from_iter(kept));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{
        kinds::project::{names::IngestPods, rollout::Version},
        objects::child::{ChildKind, Drift},
    };

    fn image(image: &str) -> IngestImage {
        IngestImage { image: image.into(), pull_policy: "IfNotPresent".into() }
    }

    fn deployment(pod_template: &Value, of: &str) -> Child {
        let project: ErrorTrackingProject = serde_json::from_value(json!({
            "apiVersion": "errortracking.dev/v1alpha1",
            "kind": "ErrorTrackingProject",
            "metadata": {"name": "shop", "namespace": "web", "uid": "u1"},
            "spec": {"backend": {"integrated": {"ingest": {"podTemplate": pod_template}}}},
        }))
        .unwrap();
        let (id, ingest) = (ProjectId::new(42).unwrap(), &project.spec.backend.integrated.as_ref().unwrap().ingest);
        let workload = children::workload(&project, ingest, id, &image(of), &IngestPods::default(), 5432);
        workload.into_iter().find(|child| child.kind == ChildKind::Deployment).unwrap()
    }

    /// As an operator before this one made it, and the API server keeps it.
    fn live(pod_template: &Value) -> DynamicObject {
        let mut made = deployment(pod_template, "operator:1").manifest;
        made["metadata"]["annotations"].as_object_mut().unwrap().remove(ANNOTATION);
        let pod = &mut made["spec"]["template"]["spec"];
        pod["terminationGracePeriodSeconds"] = json!(30);
        pod["dnsPolicy"] = json!("ClusterFirst");
        pod["containers"][0]["args"] = json!(["ingest", "--old"]);
        serde_json::from_value(made).unwrap()
    }

    #[test]
    fn the_operators_part_is_the_same_for_every_project_and_told_without_its_image() {
        let of = |pod_template: &Value, of: &str| {
            let live: DynamicObject = serde_json::from_value(deployment(pod_template, of).manifest).unwrap();
            Version::of(&live).unwrap()
        };
        let now = Version::new(image("operator:2"));
        assert!(of(&json!({"nodeSelector": {"disk": "fast"}}), "operator:2").is(&now));
        assert!(!of(&json!({}), "operator:1").is(&now));
        assert!(!Version::of(&live(&json!({}))).unwrap().is(&Version::new(image("operator:1"))), "another template");
    }

    #[test]
    fn what_is_held_keeps_the_operators_part_and_gets_what_the_project_asks_for() {
        let before = json!({"nodeSelector": {"disk": "fast"}, "priorityClassName": "high"});
        let live = live(&before);
        let mut held =
            deployment(&json!({"priorityClassName": "low", "resources": {"limits": {"memory": "1Gi"}}}), "operator:1");
        keep(&mut held, &live);
        let pod = &held.manifest["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], 30);
        assert_eq!(pod["containers"][0]["args"], json!(["ingest", "--old"]));
        assert_eq!(pod["containers"][0]["resources"], json!({"limits": {"memory": "1Gi"}}));
        assert_eq!((&pod["priorityClassName"], pod.get("nodeSelector")), (&json!("low"), None));
        assert!(held.manifest["metadata"]["annotations"].get(ANNOTATION).is_none(), "it is not this version's");
        // What was applied once is not applied again.
        let applied: DynamicObject = serde_json::from_value(held.manifest.clone()).unwrap();
        let mut again =
            deployment(&json!({"priorityClassName": "low", "resources": {"limits": {"memory": "1Gi"}}}), "operator:1");
        keep(&mut again, &applied);
        assert_eq!(again.compare(Some(&applied)), Drift::None);
        // The pods stay when the project asks for nothing new.
        let mut unchanged = deployment(&before, "operator:1");
        keep(&mut unchanged, &live);
        assert_eq!(unchanged.manifest["spec"]["template"], live.data["spec"]["template"]);
    }
}
