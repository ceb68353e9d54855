//! What is whose after something was lost: a database that is an older one now, objects with new uids, a namespace that
//! was made anew, a second installation.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use error_tracking_operator::store::Connection;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::time::sleep;

use crate::world::{Mode, Namespace, World, cluster_folder, eventually};

const LIMIT: Duration = Duration::from_mins(1);

async fn uid(namespace: &Namespace, kind: &str, name: &str) -> String {
    namespace.get(kind, name).await.unwrap().metadata.uid.unwrap()
}

async fn dsn(namespace: &Namespace, key: &str) -> String {
    namespace.secret(&format!("{key}-dsn"), "SENTRY_DSN").await.unwrap()
}

/// A program of PostgreSQL on the database of the World.
fn postgres(program: &str, connection: &Connection, arguments: &[&str]) {
    let mut versions: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    let programs = std::env::var_os("PG_BIN").map_or_else(|| versions.pop().unwrap().join("bin"), PathBuf::from);
    let output = Command::new(programs.join(program))
        .env("PGPASSWORD", connection.password.expose_secret())
        .args(["--host", &connection.host, "--port", &connection.port.to_string(), "--username", &connection.username])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs a command of the platform team with the operator's rights and environment.
fn command(world: &World, arguments: &[&str]) -> Output {
    let mut kubeconfigs: Vec<PathBuf> = std::fs::read_dir(world.folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "kubeconfig"))
        .collect();
    kubeconfigs.sort();
    let output = Command::new(env!("CARGO_BIN_EXE_error-tracking-operator"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfigs.last().expect("an operator was started"))
        .env("POD_NAMESPACE", &world.name)
        .env("ERROR_TRACKING_DATABASE_SECRET", &world.chart.database_secret)
        .env("ERROR_TRACKING_LEASE_NAME", &world.chart.lease)
        .env_remove("HTTPS_PROXY")
        .env_remove("https_proxy")
        .output()
        .unwrap();
    println!("{arguments:?}: {}{}", text(&output), String::from_utf8_lossy(&output.stderr));
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_database_of_an_older_backup_gets_back_what_it_lost() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("old").await;
    let backup = world.folder().join("backup");
    let owner = &world.database.connection;
    let superuser = owner.with_login("postgres", owner.password.clone());
    postgres("pg_dump", &superuser, &["--format=custom", "--file", backup.to_str().unwrap(), &owner.dbname]);

    // After the backup: a project, two keys and a new login of the old project.
    namespace.ready_project("new").await;
    namespace.key("second", "old").await;
    namespace.ready("ClientKey", "second").await;
    namespace.delete("Secret", "old-database").await;
    eventually("another login", LIMIT, async || {
        namespace.secret("old-database", "username").await.filter(|name| name.ends_with("_2"))
    })
    .await;
    let keys = ["old", "new", "second"];
    let mut before = Vec::new();
    for key in keys {
        before.push((dsn(&namespace, key).await, uid(&namespace, "Secret", &format!("{key}-dsn")).await));
    }
    let login = namespace.secret("old-database", "password").await.unwrap();

    world.postgres.set(Mode::Refuse);
    postgres("dropdb", &superuser, &["--force", &owner.dbname]);
    postgres("createdb", &superuser, &["--owner", &owner.username, &owner.dbname]);
    let restore = ["--dbname", &owner.dbname, backup.to_str().unwrap()];
    postgres("pg_restore", &superuser, &restore);
    world.postgres.set(Mode::Forward);
    let from = std::time::Instant::now();
    let observed = owner.pool(error_tracking_operator::store::connection::PoolSize { min: 0, max: 1 }, "tests");
    let count = async |query: &'static str| sqlx::query_scalar::<_, i64>(query).fetch_one(&observed).await.ok();
    eventually("rows are back", LIMIT, async || {
        let projects = count("SELECT count(*) FROM errortracking.projects WHERE state = 'active'").await?;
        let keys = count("SELECT count(*) FROM errortracking.client_keys WHERE revoked_at IS NULL").await?;
        (projects == 2 && keys == 3).then_some(())
    })
    .await;
    for key in keys {
        namespace.ready("ClientKey", key).await;
    }
    for project in ["old", "new"] {
        namespace.ready("ErrorTrackingProject", project).await;
    }
    println!("time to recover: {:.1} s", from.elapsed().as_secs_f64());
    for (key, (before, secret)) in keys.iter().zip(&before) {
        assert_eq!(&dsn(&namespace, key).await, before, "{key}");
        assert_eq!(&uid(&namespace, "Secret", &format!("{key}-dsn")).await, secret, "{key}: was never away");
        let public_key = before.split_once("://").unwrap().1.split_once('@').unwrap().0;
        let stored: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM errortracking.client_keys WHERE public_key = $1 AND revoked_at IS NULL",
        )
        .bind(public_key)
        .fetch_one(&observed)
        .await
        .unwrap();
        assert_eq!(stored, 1, "{key}");
    }
    assert_eq!(namespace.secret("old-database", "password").await.unwrap(), login, "pods keep their login");
    // Numbers go on above everything that any status says.
    namespace.ready_project("third").await;
    assert_eq!(namespace.field("ErrorTrackingProject", "third", "/status/projectID").await, 3);
    observed.close().await;
}

