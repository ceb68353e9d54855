//! What users do while the operator may die. A run named "r7" has the project `r7` and the keys `r7` and `r7-b`.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use error_tracking_operator::crd::ServerKind;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use super::{
    runners,
    servers::{Servers, age_keys},
};
use crate::world::{Mode, Namespace, World, eventually};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Create,
    ChangeProject,
    ChangeKeys,
    DisableKey,
    Bind,
    Unbind,
    Expose,
    Hide,
    EditSecrets,
    DeleteSecret,
    DeleteLogin,
    DeleteChildren,
    RevokeKey,
    OrphanKey,
    RetainProject,
    DropProject,
    ApplyAgainAfterRetain,
    ApplyAgainAfterDrop,
    DropWithoutPostgres,
    RetainWithoutPostgres,
    Rotate,
    Leak,
    PutBack,
    TakeBack,
    SentryCreate,
    SentryRotate,
    SentryDisable,
    SentryRevoke,
    SentryDrop,
    GitlabCreate,
    GitlabRotate,
    GitlabRevoke,
    GitlabDrop,
    BindRunner,
    RotateRunner,
    ReleaseRunner,
}

use Scenario::{
    ApplyAgainAfterDrop, ApplyAgainAfterRetain, Bind, BindRunner, ChangeKeys, ChangeProject, Create, DeleteChildren,
    DeleteLogin, DeleteSecret, DisableKey, DropProject, DropWithoutPostgres, EditSecrets, Expose, GitlabCreate,
    GitlabDrop, GitlabRevoke, GitlabRotate, Hide, Leak, OrphanKey, PutBack, ReleaseRunner, RetainProject,
    RetainWithoutPostgres, RevokeKey, Rotate, RotateRunner, SentryCreate, SentryDisable, SentryDrop, SentryRevoke,
    SentryRotate, TakeBack, Unbind,
};

impl Scenario {
    pub const ALL: [Self; 36] = [
        Create,
        ChangeProject,
        ChangeKeys,
        DisableKey,
        Bind,
        Unbind,
        Expose,
        Hide,
        EditSecrets,
        DeleteSecret,
        DeleteLogin,
        DeleteChildren,
        RevokeKey,
        OrphanKey,
        RetainProject,
        DropProject,
        ApplyAgainAfterRetain,
        ApplyAgainAfterDrop,
        DropWithoutPostgres,
        RetainWithoutPostgres,
        Rotate,
        Leak,
        PutBack,
        TakeBack,
        SentryCreate,
        SentryRotate,
        SentryDisable,
        SentryRevoke,
        SentryDrop,
        GitlabCreate,
        GitlabRotate,
        GitlabRevoke,
        GitlabDrop,
        BindRunner,
        RotateRunner,
        ReleaseRunner,
    ];

    /// Whether Postgres is away while the operator acts.
    pub fn without_postgres(self) -> bool {
        matches!(self, DropWithoutPostgres | RetainWithoutPostgres)
    }

    /// The server that keeps the project's keys, if it is another one.
    pub fn server(self) -> Option<ServerKind> {
        match self {
            SentryCreate | SentryRotate | SentryDisable | SentryRevoke | SentryDrop => Some(ServerKind::Sentry),
            GitlabCreate | GitlabRotate | GitlabRevoke | GitlabDrop => Some(ServerKind::Gitlab),
            _ => None,
        }
    }

    /// What is there, and settled, before.
    pub async fn prepare(self, world: &World, servers: &Servers, namespace: &Namespace, name: &str) {
        if let Some(server) = self.server() {
            servers.add_project(server, name);
            if !matches!(self, SentryCreate | GitlabCreate) {
                servers.project(server, namespace, name).await;
                namespace.key(name, name).await;
                key_b(namespace, name, json!({})).await;
            }
            return;
        }
        if self == Create {
            return;
        }
        let policy = match self {
            RetainProject | ApplyAgainAfterRetain | RetainWithoutPostgres => "Retain",
            _ => "Delete",
        };
        project(namespace, name, policy, 90).await;
        namespace.key(name, name).await;
        let policy = if self == OrphanKey { "Orphan" } else { "Revoke" };
        let bound = matches!(self, RevokeKey | OrphanKey | Unbind);
        key_b(namespace, name, json!({"deletionPolicy": policy, "serviceBinding": bound})).await;
        if self == Hide {
            expose(namespace, name).await;
        }
        if matches!(self, BindRunner | RotateRunner | ReleaseRunner) {
            runners::fleet(namespace, name).await;
            if self != BindRunner {
                runners::bind(namespace, name).await;
            }
        }
        if matches!(self, PutBack | TakeBack) {
            // Of the first, the key before goes on; of the other one it has ended.
            let maximum = if self == PutBack { "720h" } else { "1s" };
            let wanted = if self == PutBack { "overlap" } else { "retired" };
            namespace.ready("ClientKey", name).await;
            rotate(world, namespace, name, maximum).await;
            eventually(&format!("the first key of {name} is {wanted}"), Duration::from_secs(30), async || {
                (world.sql(&of_key(name, 1, "state")).await == wanted).then_some(())
            })
            .await;
        }
    }

