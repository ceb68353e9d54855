//! A key takes the place of another: nothing that was accepted is refused before its time, and a commit does it once.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use error_tracking_operator::{dsn::ProjectId, store::Connection};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    support::{
        client::{self, Request},
        ingest,
    },
    world::{Mode, Namespace, Proxy, World, eventually},
};

const LIMIT: Duration = Duration::from_secs(30);
/// Until a status says who holds a key now: once a minute where nothing else changes.
const TOLD: Duration = Duration::from_secs(90);
const KEY: &str = "ClientKey";

/// The rows of a key, oldest first: number, state, and whether it is accepted.
async fn rows(world: &World, key: &str) -> Vec<String> {
    let query = format!(
        "SELECT state || CASE WHEN revoked_at IS NULL THEN '' ELSE ', refused' END FROM errortracking.client_keys
         WHERE name = '{key}' ORDER BY ordinal, key_id"
    );
    world.sql(&query).await.lines().map(str::to_owned).collect()
}

async fn id(world: &World, key: &str, ordinal: u32) -> String {
    world
        .sql(&format!("SELECT key_id FROM errortracking.client_keys WHERE name = '{key}' AND ordinal = {ordinal}"))
        .await
}

/// Waits until the rows of a key are these.
async fn rows_become(world: &World, key: &str, wanted: &[&str]) {
    let what = format!("{key}: {}", wanted.join("; "));
    eventually(&what, LIMIT, async || (rows(world, key).await == wanted).then_some(())).await;
}

async fn dsn(namespace: &Namespace, key: &str) -> String {
    namespace.secret(&format!("{key}-dsn"), "SENTRY_DSN").await.unwrap()
}

/// A key whose overlap is as short as it says, older than a second: a request of the same second does nothing.
async fn key(world: &World, namespace: &Namespace, name: &str, overlap: Value) {
    namespace.key_with(name, json!({"projectRef": {"name": "shop"}, "rotation": {"overlap": overlap}})).await;
    namespace.ready(KEY, name).await;
    world.age_keys(name).await;
}

async fn annotate(namespace: &Namespace, key: &str, annotation: &str, value: Option<&str>) {
    let annotation = format!("errortracking.dev/{annotation}");
    namespace.patch(KEY, key, json!({"metadata": {"annotations": {annotation: value}}})).await;
}

/// As an ingest pod of the project that reported so many seconds ago that it follows settings of this version.
pub async fn instance_reports(world: &World, name: &str, version: &str, seconds: u32) {
    world
        .execute(&format!(
            "INSERT INTO errortracking.ingest_instances (project_id, instance, settings_version, seen_at)
             SELECT project_id, '{name}', {version}, clock_timestamp() - interval '{seconds} s'
             FROM errortracking.settings
             ON CONFLICT (project_id, instance)
             DO UPDATE SET settings_version = excluded.settings_version, seen_at = excluded.seen_at"
        ))
        .await;
}

/// A pod that takes the Secret and never runs.
async fn pod(namespace: &Namespace, name: &str, secret: &str) {
    let container = json!({"name": "app", "image": "none.example/none", "envFrom": [{"secretRef": {"name": secret}}]});
    namespace
        .apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"schedulerName": "nobody", "containers": [container]},
        }))
        .await;
}

