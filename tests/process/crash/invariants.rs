//! What holds whenever the operator has nothing left to do.

use std::collections::{BTreeMap, BTreeSet};

use error_tracking_operator::store::Connection;
use kube::api::DynamicObject;

use super::{runners, servers};
use crate::world::{Namespace, World, condition_of, is_ready};

pub(super) const KEY_ID: &str = "errortracking.dev/key-id";
const RETIRING_KEY: &str = "errortracking.dev/retiring-key";
const CLIENT_KEY: &str = "errortracking.dev/client-key";

/// Children of a project without anything further: kind and suffix of the name.
pub(super) const CHILDREN: [(&str, &str); 6] = [
    ("Secret", "-database"),
    ("ServiceAccount", "-ingest"),
    ("NetworkPolicy", "-ingest"),
    ("Service", "-ingest"),
    ("Deployment", "-ingest"),
    ("PodDisruptionBudget", "-ingest"),
];

/// For a laboratory in which something went wrong.
pub const FORGET_EVERYTHING: &str = "
    UPDATE errortracking.client_keys SET revoked_at = now() WHERE revoked_at IS NULL;
    DO $$
    DECLARE
        gone text;
    BEGIN
        FOR gone IN SELECT nspname FROM pg_namespace WHERE nspname ~ '^project_[0-9]+$' LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', gone);
        END LOOP;
        FOR gone IN
            SELECT rolname FROM pg_roles
            WHERE rolname LIKE 'et\\_' || (SELECT id FROM errortracking.installation) || '\\_%\\_ingest%'
        LOOP
            EXECUTE format('DROP OWNED BY %I', gone);
            EXECUTE format('DROP ROLE %I', gone);
        END LOOP;
    END
    $$;
    DELETE FROM errortracking.server_keys;
    DELETE FROM errortracking.server_key_intents;
    DELETE FROM errortracking.server_key_orphans;
    UPDATE errortracking.projects SET state = 'deleted', deleted_at = now(), ingest_role = NULL,
        ingest_password_digest = NULL";

/// A row of `errortracking.projects`.
struct ProjectRow {
    id: String,
    uid: String,
    state: String,
    schema: bool,
    /// Roles of the project that may log in.
    logins: u32,
    /// What ingest is told.
    retention_days: i64,
}

/// A key that is accepted.
struct KeyRow {
    id: String,
    state: String,
    uid: String,
    public_key: String,
    enabled: bool,
    /// Events of its rate limit; empty without one.
    rate_limit: String,
    /// Of the deprecated DSN.
    secret: String,
}

/// Everything that is not as it should be; empty when the operator has done its work.
pub async fn violations(world: &World, namespace: &Namespace) -> Vec<String> {
    let mut wrong = Vec::new();
    // Postgres first: what is made between the two looks is only waited for once more.
    let (projects, keys) = (project_rows(world).await, key_rows(world).await);
    let mut objects = BTreeMap::new();
    let ours = ["Ingress", "ErrorTrackingProject", "ClientKey", "RunnerBinding"];
    for kind in CHILDREN.map(|(kind, _)| kind).into_iter().chain(ours) {
        objects.insert(kind, by_name(namespace.list(kind).await));
    }
    let here = |project: &&DynamicObject| servers::kind_of(project).is_none();
    for project in objects["ErrorTrackingProject"].values().filter(here) {
        check_project(project, &projects, &objects, &mut wrong);
        check_login(project, &objects, &mut wrong).await;
    }
    for key in objects["ClientKey"].values().filter(|key| servers::of_key(key, &objects).is_none()) {
        check_key(key, &keys, &objects, &mut wrong);
    }
    for binding in objects["RunnerBinding"].values() {
        runners::check_binding(binding, &objects, &mut wrong);
    }
    runners::check_left(&objects, &mut wrong);
    check_rows(&projects, &keys, &objects, &mut wrong);
    check_secrets(&keys, &objects, &mut wrong);
    for list in world.home().list("ConfigMap").await {
        let name = name(&list);
        let owed = list.data["data"].as_object().map_or(0, serde_json::Map::len);
        if name.contains("tombstones") && owed > 0 {
            wrong.push(format!("ConfigMap {name} holds {owed} tombstones"));
        }
    }
    let repeated = world.sql("SELECT project_id FROM errortracking.projects GROUP BY 1 HAVING count(*) > 1").await;
    if !repeated.is_empty() {
        wrong.push(format!("numbers were given twice: {repeated}"));
    }
    wrong
}

