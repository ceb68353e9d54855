//! The facts that are looked up without reading a project. Pure.

use kube::api::DynamicObject;
use serde_json::Value;

use crate::{
    crd::{ConditionType, Reason},
    operator::cluster::cache::{Facts, digest},
    settings::DEFAULT_RETENTION_DAYS,
};

/// Its number, the Secret of its own database, all that its keys depend on, and what metrics tell of it.
#[must_use]
pub fn read(object: &DynamicObject) -> Facts {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let condition = |kind: ConditionType| {
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.find(|condition| condition["type"] == kind.as_str())
    };
    let connected = condition(ConditionType::Connected).map(|condition| &condition["status"]);
    let database_ready = condition(ConditionType::DatabaseReady).map(|condition| &condition["status"]);
    let has_address =
        condition(ConditionType::Reconciling).is_none_or(|condition| condition["reason"] != Reason::NoAddress.as_str());
    let outward = format!(
        "{:?} {:?} {} {} {database_ready:?} {connected:?} {has_address}",
        object.metadata.generation,
        object.metadata.deletion_timestamp.is_some(),
        status["projectID"],
        status["ingest"]["externalURL"],
    );
    let backend = &spec["backend"];
    let elsewhere = ["sentry", "gitlab"].into_iter().map(|kind| &backend[kind]).find(|server| server.is_object());
    let secret = match elsewhere {
        Some(server) => &server["tokenSecretRef"]["name"],
        None => &backend["integrated"]["database"]["secretRef"]["name"],
    };
    let is_true = |kind| condition(kind).is_some_and(|condition| condition["status"] == "True");
    Facts {
        number: status["projectID"].as_i64().unwrap_or_default(),
        refers_to: secret.as_str().unwrap_or_default().into(),
        elsewhere: elsewhere.is_some(),
        outward: digest(outward.as_bytes()),
        ready: is_true(ConditionType::Ready),
        stalled: is_true(ConditionType::Stalled),
        retention_days: retention_days(&spec["backend"]),
        ..Facts::default()
    }
}

/// Leaves the part of a large project that its keys, and the jobs, depend on: where it is, and how it is reached.
pub fn reduce(object: &mut DynamicObject) {
    let take_out = |value: &mut Value, fields: &[&str]| {
        if let Some(object) = value.as_object_mut() {
            object.retain(|field, _| !fields.contains(&field.as_str()));
        }
    };
    let spec = &mut object.data["spec"];
    take_out(spec, &["displayName", "platform"]);
    if let Some(integrated) = spec.get_mut("backend").and_then(|backend| backend.get_mut("integrated")) {
        take_out(integrated, &["filters", "privacy"]);
        if let Some(ingest) = integrated.get_mut("ingest") {
            take_out(ingest, &["podTemplate", "trustedProxies"]);
            if let Some(ingress) = ingest.get_mut("ingress") {
                take_out(ingress, &["annotations"]);
            }
        }
    }
    let conditions = object.data["status"].get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition["message"] = "".into();
    }
}

/// The API server has put defaults in, but not into what it stored before there were any.
fn retention_days(backend: &Value) -> u16 {
    let days = match backend.get("integrated") {
        Some(integrated) => integrated["retentionDays"].as_u64().unwrap_or(DEFAULT_RETENTION_DAYS.into()),
        None if backend.is_null() => DEFAULT_RETENTION_DAYS.into(),
        None => 0,
    };
    u16::try_from(days).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn project(status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"namespace": "web", "name": "shop", "generation": 1},
            "spec": {"backend": {"integrated": {"database": {"secretRef": {"name": "pg"}}}}},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn keys_are_woken_by_what_they_depend_on_and_by_nothing_else() {
        let status = |id: i64, url: &str, ready: &str, message: &str| {
            let conditions = json!([{"type": "DatabaseReady", "status": ready, "message": message}]);
            json!({"projectID": id, "ingest": {"externalURL": url}, "conditions": conditions})
        };
        let mut leads_nowhere = status(7, "https://e.example", "True", "");
        let reconciling = json!({"type": "Reconciling", "status": "True", "reason": "NoAddress"});
        leads_nowhere["conditions"].as_array_mut().unwrap().push(reconciling);
        let before = read(&project(&status(7, "https://e.example", "True", "")));
        assert_eq!((before.number, &*before.refers_to), (7, "pg"));
        for (case, status, wakes) in [
            ("other words", status(7, "https://e.example", "True", "other words"), false),
            ("another number", status(8, "https://e.example", "True", ""), true),
            ("another way in", status(7, "https://f.example", "True", ""), true),
            ("Postgres away", status(7, "https://e.example", "False", ""), true),
            ("a way in that leads nowhere", leads_nowhere, true),
        ] {
            assert_eq!(read(&project(&status)).outward != before.outward, wakes, "{case}");
        }
    }

    #[test]
    fn a_large_project_leaves_what_its_keys_and_the_jobs_read() {
        let long = "x".repeat(1_000);
        let spec = json!({"displayName": long, "backend": {"integrated": {
            "database": {"secretRef": {"name": "pg"}}, "retentionDays": 30, "filters": {"ignoreErrors": [long]},
            "privacy": {"sensitiveFields": [long]},
            "ingest": {
                "ingress": {"host": "e.example", "annotations": {"note": long}}, "trustedProxies": ["10.0.0.0/8"],
                "podTemplate": {"metadata": {"annotations": {"note": long}}},
            },
        }}});
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Available", "message": long,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let object = json!({
            "apiVersion": "errortracking.dev/v1alpha1", "kind": "ErrorTrackingProject",
            "metadata": {"namespace": "web", "name": "shop"}, "spec": spec,
            "status": {"projectID": 7, "conditions": [condition]},
        });
        let mut object: DynamicObject = serde_json::from_value(object).unwrap();
        let facts = read(&object);
        reduce(&mut object);
        assert_eq!(read(&object), facts);
        let text = serde_json::to_string(&object).unwrap();
        assert!(text.len() < 1_000, "{text}");
        let project: crate::crd::ErrorTrackingProject = serde_json::from_str(&text).unwrap();
        assert_eq!(project.database_secret(), Some("pg"));
        assert_eq!(project.external_url().as_deref(), Some("http://e.example"));
    }

    #[test]
    fn what_metrics_tell_of_a_project_is_read() {
        let project = |spec: Value, ready: &str, stalled: &str| {
            let conditions = json!([{"type": "Stalled", "status": stalled}, {"type": "Ready", "status": ready}]);
            let metadata = json!({"namespace": "web", "name": "shop"});
            let object = json!({"metadata": metadata, "spec": spec, "status": {"conditions": conditions}});
            let facts = read(&serde_json::from_value(object).unwrap());
            (facts.ready, facts.stalled, facts.retention_days)
        };
        let kept = |backend: Value| project(json!({"backend": backend}), "True", "False");
        assert_eq!(kept(json!({"integrated": {"retentionDays": 30}})), (true, false, 30));
        assert_eq!(kept(json!({"integrated": {}})), (true, false, 90));
        assert_eq!(kept(json!({"sentry": {}})), (true, false, 0), "nothing is stored here");
        assert_eq!(project(json!({}), "Unknown", "True"), (false, true, 90));
    }
}
