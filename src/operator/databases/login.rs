//! Secrets that hold a login: read, made with a new password, and published for the console.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tracing::info;

use super::{
    database::{Database, DatabaseAddress},
    error::ConnectError,
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
    let ours = found
        .as_ref()
        .is_some_and(|secret| secret.labels().get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGED_BY));
    let published = found.map(values_of);
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
    let mut data: BTreeMap<&str, Option<ByteString>> = published.keys().map(|key| (key.as_str(), None)).collect();
    data.extend(wanted.iter().map(|(key, value)| (key.as_str(), Some(ByteString(value.clone().into_bytes())))));
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"data": data}));
    api.patch_metadata(name, &parameters, &patch).await.map_err(KubeError::on("patch", "Secret", name))?;
    info!(secret = name, "The login Secret leads to the database that is used now.");
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