fn check_project(project: &DynamicObject, rows: &[ProjectRow], objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let name = name(project);
    if !stands(project, "ErrorTrackingProject", wrong) {
        return;
    }
    let live: Vec<_> = rows.iter().filter(|row| row.uid == uid(project) && row.state == "active").collect();
    match live.as_slice() {
        [row] => {
            let said = project.data["status"]["projectID"].as_i64().map(|id| id.to_string());
            if said.as_ref() != Some(&row.id) {
                wrong.push(format!("project {name} says another number than row {}", row.id));
            }
            if !row.schema {
                wrong.push(format!("project {name} has no schema"));
            }
            if row.logins == 0 {
                wrong.push(format!("project {name} has no login"));
            }
            let retention_days = &project.data["spec"]["backend"]["integrated"]["retentionDays"];
            if retention_days.as_i64() != Some(row.retention_days) {
                wrong.push(format!("project {name}: ingest is told of {} days", row.retention_days));
            }
        }
        rows => wrong.push(format!("project {name} has {} active rows", rows.len())),
    }
    let ingress = objects["Ingress"].contains_key(&format!("{name}-ingest"));
    if ingress == project.data["spec"]["backend"]["integrated"]["ingest"]["ingress"].is_null() {
        wrong.push(format!("project {name} has an Ingress: {ingress}"));
    }
    for (kind, suffix) in CHILDREN {
        let child = format!("{name}{suffix}");
        match objects[kind].get(&child) {
            // The project's status follows: until then there is something left to do.
            Some(found) if *kind == *"Deployment" && !is_observed(found) => {
                wrong.push(format!("Deployment {child} was not seen by its controller yet"));
            }
            Some(found) if owners(found).contains(&uid(project)) => {}
            Some(_) => wrong.push(format!("{kind} {child} is not owned by the project")),
            None => wrong.push(format!("{kind} {child} is missing")),
        }
    }
}

fn is_observed(object: &DynamicObject) -> bool {
    object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation
}

/// What Postgres says of a login without pods after it has accepted the password: it may have no session.
const ACCEPTED_WITHOUT_A_SESSION: &str = "too many connections for role";

/// The login in the project's Secret is one that Postgres accepts.
async fn check_login(project: &DynamicObject, objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let secret = format!("{}-database", name(project));
    let Some(found) = objects["Secret"].get(&secret) else { return };
    match Connection::from_map(&values(found)) {
        Ok(connection) => {
            if let Err(error) = connection.probe().await
                && !error.to_string().contains(ACCEPTED_WITHOUT_A_SESSION)
            {
                wrong.push(format!("the login in Secret {secret} is refused: {error}"));
            }
        }
        Err(error) => wrong.push(format!("Secret {secret} holds no login: {error}")),
    }
}

fn check_key(key: &DynamicObject, rows: &[KeyRow], objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let name = name(key);
    if !stands(key, "ClientKey", wrong) {
        return;
    }
    let live: Vec<_> = rows.iter().filter(|row| row.uid == uid(key)).collect();
    let Some(row) = published(key, &live, |row| (&row.id, &row.state), wrong) else { return };
    let accepted = |id: &str| row.id == id || retiring(key) == Some(id);
    if annotation(key, "errortracking.dev/revoke").is_some_and(accepted) {
        wrong.push(format!("key {name}: the key that was revoked is accepted"));
    }
    if annotation(key, "errortracking.dev/restore").is_some_and(|id| !accepted(id)) {
        wrong.push(format!("key {name}: the key that was asked back for is refused"));
    }
    if row.enabled != key.data["spec"]["enabled"].as_bool().unwrap_or(true) {
        wrong.push(format!("key {name}: enabled is not as the spec says"));
    }
    let limit = key.data["spec"]["rateLimit"]["events"].as_i64().map(|events| events.to_string());
    if row.rate_limit != limit.unwrap_or_default() {
        wrong.push(format!("key {name}: its rate limit is not as the spec says"));
    }
    let secret = format!("{name}-dsn");
    match objects["Secret"].get(&secret) {
        Some(found) if !owners(found).contains(&uid(key)) => {
            wrong.push(format!("Secret {secret} is not owned by its key"));
        }
        Some(found) => {
            let dsn = dsn(found);
            if annotation(found, KEY_ID) != Some(row.id.as_str()) || !dsn.contains(&row.public_key) {
                wrong.push(format!("Secret {secret} does not hold key {}", row.id));
            }
            if dsn.contains(".example/") != (key.data["spec"]["endpoint"] == "External") {
                wrong.push(format!("Secret {secret} does not name the endpoint that was asked for"));
            }
        }
        None => wrong.push(format!("Secret {secret} is missing")),
    }
    check_extras(key, row, objects, wrong);
}