/// Stops or continues garbage collection in the local cluster.
fn garbage_collection(signal: &str) {
    let pattern = format!("kube-controller-manager.*{}", cluster_folder().display());
    let found = Command::new("pgrep").args(["-f", &pattern]).output().unwrap();
    for pid in String::from_utf8_lossy(&found.stdout).split_whitespace() {
        let _ = Command::new("kill").args([&format!("-{signal}"), pid]).status();
    }
    assert!(found.status.success(), "no controller manager of this cluster runs");
}

/// Lets garbage collection go on however the test ends.
struct Stopped;

impl Drop for Stopped {
    fn drop(&mut self) {
        garbage_collection("CONT");
    }
}

#[tokio::test]
async fn objects_that_were_lost_and_applied_anew_take_everything_over() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let id = namespace.field("ErrorTrackingProject", "shop", "/status/projectID").await;
    let before = (dsn(&namespace, "shop").await, uid(&namespace, "Secret", "shop-dsn").await);
    let login = (
        namespace.secret("shop-database", "password").await.unwrap(),
        uid(&namespace, "Secret", "shop-database").await,
    );
    operator.kill();

    // Lost with etcd: nobody finished anything, and garbage collection has not come by.
    let stopped = Stopped;
    garbage_collection("STOP");
    let mut lost = Vec::new();
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        lost.push(uid(&namespace, kind, "shop").await);
        namespace.patch(kind, "shop", json!({"metadata": {"finalizers": null}})).await;
        namespace.delete(kind, "shop").await;
        namespace.gone(kind, "shop").await;
    }
    let _operator = world.start_and_lead().await;
    namespace.ready_project("shop").await;
    assert!(!lost.contains(&uid(&namespace, "ClientKey", "shop").await));
    drop(stopped);
    // Long enough for what still looks like an orphan to be collected.
    sleep(Duration::from_secs(10)).await;
    assert_eq!((dsn(&namespace, "shop").await, uid(&namespace, "Secret", "shop-dsn").await), before);
    let now = (
        namespace.secret("shop-database", "password").await.unwrap(),
        uid(&namespace, "Secret", "shop-database").await,
    );
    assert_eq!(now, login);
    assert_eq!(namespace.field("ErrorTrackingProject", "shop", "/status/projectID").await, id);
    assert_eq!(world.sql("SELECT count(*) FROM errortracking.client_keys").await, "1");
    assert_eq!(world.sql("SELECT count(*) FROM errortracking.projects").await, "1");
}

#[tokio::test]
async fn the_platform_team_gives_a_kept_project_to_a_namespace_that_was_made_anew() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let (web, other) = (world.namespace("web").await, world.namespace("other").await);
    web.ready_project("shop").await;
    let number = web.field("ErrorTrackingProject", "shop", "/status/projectID").await.to_string();
    let kept = || {
        let listed = command(&world, &["retained", "--output", "json"]);
        assert!(listed.status.success());
        serde_json::from_slice::<serde_json::Value>(&listed.stdout).unwrap()
    };
    assert_eq!(kept(), json!({"projects": [], "keys": [], "logins": [], "owed": []}));
    let to_other = format!("{}/shop", other.name);
    let refused = command(&world, &["adopt", &number, "--to", &to_other]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("which exists: delete that object first"));
    let nowhere = command(&world, &["adopt", &number, "--to", "no-such-namespace/shop"]);
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("There is no namespace no-such-namespace"));

    world.store_something(&number).await;
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        web.delete(kind, "shop").await;
        web.gone(kind, "shop").await;
    }
    let listed = kept();
    assert_eq!(listed["projects"][0]["state"], "retained");
    assert_eq!(listed["projects"][0]["id"].to_string(), number);
    assert!(text(&command(&world, &["retained"])).contains("retained"));

    // The other namespace has a project of the name already, which never stored anything.
    other.ready_project("shop").await;
    let empty = other.field("ErrorTrackingProject", "shop", "/status/projectID").await.to_string();
    for _ in 0..2 {
        assert!(command(&world, &["adopt", &number, "--to", &to_other]).status.success());
    }
    eventually("the adopted number is in the status and in the DSN", LIMIT, async || {
        let status = other.field("ErrorTrackingProject", "shop", "/status/projectID").await.to_string();
        let dsn = other.secret("shop-dsn", "SENTRY_DSN").await?;
        (status == number && dsn.ends_with(&format!("/{number}"))).then_some(())
    })
    .await;
    other.ready("ErrorTrackingProject", "shop").await;
    other.ready("ClientKey", "shop").await;
    assert_eq!(world.sql(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = 'project_{empty}'")).await, "0");
    assert_eq!(kept(), json!({"projects": [], "keys": [], "logins": [], "owed": []}));
    assert!(!operator.logged("panicked"));
}

#[tokio::test]
async fn released_objects_go_without_an_operator_and_the_next_one_finds_the_others() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    for name in ["stays", "goes"] {
        namespace.ready_project(name).await;
    }
    let before = dsn(&namespace, "stays").await;
    let released = command(&world, &["release"]);
    assert!(released.status.success());
    assert!(text(&released).starts_with("Took the finalizer off 4 objects."), "{}", text(&released));
    // It stands by, and would lead again after a minute: helm removes it in that time.
    let taken = format!("Lease {} was taken by release", world.chart.lease);
    assert!(operator.logged(&taken), "{}", operator.log());
    operator.kill();
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        for name in ["stays", "goes"] {
            assert_eq!(namespace.get(kind, name).await.unwrap().metadata.finalizers, None);
        }
        namespace.delete(kind, "goes").await;
        namespace.gone(kind, "goes").await;
    }
    assert!(text(&command(&world, &["release"])).starts_with("Took the finalizer off 0 objects."));
    // It waits for the rest of the minute.
    let _operator = world.start().await;
    eventually("the next operator leads and has put the finalizer on", Duration::from_secs(90), async || {
        let project = namespace.get("ErrorTrackingProject", "stays").await?;
        project.metadata.finalizers.map(|_| ())
    })
    .await;
    assert_eq!(dsn(&namespace, "stays").await, before);
    let listed = command(&world, &["retained", "--output", "json"]);
    assert!(text(&listed).contains("\"state\": \"lost\""), "what went without the operator can be found");
}