async fn forgets_the_key_before(namespace: &Namespace) {
    eventually("the Secret forgets the key before", LIMIT, async || {
        let secret = namespace.get("Secret", "app-dsn").await?;
        (!secret.metadata.annotations?.contains_key("errortracking.dev/retiring-key")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_external_url_is_a_rotation_and_the_old_host_is_kept_while_its_key_lives() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    let ingest = |host: &str| json!({"backend": {"integrated": {"ingest": {"replicas": 0, "ingress": {"host": host, "className": "none"}}}}});
    namespace.project("shop", ingest("old.example")).await;
    let spec = json!({"projectRef": {"name": "shop"}, "endpoint": "External"});
    namespace.key_with("app", spec).await;
    namespace.ready(KEY, "app").await;
    let before = dsn(&namespace, "app").await;
    assert!(before.contains("@old.example/"), "it names the host");
    eventually("the URL is recorded", LIMIT, async || {
        (world.sql("SELECT endpoint FROM errortracking.client_keys").await == "http://old.example").then_some(())
    })
    .await;
    world.age_keys("app").await;

    namespace.patch("ErrorTrackingProject", "shop", json!({"spec": ingest("new.example")})).await;
    eventually("the Secret names the new host", LIMIT, async || {
        dsn(&namespace, "app").await.contains("@new.example/").then_some(())
    })
    .await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    let key = before.split_once("//").unwrap().1.split_once('@').unwrap().0;
    assert!(!dsn(&namespace, "app").await.contains(key), "it is another key");
    namespace.reason(KEY, "app", "Rotating", "HoldersUnknown").await;
    let hosts = async || {
        let ingress = namespace.get("Ingress", "shop-ingest").await?;
        let rules = ingress.data["spec"]["rules"].as_array()?.clone();
        Some(rules.iter().map(|rule| rule["host"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    eventually("both hosts lead to the pods", LIMIT, async || {
        (hosts().await? == ["new.example", "old.example"]).then_some(())
    })
    .await;
    // Nothing more comes of it.
    let mark = world.at_rest().await;
    namespace.patch("ErrorTrackingProject", "shop", json!({"metadata": {"labels": {"a": "b"}}})).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"]);
    assert!(world.writes_of(&operator, &mark).is_empty(), "{:?}", world.writes_of(&operator, &mark));

    // The last sender has the new one.
    let first = id(&world, "app", 1).await;
    annotate(&namespace, "app", "revoke", Some(&first)).await;
    rows_become(&world, "app", &["revoked, refused", "published"]).await;
    namespace.patch("ErrorTrackingProject", "shop", json!({"spec": {"displayName": "Shop"}})).await;
    eventually("the old host is gone", LIMIT, async || (hosts().await? == ["new.example"]).then_some(())).await;
}

#[tokio::test]
async fn a_request_rotates_once_and_the_key_before_ends_when_nobody_holds_it() {
    let world = World::new().await;
    let mut operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    key(&world, &namespace, "app", json!({"minimum": "2s", "silence": "1s"})).await;
    let before = dsn(&namespace, "app").await;
    pod(&namespace, "holder", "app-dsn").await;
    pod(&namespace, "other", "another-secret").await;

    let request = json!({"spec": {"rotation": {"requestedAt": world.now().await}}});
    namespace.patch(KEY, "app", request.clone()).await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    let after = dsn(&namespace, "app").await;
    assert_ne!(after, before);
    let message = namespace.reason(KEY, "app", "Rotating", "Overlap").await;
    assert!(message.contains("1 pod holds it (Pod holder 1)"), "{message}");
    namespace.ready(KEY, "app").await;
    let retiring = namespace.field(KEY, "app", "/status/retiring").await;
    assert_eq!(retiring["heldBy"], json!([{"kind": "Pod", "name": "holder", "pods": 1}]), "{retiring}");
    let secret = namespace.get("Secret", "app-dsn").await.unwrap();
    let remembered = &secret.metadata.annotations.unwrap()["errortracking.dev/retiring-key"];
    assert!(before.contains(remembered.as_str()));

    // Nothing that GitOps does with the same commit rotates again: applied anew, reverted, or after the status was lost.
    let mark = world.mark();
    namespace.patch(KEY, "app", request.clone()).await;
    namespace.patch(KEY, "app", json!({"spec": {"rotation": {"requestedAt": null}}})).await;
    namespace.patch(KEY, "app", request).await;
    namespace.patch_status(KEY, "app", json!({"status": null})).await;
    world.revive(&mut operator).await;
    namespace.ready(KEY, "app").await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"]);
    assert!(world.writes_since(&mark).iter().all(|write| write.resource != "secrets"));

    // Nobody holds it, and still nobody has told that it was silent.
    namespace.delete("Pod", "holder").await;
    namespace.gone("Pod", "holder").await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"]);
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    rows_become(&world, "app", &["retired, refused", "published"]).await;
    namespace.reason(KEY, "app", "Rotating", "Idle").await;
    assert_eq!(namespace.field(KEY, "app", "/status/retiring").await, Value::Null);
    forgets_the_key_before(&namespace).await;
    assert_eq!(dsn(&namespace, "app").await, after);
}

#[tokio::test]
async fn a_successor_is_published_when_every_ingest_instance_knows_it() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    key(&world, &namespace, "app", json!({})).await;
    let before = dsn(&namespace, "app").await;
    instance_reports(&world, "shop-ingest-0", "1", 0).await;
    instance_reports(&world, "shop-ingest-1", "9007199254740991", 0).await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    let message = namespace.reason(KEY, "app", "Rotating", "WaitingForIngest").await;
    assert!(message.contains("shop-ingest-0 has not told yet"), "{message}");
    assert_eq!(rows(&world, "app").await, ["published", "minted"], "both are accepted");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(dsn(&namespace, "app").await, before, "the Secret waits");
    namespace.ready(KEY, "app").await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    assert_ne!(dsn(&namespace, "app").await, before);
}

#[tokio::test]
async fn a_revoked_key_is_refused_and_the_active_one_gets_a_successor_first() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    key(&world, &namespace, "app", json!({})).await;
    // It would wait for this one, if it were not a leak.
    instance_reports(&world, "shop-ingest-0", "1", 0).await;
    let before = dsn(&namespace, "app").await;
    annotate(&namespace, "app", "revoke", Some(&id(&world, "app", 1).await)).await;
    rows_become(&world, "app", &["revoked, refused", "published"]).await;
    assert_ne!(dsn(&namespace, "app").await, before);

    // The annotation stays, and does nothing more.
    namespace.reason(KEY, "app", "Rotating", "Idle").await;
    let mark = world.at_rest().await;
    annotate(&namespace, "app", "note", Some("changed")).await;
    namespace.ready(KEY, "app").await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(rows(&world, "app").await, ["revoked, refused", "published"]);
    assert!(world.writes_since(&mark).is_empty(), "{:?}", world.writes_since(&mark));

    // A key in its overlap is dead now.
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    world.age_keys("app").await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    rows_become(&world, "app", &["revoked, refused", "overlap", "published"]).await;
    annotate(&namespace, "app", "revoke", Some(&id(&world, "app", 2).await)).await;
    rows_become(&world, "app", &["revoked, refused", "revoked, refused", "published"]).await;
}

#[tokio::test]
async fn keys_whose_holders_are_unknown_end_at_their_maximum_and_can_be_taken_back() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    key(&world, &namespace, "app", json!({"minimum": "0s", "silence": "0s", "holders": "Unknown"})).await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    let message = namespace.reason(KEY, "app", "Rotating", "HoldersUnknown").await;
    assert!(message.contains("errortracking.dev/revoke"), "{message}");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"], "it does not end by itself");
    namespace.patch(KEY, "app", json!({"spec": {"rotation": {"overlap": {"maximum": "1s"}}}})).await;
    rows_become(&world, "app", &["retired, refused", "published"]).await;

    annotate(&namespace, "app", "restore", Some(&id(&world, "app", 1).await)).await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    namespace.reason(KEY, "app", "Rotating", "Restored").await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"], "for as long as it is asked for");
    annotate(&namespace, "app", "restore", None).await;
    rows_become(&world, "app", &["retired, refused", "published"]).await;
}

#[tokio::test]
async fn enabling_and_limits_reach_both_keys_of_an_overlap() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    key(&world, &namespace, "app", json!({})).await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    let limit = json!({"events": 7, "window": "1m"});
    namespace.patch(KEY, "app", json!({"spec": {"enabled": false, "rateLimit": limit}})).await;
    eventually("both keys are disabled and limited", LIMIT, async || {
        let query = "SELECT DISTINCT enabled, rate_limit_events FROM errortracking.client_keys WHERE name = 'app'";
        (world.sql(query).await == "f|7").then_some(())
    })
    .await;
    namespace.delete(KEY, "app").await;
    namespace.gone(KEY, "app").await;
    assert_eq!(rows(&world, "app").await, ["revoked, refused", "revoked, refused"], "the deletion reaches both");
}

#[tokio::test]
async fn a_secret_that_names_the_key_before_is_put_right_and_its_readers_hold_that_key() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    key(&world, &namespace, "app", json!({"minimum": "0s", "silence": "0s"})).await;
    let before = dsn(&namespace, "app").await;
    pod(&namespace, "first", "app-dsn").await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    let after = dsn(&namespace, "app").await;

    // Somebody puts it back while no operator runs, and a pod starts with it.
    drop(operator);
    sleep(Duration::from_secs(2)).await;
    let old = json!({"data": {"SENTRY_DSN": BASE64_STANDARD.encode(&before)}});
    namespace.patch("Secret", "app-dsn", old.clone()).await;
    pod(&namespace, "second", "app-dsn").await;
    namespace.delete("Pod", "first").await;
    namespace.gone("Pod", "first").await;
    let _operator = world.start_and_lead().await;
    eventually("the Secret is put right", LIMIT, async || (dsn(&namespace, "app").await == after).then_some(())).await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"], "the second pod holds the key before");
    namespace.delete("Pod", "second").await;
    namespace.gone("Pod", "second").await;
    rows_become(&world, "app", &["retired, refused", "published"]).await;
    forgets_the_key_before(&namespace).await;

    // From a backup: the key that has retired is accepted again, and the Secret is put right.
    namespace.patch("Secret", "app-dsn", old).await;
    eventually("the Secret is put right", LIMIT, async || (dsn(&namespace, "app").await == after).then_some(())).await;
    let taken_back =
        world.sql("SELECT restored FROM errortracking.client_keys WHERE name = 'app' AND ordinal = 1").await;
    assert_eq!(taken_back, "t");
}

#[tokio::test]
async fn an_older_database_gets_both_keys_back_from_the_secret() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    for name in ["before", "since"] {
        key(&world, &namespace, name, json!({})).await;
        annotate(&namespace, name, "rotate", Some(&world.now().await)).await;
        rows_become(&world, name, &["overlap", "published"]).await;
    }
    let dsns = (dsn(&namespace, "before").await, dsn(&namespace, "since").await);
    drop(operator);
    // Of the backup: one key as it was before its rotation, and nothing of the other object.
    world
        .execute(
            "DELETE FROM errortracking.client_keys WHERE name = 'since' OR ordinal = 2;
             UPDATE errortracking.client_keys SET state = 'published', retiring_since = NULL",
        )
        .await;
    let _operator = world.start_and_lead().await;
    for name in ["before", "since"] {
        rows_become(&world, name, &["overlap", "published"]).await;
        namespace.ready(KEY, name).await;
    }
    assert_eq!((dsn(&namespace, "before").await, dsn(&namespace, "since").await), dsns, "no Secret is flipped back");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        rows(&world, "before").await,
        ["overlap", "published"],
        "the request is older than the key that came back"
    );
}

