//! What was sent in the last hour with keys that are not accepted any more.

use std::{net::IpAddr, time::Duration};

use sqlx::{FromRow, Row, postgres::PgRow};

use super::{Admin, KeyIdentity, instances::age};
use crate::store::StoreError;

/// Most keys of one object that are read, those used last first.
const MOST_KEYS: i64 = 20;
/// Most objects that are read at once.
const MOST_OBJECTS: i64 = 1_000;
/// Most addresses of one key that are read, the newest. `errortracking.record_refused` keeps as many.
const MOST_ADDRESSES: i64 = 16;

/// The use of a key that was refused. Addresses and names are personal data: they belong into no log, and addresses into
/// no status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedUse {
    pub key_id: i64,
    pub public_key_prefix: String,
    /// Since the last request, by the database's clock.
    pub last_age: Duration,
    /// Requests, since there was an hour without any.
    pub events: u64,
    /// Name and version of the SDK, as the sender has them: printable ASCII, at most 64 characters.
    pub sentry_client: Option<String>,
    /// The host that an event of the last hour named: a hint, of the same form.
    pub server_name: Option<String>,
    /// The newest first.
    pub addresses: Vec<RefusedAddress>,
}

/// The other end of a connection, which may be a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedAddress {
    pub address: IpAddr,
    /// Since the last request from there: an address is given to one pod after the other.
    pub last_age: Duration,
}

impl Admin {
    /// What was sent in the last hour with keys of the object that were refused then.
    pub async fn refused_uses(&self, client_key_uid: &str) -> Result<Vec<RefusedUse>, StoreError> {
        let uses = sqlx::query_as(
            "SELECT r.key_id, left(k.public_key, 8) AS prefix, r.events,
                extract(epoch FROM clock_timestamp() - r.last_at)::double precision AS age,
                left(r.sentry_client, 64) AS sentry_client, left(r.server_name, 64) AS server_name,
                a.addresses, a.ages
             FROM errortracking.client_keys AS k
             JOIN errortracking.refused_keys AS r USING (key_id)
             CROSS JOIN LATERAL (
                SELECT coalesce(array_agg(host(n.address) ORDER BY n.last_at DESC, n.address), '{}') AS addresses,
                    coalesce(array_agg(
                        extract(epoch FROM clock_timestamp() - n.last_at)::double precision
                        ORDER BY n.last_at DESC, n.address
                    ), '{}') AS ages
                FROM (
                    SELECT f.address, f.last_at FROM errortracking.refused_addresses AS f
                    WHERE f.key_id = r.key_id AND f.last_at > clock_timestamp() - interval '1 hour'
                    ORDER BY f.last_at DESC, f.address LIMIT $3
                ) AS n
             ) AS a
             WHERE k.client_key_uid = $1 AND r.last_at > clock_timestamp() - interval '1 hour'
             ORDER BY r.last_at DESC, r.key_id LIMIT $2",
        )
        .bind(client_key_uid)
        .bind(MOST_KEYS)
        .bind(MOST_ADDRESSES)
        .fetch_all(&mut *self.read().await?)
        .await?;
        Ok(uses)
    }
}

impl Admin {
    /// The objects of which a key was refused within the last minute, those used last first.
    pub async fn objects_of_refused_keys(&self) -> Result<Vec<KeyIdentity>, StoreError> {
        let objects = sqlx::query_as(
            "SELECT left(k.namespace, 63) AS namespace, left(k.name, 63) AS name,
                left(k.namespace_uid, 64) AS namespace_uid, left(k.client_key_uid, 64) AS client_key_uid
             FROM errortracking.refused_keys AS r JOIN errortracking.client_keys AS k USING (key_id)
             WHERE r.last_at > clock_timestamp() - interval '1 minute'
             ORDER BY r.last_at DESC LIMIT $1",
        )
        .bind(MOST_OBJECTS)
        .fetch_all(&mut *self.read().await?)
        .await?;
        Ok(objects)
    }
}

impl FromRow<'_, PgRow> for RefusedUse {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let addresses: Vec<String> = row.try_get("addresses")?;
        let ages: Vec<f64> = row.try_get("ages")?;
        let addresses = addresses.iter().zip(ages).filter_map(|(address, seconds)| {
            Some(RefusedAddress { address: address.parse().ok()?, last_age: age(seconds) })
        });
        let text =
            |name: &str| row.try_get::<Option<String>, _>(name).map(|text| text.and_then(|text| printable(&text)));
        Ok(Self {
            key_id: row.try_get("key_id")?,
            public_key_prefix: row.try_get("prefix")?,
            last_age: age(row.try_get("age")?),
            events: row.try_get::<i64, _>("events")?.try_into().unwrap_or_default(),
            sentry_client: text("sentry_client")?,
            server_name: text("server_name")?,
            addresses: addresses.collect(),
        })
    }
}

/// Ingest writes nothing else; whoever owns the database can.
fn printable(text: &str) -> Option<String> {
    Some(text.chars().filter(|character| matches!(character, ' '..='~')).collect())
        .filter(|text: &String| !text.is_empty())
}
