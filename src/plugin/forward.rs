//! A connection to a port of a pod through the API server, as `kubectl port-forward` makes one.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, ObjectList, Portforwarder},
};
use tokio::io::DuplexStream;

use super::{
    PluginError,
    cluster::Cluster,
    error::{Asked, chain},
};

/// Pods that are looked at: one that is ready is enough.
const MOST_PODS: u32 = 100;

/// A port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub namespace: String,
    pub pod: String,
    pub port: u16,
    /// The names that a console was told to answer to.
    pub hosts: Vec<String>,
}

/// What a search of all namespaces comes to.
#[derive(Debug)]
pub enum Anywhere {
    In(Target),
    /// No pod is ready.
    Nowhere,
    /// Some of those namespaces.
    InSeveral(Vec<String>),
}

impl Cluster {
    /// A pod of a namespace with these labels that is ready, and its port of that name; `None`: there is none.
    pub async fn ready_pod(&self, namespace: &str, labels: &str, port: &str) -> Result<Option<Target>, PluginError> {
        let api = Api::namespaced(self.client.clone(), namespace);
        let pods = pods(&api, labels).await.map_err(PluginError::on(asked("list", "pods", Some(namespace))))?;
        Ok(pods.items.iter().find_map(|pod| target(pod, port)))
    }

    /// The same in all namespaces, if one alone has pods with these labels: whoever may make a pod may give it any label.
    pub async fn ready_pod_anywhere(&self, labels: &str, port: &str) -> Result<Anywhere, PluginError> {
        let api = Api::all(self.client.clone());
        let pods = pods(&api, labels).await.map_err(PluginError::on(asked("list", "pods", None)))?;
        let namespaces: BTreeSet<_> = pods.items.iter().filter_map(ResourceExt::namespace).collect();
        let are_more = pods.metadata.continue_.is_some_and(|token| !token.is_empty());
        if are_more || namespaces.len() > 1 {
            return Ok(Anywhere::InSeveral(namespaces.into_iter().collect()));
        }
        Ok(pods.items.iter().find_map(|pod| target(pod, port)).map_or(Anywhere::Nowhere, Anywhere::In))
    }

    /// What is written to it comes in at that port.
    pub async fn forward(&self, target: &Target) -> Result<DuplexStream, PluginError> {
        let Target { namespace, pod, port, .. } = target;
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let begun = api.portforward(pod, &[*port]).await;
        let mut ports: Portforwarder = begun.map_err(|error| {
            let error = PluginError::on(asked("get", "pods/portforward", Some(namespace)))(error);
            if error.is_missing_right() {
                return PluginError::Refused(format!(
                    "you may not forward a port of a pod in namespace {namespace}: that needs get and create on \
                     pods/portforward"
                ));
            }
            PluginError::Unreachable(format!("no port of pod {pod} can be forwarded: {}", chain(&error)))
        })?;
        let stream = ports.take_stream(*port);
        stream.ok_or_else(|| PluginError::Unreachable(format!("port {port} of pod {pod} was not forwarded")))
    }
}

async fn pods(api: &Api<Pod>, labels: &str) -> Result<ObjectList<Pod>, kube::Error> {
    api.list(&ListParams::default().labels(labels).limit(MOST_PODS)).await
}

fn asked(verb: &'static str, plural: &str, namespace: Option<&str>) -> Asked {
    Asked {
        verb,
        kind: "Pod".to_owned(),
        plural: plural.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: String::new(),
    }
}

fn target(pod: &Pod, port: &str) -> Option<Target> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !ready || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|found| found.name.as_deref() == Some(port))?.container_port;
    let arguments = containers.iter().flat_map(|container| container.args.iter().flatten());
    let hosts = arguments.filter_map(|argument| argument.strip_prefix("--host=")).map(str::to_owned).collect();
    Some(Target { namespace: pod.namespace()?, pod: pod.name_any(), port: port.try_into().ok()?, hosts })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_that_is_ready_is_taken() {
        let pod = |ready: &str, deleted: Value| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "console-1", "namespace": "errors", "deletionTimestamp": deleted},
                "spec": {"containers": [
                    {"name": "sidecar", "ports": [{"containerPort": 1}]},
                    {"name": "console", "args": ["console", "--host=errors.example"], "ports": [
                        {"name": "probes", "containerPort": 8081}, {"name": "http", "containerPort": 8000},
                    ]},
                ]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap()
        };
        let found = Target {
            namespace: "errors".into(),
            pod: "console-1".into(),
            port: 8000,
            hosts: vec!["errors.example".into()],
        };
        assert_eq!(target(&pod("True", Value::Null), "http"), Some(found));
        assert_eq!(target(&pod("True", Value::Null), "ingest"), None);
        assert_eq!(target(&pod("False", Value::Null), "http"), None);
        assert_eq!(target(&pod("True", json!("2026-11-30T12:00:00Z")), "http"), None);
        assert_eq!(target(&Pod::default(), "http"), None);
    }
}