/// As if the overlap, the last use, and what an ingest instance told last were older by so many hours. Not when the keys
/// were made: what was asked for would be later.
async fn hours_pass(world: &World, key: &str, instance: &str, hours: u32) {
    world
        .execute(&format!(
            "UPDATE errortracking.client_keys SET published_at = published_at - interval '{hours} h',
                last_used_at = last_used_at - interval '{hours} h',
                retiring_since = retiring_since - interval '{hours} h' WHERE name = '{key}';
             UPDATE errortracking.ingest_instances SET seen_at = seen_at - interval '{hours} h'
             WHERE instance = '{instance}'"
        ))
        .await;
}

#[tokio::test]
async fn what_waits_while_an_ingest_instance_is_cut_off_is_not_lost_by_a_rotation() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    // The login of a project without pods may not connect. No pod of it ever runs.
    namespace.project("shop", json!({"backend": {"integrated": {"ingest": {"replicas": 1}}}})).await;
    key(&world, &namespace, "app", json!({"minimum": "24h", "silence": "24h"})).await;
    let number = namespace.field("ErrorTrackingProject", "shop", "/status/projectID").await;
    let login = async |key| namespace.secret("shop-database", key).await.unwrap();
    let link = Proxy::start(&format!("{}:{}", world.database.connection.host, world.database.connection.port));
    let connection = world.database.connection.with_login(&login("username").await, login("password").await.into());
    let (connection, secret) = (Connection { port: link.address.port(), ..connection }, world.folder().join("login"));
    std::fs::create_dir(&secret).unwrap();
    ingest::write_secret(&secret, &connection);
    let project = ProjectId::new(number.as_u64().unwrap()).unwrap();
    let serving = ingest::serve(project, &secret, "shop-ingest-0").await;
    pod(&namespace, "shop-ingest-0", "another-secret").await;
    let before = dsn(&namespace, "app").await;
    let public_key = before.split("//").nth(1).unwrap().split('@').next().unwrap();
    let auth = format!("Sentry sentry_key={public_key},sentry_version=7,sentry_client=test/1.0");
    let event = |id: &str| {
        let event = format!(r#"{{"event_id":"{id}","message":"hello","level":"error"}}"#);
        Request::post(format!("/api/{project}/store/"), event).header("X-Sentry-Auth", auth.clone())
    };
    let (first, waiting) = (event("11111111111111111111111111111111"), event("22222222222222222222222222222222"));
    let send = async |event| client::send(serving.address, event).await.status;
    assert_eq!(send(&first).await, 200);
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    rows_become(&world, "app", &["overlap", "published"]).await;

    // Another one goes on telling; nothing else is in the way of the end.
    link.close().await;
    assert_eq!(send(&waiting).await, 503, "nobody can say that the key is refused");
    hours_pass(&world, "app", "shop-ingest-0", 30).await;
    let look = async |note| {
        instance_reports(&world, "shop-ingest-1", "9007199254740991", 0).await;
        annotate(&namespace, "app", "note", Some(note)).await;
    };
    look("30 h").await;
    eventually("the operator sees that the minimum is over", LIMIT, async || {
        let message = namespace.condition(KEY, "app", "Rotating").await?.message;
        message.contains("It ends when nothing was sent with it").then_some(())
    })
    .await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"], "what it has not told yet may be a use");

    link.set(Mode::Forward);
    eventually("what waited is stored", LIMIT, async || (send(&waiting).await == 200).then_some(())).await;
    assert_eq!(world.sql(&format!("SELECT count(*) FROM project_{project}.events")).await, "2");
    let used = "SELECT last_used_at > clock_timestamp() - interval '1 h' FROM errortracking.client_keys
                WHERE name = 'app' AND ordinal = 1";
    eventually("the use is told", LIMIT, async || (world.sql(used).await == "t").then_some(())).await;
    look("used").await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"], "the silence begins anew");
    // It would go on telling when the use was; its last word is that nothing is left.
    serving.shutdown.cancel();
    serving.server.await.unwrap().unwrap();
    hours_pass(&world, "app", "nobody", 25).await;
    look("silent").await;
    rows_become(&world, "app", &["retired, refused", "published"]).await;
}

