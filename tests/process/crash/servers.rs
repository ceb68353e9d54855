//! Runs whose project a Sentry or a GitLab keeps: doubles of both, which answers of theirs are lost, and what must hold there.

use std::collections::{BTreeMap, BTreeSet};

use error_tracking_operator::crd::ServerKind;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::invariants::{CHILDREN, KEY_ID, Objects, annotation, by_name, dsn, name, owners, published, stands, uid};
use crate::{
    support::key_servers::{Fault, GitlabDouble, KeptKey, KeyServer, Rule, SentryDouble, gitlab::MAINTAINER},
    world::{Namespace, World, condition_of},
};

/// Projects of the Sentry, one for each run.
const MOST_RUNS: usize = 1_000;

pub struct Servers {
    sentry: SentryDouble,
    gitlab: GitlabDouble,
}

/// A key in the ledger.
struct Row {
    id: String,
    /// As `sentry http://127.0.0.1:80 acme/r7`.
    place: String,
    uid: String,
    ordinal: String,
    state: String,
    server_id: String,
    accepted: bool,
    ended: bool,
}

impl Servers {
    pub fn start() -> Self {
        let sentry = SentryDouble::start();
        // A status lists what the token can see: another project there is a change of every other one.
        sentry.with(|api| {
            api.switches.page = 100;
            for run in 0..MOST_RUNS {
                api.add_project("acme", &format!("r{run}"));
            }
        });
        Self { sentry, gitlab: GitlabDouble::start() }
    }

    /// The chart's value that lets projects name both.
    pub fn allowed(&self) -> String {
        format!("guards.allowedBackendHosts={{{},{}}}", self.sentry.url(), self.gitlab.url())
    }

