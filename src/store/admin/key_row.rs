//! A row of `errortracking.client_keys`, as it is read.

use sqlx::{FromRow, Row, postgres::PgRow};

use super::{KeyIdentity, KeyRow, projects::project_id};
#[cfg(test)]
use crate::dsn::{ProjectId, PublicKey};
use crate::{
    rotation::State,
    store::{Timestamptz, ingest::rate_limit},
};
#[cfg(test)]
use jiff::Timestamp;

impl FromRow<'_, PgRow> for KeyIdentity {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            namespace: row.try_get("namespace")?,
            name: row.try_get("name")?,
            namespace_uid: row.try_get("namespace_uid")?,
            client_key_uid: row.try_get("client_key_uid")?,
        })
    }
}

impl FromRow<'_, PgRow> for KeyRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let instant =
            |name| row.try_get::<Option<Timestamptz>, _>(name).map(|instant| instant.map(Timestamptz::to_jiff));
        let public_key: String = row.try_get("public_key")?;
        Ok(Self {
            key_id: row.try_get("key_id")?,
            project_id: project_id(row.try_get("project_id")?)
                .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?,
            ordinal: row.try_get("ordinal")?,
            public_key: public_key.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            enabled: row.try_get("enabled")?,
            rate_limit: rate_limit(row.try_get("rate_limit_events")?, row.try_get("rate_limit_seconds")?),
            created_at: row.try_get::<Timestamptz, _>("created_at")?.to_jiff(),
            last_used_at: instant("last_used_at")?,
            state: state_of_key(row.try_get("state")?, instant("revoked_at")?.is_some()),
            published_at: instant("published_at")?,
            retiring_since: instant("retiring_since")?,
            ended_at: instant("revoked_at")?,
            restored: row.try_get("restored")?,
            settings_version: row.try_get("settings_version")?,
            refused: row.try_get("refused")?,
            restarted: row.try_get::<String, _>("restarted")?.split_whitespace().map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
impl KeyRow {
    /// A key that its Secret names and nobody has used, for tests to change.
    pub(crate) fn sample(key_id: i64, project: u64) -> Self {
        Self {
            key_id,
            project_id: ProjectId::new(project).unwrap(),
            ordinal: 1,
            public_key: PublicKey::from_random([0xab; 16]),
            enabled: true,
            rate_limit: None,
            created_at: Timestamp::UNIX_EPOCH,
            last_used_at: None,
            state: State::Published,
            published_at: None,
            retiring_since: None,
            ended_at: None,
            restored: false,
            settings_version: 0,
            restarted: Vec::new(),
            refused: false,
        }
    }
}

/// An operator of the version before ends a key without a word about its state.
#[must_use]
pub fn state_of_key(word: &str, ended: bool) -> State {
    let known = State::ALL.into_iter().find(|state| state.as_str() == word);
    match known {
        Some(state) if state.is_alive() != ended => state,
        _ if ended => State::Revoked,
        _ => State::Published,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_ended_without_a_word_is_revoked() {
        for (word, ended, expected) in [
            ("minted", false, State::Minted),
            ("published", false, State::Published),
            ("overlap", false, State::Overlap),
            ("retired", true, State::Retired),
            ("revoked", true, State::Revoked),
            ("published", true, State::Revoked),
            ("retired", false, State::Published),
            ("of a newer version", false, State::Published),
        ] {
            assert_eq!(state_of_key(word, ended), expected, "{word}, {ended}");
        }
    }
}