#[tokio::test]
async fn many_keys_of_one_age_are_rotated_on_time() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let rotation = json!({"interval": "1000s", "overlap": {"minimum": "0s"}});
    for number in 0..8 {
        let spec = json!({"projectRef": {"name": "shop"}, "rotation": rotation});
        namespace.key_with(&format!("k{number}"), spec).await;
    }
    let mut due = Vec::new();
    for number in 0..8 {
        let name = format!("k{number}");
        namespace.ready(KEY, &name).await;
        let next = namespace.field(KEY, &name, "/status/nextRotationAt").await;
        let made = namespace.field(KEY, &name, "/status/active/createdAt").await;
        let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        due.push(time(&next).duration_since(time(&made)).as_secs());
    }
    assert!(due.iter().all(|due| (900..=1_001).contains(due)), "{due:?}");
    due.sort_unstable();
    due.dedup();
    assert!(due.len() > 4, "they are spread: {due:?}");
    world.execute("UPDATE errortracking.client_keys SET created_at = created_at - interval '1001 s'").await;
    for number in 0..8 {
        let name = format!("k{number}");
        annotate(&namespace, &name, "note", Some("look")).await;
        rows_become(&world, &name, &["overlap", "published"]).await;
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_the_api_server() {
    let world = World::new().await;
    let namespace = world.namespace("web").await;
    for (rotation, endpoint, says) in [
        (json!({"interval": "1h", "overlap": {"minimum": "2h"}}), "Internal", "must not be shorter than"),
        (json!({"overlap": {"minimum": "3h", "maximum": "2h"}}), "Internal", "must not be shorter than"),
        (json!({"overlap": {"silence": "3h", "maximum": "2h"}}), "Internal", "must not be shorter than"),
        (json!({"interval": "30s"}), "Internal", "between 60s and 87600h"),
        (json!({"interval": "9000000h"}), "Internal", "between 60s and 87600h"),
        (json!({"interval": "2160h"}), "External", "needs rotation.overlap.maximum"),
        (json!({"interval": "2160h", "overlap": {"holders": "Unknown"}}), "Internal", "needs rotation.overlap.maximum"),
        (json!({"requestedAt": "tomorrow"}), "Internal", "date-time"),
    ] {
        let spec = json!({"projectRef": {"name": "shop"}, "endpoint": endpoint, "rotation": rotation});
        let manifest = crate::world::manifest(KEY, "app", spec);
        let refused = namespace.try_apply(&manifest).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{manifest}: {refused}");
    }
    for rotation in [
        json!({"interval": "2160h", "overlap": {"maximum": "720h", "holders": "Unknown"}}),
        json!({"requestedAt": "2036-01-01T00:00:00Z", "overlap": {"minimum": "0s", "silence": "1h30m"}}),
    ] {
        let spec = json!({"projectRef": {"name": "shop"}, "rotation": rotation});
        namespace.try_apply(&crate::world::manifest(KEY, "app", spec)).await.unwrap();
    }
}

/// A workload whose pods take the Secret and never run.
async fn deployment(namespace: &Namespace, name: &str, spec: Value) {
    let container = json!({
        "name": "app", "image": "none.example/none", "envFrom": [{"secretRef": {"name": "app-dsn"}}],
    });
    let mut whole = json!({
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"schedulerName": "nobody", "containers": [container]},
        },
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    namespace.apply(&crate::world::manifest("Deployment", name, whole)).await;
    eventually(&format!("a pod of {name}"), LIMIT, async || {
        let pods = namespace.list("Pod").await;
        pods.iter().any(|pod| pod.metadata.name.as_deref().unwrap().starts_with(name)).then_some(())
    })
    .await;
}

async fn restarted_at(namespace: &Namespace, name: &str) -> Value {
    let annotation = "/spec/template/metadata/annotations/errortracking.dev~1restarted-at";
    namespace.field("Deployment", name, annotation).await
}

#[tokio::test]
async fn workloads_that_hold_the_key_before_are_restarted_once() {
    let world = World::with_values(&["restartWorkloads.enabled=true"]).await;
    let _operator = world.start_as("operator-0", &[("ERROR_TRACKING_RESTART_WORKLOADS", "true")]).await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    let overlap = json!({"minimum": "0s", "silence": "0s"});
    let spec = json!({"projectRef": {"name": "shop"}, "rotation": {"overlap": overlap, "restartWorkloads": true}});
    namespace.key_with("app", spec).await;
    namespace.ready(KEY, "app").await;
    world.age_keys("app").await;
    deployment(&namespace, "plain", json!({})).await;
    deployment(&namespace, "undone", json!({"strategy": {"type": "RollingUpdate"}})).await;
    deployment(&namespace, "paused", json!({})).await;
    namespace.patch("Deployment", "paused", json!({"spec": {"paused": true}})).await;
    pod(&namespace, "bare", "app-dsn").await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    sleep(Duration::from_secs(50)).await;
    assert_eq!(restarted_at(&namespace, "plain").await, Value::Null, "not before a minute is over");
    for name in ["plain", "undone"] {
        let restarted = async || restarted_at(&namespace, name).await.as_str().map(drop);
        eventually(&format!("{name} is restarted"), LIMIT, restarted).await;
    }
    // A tool that owns the whole template does this within a moment.
    let mark = world.mark();
    let undo = json!({"spec": {"template": {"metadata": {"annotations": {"errortracking.dev/restarted-at": null}}}}});
    namespace.patch("Deployment", "undone", undo).await;
    let message = eventually("what is left is named", TOLD, async || {
        let rotating = namespace.condition(KEY, "app", "Rotating").await?;
        let plain_is_done = !rotating.message.contains("Deployment plain");
        (rotating.reason == "RestartReverted" && plain_is_done).then_some(rotating.message)
    })
    .await;
    for says in [
        "3 pods hold it (Deployment paused 1, Deployment undone 1, Pod bare 1)",
        "Deployment paused is not restarted, since it is paused.",
        "Pod bare is not restarted",
        "The restart of Deployment undone was undone by",
    ] {
        assert!(message.contains(says), "{message}");
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(restarted_at(&namespace, "undone").await, Value::Null, "it is not repeated");
    assert_eq!(restarted_at(&namespace, "paused").await, Value::Null);
    let writes = world.writes_since(&mark);
    assert!(writes.iter().all(|write| write.resource != "deployments" || write.name.contains("shop")), "{writes:?}");
}

#[tokio::test]
async fn a_pod_that_takes_the_second_secret_holds_the_key_before_until_that_one_names_the_next() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let overlap = json!({"minimum": "0s", "silence": "0s"});
    let spec =
        json!({"projectRef": {"name": "shop"}, "serviceBinding": true, "rotation": {"overlap": overlap.clone()}});
    namespace.key_with("app", spec).await;
    let uri = async || namespace.secret("app-binding", "uri").await;
    eventually("the second Secret is there", LIMIT, async || uri().await).await;
    world.age_keys("app").await;
    let before = dsn(&namespace, "app").await;

    // The API server lets nobody write it any more.
    namespace.patch("Secret", "app-binding", json!({"immutable": true})).await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    rows_become(&world, "app", &["overlap", "published"]).await;
    let after = dsn(&namespace, "app").await;
    assert!(after != before && uri().await.as_ref() == Some(&before));
    sleep(Duration::from_secs(2)).await;
    pod(&namespace, "late", "app-binding").await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    annotate(&namespace, "app", "note", Some("look")).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"], "nothing ends that the second Secret names");

    // Now it names the next key, and the pod has what it named before.
    namespace.delete("Secret", "app-binding").await;
    eventually("it names the next key", LIMIT, async || (uri().await.as_ref() == Some(&after)).then_some(())).await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    annotate(&namespace, "app", "note", Some("look again")).await;
    let message = namespace.reason(KEY, "app", "Rotating", "Overlap").await;
    assert!(message.contains("1 pod holds it (Pod late 1)"), "{message}");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(rows(&world, "app").await, ["overlap", "published"], "the pod holds the key before");
    pod(&namespace, "later", "app-binding").await;
    namespace.delete("Pod", "late").await;
    namespace.gone("Pod", "late").await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    rows_become(&world, "app", &["retired, refused", "published"]).await;

    // From a backup: what the second Secret names is accepted again, and put right.
    let old = json!({"data": {"uri": BASE64_STANDARD.encode(&before)}});
    namespace.patch("Secret", "app-binding", old).await;
    eventually("it is put right", LIMIT, async || (uri().await.as_ref() == Some(&after)).then_some(())).await;
    let taken_back =
        world.sql("SELECT restored FROM errortracking.client_keys WHERE name = 'app' AND ordinal = 1").await;
    assert_eq!(taken_back, "t");

    // A leak ends, whatever becomes of the second Secret.
    namespace.patch("Secret", "app-binding", json!({"immutable": true})).await;
    annotate(&namespace, "app", "revoke", Some(&id(&world, "app", 2).await)).await;
    eventually("the key that leaked is refused", LIMIT, async || {
        rows(&world, "app").await.get(1).filter(|row| *row == "revoked, refused").cloned()
    })
    .await;
    assert_eq!(uri().await, Some(after));
}

#[tokio::test]
async fn a_second_secret_that_was_left_behind_goes_when_nobody_asks_for_it() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let spec =
        |bound: bool| json!({"projectRef": {"name": "shop"}, "serviceBinding": bound, "deletionPolicy": "Orphan"});
    namespace.key_with("app", spec(true)).await;
    let is_there = async || namespace.get("Secret", "app-binding").await.is_some();
    eventually("the second Secret is there", LIMIT, async || is_there().await.then_some(())).await;
    let before = dsn(&namespace, "app").await;
    namespace.delete(KEY, "app").await;
    namespace.gone(KEY, "app").await;
    assert!(is_there().await, "it is left behind");
    namespace.key_with("app", spec(false)).await;
    namespace.ready(KEY, "app").await;
    namespace.gone("Secret", "app-binding").await;
    assert_eq!(dsn(&namespace, "app").await, before);

    // One of that name which nobody made for a key stays.
    namespace.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app-binding"}})).await;
    annotate(&namespace, "app", "note", Some("look")).await;
    sleep(Duration::from_secs(2)).await;
    assert!(is_there().await);
}