    pub async fn publish_tokens(&self, namespace: &Namespace) {
        for (secret, token) in [("sentry", self.sentry.token()), ("gitlab", self.gitlab.token())] {
            let metadata = json!({"name": secret});
            let manifest =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}});
            namespace.apply(&manifest).await;
        }
    }

    /// Makes the project there, in which somebody else has a key.
    pub fn add_project(&self, server: ServerKind, name: &str) {
        match server {
            ServerKind::Sentry => {
                let there = self.sentry.with(|api| api.project(&format!("acme/{name}")).is_some());
                assert!(there, "more runs than projects: {name}");
            }
            ServerKind::Gitlab => self.gitlab.with(|api| {
                let path = format!("acme/{name}");
                let id = api.add_project(&path).id;
                for token in &mut api.tokens {
                    token.roles.insert(id, MAINTAINER);
                }
                api.make_key(&path);
            }),
        }
    }

    pub async fn project(&self, server: ServerKind, namespace: &Namespace, name: &str) {
        let backend = match server {
            ServerKind::Sentry => json!({"sentry": {
                "url": self.sentry.url(), "organization": "acme", "project": name, "tokenSecretRef": {"name": "sentry"},
            }}),
            ServerKind::Gitlab => json!({"gitlab": {
                "url": self.gitlab.url(), "project": format!("acme/{name}"), "tokenSecretRef": {"name": "gitlab"},
            }}),
        };
        namespace.project(name, json!({ "backend": backend })).await;
    }

    pub fn forget_calls(&self) {
        self.sentry.forget_calls();
        self.gitlab.forget_calls();
    }

    /// Calls that changed something in a project, as "sentry/post/after", each once.
    pub fn points(&self, name: &str) -> Vec<String> {
        let mut points = Vec::new();
        for (server, calls) in [("sentry", self.sentry.calls()), ("gitlab", self.gitlab.calls())] {
            let here = |path: &str| path.split('/').any(|part| part == name || part == format!("acme%2F{name}"));
            for call in calls.iter().filter(|call| call.method != "GET" && call.acted && here(&call.path)) {
                let point = format!("{server}/{}/after", call.method.to_ascii_lowercase());
                if !points.contains(&point) {
                    points.push(point);
                }
            }
        }
        points
    }

    /// If the point is a call, its answer never comes.
    pub fn lose_answer(&self, point: &str, name: &str) {
        let [server, method, _] = point.split('/').collect::<Vec<_>>()[..] else { return };
        let rule = |path: &str| Rule::new(&method.to_ascii_uppercase(), path, Fault::NeverAnswers).after().once();
        match server {
            "sentry" => self.sentry.fault(rule(&format!("/api/0/projects/acme/{name}/**"))),
            "gitlab" => self.gitlab.fault(rule(&format!("/api/v4/projects/acme%2F{name}/**"))),
            _ => {}
        }
    }

    /// The server has done what it was asked, and the operator waits for the answer.
    pub fn has_lost_answer(&self) -> bool {
        let calls = self.sentry.calls().into_iter().chain(self.gitlab.calls());
        calls.into_iter().any(|call| !call.faults.is_empty())
    }

    pub fn clear_faults(&self) {
        self.sentry.clear_faults();
        self.gitlab.clear_faults();
    }

    async fn keys_at(&self, place: &str) -> Vec<KeptKey> {
        let project = place.rsplit(' ').next().unwrap_or_default();
        if place.starts_with("sentry") {
            self.sentry.keys_of(project).await
        } else {
            self.gitlab.keys_of(project).await
        }
    }

    /// Everything there that is not as it should be.
    pub async fn violations(&self, world: &World, namespace: &Namespace) -> Vec<String> {
        let mut wrong = Vec::new();
        let rows = rows(world).await;
        let mut objects = BTreeMap::new();
        for kind in ["Secret", "Deployment", "ErrorTrackingProject", "ClientKey"] {
            objects.insert(kind, by_name(namespace.list(kind).await));
        }
        let mut there = BTreeMap::new();
        for place in rows.iter().map(|row| &row.place).collect::<BTreeSet<_>>() {
            there.insert(place.as_str(), self.keys_at(place).await);
        }
        check_rows(&rows, &there, &objects, &mut wrong);
        for key in objects["ClientKey"].values().filter(|key| of_key(key, &objects).is_some()) {
            check_key(key, &rows, &there, &objects, &mut wrong);
        }
        for project in objects["ErrorTrackingProject"].values() {
            let Some(server) = kind_of(project) else { continue };
            if !stands(project, "ErrorTrackingProject", &mut wrong) {
                continue;
            }
            for (kind, suffix) in CHILDREN.iter().filter(|(kind, _)| objects.contains_key(kind)) {
                if objects[kind].contains_key(&format!("{}{suffix}", name(project))) {
                    wrong.push(format!("project {} has a {kind}", name(project)));
                }
            }
            self.check_project(world, project, server, &rows, &mut wrong).await;
        }
        let intents = world.sql("SELECT place FROM errortracking.server_key_intents").await;
        if !intents.is_empty() {
            wrong.push(format!("a key is being made still: {intents}"));
        }
        wrong
    }

    /// Each key there is somebody else's, or one row's, or it is said that nobody claims it.
    async fn check_project(
        &self,
        world: &World,
        project: &DynamicObject,
        server: ServerKind,
        rows: &[Row],
        wrong: &mut Vec<String>,
    ) {
        let name = name(project);
        let place = match server {
            ServerKind::Sentry => format!("sentry {} acme/{name}", self.sentry.url()),
            ServerKind::Gitlab => format!("gitlab {} acme/{name}", self.gitlab.url()),
        };
        let orphans =
            world.sql(&format!("SELECT server_id FROM errortracking.server_key_orphans WHERE place = '{place}'")).await;
        let orphans: BTreeSet<_> = orphans.lines().collect();
        let connected = condition_of(project, "Connected").map(|condition| condition.message).unwrap_or_default();
        let keys = self.keys_at(&place).await;
        let Some((strangers, others)) = keys.split_first() else {
            wrong.push(format!("project {name}: the key of somebody else is gone"));
            return;
        };
        if !strangers.active || orphans.contains(strangers.id.as_str()) {
            wrong.push(format!("project {name}: the key of somebody else was touched"));
        }
        for key in others {
            let claims = rows.iter().filter(|row| row.place == place && row.server_id == key.id).count();
            let is_orphan = orphans.contains(key.id.as_str());
            if claims > 1 || claims == 1 && is_orphan {
                wrong.push(format!("project {name}: key {} is claimed {claims} times, orphan: {is_orphan}", key.id));
            }
            let named = connected.split([' ', ',']).any(|word| word == key.id);
            if claims == 0 && !(is_orphan && named) {
                wrong.push(format!("project {name}: key {} is nobody's, and that is not said: {connected}", key.id));
            }
        }
    }
}