#[tokio::test]
async fn a_second_installation_on_the_same_database_is_refused() {
    let world = World::new().await;
    let first = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    let epoch = world.sql("SELECT epoch FROM errortracking.installation").await;
    let rule = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "update"]});
    let account = json!({"kind": "ServiceAccount", "name": world.chart.service_account, "namespace": world.name});
    let to = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "second"});
    let metadata = json!({"name": "second"});
    let version = "rbac.authorization.k8s.io/v1";
    world.home().apply(&json!({"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": [rule]})).await;
    world
        .home()
        .apply(&json!({
            "apiVersion": version, "kind": "RoleBinding", "metadata": metadata, "roleRef": to, "subjects": [account],
        }))
        .await;
    let second = world.start_as("operator-1", &[("ERROR_TRACKING_LEASE_NAME", "second")]).await;
    let refusal =
        format!("the database is led by the installation of namespace {} (Lease {})", world.name, world.chart.lease);
    eventually("the second one is refused", LIMIT, async || second.logged(&refusal).then_some(())).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.sql("SELECT epoch FROM errortracking.installation").await, epoch, "nobody outbids anybody");
    assert!(!first.logged("cannot be used; trying again"), "it keeps its connection");
    second.kill();
    namespace.ready_project("blog").await;
}

#[tokio::test]
async fn the_platform_team_lists_projects_and_drops_what_is_retained() {
    let world = World::new().await;
    let _operator = world.start_and_lead().await;
    let web = world.namespace("web").await;
    for name in ["shop", "blog"] {
        web.ready_project(name).await;
    }
    let number = web.field("ErrorTrackingProject", "shop", "/status/projectID").await.to_string();
    let listed = command(&world, &["projects", "--output", "json"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names: Vec<_> = listed["projects"].as_array().unwrap().iter().map(|project| &project["name"]).collect();
    assert_eq!(names, ["blog", "shop"]);
    let shop = &listed["projects"][1];
    assert_eq!((shop["id"].to_string(), &shop["retentionDays"]), (number.clone(), &json!(90)));
    assert_eq!(shop["last24Hours"], json!({"events": 0, "dropped": []}));
    assert!(shop["bytes"].as_i64() > Some(0) && shop["database"]["problem"].is_null(), "{shop}");
    assert!(text(&command(&world, &["projects"])).starts_with("NAMESPACE"));

    let drop = |arguments: &[&str]| command(&world, &[&["retained", "--drop", number.as_str()], arguments].concat());
    let refused = drop(&["--yes"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("which exists"));
    world.store_something(&number).await;
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        web.delete(kind, "shop").await;
        web.gone(kind, "shop").await;
    }
    let asked = drop(&[]);
    assert!(String::from_utf8_lossy(&asked.stderr).contains("or with --yes"), "nobody is at a terminal");
    let dropped = text(&drop(&["--yes"]));
    assert!(dropped.starts_with(&format!("Dropped schema project_{number} of {}/shop", web.name)), "{dropped}");
    assert_eq!(world.sql(&format!("SELECT count(*) FROM pg_namespace WHERE nspname = 'project_{number}'")).await, "0");
    assert!(!drop(&["--yes"]).status.success());
    web.ready("ErrorTrackingProject", "blog").await;
}