#[tokio::test]
async fn a_dead_key_that_is_still_in_use_is_said() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    instance_reports(&world, "shop-ingest-0", "9007199254740991", 0).await;
    key(&world, &namespace, "app", json!({"minimum": "0s", "silence": "0s", "maximum": "1s"})).await;
    pod(&namespace, "kept", "app-dsn").await;
    sleep(Duration::from_secs(1)).await;
    annotate(&namespace, "app", "rotate", Some(&world.now().await)).await;
    rows_become(&world, "app", &["retired, refused", "published"]).await;
    let old = id(&world, "app", 1).await;
    // As ingest reports it.
    let refused = format!(
        "INSERT INTO errortracking.refused_keys (key_id, last_at, events, sentry_client, server_name)
         VALUES ({old}, clock_timestamp(), 3, 'sentry.python/2.75.0', 'kept')
         ON CONFLICT (key_id) DO UPDATE SET last_at = excluded.last_at, server_name = excluded.server_name"
    );
    world.execute(&refused).await;
    let started = std::time::Instant::now();
    let message = namespace.reason(KEY, "app", "DeadKeyInUse", "EventsRefused").await;
    println!("said after {:.1} s", started.elapsed().as_secs_f64());
    assert!(message.contains("by pod kept: restart them"), "{message}");
    namespace.ready(KEY, "app").await;
    world.execute("UPDATE errortracking.refused_keys SET server_name = 'elsewhere', last_at = clock_timestamp()").await;
    eventually("nobody innocent is named", LIMIT, async || {
        let message = namespace.condition(KEY, "app", "DeadKeyInUse").await?.message;
        message.contains("senders that are no pods of this namespace (sentry.python/2.75.0)").then_some(())
    })
    .await;
    world.execute("DELETE FROM errortracking.refused_keys").await;
    annotate(&namespace, "app", "note", Some("look")).await;
    eventually("it is gone with the last use", LIMIT, async || {
        namespace.condition(KEY, "app", "DeadKeyInUse").await.is_none().then_some(())
    })
    .await;
}
