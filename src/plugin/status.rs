//! Projects and keys in one table: whether each is ready, and what a person has to do.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::api::DynamicObject;

use super::{
    PluginError,
    cluster::{Cluster, typed},
    keys::{self, Columns, condition, conditions, holding, nothing},
    output::{Output, note, print_objects},
};
use crate::{
    crd::{ClientKey, ConditionType, ErrorTrackingProject},
    kubernetes::table::{age, align},
};

/// Show projects and keys: ready or not, why, and what is to be done.
#[derive(Clone, Debug, clap::Args)]
pub struct Status {
    /// Those of every namespace.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

pub async fn status(command: &Status, cluster: &Cluster) -> Result<(), PluginError> {
    let all = command.all_namespaces;
    let projects = cluster.objects::<ErrorTrackingProject>(all).await?;
    let keys = cluster.objects::<ClientKey>(all).await?;
    let number_of_projects = projects.len();
    let objects = [projects, keys].concat();
    if objects.is_empty() && command.output.is_none_or(|output| output.document().is_none()) {
        note(&nothing("projects and keys", all, &cluster.namespace));
        return Ok(());
    }
    let columns = Columns { namespace: all, wide: command.output == Some(Output::Wide) };
    print_objects(command.output, objects, |objects| {
        let (projects, keys) = objects.split_at(number_of_projects);
        table(&read_projects(projects), &keys::read(keys), Timestamp::now(), columns)
    })
}

fn read_projects(objects: &[DynamicObject]) -> Vec<ErrorTrackingProject> {
    typed(objects, |object| ErrorTrackingProject { metadata: object.metadata, ..ErrorTrackingProject::default() })
}

/// A project, or a key, which stands below its project.
struct Row<'a> {
    metadata: &'a ObjectMeta,
    project: &'a str,
    is_key: bool,
    conditions: &'a [Condition],
    /// Where events are sent, or where the DSN is.
    place: &'a str,
}

impl<'a> Row<'a> {
    fn of_project(project: &'a ErrorTrackingProject) -> Self {
        let status = project.status.as_ref();
        let ingest = status.and_then(|status| status.ingest.as_ref());
        Self {
            metadata: &project.metadata,
            project: project.metadata.name.as_deref().unwrap_or_default(),
            is_key: false,
            conditions: status.map(|status| status.conditions.as_slice()).unwrap_or_default(),
            place: ingest.map_or("-", |ingest| &ingest.internal_url),
        }
    }

    fn of_key(key: &'a ClientKey) -> Self {
        Self {
            metadata: &key.metadata,
            project: &key.spec.project_ref.name,
            is_key: true,
            conditions: conditions(key),
            place: key.status.as_ref().and_then(|status| status.secret_name.as_deref()).unwrap_or("-"),
        }
    }

    fn order(&self) -> (Option<&str>, &str, bool, Option<&str>) {
        (self.metadata.namespace.as_deref(), self.project, self.is_key, self.metadata.name.as_deref())
    }
}

fn table(projects: &[ErrorTrackingProject], keys: &[ClientKey], now: Timestamp, columns: Columns) -> String {
    let mut rows: Vec<_> = projects.iter().map(Row::of_project).chain(keys.iter().map(Row::of_key)).collect();
    rows.sort_by(|one, other| one.order().cmp(&other.order()));
    let head = columns.row("NAMESPACE", &["NAME", "READY", "REASON", "AGE"], &["WHERE"]);
    let mut lines = vec![with_last(head, "TO DO")];
    lines.extend(rows.iter().map(|row| line(row, now, columns)));
    align(&lines)
}

/// The longest one is the last one.
fn with_last(mut row: Vec<String>, cell: &str) -> Vec<String> {
    row.push(cell.to_owned());
    row
}

