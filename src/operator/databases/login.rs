//! Secrets that hold a login: read, made with a new password, and published for the console.
//!
//! The console has one Secret: the keys of [`DatabaseAddress::login`] lead to the operator's own database, and for each
//! database of projects `<namespace>.<Secret>.uri`, with the CA that it names in `<namespace>.<Secret>.ca.crt`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{
    database::{Database, DatabaseAddress},
    error::ConnectError,
    projects::SecretName,
};
use crate::{
    dsn::hex,
    kubernetes::{
        KubeError,
        names::{FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL},
    },
    store::admin::password_digest,
};

/// Values of a login Secret by key. They are not shown.
#[derive(PartialEq, Eq)]
pub struct LoginValues(pub BTreeMap<String, String>);

impl std::fmt::Debug for LoginValues {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LoginValues(…)")
    }
}

/// Makes the Secret of the console's login if it is absent, and Postgres and the Secret agree: the login has the password
/// of the Secret, and the Secret leads to the database that the operator uses now.
pub async fn publish_console_login(api: &Api<Secret>, name: &str, database: &Database) -> Result<(), ConnectError> {
    let ensure = async |password: &SecretString| {
        database.admin.ensure_console_role(password).await.map_err(|source| database.failed(source))
    };
    let found = api.get_opt(name).await.map_err(KubeError::on("get", "Secret", name))?;
    let ours = found.as_ref().is_some_and(is_ours);
    let published = found.map(|secret| {
        let mut values = values_of(secret);
        values.retain(|key, _| !is_of_projects(key));
        values
    });
    let password = published.as_ref().and_then(|values| values.get("password")).cloned().map(SecretString::from);
    let Some(password) = password else {
        let password = random_password();
        let username = ensure(&password).await?;
        return create(api, name, &database.address.login(&username, &password)).await;
    };
    let set = database.admin.console_password_digest().await.map_err(|source| database.failed(source))?;
    if set != Some(password_digest(&password)) {
        ensure(&password).await?;
    }
    let wanted = database.address.login(&database.admin.installation().console_role(), &password);
    match published {
        // One that somebody else wrote may lead through a pooler.
        Some(published) if ours && published != wanted => rewrite(api, name, &published, &wanted).await,
        _ => Ok(()),
    }
}

/// Brings the console's login of a project's database into the console's Secret, and Postgres to agree with it. Where the
/// operator may make no logins, the console has that of the project's Secret, as ingest does. Nothing happens where the
/// console's Secret is not the operator's.
pub async fn publish_project_login(
    api: &Api<Secret>,
    name: &str,
    of: &SecretName,
    database: &Database,
) -> Result<(), ConnectError> {
    let found = api.get_opt(name).await.map_err(KubeError::on("get", "Secret", name))?;
    let Some(published) = found.filter(is_ours).map(values_of) else { return Ok(()) };
    let [uri_key, ca_key] = keys_of(of);
    let published_uri = published.get(&uri_key).map(String::as_str);
    let login = if database.shares_login {
        database.connection.clone()
    } else {
        let set = database.admin.console_password_digest().await.map_err(|source| database.failed(source))?;
        let agrees = |password: &SecretString| set == Some(password_digest(password));
        let password = if let Some(known) = passwords_in(&published).find(agrees) {
            known
        } else {
            let password = random_password();
            database.admin.ensure_console_role(&password).await.map_err(|source| database.failed(source))?;
            password
        };
        database.connection.with_login(&database.admin.installation().console_role(), password)
    };
    let (uri, ca) = login.to_uri(&ca_key);
    if published_uri == Some(&*uri) && published.get(&ca_key).map(String::as_str) == ca {
        return Ok(());
    }
    // One Secret is for all: nobody may fill it.
    let is_of_namespace = |key: &&String| key.starts_with(&format!("{}.", of.0)) && is_of_projects(key);
    let others = published.iter().filter(|(key, _)| is_of_namespace(key) && **key != uri_key && **key != ca_key);
    let size = others.map(|(_, value)| value.len()).sum::<usize>() + uri.len() + ca.map_or(0, str::len);
    if size > MAX_OF_NAMESPACE {
        warn!(namespace = of.0, bytes = size, "The console's logins of a namespace are too long, with their CAs.");
        return Ok(());
    }
    let data = BTreeMap::from([(uri_key, Some(uri)), (ca_key, ca.map(str::to_owned))]);
    patch(api, name, &data).await?;
    info!(secret = name, "Published the console's login of a database of projects.");
    Ok(())
}

