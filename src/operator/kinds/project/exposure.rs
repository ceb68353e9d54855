//! The way in from outside of the cluster: an Ingress or an `HTTPRoute` to the ingest Service. Pure, but for the look
//! at the `HTTPRoute`, which no watch shows: its kind may be absent.

use std::fmt;

use kube::{Api, Client, ResourceExt, api::DynamicObject, core::Status};
use serde_json::{Value, json};

use super::names::SERVICE_PORT;
use crate::{
    crd::{GatewayRoute, Ingest, IngressRoute},
    dsn::ProjectId,
    operator::objects::{
        ApplyError,
        child::{Child, ChildKind, prune},
    },
};

/// Path of what a project's senders send: behind the path of the external URL, which a proxy in front may use.
/// It ends with the project's number, so that many projects share a host.
fn path(ingest: &Ingest, id: ProjectId) -> String {
    let url = ingest.external_url().unwrap_or_default();
    let prefix = url.split_once("://").and_then(|(_, rest)| rest.find('/').map(|start| &rest[start..]));
    format!("{}/api/{id}", prefix.unwrap_or_default())
}

/// The spec of the Ingress to the Service of this name.
#[must_use]
pub fn ingress(service: &str, ingest: &Ingest, route: &IngressRoute, id: ProjectId) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": SERVICE_PORT}}});
    let path = json!({"path": path(ingest, id), "pathType": "Prefix", "backend": backend});
    let mut spec = json!({"rules": [{"host": route.host, "http": {"paths": [path]}}]});
    if let Some(class) = &route.class_name {
        spec["ingressClassName"] = json!(class);
    }
    if let Some(secret) = &route.tls_secret_name {
        spec["tls"] = json!([{"hosts": [route.host], "secretName": secret}]);
    }
    spec
}

/// The spec of the `HTTPRoute` to the Service of this name.
#[must_use]
pub fn http_route(service: &str, ingest: &Ingest, route: &GatewayRoute, id: ProjectId) -> Value {
    let mut spec = json!({
        "parentRefs": route.parent_refs,
        "rules": [{
            "matches": [{"path": {"type": "PathPrefix", "value": path(ingest, id)}}],
            "backendRefs": [{"name": service, "port": SERVICE_PORT}],
        }],
    });
    if !route.hostnames.is_empty() {
        spec["hostnames"] = json!(route.hostnames);
    }
    spec
}

/// Host names of URLs.
fn hosts(endpoints: &[String]) -> impl Iterator<Item = &str> {
    endpoints.iter().filter_map(|url| {
        let authority = url.split_once("://")?.1.split('/').next()?;
        Some(authority.rsplit_once(':').map_or(authority, |(host, _)| host))
    })
}

/// Whether the Ingress or the `HTTPRoute` leads a host to the pods that the DSN of an accepted key names.
#[must_use]
pub fn serves(live: &DynamicObject, endpoints: &[String]) -> bool {
    let spec = &live.data["spec"];
    let by_rule = spec["rules"].as_array().into_iter().flatten().map(|rule| &rule["host"]);
    let mut served = by_rule.chain(spec["hostnames"].as_array().into_iter().flatten()).filter_map(Value::as_str);
    served.any(|host| hosts(endpoints).any(|named| named == host))
}

/// Leaves the ways in as they are whose hosts the DSNs of accepted keys name, beside those that the spec asks for now.
pub fn keep_hosts(child: &mut Child, live: &DynamicObject, endpoints: &[String]) {
    let (wanted, spec) = (&mut child.manifest["spec"], &live.data["spec"]);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match child.kind {
        ChildKind::Ingress => {
            let known: Vec<_> = list(&wanted["rules"]).iter().map(|rule| rule["host"].clone()).collect();
            let kept = list(&spec["rules"])
                .into_iter()
                .filter(|rule| !known.contains(&rule["host"]) && hosts(endpoints).any(|host| rule["host"] == host));
            for rule in kept.collect::<Vec<_>>() {
                if let Some(Value::Array(tls)) = wanted.pointer_mut("/tls/0/hosts") {
                    tls.push(rule["host"].clone());
                }
                if let Some(Value::Array(rules)) = wanted.pointer_mut("/rules") {
                    rules.push(rule);
                }
            }
        }
        ChildKind::HttpRoute => {
            let known = list(&wanted["hostnames"]);
            let kept = list(&spec["hostnames"])
                .into_iter()
                .filter(|name| !known.contains(name) && hosts(endpoints).any(|host| name == host));
            let kept: Vec<_> = kept.collect();
            // A route without host names takes those of its listener.
            if known.is_empty() || kept.is_empty() {
                return;
            }
            let matches = list(&wanted["rules"][0]["matches"]);
            let former = list(&spec["rules"][0]["matches"]).into_iter().filter(|path| !matches.contains(path));
            let former: Vec<_> = former.collect();
            if let Some(Value::Array(hostnames)) = wanted.pointer_mut("/hostnames") {
                hostnames.extend(kept);
            }
            if let Some(Value::Array(matches)) = wanted.pointer_mut("/rules/0/matches") {
                matches.extend(former);
            }
        }
        _ => {}
    }
}