/// The published one of the keys of the object that live, each with its id and state. The status says which other one is
/// accepted, and it ends.
pub(super) fn published<'a, R>(
    key: &DynamicObject,
    live: &[&'a R],
    id_and_state: fn(&R) -> (&str, &str),
    wrong: &mut Vec<String>,
) -> Option<&'a R> {
    let name = name(key);
    let (active, former): (Vec<&R>, Vec<&R>) = live.iter().partition(|row| id_and_state(row).1 == "published");
    let [row] = active.as_slice() else {
        wrong.push(format!("key {name} has {} published keys", active.len()));
        return None;
    };
    if !former.iter().map(|row| id_and_state(row).0).eq(retiring(key)) {
        wrong.push(format!("key {name} does not say which other keys are accepted"));
    }
    if ends_by_itself(key) && !former.is_empty() {
        wrong.push(format!("key {name}: the key before goes on after its maximum"));
    }
    Some(row)
}

fn retiring(key: &DynamicObject) -> Option<&str> {
    key.data["status"]["retiring"]["keyID"].as_str()
}

/// What a key publishes beside the DSN.
fn check_extras(key: &DynamicObject, row: &KeyRow, objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let (name, spec) = (name(key), &key.data["spec"]);
    let of_secret = |suffix: &str| objects["Secret"].get(&format!("{name}-{suffix}")).map(values);
    let dsn = of_secret("dsn").unwrap_or_default();
    let deprecated = dsn.get("SENTRY_DSN_DEPRECATED").cloned().unwrap_or_default();
    let asked = spec["extraKeys"]["deprecatedDSN"] == true;
    let same = !row.secret.is_empty() && deprecated.contains(&format!("//{}:{}@", row.public_key, row.secret));
    if asked != same || asked == deprecated.is_empty() {
        wrong.push(format!("key {name}: its deprecated DSN is not as the spec says"));
    }
    let uri = of_secret("binding").map(|values| values.get("uri").cloned().unwrap_or_default());
    let expected = (spec["serviceBinding"] == true).then(|| dsn.get("SENTRY_DSN").cloned().unwrap_or_default());
    let named = key.data["status"]["binding"]["name"].as_str().map(str::to_owned);
    if uri != expected || named != expected.map(|_| format!("{name}-binding")) {
        wrong.push(format!("key {name}: its second Secret is not as the spec says"));
    }
}

/// Whether the overlap of a key is over within a moment.
fn ends_by_itself(key: &DynamicObject) -> bool {
    key.data["spec"]["rotation"]["overlap"]["maximum"] == "1s" && annotation(key, "errortracking.dev/restore").is_none()
}

fn check_rows(projects: &[ProjectRow], keys: &[KeyRow], objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let uids: BTreeSet<_> = objects["ErrorTrackingProject"].values().map(uid).collect();
    for row in projects {
        let id = &row.id;
        match row.state.as_str() {
            "active" if !uids.contains(&row.uid) => wrong.push(format!("project {id} is active without an object")),
            "active" => {}
            state => {
                if row.schema != (state == "retained") {
                    wrong.push(format!("project {id} is {state}, schema: {}", row.schema));
                }
                if row.logins > 0 {
                    wrong.push(format!("project {id} is {state} and has a login"));
                }
            }
        }
    }
    let named: BTreeSet<_> = objects["Secret"].values().filter_map(|secret| annotation(secret, KEY_ID)).collect();
    let former = |secret| annotation(secret, RETIRING_KEY);
    let remembered: BTreeSet<_> = objects["Secret"].values().filter_map(former).collect();
    let is_named = |row: &KeyRow| match row.state.as_str() {
        "overlap" => remembered.contains(row.public_key.as_str()),
        _ => named.contains(row.id.as_str()),
    };
    for row in keys.iter().filter(|row| !is_named(row)) {
        wrong.push(format!("key {} is live and no Secret names it", row.id));
    }
}

