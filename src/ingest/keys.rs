//! Which client keys may send, followed once a second, and when each was last used.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use jiff::{Timestamp, Unit};

use super::{
    database::{Database, Failure},
    lookups::{ANSWER_TIMEOUT, KeyState, Lookups},
};
use crate::{
    dsn::{ProjectId, PublicKey},
    store::ingest::{self, KeySet},
};

/// How often changed keys are asked for: a revoked key is refused within two seconds.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The keys of the project that is served.
pub struct Keys {
    project: ProjectId,
    table: RwLock<Table>,
    lookups: Lookups,
    /// Last use since the heartbeat took them, in whole seconds.
    usage: Mutex<HashMap<PublicKey, Timestamp>>,
}

#[derive(Default)]
struct Table {
    /// 0 until the first poll.
    version: i64,
    accepted: HashSet<PublicKey>,
}

impl Keys {
    #[must_use]
    pub fn new(project: ProjectId) -> Self {
        Self { project, table: RwLock::default(), lookups: Lookups::default(), usage: Mutex::default() }
    }

    /// Whether `key` may send. A key that the table does not have is looked up before it is refused, so
    /// that it works from the moment it is committed.
    pub async fn state(&self, key: &PublicKey, database: &Database) -> KeyState {
        if self.table.read().unwrap_or_else(PoisonError::into_inner).accepted.contains(key) {
            return KeyState::Accepted;
        }
        // What is found is not put into the table: a poll that began before may have told of its end.
        let project = self.project;
        let ask = || async move {
            let find = |pool| async move { ingest::find_key(&pool, project, key).await };
            match database.run(ANSWER_TIMEOUT, find).await {
                Ok(true) => KeyState::Accepted,
                Ok(false) => KeyState::Unknown,
                Err(error) => {
                    tracing::warn!(key_prefix = key.prefix(), %error, "Could not look up a client key.");
                    KeyState::Unavailable
                }
            }
        };
        self.lookups.state(key, ask).await
    }

    /// Asks for changed keys once; `true` if there were any.
    pub async fn poll(&self, database: &Database) -> Result<bool, Failure> {
        let (project, known) = (self.project, self.version());
        let ask = |pool| async move { ingest::changed_keys(&pool, project, known).await };
        let changed = database.run(ANSWER_TIMEOUT, ask).await?;
        Ok(changed.map(|keys| self.replace(keys)).is_some())
    }

    fn replace(&self, keys: KeySet) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        *table = Table { version: keys.version, accepted: keys.keys.into_iter().collect() };
    }

    /// The version of the keys that are followed; 0 before the first poll.
    pub fn version(&self) -> i64 {
        self.table.read().unwrap_or_else(PoisonError::into_inner).version
    }

    pub fn len(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).accepted.len()
    }

    /// Notes that an accepted key sent something.
    pub fn used(&self, key: &PublicKey, at: Timestamp) {
        let at = at.round(Unit::Second).unwrap_or(at);
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        match usage.get_mut(key) {
            Some(last) => *last = at.max(*last),
            None => {
                usage.insert(key.clone(), at);
            }
        }
    }

    /// The last uses since the last call, for the store.
    pub fn take_usage(&self) -> Vec<(PublicKey, Timestamp)> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
    }

    /// Puts back what [`Self::take_usage`] gave and the store did not take.
    pub fn give_back(&self, taken: &[(PublicKey, Timestamp)]) {
        for (key, at) in taken {
            self.used(key, *at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_counts_in_whole_seconds_and_survives_a_failed_heartbeat() {
        let keys = Keys::new(ProjectId::new(1).unwrap());
        let key = PublicKey::from_random([1; 16]);
        let second = |second| Timestamp::from_second(second).unwrap();
        keys.used(&key, "2026-11-22T10:00:05.4Z".parse().unwrap());
        let taken = keys.take_usage();
        assert_eq!(taken, [(key.clone(), "2026-11-22T10:00:05Z".parse().unwrap())]);
        keys.used(&key, second(2_000_000_000));
        keys.give_back(&taken);
        assert_eq!(keys.take_usage(), [(key, second(2_000_000_000))]);
        assert_eq!(keys.take_usage(), []);
    }
}