/// A way in that no controller has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAddress {
    Ingress { name: String, class: Option<String> },
    Route { name: String },
}

impl fmt::Display for NoAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reached = "or set ingest.externalURL if it is reached without one";
        match self {
            Self::Ingress { name, class: Some(class) } => write!(
                formatter,
                "Ingress {name} has no address: no controller has taken its class, {class}. Set ingest.ingress.className to a \
                 class of this cluster (kubectl get ingressclass), {reached}."
            ),
            Self::Ingress { name, class: None } => write!(
                formatter,
                "Ingress {name} has no address: no controller has taken it, and it names no class. Set \
                 ingest.ingress.className to a class of this cluster (kubectl get ingressclass), {reached}."
            ),
            Self::Route { name } => write!(
                formatter,
                "HTTPRoute {name} has no address: no Gateway has accepted it. Correct ingest.gateway.parentRefs (kubectl get \
                 gateway -A), ask the platform team whether that Gateway takes routes of this namespace, {reached}."
            ),
        }
    }
}

/// Whether the way in leads nowhere. Who sets `externalURL` says how it is reached: some controllers publish no address.
#[must_use]
pub fn no_address(
    ingest: &Ingest,
    ingress: Option<&DynamicObject>,
    route: Option<&DynamicObject>,
) -> Option<NoAddress> {
    if ingest.external_url.is_some() {
        return None;
    }
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    if let (Some(asked), Some(live)) = (&ingest.ingress, ingress) {
        let missing = is_empty(&live.data["status"]["loadBalancer"]["ingress"]);
        return missing.then(|| NoAddress::Ingress { name: live.name_any(), class: asked.class_name.clone() });
    }
    let route = route.filter(|_| ingest.gateway.is_some())?;
    let accepted = |parent: &Value| {
        let conditions = parent["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|condition| condition["type"] == "Accepted" && condition["status"] == "True")
    };
    let parents = route.data["status"]["parents"].as_array();
    let missing = !parents.is_some_and(|parents| parents.iter().any(accepted));
    missing.then(|| NoAddress::Route { name: route.name_any() })
}

/// What was found where the `HTTPRoute` should be.
#[derive(Clone, Debug, Default)]
pub enum Route {
    /// Nobody asks for one, and none was made.
    #[default]
    NotLookedFor,
    Found(Box<DynamicObject>),
    Absent,
    /// The cluster does not know the kind.
    NoSuchKind,
    /// The operator may not read it.
    Forbidden(Box<Status>),
}

/// That the `HTTPRoute` of this name cannot be read.
#[must_use]
pub fn unreadable(name: &str, status: Box<Status>) -> ApplyError {
    ApplyError::kubernetes("get", ChildKind::HttpRoute.as_str(), name)(kube::Error::Api(status))
}

/// Looks at the `HTTPRoute`.
pub async fn look(client: &Client, namespace: &str, name: &str) -> Result<Route, ApplyError> {
    let kind = ChildKind::HttpRoute;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind.resource());
    match api.get(name).await {
        Ok(mut found) => {
            prune(kind, &mut found);
            Ok(Route::Found(Box::new(found)))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => {
            // An answer about the object names it; an answer about the path does not.
            let named = status.details.as_ref().is_some_and(|details| details.name == name);
            Ok(if named { Route::Absent } else { Route::NoSuchKind })
        }
        // It is said in the status when all else is done: the pods do not wait for their route.
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(Route::Forbidden(status)),
        Err(error) => Err(ApplyError::kubernetes("get", kind.as_str(), name)(error)),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn ingest(spec: Value) -> Ingest {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_route_takes_the_paths_of_its_project_alone() {
        let id = ProjectId::new(42).unwrap();
        for (spec, expected) in [
            (json!({"ingress": {"host": "e.example"}}), "/api/42"),
            (json!({"ingress": {"host": "e.example"}, "externalURL": "https://e.example:8443"}), "/api/42"),
            (json!({"ingress": {"host": "e.example"}, "externalURL": "https://e.example/a/b/"}), "/a/b/api/42"),
            (json!({"gateway": {"parentRefs": [{"name": "g"}]}}), "/api/42"),
        ] {
            assert_eq!(path(&ingest(spec.clone()), id), expected, "{spec}");
        }
    }

    #[test]
    fn a_way_in_that_nobody_has_taken_is_told() {
        let live = |status: Value| -> DynamicObject {
            serde_json::from_value(json!({"metadata": {"name": "shop-ingest"}, "status": status})).unwrap()
        };
        let parents = |accepted: &str| {
            let condition = json!({"type": "Accepted", "status": accepted});
            live(json!({"parents": [{"conditions": [condition]}]}))
        };
        let (by_ingress, by_route) =
            (json!({"host": "e.example", "className": "c"}), json!({"parentRefs": [{"name": "g"}]}));
        let elsewhere = json!({"ingress": by_ingress, "externalURL": "https://e.example"});
        for (spec, live, says) in [
            (json!({"ingress": by_ingress}), live(json!({})), "class, c. Set"),
            (json!({"ingress": {"host": "e.example"}}), live(json!({"loadBalancer": {}})), "it names no class"),
            (json!({"ingress": by_ingress}), live(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})), ""),
            (elsewhere, live(json!({})), ""),
            (json!({"gateway": by_route}), live(json!({})), "no Gateway has accepted it"),
            (json!({"gateway": by_route}), parents("False"), "no Gateway has accepted it"),
            (json!({"gateway": by_route}), parents("True"), ""),
            (json!({}), live(json!({})), ""),
        ] {
            let told = no_address(&ingest(spec.clone()), Some(&live), Some(&live)).map(|told| told.to_string());
            assert_eq!(told.is_some(), !says.is_empty(), "{spec}: {told:?}");
            assert!(told.unwrap_or_default().contains(says), "{spec}");
        }
    }

    #[test]
    fn hosts_that_accepted_keys_name_are_kept() {
        let child = |kind, spec: &Value| {
            Child::new(kind, "web", "shop-ingest", &[].into(), &OwnerReference::default(), json!({"spec": spec}))
        };
        let live = |spec: &Value| -> DynamicObject {
            serde_json::from_value(json!({"metadata": {"name": "shop-ingest"}, "spec": spec})).unwrap()
        };
        let rule = |host: &str| json!({"host": host, "http": {"paths": [{"path": "/api/7"}]}});
        let tls = |hosts: Value| json!([{"hosts": hosts, "secretName": "t"}]);
        let endpoints = ["https://old.example/errors".to_owned(), "http://new.example:8080".to_owned()];
        let (wanted, there) = (
            json!({"rules": [rule("new.example")], "tls": tls(json!(["new.example"]))}),
            json!({"rules": [rule("old.example"), rule("older.example")], "tls": tls(json!(["old.example"]))}),
        );
        let mut made = child(ChildKind::Ingress, &wanted);
        keep_hosts(&mut made, &live(&there), &endpoints);
        let spec = &made.manifest["spec"];
        assert_eq!(spec["rules"], json!([rule("new.example"), rule("old.example")]));
        assert_eq!(spec["tls"], tls(json!(["new.example", "old.example"])));
        let mut again = child(ChildKind::Ingress, &wanted);
        keep_hosts(&mut again, &live(spec), &endpoints);
        assert_eq!(again.manifest["spec"], *spec, "a second look changes nothing");
        let mut ended = child(ChildKind::Ingress, &wanted);
        keep_hosts(&mut ended, &live(spec), &endpoints[1..]);
        assert_eq!(ended.manifest["spec"], wanted, "the last key with the old host has ended");
        for (endpoints, served) in [(&endpoints[..], true), (&endpoints[1..], false), (&[][..], false)] {
            assert_eq!(serves(&live(&there), endpoints), served, "{endpoints:?}");
        }

        let mut clear = child(ChildKind::Ingress, &json!({"rules": [rule("new.example")]}));
        keep_hosts(&mut clear, &live(&there), &endpoints);
        assert_eq!(clear.manifest["spec"], json!({"rules": [rule("new.example"), rule("old.example")]}));

        let route = |hosts: Value, paths: Value| json!({"hostnames": hosts, "rules": [{"matches": paths}]});
        let mut made = child(ChildKind::HttpRoute, &route(json!(["new.example"]), json!(["/api/7"])));
        keep_hosts(&mut made, &live(&route(json!(["old.example", "x.example"]), json!(["/errors/api/7"]))), &endpoints);
        let kept = route(json!(["new.example", "old.example"]), json!(["/api/7", "/errors/api/7"]));
        assert_eq!(made.manifest["spec"], kept);
        let mut all = child(ChildKind::HttpRoute, &json!({"rules": [{"matches": []}]}));
        keep_hosts(&mut all, &live(&route(json!(["old.example"]), json!([]))), &endpoints);
        assert!(all.manifest["spec"].get("hostnames").is_none(), "a route for all hosts has them anyway");
    }

    #[test]
    fn what_is_not_asked_for_is_not_in_the_manifest() {
        let id = ProjectId::new(42).unwrap();
        let spec = ingest(json!({"ingress": {"host": "e.example"}}));
        let made = ingress("shop-ingest", &spec, spec.ingress.as_ref().unwrap(), id);
        assert_eq!(made.as_object().unwrap().keys().collect::<Vec<_>>(), ["rules"]);

        let spec = ingest(json!({"ingress": {"host": "e.example", "className": "c", "tlsSecretName": "t"}}));
        let made = ingress("shop-ingest", &spec, spec.ingress.as_ref().unwrap(), id);
        assert_eq!(made["tls"], json!([{"hosts": ["e.example"], "secretName": "t"}]));
        assert_eq!(made["ingressClassName"], "c");

        let spec = ingest(json!({"gateway": {"parentRefs": [{"name": "g", "sectionName": "https"}]}}));
        let made = http_route("shop-ingest", &spec, spec.gateway.as_ref().unwrap(), id);
        assert_eq!(made["parentRefs"], json!([{"name": "g", "sectionName": "https"}]));
        assert!(made.get("hostnames").is_none(), "{made}");
    }
}
