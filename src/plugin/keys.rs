//! Lists the keys: which one each Secret names, and which one retires.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::DynamicObject;

use super::{
    PluginError,
    cluster::{Cluster, name, typed},
    output::{Output, note, print_objects},
};
use crate::{
    crd::{ClientKey, ConditionType},
    kubernetes::table::{age, align},
};

/// List the keys, with the ids that revoke and restore need.
#[derive(Clone, Debug, clap::Args)]
pub struct Keys {
    /// Only those of this project.
    #[arg(value_parser = name)]
    project: Option<String>,
    /// Those of every namespace.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

pub async fn keys(command: &Keys, cluster: &Cluster) -> Result<(), PluginError> {
    let all = command.all_namespaces;
    let mut objects = cluster.objects::<ClientKey>(all).await?;
    if let Some(project) = &command.project {
        objects.retain(|object| object.data["spec"]["projectRef"]["name"] == project.as_str());
    }
    if objects.is_empty() && command.output.is_none_or(|output| output.document().is_none()) {
        note(&nothing("ClientKeys", all, &cluster.namespace));
        return Ok(());
    }
    let columns = Columns { namespace: all, wide: command.output == Some(Output::Wide) };
    print_objects(command.output, objects, |objects| table(&read(objects), Timestamp::now(), columns))
}

/// As kubectl says it.
pub fn nothing(what: &str, all: bool, namespace: &str) -> String {
    if all { format!("No {what} found.") } else { format!("No {what} found in {namespace} namespace.") }
}

pub fn read(objects: &[DynamicObject]) -> Vec<ClientKey> {
    typed(objects, |object| ClientKey { metadata: object.metadata, ..ClientKey::default() })
}

/// Which columns a table has beside the usual ones.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    pub namespace: bool,
    pub wide: bool,
}

impl Columns {
    /// The cells of a row that are asked for.
    pub fn row(self, namespace: &str, usual: &[&str], wide: &[&str]) -> Vec<String> {
        let namespace = Some(namespace).filter(|_| self.namespace);
        let wide = if self.wide { wide } else { &[] };
        namespace.into_iter().chain(usual.iter().copied()).chain(wide.iter().copied()).map(str::to_owned).collect()
    }
}

fn table(keys: &[ClientKey], now: Timestamp, columns: Columns) -> String {
    let mut rows = vec![columns.row(
        "NAMESPACE",
        &["NAME", "PROJECT", "READY", "KEY ID", "KEY", "RETIRING", "HOLDERS", "NEXT ROTATION", "AGE"],
        &["REASON", "KEY AGE", "LAST USED", "SECRET"],
    )];
    rows.extend(keys.iter().map(|key| row(key, now, columns)));
    align(&rows)
}

fn row(key: &ClientKey, now: Timestamp, columns: Columns) -> Vec<String> {
    let since = |time: Option<&Time>| time.map(|time| age(now.duration_since(time.0)));
    let status = key.status.as_ref();
    let ready = condition(conditions(key), ConditionType::Ready);
    let active = status.and_then(|status| status.active.as_ref());
    let retiring = status.and_then(|status| status.retiring.as_ref());
    let next = status.and_then(|status| status.next_rotation_at.as_ref());
    let next = next.map(|time| age(time.0.duration_since(now).max(SignedDuration::ZERO)));
    let holders = retiring.map(|key| key.holders.map_or("unknown".to_owned(), |pods| pods.to_string()));
    let or_none = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
    let [next, holders, created, made, used] = [
        next,
        holders,
        since(key.metadata.creation_timestamp.as_ref()),
        since(active.map(|key| &key.created_at)),
        since(retiring.and_then(|key| key.last_used_at.as_ref())),
    ]
    .map(or_none);
    columns.row(
        key.metadata.namespace.as_deref().unwrap_or_default(),
        &[
            key.metadata.name.as_deref().unwrap_or_default(),
            &or_none(Some(key.spec.project_ref.name.clone())),
            ready.map_or("-", |ready| &ready.status),
            active.map_or("-", |key| &key.key_id),
            active.map_or("-", |key| &key.public_key_prefix),
            retiring.map_or("-", |key| &key.key_id),
            &holders,
            &next,
            &created,
        ],
        &[
            ready.map_or("-", |ready| &ready.reason),
            &made,
            &used,
            status.and_then(|status| status.secret_name.as_deref()).unwrap_or("-"),
        ],
    )
}

pub fn conditions(key: &ClientKey) -> &[Condition] {
    key.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
}

pub fn condition(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// One that is `True`.
pub fn holding(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    condition(conditions, kind).filter(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(object: serde_json::Value) -> ClientKey {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_list_says_which_key_is_where() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let rotating = key(json!({
            "metadata": {"name": "shop", "namespace": "web", "creationTimestamp": "2026-08-01T12:00:00Z"},
            "spec": {"projectRef": {"name": "shop"}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "reason": "Published", "message": "", "lastTransitionTime": "2026-08-01T12:00:00Z"}],
                "secretName": "shop-dsn",
                "active": {"keyID": "43", "publicKeyPrefix": "9f8e7d6c", "createdAt": "2026-11-28T12:00:00Z"},
                "retiring": {"keyID": "42", "publicKeyPrefix": "1a2b3c4d", "since": "2026-11-28T12:00:00Z", "lastUsedAt": "2026-11-29T11:00:00Z", "holders": 37},
                "nextRotationAt": "2027-02-26T12:00:00Z",
            },
        }));
        let mut unknown = rotating.clone();
        unknown.metadata.name = Some("outside".into());
        if let Some(status) = unknown.status.as_mut() {
            status.next_rotation_at = Some(Time("2026-11-29T11:59:00Z".parse().unwrap()));
            status.retiring.as_mut().unwrap().holders = None;
        }
        let new =
            key(json!({"metadata": {"name": "new", "namespace": "web", "creationTimestamp": "2026-11-29T11:59:58Z"},
            "spec": {"projectRef": {"name": "new"}}}));
        let keys = [rotating, unknown, new];
        let usual = table(&keys, now, Columns { namespace: false, wide: false });
        assert_eq!(
            usual,
            "NAME      PROJECT   READY   KEY ID   KEY        RETIRING   HOLDERS   NEXT ROTATION   AGE\n\
             shop      shop      True    43       9f8e7d6c   42         37        89d             120d\n\
             outside   shop      True    43       9f8e7d6c   42         unknown   0s              120d\n\
             new       new       -       -        -          -          -         -               2s\n"
        );
        let wide = table(&keys[..1], now, Columns { namespace: true, wide: true });
        assert_eq!(
            wide,
            "NAMESPACE   NAME   PROJECT   READY   KEY ID   KEY        RETIRING   HOLDERS   NEXT ROTATION   AGE    REASON      KEY AGE   LAST USED   SECRET\n\
             web         shop   shop      True    43       9f8e7d6c   42         37        89d             120d   Published   24h       60m         shop-dsn\n"
        );
    }

    #[test]
    fn a_name_moves_no_cursor() {
        let hostile = key(json!({"metadata": {"name": "new"}, "spec": {"projectRef": {"name": "\u{1b}[2J\n\u{9b}H"}}}));
        let table = table(&[hostile], Timestamp::UNIX_EPOCH, Columns { namespace: false, wide: false });
        assert!(table.lines().count() == 2 && table.chars().all(|letter| letter == '\n' || !letter.is_control()));
    }
}