fn line(row: &Row<'_>, now: Timestamp, columns: Columns) -> Vec<String> {
    let short = if row.is_key { "etk" } else { "etp" };
    let name = format!("{short}/{}", row.metadata.name.as_deref().unwrap_or_default());
    let ready = condition(row.conditions, ConditionType::Ready);
    let to_do = to_do(row.conditions);
    let created = row.metadata.creation_timestamp.as_ref();
    let created = created.map_or("-".to_owned(), |time| age(now.duration_since(time.0)));
    let line = columns.row(
        row.metadata.namespace.as_deref().unwrap_or_default(),
        &[
            &name,
            ready.map_or("-", |ready| &ready.status),
            to_do.or(ready).map_or("-", |condition| &condition.reason),
            &created,
        ],
        &[row.place],
    );
    let message = if row.conditions.is_empty() {
        "The operator has not seen it yet. Does it run, and does it look at this namespace?"
    } else {
        to_do.map_or("-", |condition| &condition.message)
    };
    with_last(line, message)
}

/// What a person has to do or to know, most urgent first.
fn to_do(conditions: &[Condition]) -> Option<&Condition> {
    let not_ready = || {
        condition(conditions, ConditionType::Ready).filter(|ready| ready.status != "True" && !ready.message.is_empty())
    };
    holding(conditions, ConditionType::Stalled)
        .or_else(|| holding(conditions, ConditionType::Paused))
        .or_else(not_ready)
        .or_else(|| holding(conditions, ConditionType::DeadKeyInUse))
        .or_else(|| holding(conditions, ConditionType::Flooded))
        .or_else(|| holding(conditions, ConditionType::Reconciling))
        .or_else(|| holding(conditions, ConditionType::Rotating))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-11-29T10:00:00Z"})
    }

    fn object(name: &str, spec: &Value, conditions: &[Value]) -> Value {
        json!({"metadata": {"name": name, "namespace": "web", "creationTimestamp": "2026-11-29T10:00:00Z"}, "spec": spec,
            "status": {"conditions": conditions}})
    }

    #[test]
    fn keys_stand_below_their_project_and_say_what_is_to_be_done() {
        let ready = condition("Ready", "True", "Available", "fine");
        let project = |name: &str, conditions: &[Value]| -> ErrorTrackingProject {
            serde_json::from_value(object(name, &json!({}), conditions)).unwrap()
        };
        let key = |name: &str, project: &str, conditions: &[Value]| -> ClientKey {
            serde_json::from_value(object(name, &json!({"projectRef": {"name": project}}), conditions)).unwrap()
        };
        let stalled = condition("Stalled", "True", "SecretConflict", "Secret taken is not ours: delete it\u{1b}[2J");
        let not_ready = condition("Ready", "False", "Progressing", "the Secret is to be written");
        let flooded = condition("Flooded", "True", "TooManyNewIssues", "Give the key a rateLimit.");
        let projects = [
            project("shop", std::slice::from_ref(&ready)),
            project("api", &[]),
            project("web", &[ready.clone(), flooded]),
        ];
        let keys = [
            key("taken", "shop", &[not_ready.clone(), stalled]),
            key(
                "shop",
                "shop",
                &[ready.clone(), condition("Rotating", "True", "Overlap", "Key 42 is held by 3 pods.")],
            ),
            key("lost", "gone", &[not_ready]),
            key("dead", "shop", &[ready, condition("DeadKeyInUse", "True", "EventsRefused", "Restart shop-1.")]),
        ];
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let table = table(&projects, &keys, now, Columns { namespace: false, wide: false });
        assert_eq!(
            table,
            "NAME        READY   REASON             AGE    TO DO\n\
             etp/api     -       -                  120m   The operator has not seen it yet. Does it run, and does it look at this namespace?\n\
             etk/lost    False   Progressing        120m   the Secret is to be written\n\
             etp/shop    True    Available          120m   -\n\
             etk/dead    True    EventsRefused      120m   Restart shop-1.\n\
             etk/shop    True    Overlap            120m   Key 42 is held by 3 pods.\n\
             etk/taken   False   SecretConflict     120m   Secret taken is not ours: delete it [2J\n\
             etp/web     True    TooManyNewIssues   120m   Give the key a rateLimit.\n"
        );
    }
}
