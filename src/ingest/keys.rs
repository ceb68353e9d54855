//! Which client keys may send, how much, and what the project asks for, followed once a second; and when each key was
//! last used.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{
    clock::Clock,
    database::{Database, Failure},
    lookups::{ANSWER_TIMEOUT, KeyLookup, Lookups},
    rules::Rules,
};
use crate::{
    dsn::{ProjectId, PublicKey},
    settings::RateLimit,
    store::ingest::{self, ChangedSettings},
};

/// How often what has changed is asked for: a revoked key is refused within two seconds.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The keys and settings of the project that is served.
pub struct Keys {
    project: ProjectId,
    clock: Clock,
    table: RwLock<Table>,
    lookups: Lookups,
    /// Last use since the report took them. By the clock that nobody sets.
    usage: Mutex<HashMap<PublicKey, Instant>>,
}

#[derive(Default)]
struct Table {
    /// 0 until the first poll.
    version: i64,
    accepted: HashMap<PublicKey, Option<RateLimit>>,
    rules: Arc<Rules>,
}

impl Keys {
    #[must_use]
    pub fn new(project: ProjectId) -> Self {
        let (clock, lookups) = (Clock::new(), Lookups::default());
        Self { project, clock, table: RwLock::default(), lookups, usage: Mutex::default() }
    }

    /// Whether `key` may send. A key that the table does not have is looked up before it is refused, so
    /// that it works from the moment it is committed. Before the first poll nobody may: it is not known what
    /// must be taken out of an event before it is stored.
    pub async fn state(&self, key: &PublicKey, database: &Database) -> KeyLookup {
        match &*self.table() {
            Table { version: 0, .. } => return KeyLookup::Unavailable,
            table if table.accepted.contains_key(key) => return KeyLookup::Accepted,
            _ => {}
        }
        // What is found is not put into the table: a poll that began before may have told of its end.
        let project = self.project;
        let ask = || async move {
            let look_up = |pool| async move { ingest::look_up_key(&pool, project, key).await };
            match database.run(ANSWER_TIMEOUT, look_up).await {
                Ok(Some(true)) => KeyLookup::Accepted,
                Ok(Some(false)) => KeyLookup::Refused,
                Ok(None) => KeyLookup::Unknown,
                Err(Failure::Away) => KeyLookup::Unavailable,
                Err(error) => {
                    tracing::warn!(%project, key_prefix = key.prefix(), %error, "Could not look up a client key.");
                    KeyLookup::Unavailable
                }
            }
        };
        self.lookups.state(key, ask).await
    }

    /// Asks once for what has changed; `true` if anything had. Asks also while the database is away, and so finds it
    /// back.
    pub async fn poll(&self, database: &Database) -> Result<bool, Failure> {
        let (project, known) = (self.project, self.version());
        let ask = |pool| async move { ingest::changed_settings(&pool, project, known).await };
        let (told, changed) = database.probe(ANSWER_TIMEOUT, ask).await?;
        self.clock.follow(told, Instant::now());
        let Some(changed) = changed else { return Ok(false) };
        self.replace(changed).await;
        Ok(true)
    }

    /// A key that is revoked does not wait for expressions to be compiled; the first events do.
    async fn replace(&self, changed: ChangedSettings) {
        let ChangedSettings { version, settings, user_key, keys } = changed;
        let (known, follow) = {
            let table = self.table();
            (table.version, table.rules.follow(&settings, user_key.as_ref()))
        };
        if known != 0 || follow {
            let mut table = self.table_to_write();
            table.accepted = keys.iter().cloned().collect();
            // Without its rules the version is not followed: the operator is told of this one.
            if follow {
                table.version = version;
                return;
            }
        }
        match tokio::task::spawn_blocking(move || Rules::new(settings, user_key)).await {
            Ok(rules) => {
                let mut table = self.table_to_write();
                table.rules = Arc::new(rules);
                table.accepted = keys.into_iter().collect();
                table.version = version;
            }
            Err(error) => tracing::error!(%error, version, "Could not follow the project's new settings."),
        }
    }

