//! Secrets that hold a login: read, made with a new password, and published for the console.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
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

/// Makes the Secret of the console's login if it is absent, and the login agree with it.
pub async fn publish_console_login(api: &Api<Secret>, name: &str, database: &Database) -> Result<(), ConnectError> {
    let published = read(api, name).await?;
    if let Some(password) = published.and_then(|mut values| values.remove("password")).map(SecretString::from) {
        let set = database.admin.console_password_digest().await.map_err(|source| database.failed(source))?;
        if set != Some(password_digest(&password)) {
            database.admin.ensure_console_role(&password).await.map_err(|source| database.failed(source))?;
        }
        return Ok(());
    }
    let password = random_password();
    let username = database.admin.ensure_console_role(&password).await.map_err(|source| database.failed(source))?;
    let DatabaseAddress { host, port, dbname } = &database.address;
    create(api, name, &login(host, *port, dbname, &username, &password)).await
}

pub fn login(host: &str, port: u16, dbname: &str, username: &str, password: &SecretString) -> BTreeMap<String, String> {
    [
        ("host", host),
        ("port", &port.to_string()),
        ("dbname", dbname),
        ("username", username),
        ("password", password.expose_secret()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

pub async fn read(api: &Api<Secret>, name: &str) -> Result<Option<BTreeMap<String, String>>, ConnectError> {
    let secret = api.get_opt(name).await.map_err(KubeError::on("get", "Secret", name))?;
    Ok(secret.map(|secret| {
        let values = secret.data.unwrap_or_default().into_iter();
        values.map(|(key, ByteString(value))| (key, String::from_utf8_lossy(&value).into_owned())).collect()
    }))
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
