//! The facts that are looked up without reading a project. Pure.

use kube::api::DynamicObject;

use crate::{
    crd::ConditionType,
    operator::cluster::cache::{Facts, digest},
};

/// Its number, the Secret of its own database, and all that its keys depend on.
#[must_use]
pub fn read(object: &DynamicObject) -> Facts {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let database_ready = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == ConditionType::DatabaseReady.as_str())
        .map(|condition| &condition["status"]);
    let outward = format!(
        "{:?} {:?} {} {} {database_ready:?}",
        object.metadata.generation,
        object.metadata.deletion_timestamp.is_some(),
        status["projectID"],
        status["ingest"]["externalURL"],
    );
    let secret = &spec["backend"]["integrated"]["database"]["secretRef"]["name"];
    Facts {
        number: status["projectID"].as_i64().unwrap_or_default(),
        refers_to: secret.as_str().unwrap_or_default().into(),
        outward: digest(outward.as_bytes()),
    }
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
        let before = read(&project(&status(7, "https://e.example", "True", "")));
        assert_eq!((before.number, &*before.refers_to), (7, "pg"));
        for (case, status, wakes) in [
            ("other words", status(7, "https://e.example", "True", "other words"), false),
            ("another number", status(8, "https://e.example", "True", ""), true),
            ("another way in", status(7, "https://f.example", "True", ""), true),
            ("Postgres away", status(7, "https://e.example", "False", ""), true),
        ] {
            assert_eq!(read(&project(&status)).outward != before.outward, wakes, "{case}");
        }
    }
}