/// Whether another server keeps the project's keys, and which.
pub fn kind_of(project: &DynamicObject) -> Option<ServerKind> {
    let backend = &project.data["spec"]["backend"];
    let has = |name: &str| backend.get(name).is_some_and(Value::is_object);
    if has("sentry") {
        return Some(ServerKind::Sentry);
    }
    has("gitlab").then_some(ServerKind::Gitlab)
}

/// The same of the project of a key.
pub fn of_key(key: &DynamicObject, objects: &Objects<'_>) -> Option<ServerKind> {
    let project = key.data["spec"]["projectRef"]["name"].as_str()?;
    kind_of(objects["ErrorTrackingProject"].get(project)?)
}

/// As [`World::age_keys`].
pub async fn age_keys(world: &World, name: &str) {
    world
        .execute(&format!(
            "UPDATE errortracking.server_keys SET created_at = created_at - interval '1 minute' WHERE name = '{name}'"
        ))
        .await;
}

async fn rows(world: &World) -> Vec<Row> {
    let answer = world
        .sql(
            "SELECT key_id, place, client_key_uid, ordinal, state, server_id, accepted, ended_at IS NOT NULL
             FROM errortracking.server_keys",
        )
        .await;
    let rows = answer.lines().map(|line| line.split('|').map(str::to_owned).collect::<Vec<_>>());
    rows.map(|row| Row {
        id: row[0].clone(),
        place: row[1].clone(),
        uid: row[2].clone(),
        ordinal: row[3].clone(),
        state: row[4].clone(),
        server_id: row[5].clone(),
        accepted: row[6] == "t",
        ended: row[7] == "t",
    })
    .collect()
}

fn check_rows(rows: &[Row], there: &There<'_>, objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let keys: BTreeSet<_> = objects["ClientKey"].values().map(uid).collect();
    let mut ordinals = BTreeSet::new();
    for row in rows {
        let Row { id, place, ordinal, .. } = row;
        if !ordinals.insert((&row.uid, ordinal)) {
            wrong.push(format!("ordinal {ordinal} of key {id} at {place} is another key's too"));
        }
        if !row.ended && !keys.contains(&row.uid) {
            wrong.push(format!("key {id} at {place} has not ended, and its object is gone"));
        }
        let kept = there[place.as_str()].iter().find(|key| key.id == row.server_id);
        let accepted = kept.is_some_and(|key| key.active);
        if accepted != row.accepted {
            wrong.push(format!("key {id} at {place} is accepted: {accepted}, and the ledger says another thing"));
        }
        if row.ended && accepted {
            wrong.push(format!("key {id} at {place} has ended and is accepted"));
        }
    }
}

type There<'a> = BTreeMap<&'a str, Vec<KeptKey>>;

fn check_key(key: &DynamicObject, rows: &[Row], there: &There<'_>, objects: &Objects<'_>, wrong: &mut Vec<String>) {
    let name = name(key);
    if !stands(key, "ClientKey", wrong) {
        return;
    }
    let live: Vec<_> = rows.iter().filter(|row| row.uid == uid(key) && !row.ended).collect();
    let Some(row) = published(key, &live, |row| (&row.id, &row.state), wrong) else { return };
    let Some(kept) = there[row.place.as_str()].iter().find(|kept| kept.id == row.server_id) else {
        wrong.push(format!("key {name}: the server does not have key {}", row.id));
        return;
    };
    if kept.active != key.data["spec"]["enabled"].as_bool().unwrap_or(true) {
        wrong.push(format!("key {name}: enabled is not as the spec says"));
    }
    let secret = format!("{name}-dsn");
    match objects["Secret"].get(&secret) {
        Some(found) if !owners(found).contains(&uid(key)) => {
            wrong.push(format!("Secret {secret} is not owned by its key"));
        }
        Some(found) if annotation(found, KEY_ID) != Some(row.id.as_str()) || dsn(found) != kept.dsn => {
            wrong.push(format!("Secret {secret} does not hold key {}", row.id));
        }
        Some(_) => {}
        None => wrong.push(format!("Secret {secret} is missing")),
    }
}
