//! Refusals of the API server in terms of the project: it names fields of children, which people do not know. Pure.

use kube::core::Status;

use crate::{
    kubernetes::Refusal,
    operator::{
        kinds::failure::Failure,
        objects::{ApplyError, child::ChildKind},
    },
};

/// Path of the fields that children are made from.
const INGEST: &str = "spec.backend.integrated.ingest";

/// Which field in `INGEST` a field of a child comes from. The first prefix that fits decides; the rest of the path
/// stays.
const ORIGINS: &[(ChildKind, &str, &str)] = &[
    (ChildKind::Deployment, "spec.template.spec.containers[0].resources", "podTemplate.resources"),
    (ChildKind::Deployment, "spec.template.labels", "podTemplate.metadata.labels"),
    (ChildKind::Deployment, "spec.template.annotations", "podTemplate.metadata.annotations"),
    (ChildKind::Deployment, "spec.template.metadata", "podTemplate.metadata"),
    (ChildKind::Deployment, "spec.template.spec", "podTemplate"),
    (ChildKind::Deployment, "spec.replicas", "replicas"),
    (ChildKind::HorizontalPodAutoscaler, "spec.metrics", "autoscaling.targetCPUUtilizationPercentage"),
    (ChildKind::HorizontalPodAutoscaler, "spec", "autoscaling"),
    (ChildKind::Ingress, "spec.rules[0].host", "ingress.host"),
    (ChildKind::Ingress, "spec.tls[0].secretName", "ingress.tlsSecretName"),
    (ChildKind::Ingress, "spec.tls[0].hosts", "ingress.host"),
    (ChildKind::Ingress, "spec.ingressClassName", "ingress.className"),
    (ChildKind::Ingress, "metadata.annotations", "ingress.annotations"),
    (ChildKind::HttpRoute, "spec", "gateway"),
];

/// The failure, in terms of the project's spec where the API server says which field it refuses.
#[must_use]
pub fn explain(kind: ChildKind, error: ApplyError) -> Failure {
    match error {
        ApplyError::Kubernetes(source) if source.refusal() == Refusal::Invalid => {
            match source.status().and_then(|status| message(kind, status)) {
                Some(fields) => Failure::SpecRefused { fields, source },
                None => ApplyError::Kubernetes(source).into(),
            }
        }
        error => error.into(),
    }
}

fn message(kind: ChildKind, status: &Status) -> Option<String> {
    let causes = status.details.as_ref()?.causes.iter();
    let explained: Vec<_> =
        causes.filter_map(|cause| Some(format!("{}: {}", origin(kind, &cause.field)?, cause.message))).collect();
    (!explained.is_empty()).then(|| explained.join("; "))
}

fn origin(kind: ChildKind, field: &str) -> Option<String> {
    let rest = |prefix: &str| field.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let (prefix, ours) =
        ORIGINS.iter().find_map(|(of, prefix, ours)| rest(prefix).filter(|_| *of == kind).map(|_| (*prefix, *ours)))?;
    // One number of the project is a list of structures of the autoscaler.
    let rest = if prefix == "spec.metrics" { "" } else { rest(prefix)? };
    Some(format!("{INGEST}.{ours}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_child_is_told_as_the_projects() {
        for (kind, field, ours) in [
            (
                ChildKind::Deployment,
                "spec.template.spec.tolerations[0].operator",
                Some("podTemplate.tolerations[0].operator"),
            ),
            (
                ChildKind::Deployment,
                "spec.template.spec.containers[0].resources.requests",
                Some("podTemplate.resources.requests"),
            ),
            (ChildKind::Deployment, "spec.template.labels", Some("podTemplate.metadata.labels")),
            (ChildKind::Deployment, "spec.templates", None),
            (ChildKind::Deployment, "spec.selector", None),
            (
                ChildKind::HorizontalPodAutoscaler,
                "spec.metrics[0].resource.target",
                Some("autoscaling.targetCPUUtilizationPercentage"),
            ),
            (ChildKind::HorizontalPodAutoscaler, "spec.minReplicas", Some("autoscaling.minReplicas")),
            (ChildKind::Ingress, "spec.rules[0].host", Some("ingress.host")),
            (ChildKind::HttpRoute, "spec.parentRefs[0].name", Some("gateway.parentRefs[0].name")),
            (ChildKind::Service, "spec.ports", None),
        ] {
            let expected = ours.map(|ours| format!("{INGEST}.{ours}"));
            assert_eq!(origin(kind, field), expected, "{field}");
        }
    }
}
