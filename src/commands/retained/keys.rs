//! Keys that are accepted though no `ClientKey` is there for them: it was deleted with `deletionPolicy: Orphan`, or lost.

use std::{
    collections::BTreeSet,
    io::{Write as _, stderr},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use serde::Serialize;
use tokio::time::timeout;

use super::{CommandError, align, uids};
use crate::{
    crd::{ClientKey, whole_seconds},
    kubernetes::Namespaces,
    operator::databases::{AllowedHosts, reach},
    store::{
        Admin,
        admin::{CatalogProject, KeyIdentity, KeyRow, Phase},
    },
};

/// Longest wait for a database that belongs to others.
const LIMIT: Duration = Duration::from_secs(10);

/// A key without an object.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrphanedKey {
    id: i64,
    public_key_prefix: String,
    project_id: u64,
    /// Of the `ClientKey`; one of the same namespace and name takes the key over.
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
    /// The server of the project's own database.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

/// The keys that no object has: of the operator's database, and of those that projects of the catalog are kept in. One of
/// these that does not answer is named on standard error.
pub(super) async fn orphaned(
    admin: &Admin,
    client: &Client,
    namespaces: &Namespaces,
    hosts: &AllowedHosts,
    projects: &[CatalogProject],
) -> Result<Vec<OrphanedKey>, CommandError> {
    // The keys first: an object is there before its key.
    let mut keys = vec![(None, admin.living_keys().await?)];
    let elsewhere: BTreeSet<_> = projects
        .iter()
        .filter(|project| project.phase == Phase::Active)
        .filter_map(|project| Some((&project.namespace, &project.location.as_ref()?.secret)))
        .collect();
    for (namespace, secret) in elsewhere {
        let asked = async {
            let (server, admin) =
                reach::visit(client, hosts, namespace, secret).await.map_err(|error| error.to_string())?;
            let keys = admin.living_keys().await.map_err(|error| error.message().into_owned());
            admin.close().await;
            Ok::<_, String>((Some(server), keys?))
        };
        match timeout(LIMIT, asked).await.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs()))) {
            Ok(found) => keys.push(found),
            Err(message) => {
                writeln!(
                    stderr(),
                    "The keys in the database of Secret {namespace}/{secret} are not listed: {message}"
                )?;
            }
        }
    }
    let objects = uids::<ClientKey>(client, namespaces).await?;
    let describe = |(server, keys): (Option<String>, Vec<_>)| {
        let orphans = without_object(keys, &objects);
        orphans.map(|(identity, row)| describe(identity, &row, server.clone())).collect::<Vec<_>>()
    };
    Ok(keys.into_iter().flat_map(describe).collect())
}

/// Revokes such a key; returns the sentence that says so.
pub(super) async fn revoke(
    admin: &Admin,
    client: &Client,
    namespaces: &Namespaces,
    key_id: i64,
) -> Result<String, CommandError> {
    let keys = admin.living_keys().await?;
    let objects = uids::<ClientKey>(client, namespaces).await?;
    let Some((identity, row)) = keys.into_iter().find(|(_, row)| row.key_id == key_id) else {
        return Err(CommandError::Refused(format!("There is no key {key_id} in this database that is accepted.")));
    };
    let object = format!("ClientKey {}/{}", identity.namespace, identity.name);
    if objects.contains(&identity.client_key_uid) {
        return Err(CommandError::Refused(format!(
            "Key {key_id} is that of {object}, which exists: delete that object, and the key is revoked with it."
        )));
    }
    if !admin.end_key(&identity.client_key_uid, key_id, true).await? {
        return Err(CommandError::Refused(format!(
            "Key {key_id} was revoked, or {object} has taken it over, meanwhile."
        )));
    }
    Ok(format!(
        "Key {key_id} ({}…) of {object} is revoked: events with it are refused from now on. A Secret that still names it \
         is of no use any more.",
        row.public_key.prefix()
    ))
}

fn without_object(
    keys: Vec<(KeyIdentity, KeyRow)>,
    objects: &BTreeSet<String>,
) -> impl Iterator<Item = (KeyIdentity, KeyRow)> {
    keys.into_iter().filter(|(identity, _)| !objects.contains(&identity.client_key_uid))
}

fn describe(identity: KeyIdentity, row: &KeyRow, server: Option<String>) -> OrphanedKey {
    OrphanedKey {
        id: row.key_id,
        public_key_prefix: row.public_key.prefix().to_owned(),
        project_id: row.project_id.get(),
        namespace: identity.namespace,
        name: identity.name,
        since: Some(whole_seconds(row.created_at)),
        last_used_at: row.last_used_at.map(whole_seconds),
        server,
    }
}

/// Nothing when there is no such key.
pub(super) fn table(keys: &[OrphanedKey]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let mut rows =
        vec![["KEY", "WITHOUT OBJECT", "PROJECT", "PUBLIC KEY", "MADE", "LAST USED", "SERVER"].map(str::to_owned)];
    rows.extend(keys.iter().map(|key| {
        [
            key.id.to_string(),
            format!("ClientKey {}/{}", key.namespace, key.name),
            key.project_id.to_string(),
            format!("{}…", key.public_key_prefix),
            time(key.since),
            time(key.last_used_at),
            key.server.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    format!("\n{}", align(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_whose_object_is_gone_are_listed() {
        let key = |key_id, uid: &str| {
            let identity = KeyIdentity {
                namespace: "web".into(),
                name: "shop".into(),
                namespace_uid: "n1".into(),
                client_key_uid: uid.into(),
            };
            let row = KeyRow { created_at: Timestamp::from_millisecond(1_500).unwrap(), ..KeyRow::sample(key_id, 42) };
            (identity, row)
        };
        let objects = BTreeSet::from(["there".to_owned()]);
        let keys: Vec<_> = without_object(vec![key(7, "there"), key(8, "gone")], &objects)
            .map(|(identity, row)| describe(identity, &row, None))
            .collect();
        assert_eq!(
            table(&keys),
            "\nKEY   WITHOUT OBJECT       PROJECT   PUBLIC KEY   MADE                   LAST USED   SERVER\n\
             8     ClientKey web/shop   42        abababab…    1970-01-01T00:00:01Z   -           -\n"
        );
        assert_eq!(table(&[]), "");
    }
}