    /// What happens. No operator runs; a task that is returned goes on while one does.
    pub async fn act(
        self,
        world: &World,
        servers: &Servers,
        namespace: &Namespace,
        name: &str,
    ) -> Option<JoinHandle<()>> {
        let b = format!("{name}-b");
        if matches!(self, RetainProject | ApplyAgainAfterRetain | RetainWithoutPostgres) {
            let number = namespace.field("ErrorTrackingProject", name, "/status/projectID").await;
            world.store_something(&number.to_string()).await;
        }
        match self {
            Create => {
                project(namespace, name, "Delete", 90).await;
                namespace.key(name, name).await;
                key_b(namespace, name, json!({})).await;
            }
            ChangeProject => {
                project(namespace, name, "Retain", 7).await;
                let resources = json!({"limits": {"memory": "96Mi"}});
                let spec = json!({"backend": {"integrated": {"ingest": {"podTemplate": {"resources": resources}}}}});
                namespace.patch("ErrorTrackingProject", name, json!({"spec": spec})).await;
            }
            ChangeKeys => {
                let limit = json!({"events": 10, "window": "1m"});
                key_b(namespace, name, json!({"secretTemplate": {"labels": {"team": "web"}}, "rateLimit": limit}))
                    .await;
                namespace.patch("ClientKey", name, template("annotations")).await;
            }
            DisableKey | SentryDisable => {
                namespace.patch("ClientKey", &b, json!({"spec": {"enabled": false}})).await;
            }
            Bind => {
                let extra = json!({"deprecatedDSN": true});
                // As after a restore: the key was put back from its Secret.
                world.execute(&format!("UPDATE errortracking.client_keys SET secret = NULL WHERE name = '{b}'")).await;
                key_b(namespace, name, json!({"serviceBinding": true, "extraKeys": extra})).await;
            }
            Unbind => key_b(namespace, name, json!({})).await,
            Expose => expose(namespace, name).await,
            Hide => {
                key_b(namespace, name, json!({"endpoint": "Internal"})).await;
                project(namespace, name, "Delete", 90).await;
            }
            EditSecrets => {
                let wrong = BASE64_STANDARD.encode("wrong");
                for (secret, key) in [(format!("{name}-dsn"), "SENTRY_DSN"), (format!("{name}-database"), "password")] {
                    namespace.patch("Secret", &secret, json!({"data": {key: wrong}})).await;
                }
            }
            DeleteSecret => namespace.delete("Secret", &format!("{name}-dsn")).await,
            DeleteLogin => namespace.delete("Secret", &format!("{name}-database")).await,
            DeleteChildren => {
                for kind in ["Service", "Deployment", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"] {
                    namespace.delete(kind, &format!("{name}-ingest")).await;
                }
            }
            RevokeKey | OrphanKey | SentryRevoke | GitlabRevoke => namespace.delete("ClientKey", &b).await,
            RetainProject | DropProject | SentryDrop | GitlabDrop => delete_all(namespace, name).await,
            ApplyAgainAfterRetain | ApplyAgainAfterDrop => {
                // With the operator away, an object of the same name can come only after the old one is gone: its
                // deletion has been asked for, and the new one is applied as soon as that is done.
                delete_all(namespace, name).await;
                let (again, name) = (namespace.clone(), name.to_owned());
                return Some(tokio::spawn(async move { apply_when_gone(&again, &name, self).await }));
            }
            BindRunner => runners::bind(namespace, name).await,
            ReleaseRunner => namespace.delete("RunnerBinding", name).await,
            Rotate | RotateRunner | SentryRotate | GitlabRotate => rotate(world, namespace, name, "1s").await,
            SentryCreate | GitlabCreate => {
                servers.project(self.server().unwrap(), namespace, name).await;
                namespace.key(name, name).await;
                key_b(namespace, name, json!({})).await;
            }
            Leak | TakeBack => {
                let annotation = if self == Leak { "errortracking.dev/revoke" } else { "errortracking.dev/restore" };
                let id = world.sql(&of_key(name, 1, "key_id::text")).await;
                namespace.patch("ClientKey", name, json!({"metadata": {"annotations": {annotation: id}}})).await;
            }
            PutBack => {
                let secret = format!("{name}-dsn");
                let dsn = namespace.secret(&secret, "SENTRY_DSN").await.unwrap();
                let newest = world.sql(&of_key(name, 2, "public_key")).await;
                let old = dsn.replace(&newest, &world.sql(&of_key(name, 1, "public_key")).await);
                assert_ne!(old, dsn);
                namespace.patch("Secret", &secret, json!({"data": {"SENTRY_DSN": BASE64_STANDARD.encode(old)}})).await;
            }
            DropWithoutPostgres | RetainWithoutPostgres => {
                world.postgres.set(Mode::Refuse);
                delete_all(namespace, name).await;
            }
        }
        None
    }