/// Takes the logins of databases out of the console's Secret that no project names any more.
pub async fn retain_project_logins(
    api: &Api<Secret>,
    name: &str,
    named: &BTreeSet<SecretName>,
) -> Result<(), ConnectError> {
    let found = api.get_opt(name).await.map_err(KubeError::on("get", "Secret", name))?;
    let Some(secret) = found.filter(is_ours) else { return Ok(()) };
    let wanted: BTreeSet<String> = named.iter().flat_map(keys_of).collect();
    let stale = secret.data.unwrap_or_default().into_keys();
    let stale: BTreeMap<_, _> =
        stale.filter(|key| is_of_projects(key) && !wanted.contains(key)).map(|key| (key, None)).collect();
    if stale.is_empty() {
        return Ok(());
    }
    patch(api, name, &stale).await?;
    info!(secret = name, keys = stale.len(), "Took out logins of databases that no project names any more.");
    Ok(())
}

/// Of keys about a database of projects: the URI, and the CA.
const ENDINGS: [&str; 2] = [".uri", ".ca.crt"];
/// Most characters of a key of a Secret.
const MAX_KEY: usize = 253;
/// Most bytes of what one namespace has in the console's Secret, of which the API server takes 1 MiB in all.
const MAX_OF_NAMESPACE: usize = 64 << 10;

/// Keys of the console's Secret for the database of a project's Secret: of the URI, and of the CA. A namespace has no
/// dots, and its name is all that the console reads in a key.
fn keys_of((namespace, secret): &SecretName) -> [String; 2] {
    ENDINGS.map(|ending| {
        let key = format!("{namespace}.{secret}{ending}");
        if key.len() <= MAX_KEY { key } else { format!("{namespace}.{}{ending}", hex(&Sha256::digest(secret))) }
    })
}

/// Whether a key of the console's Secret is about a database of projects.
fn is_of_projects(key: &str) -> bool {
    ENDINGS.iter().any(|ending| key.ends_with(ending))
}

/// Those in the console's Secret. Several Secrets may lead to one database, where the console has one login.
fn passwords_in(published: &BTreeMap<String, String>) -> impl Iterator<Item = SecretString> {
    let of_uris = published.iter().filter(|(key, _)| key.ends_with(ENDINGS[0])).filter_map(|(_, uri)| password_in(uri));
    let own = published.get("password").map(String::as_str);
    of_uris.chain(own).map(|password| SecretString::from(password.to_owned()))
}

/// The password in a URI of [`publish_project_login`]: none of its characters is encoded.
fn password_in(uri: &str) -> Option<&str> {
    let (login, _) = uri.split_once("://")?.1.split_once('@')?;
    Some(login.split_once(':')?.1)
}

fn is_ours(secret: &Secret) -> bool {
    secret.labels().get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGED_BY)
}

impl DatabaseAddress {
    /// The keys of a Secret that leads there.
    #[must_use]
    pub fn login(&self, username: &str, password: &SecretString) -> BTreeMap<String, String> {
        [
            ("host", self.host.as_str()),
            ("port", &self.port.to_string()),
            ("dbname", &self.dbname),
            ("username", username),
            ("password", password.expose_secret()),
        ]
        .into_iter()
        .chain(self.tls.keys())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }
}

/// Keys that are not wanted any more go.
async fn rewrite(
    api: &Api<Secret>,
    name: &str,
    published: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Result<(), ConnectError> {
    let mut data: BTreeMap<String, Option<String>> = published.keys().map(|key| (key.clone(), None)).collect();
    data.extend(wanted.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
    patch(api, name, &data).await?;
    info!(secret = name, "The login Secret leads to the database that is used now.");
    Ok(())
}

/// Sets these values, and removes keys that have none.
async fn patch(api: &Api<Secret>, name: &str, values: &BTreeMap<String, Option<String>>) -> Result<(), ConnectError> {
    let bytes = |value: &String| ByteString(value.clone().into_bytes());
    let data: BTreeMap<_, _> = values.iter().map(|(key, value)| (key, value.as_ref().map(bytes))).collect();
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"data": data}));
    api.patch_metadata(name, &parameters, &patch).await.map_err(KubeError::on("patch", "Secret", name))?;
    Ok(())
}

pub async fn read(api: &Api<Secret>, name: &str) -> Result<Option<BTreeMap<String, String>>, ConnectError> {
    let secret = api.get_opt(name).await.map_err(KubeError::on("get", "Secret", name))?;
    Ok(secret.map(values_of))
}

