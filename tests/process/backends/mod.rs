//! Projects that a Sentry or a GitLab keeps: doubles of both stand there, with the faults that such servers have.

mod faults;
mod gitlab;
mod many;
mod sentry;

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    support::key_servers::{KeptKey, KeyServer, SentryDouble},
    world::{Namespace, World, eventually},
};

const LIMIT: Duration = Duration::from_mins(1);
const KEY: &str = "ClientKey";
const PROJECT: &str = "ErrorTrackingProject";

/// Whether everything is tried, as `make test-backends` does, or as much as fits into a minute.
fn whole() -> bool {
    std::env::var_os("BACKENDS_WHOLE").is_some()
}

/// An installation that lets projects name these servers.
async fn world(servers: &[&str]) -> World {
    let hosts = servers.iter().map(|url| url.strip_prefix("https://").unwrap_or(url)).collect::<Vec<_>>();
    World::with_values(&[&format!("guards.allowedBackendHosts={{{}}}", hosts.join(","))]).await
}

fn add_project(sentry: &SentryDouble, slug: &str) {
    sentry.with(|api| _ = api.add_project("acme", slug));
}

/// The Secret of a token, whose changes are followed at once.
async fn token(namespace: &Namespace, name: &str, value: &str) {
    namespace
        .apply(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "labels": {"errortracking.dev/watch": "true"}},
            "stringData": {"token": value},
        }))
        .await;
}

async fn sentry_project(namespace: &Namespace, name: &str, url: &str) {
    sentry_project_of(namespace, name, url, name, "token").await;
}

/// A project of a double whose slug there may be another one.
async fn sentry_project_of(namespace: &Namespace, name: &str, url: &str, slug: &str, secret: &str) {
    let sentry = json!({"url": url, "organization": "acme", "project": slug, "tokenSecretRef": {"name": secret}});
    namespace.project(name, json!({"backend": {"sentry": sentry}})).await;
}

async fn gitlab_project(namespace: &Namespace, name: &str, url: &str) {
    gitlab_project_of(namespace, name, url, "token").await;
}

async fn gitlab_project_of(namespace: &Namespace, name: &str, url: &str, secret: &str) {
    let gitlab = json!({"url": url, "project": format!("acme/{name}"), "tokenSecretRef": {"name": secret}});
    namespace.project(name, json!({"backend": {"gitlab": gitlab}})).await;
}

/// A key with more in its spec.
async fn key(namespace: &Namespace, name: &str, project: &str, more: Value) {
    let mut spec = json!({"projectRef": {"name": project}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    namespace.key_with(name, spec).await;
}

async fn dsn(namespace: &Namespace, key: &str) -> Option<String> {
    namespace.secret(&format!("{key}-dsn"), "SENTRY_DSN").await
}

/// Waits until the keys of a project at its server are as wanted.
async fn keys_become(server: &impl KeyServer, project: &str, what: &str, wanted: impl Fn(&[KeptKey]) -> bool) {
    eventually(what, LIMIT, async || {
        let keys = server.keys_of(project).await;
        wanted(&keys).then_some(())
    })
    .await;
}

/// The keys of a project at its server that the operator made.
async fn ours(server: &impl KeyServer, project: &str) -> Vec<KeptKey> {
    let keys = server.keys_of(project).await.into_iter();
    keys.filter(|key| key.name.as_ref().is_none_or(|name| name.starts_with("et-"))).collect()
}

/// Asks for a rotation now: keys are made older first, since a request of the same second does nothing.
async fn rotate(world: &World, namespace: &Namespace, key: &str) {
    world
        .execute(&format!(
            "UPDATE errortracking.server_keys SET created_at = created_at - interval '10 s' WHERE name = '{key}'"
        ))
        .await;
    let now = world.now().await;
    let annotations = json!({"errortracking.dev/rotate": now});
    namespace.patch(KEY, key, json!({"metadata": {"annotations": annotations}})).await;
}