/// A Secret of a key that has no object left is an orphan, or garbage that is about to be collected. That of a key that another
/// server keeps is looked at there.
fn check_secrets(keys: &[KeyRow], objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let live: BTreeSet<_> = keys.iter().map(|row| row.id.as_str()).collect();
    let elsewhere = objects["ClientKey"].values().filter(|key| servers::of_key(key, objects).is_some());
    let elsewhere: BTreeSet<_> = elsewhere.map(|key| format!("{}-dsn", name(key))).collect();
    for (name, secret) in objects["Secret"].iter().filter(|(name, _)| !elsewhere.contains(*name)) {
        let of_key = secret.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(CLIENT_KEY));
        let id = annotation(secret, KEY_ID).unwrap_or_default();
        if of_key && !live.contains(id) {
            wrong.push(format!("Secret {name} names key {id}, which is dead or unknown"));
        }
    }
}

/// Whether the object is one that stays; it must be Ready then.
pub(super) fn stands(object: &DynamicObject, kind: &str, wrong: &mut Vec<String>) -> bool {
    let name = name(object);
    if object.metadata.deletion_timestamp.is_some() {
        wrong.push(format!("{kind} {name} is still there"));
        return false;
    }
    if !is_ready(object) {
        wrong.push(format!("{kind} {name} is not Ready: {:?}", condition_of(object, "Ready")));
    }
    if condition_of(object, "Reconciling").is_none_or(|reconciling| reconciling.status != "False") {
        wrong.push(format!("{kind} {name} is still being reconciled"));
    }
    true
}

async fn project_rows(world: &World) -> Vec<ProjectRow> {
    let answer = world
        .sql(
            "SELECT project_id, object_uid, state,
                EXISTS (SELECT FROM pg_namespace WHERE nspname = 'project_' || project_id),
                (SELECT count(*) FROM pg_roles, errortracking.installation
                 WHERE rolcanlogin AND rolname ~ ('^et_' || id || '_' || project_id || '_ingest')),
                coalesce(ingest->>'retentionDays', '90')
             FROM errortracking.projects JOIN errortracking.settings USING (project_id)",
        )
        .await;
    let rows = answer.lines().map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| ProjectRow {
        id: row[0].clone(),
        uid: row[1].clone(),
        state: row[2].clone(),
        schema: row[3] == "t",
        logins: row[4].parse().unwrap(),
        retention_days: row[5].parse().unwrap(),
    })
    .collect()
}

async fn key_rows(world: &World) -> Vec<KeyRow> {
    let answer = world
        .sql(
            "SELECT k.key_id, k.client_key_uid, k.public_key, k.enabled, k.rate_limit_events, k.state,
                coalesce(k.secret, '')
             FROM errortracking.client_keys k JOIN errortracking.projects p USING (project_id)
             WHERE k.revoked_at IS NULL AND p.state = 'active'",
        )
        .await;
    let rows = answer.lines().map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| KeyRow {
        id: row[0].clone(),
        uid: row[1].clone(),
        public_key: row[2].clone(),
        enabled: row[3] == "t",
        rate_limit: row[4].clone(),
        state: row[5].clone(),
        secret: row[6].clone(),
    })
    .collect()
}

pub(super) type Objects<'a> = BTreeMap<&'a str, BTreeMap<String, DynamicObject>>;

pub(super) fn by_name(objects: Vec<DynamicObject>) -> BTreeMap<String, DynamicObject> {
    objects.into_iter().map(|object| (name(&object), object)).collect()
}

pub(super) fn name(object: &DynamicObject) -> String {
    object.metadata.name.clone().unwrap()
}

pub(super) fn uid(object: &DynamicObject) -> String {
    object.metadata.uid.clone().unwrap()
}

pub(super) fn owners(object: &DynamicObject) -> Vec<String> {
    object.metadata.owner_references.iter().flatten().map(|owner| owner.uid.clone()).collect()
}

pub(super) fn annotation<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(super) fn dsn(secret: &DynamicObject) -> String {
    values(secret).remove("SENTRY_DSN").unwrap_or_default()
}

pub(super) fn values(secret: &DynamicObject) -> BTreeMap<String, String> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let data = secret.data["data"].as_object().cloned().unwrap_or_default();
    let decode = |value: &serde_json::Value| BASE64_STANDARD.decode(value.as_str().unwrap_or_default());
    data.into_iter()
        .map(|(key, value)| (key, String::from_utf8(decode(&value).unwrap_or_default()).unwrap_or_default()))
        .collect()
}