    pub async fn objects_are_gone(self, namespace: &Namespace, name: &str) {
        for (kind, object) in [
            ("RunnerBinding", name.to_owned()),
            ("ErrorTrackingProject", name.to_owned()),
            ("ClientKey", name.to_owned()),
            ("ClientKey", format!("{name}-b")),
        ] {
            namespace.gone(kind, &object).await;
        }
    }
}

/// Something of the key of this ordinal.
fn of_key(name: &str, ordinal: u32, what: &str) -> String {
    format!("SELECT {what} FROM errortracking.client_keys WHERE name = '{name}' AND ordinal = {ordinal}")
}

/// Asks for the next key, as a commit does a while after the first was made.
async fn rotate(world: &World, namespace: &Namespace, name: &str, maximum: &str) {
    world.age_keys(name).await;
    age_keys(world, name).await;
    let now = world.now().await;
    let overlap = json!({"minimum": "0s", "silence": "0s", "maximum": maximum});
    let rotation = json!({"requestedAt": now, "overlap": overlap});
    namespace.patch("ClientKey", name, json!({"spec": {"rotation": rotation}})).await;
}

async fn project(namespace: &Namespace, name: &str, policy: &str, retention: u32) {
    let integrated = json!({"retentionDays": retention, "ingest": {"replicas": 0}});
    namespace.project(name, json!({"deletionPolicy": policy, "backend": {"integrated": integrated}})).await;
}

async fn key_b(namespace: &Namespace, name: &str, more: Value) {
    let mut spec = json!({"projectRef": {"name": name}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    namespace.key_with(&format!("{name}-b"), spec).await;
}

/// An Ingress, and a key whose DSN names it. The URL says how it is reached, as no controller gives it an address.
async fn expose(namespace: &Namespace, name: &str) {
    let host = format!("{name}.example");
    let url = format!("http://{host}");
    let ingest = json!({"replicas": 0, "externalURL": url, "ingress": {"className": "none", "host": host}});
    let spec = json!({"deletionPolicy": "Delete", "backend": {"integrated": {"ingest": ingest}}});
    namespace.project(name, spec).await;
    key_b(namespace, name, json!({"endpoint": "External"})).await;
}

fn template(field: &str) -> Value {
    json!({"spec": {"secretTemplate": {field: {"note": "changed"}}}})
}

async fn delete_all(namespace: &Namespace, name: &str) {
    namespace.delete("ErrorTrackingProject", name).await;
    for key in [name.to_owned(), format!("{name}-b")] {
        namespace.delete("ClientKey", &key).await;
    }
}

/// As a GitOps tool would: the same manifests again, as soon as the old objects are gone.
async fn apply_when_gone(namespace: &Namespace, name: &str, scenario: Scenario) {
    let objects =
        [("ErrorTrackingProject", name.to_owned()), ("ClientKey", name.to_owned()), ("ClientKey", format!("{name}-b"))];
    for (kind, object) in objects {
        while namespace.get(kind, &object).await.is_some() {
            sleep(Duration::from_millis(20)).await;
        }
    }
    project(namespace, name, if scenario == ApplyAgainAfterRetain { "Retain" } else { "Delete" }, 90).await;
    namespace.key(name, name).await;
}

/// Removes what a run has left; the operator that runs does its part.
pub async fn remove(namespace: &Namespace, name: &str) {
    let drop = json!({"spec": {"deletionPolicy": "Delete"}});
    let api = namespace.api("ErrorTrackingProject");
    let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(drop)).await;
    namespace.delete("RunnerBinding", name).await;
    runners::remove_fleet(namespace, name).await;
    delete_all(namespace, name).await;
    // An orphan has nobody who would.
    for secret in ["dsn", "binding"] {
        namespace.delete("Secret", &format!("{name}-b-{secret}")).await;
    }
}

/// Takes finalizers off and deletes everything.
pub async fn remove_everything(namespace: &Namespace) {
    for kind in ["RunnerBinding", "ClientKey", "ErrorTrackingProject"] {
        for object in namespace.list(kind).await {
            let name = object.metadata.name.unwrap();
            let free = json!({"metadata": {"finalizers": null}});
            let _ = namespace.api(kind).patch(&name, &PatchParams::default(), &Patch::Merge(&free)).await;
        }
        namespace.api(kind).delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    }
    let ours = ListParams::default().labels("app.kubernetes.io/managed-by=error-tracking-operator");
    for kind in ["Secret", "Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget", "Ingress"]
    {
        let api = namespace.api(kind);
        // A Service cannot be deleted in a collection by every version.
        for object in api.list(&ours).await.unwrap() {
            namespace.delete(kind, &object.metadata.name.unwrap()).await;
        }
        eventually(&format!("every {kind} is gone"), Duration::from_secs(30), async || {
            api.list(&ours).await.unwrap().items.is_empty().then_some(())
        })
        .await;
    }
}