    fn table_to_write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write()
    }

    /// By the clock of the database, as the last poll had it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The version of what is followed; 0 before the first poll.
    pub fn version(&self) -> i64 {
        self.table().version
    }

    pub fn len(&self) -> usize {
        self.table().accepted.len()
    }

    /// What the project asks for; nobody's before the first poll.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.table().rules)
    }

    /// How many events are accepted with `key`; `None`: any number. A key that was only looked up has its limit from
    /// the next poll on.
    pub fn rate_limit(&self, key: &PublicKey) -> Option<RateLimit> {
        self.table().accepted.get(key).copied().flatten()
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read()
    }

    /// Notes that an accepted key sent something.
    pub fn used(&self, key: &PublicKey, at: Instant) {
        let mut usage = self.usage.lock();
        match usage.get_mut(key) {
            Some(last) => *last = at.max(*last),
            None => {
                usage.insert(key.clone(), at);
            }
        }
    }

    /// The last uses since the last call, for the store.
    pub fn take_usage(&self) -> Vec<(PublicKey, Instant)> {
        self.usage.lock().drain().collect()
    }

    /// Puts back what [`Self::take_usage`] gave and the store did not take.
    pub fn give_back(&self, taken: &[(PublicKey, Instant)]) {
        for (key, at) in taken {
            self.used(key, *at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::Settings, store::ingest::UserKey};

    #[tokio::test]
    async fn rules_are_made_anew_only_when_the_settings_say_something_else() {
        let keys = Keys::new(ProjectId::new(1).unwrap());
        let (key, limit) = (PublicKey::from_random([1; 16]), RateLimit { events: 10, window_seconds: 60 });
        let changed = async |version, settings: &Settings| {
            let settings = settings.clone();
            let keys_of_project = vec![(key.clone(), Some(limit))];
            keys.replace(ChangedSettings { version, settings, user_key: None, keys: keys_of_project }).await;
            (keys.version(), keys.rules())
        };
        let first = changed(1, &Settings::default()).await.1;
        assert_eq!((keys.len(), keys.rate_limit(&key)), (1, Some(limit)));
        assert_eq!(keys.rate_limit(&PublicKey::from_random([2; 16])), None);
        let (version, again) = changed(2, &Settings::default()).await;
        assert!(version == 2 && Arc::ptr_eq(&first, &again), "only a key has changed");
        let inactive = Settings { active: false, ..Settings::default() };
        let (version, rules) = changed(3, &inactive).await;
        assert!(version == 3 && !rules.active && rules.follow(&inactive, None));
    }

    /// With the default settings, which are those of before the first poll.
    #[tokio::test]
    async fn no_user_is_counted_before_it_is_known_by_what() {
        let keys = Keys::new(ProjectId::new(1).unwrap());
        let user_key = Some(UserKey::new([7; 32]));
        for version in [1, 2] {
            assert_eq!(keys.version(), version - 1, "nobody may send with version 0");
            let (settings, user_key) = (Settings::default(), user_key.clone());
            keys.replace(ChangedSettings { version, settings, user_key, keys: vec![] }).await;
            assert_eq!((keys.version(), &keys.rules().user_key), (version, &Some(UserKey::new([7; 32]))));
        }
    }

    #[test]
    fn the_last_use_counts_and_survives_a_failed_report() {
        let keys = Keys::new(ProjectId::new(1).unwrap());
        let key = PublicKey::from_random([1; 16]);
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        keys.used(&key, now);
        let taken = keys.take_usage();
        assert_eq!(taken, [(key.clone(), now)]);
        keys.give_back(&taken);
        keys.used(&key, later);
        assert_eq!(keys.take_usage(), [(key.clone(), later)]);
        keys.used(&key, later);
        keys.give_back(&taken);
        assert_eq!(keys.take_usage(), [(key, later)]);
        assert_eq!(keys.take_usage(), []);
    }
}