pub fn values_of(secret: Secret) -> BTreeMap<String, String> {
    let values = secret.data.unwrap_or_default().into_iter();
    values.map(|(key, ByteString(value))| (key, String::from_utf8_lossy(&value).into_owned())).collect()
}

pub async fn create(api: &Api<Secret>, name: &str, values: &BTreeMap<String, String>) -> Result<(), ConnectError> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.into(), MANAGED_BY.into())])),
            ..ObjectMeta::default()
        },
        string_data: Some(values.clone()),
        ..Secret::default()
    };
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
    api.create(&parameters, &secret).await.map_err(KubeError::on("create", "Secret", name))?;
    info!(secret = name, "Created a login Secret.");
    Ok(())
}

/// 192 random bits in hex: no character of it needs quoting anywhere.
#[must_use]
pub fn random_password() -> SecretString {
    hex(&rand::rng().random::<[u8; 24]>()).into()
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use kube::{Client, client::Body};
    use parking_lot::Mutex;
    use serde_json::Value;
    use tower::service_fn;

    use super::*;

    /// An API server that has one Secret with these keys; and the bodies of what is patched.
    fn api(labels: &Value, keys: &[&str]) -> (Api<Secret>, Arc<Mutex<Vec<Value>>>) {
        let data: BTreeMap<_, _> = keys.iter().map(|key| (*key, "eA==")).collect();
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "console", "labels": labels}, "data": data})
        .to_string();
        let patched = Arc::new(Mutex::new(Vec::new()));
        let bodies = patched.clone();
        let answer = move |request: http::Request<Body>| {
            let (secret, bodies) = (secret.clone(), bodies.clone());
            async move {
                if request.method() == http::Method::PATCH {
                    let body = request.into_body().collect_bytes().await.unwrap();
                    bodies.lock().push(serde_json::from_slice(&body).unwrap());
                }
                Ok::<_, Infallible>(http::Response::new(Body::from(secret.into_bytes())))
            }
        };
        (Api::namespaced(Client::new(service_fn(answer), "default"), "error-tracking"), patched)
    }

    #[tokio::test]
    async fn logins_of_databases_that_nobody_names_go_and_nothing_else() {
        let keys = ["host", "ca.crt", "web.pg.uri", "web.pg.ca.crt", "web.old.uri", "shop.pg.uri", "web.note"];
        let named = BTreeSet::from([("web".to_owned(), "pg".to_owned())]);
        let (secrets, patched) = api(&json!({MANAGED_BY_LABEL: MANAGED_BY}), &keys);
        retain_project_logins(&secrets, "console", &named).await.unwrap();
        assert_eq!(*patched.lock(), [json!({"data": {"web.old.uri": null, "shop.pg.uri": null}})]);
        patched.lock().clear();
        let all = BTreeSet::from(
            [("web", "pg"), ("web", "old"), ("shop", "pg")]
                .map(|(namespace, secret)| (namespace.to_owned(), secret.to_owned())),
        );
        retain_project_logins(&secrets, "console", &all).await.unwrap();
        let (of_others, patched_there) = api(&json!({}), &keys);
        retain_project_logins(&of_others, "console", &named).await.unwrap();
        assert!(patched.lock().is_empty() && patched_there.lock().is_empty());
    }

    #[test]
    fn keys_of_databases_of_projects_begin_with_their_namespace() {
        let secret = ("web".to_owned(), "pg.app".to_owned());
        assert_eq!(keys_of(&secret), ["web.pg.app.uri", "web.pg.app.ca.crt"]);
        let long = keys_of(&("web".to_owned(), "p".repeat(253)));
        for key in &long {
            assert!(key.starts_with("web.") && key.len() < MAX_KEY && is_of_projects(key), "{key}");
        }
        assert_ne!(long, keys_of(&("web".to_owned(), "q".repeat(253))));
        for key in ["host", "port", "dbname", "username", "password", "sslmode", "ca.crt", "uri"] {
            assert!(!is_of_projects(key), "{key}");
        }
    }

    #[test]
    fn a_password_is_found_again_in_its_uri() {
        let password = random_password();
        let map = BTreeMap::from(
            [("host", "::1"), ("dbname", "a@b:c"), ("username", "role")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let connection = crate::store::Connection::from_map(&map).unwrap().with_login("role", password.clone());
        let (uri, ca) = connection.to_uri("web.pg.ca.crt");
        assert_eq!((password_in(&uri), ca), (Some(password.expose_secret()), None));
        assert_eq!(password_in("nothing of ours"), None);
    }
}
