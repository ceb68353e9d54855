//! The databases that projects are kept in: the installation's own, and those that projects name.
//!
//! In comes the mounted Secret with the console's logins. Its keys `host`, `port`, `dbname`, `username` and `password`
//! are the login of the installation's own database; each key `<namespace>.<anything>.uri` is the login of one that
//! projects of that namespace are kept in. Keys appear, change and disappear while the console runs, for the kubelet
//! exchanges the files of one Secret in place. Out go the list of all projects and a view of one; a database that does
//! not answer is named and hides nothing of the others. Used by `context`.

mod database;
mod listing;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::{
    database::{Database, SESSION_CONNECTIONS},
    listing::{ListedProject, Listing, ProjectState, Unreachable},
};
use self::{
    database::{Owner, PAGE_CONNECTIONS},
    listing::Listed,
};
use crate::{
    store::{
        Mount, MountedPool, StoreError,
        connection::ConnectionError,
        console::{Project, ProjectAddress, ProjectSummary, Snapshot, Wanted},
    },
    telemetry::Readiness,
};

/// How often each database is looked at, and the Secret; the kubelet syncs once a minute.
const BEAT: Duration = Duration::from_secs(5);

/// Ending of the keys of other databases.
const KEY_ENDING: &str = ".uri";

/// Clones share the pools.
#[derive(Clone)]
pub struct Databases(Arc<Shared>);

struct Shared {
    directory: PathBuf,
    own: Database,
    /// The installation's own too, by other connections.
    sessions: Database,
    others: RwLock<Others>,
    /// Key of the database that a project was found in last, where it is not the installation's own.
    found: Mutex<HashMap<Wanted, String>>,
}

#[derive(Default)]
struct Others {
    /// By key of the Secret.
    databases: BTreeMap<String, Database>,
    /// Keys whose value is no login.
    unreadable: BTreeSet<String>,
}

/// A project, and a view of the database that it is kept in.
pub struct Found {
    pub database: Database,
    pub snapshot: Snapshot,
    pub project: Project,
}

impl Databases {
    /// Reads the Secret mounted at `directory`; connects only when a page asks.
    pub fn open(directory: &Path) -> Result<Self, ConnectionError> {
        let own =
            |connections| Database::open(Mount::Directory(directory.to_owned()), Owner::Installation, connections);
        let (own, sessions) = (own(PAGE_CONNECTIONS)?, own(SESSION_CONNECTIONS)?);
        let mut others = Others::default();
        others.take_up(directory, &keys(directory).unwrap_or_default());
        let (directory, others) = (directory.to_owned(), RwLock::new(others));
        Ok(Self(Arc::new(Shared { directory, own, sessions, others, found: Mutex::default() })))
    }

    /// Every project, and which databases did not answer. Those that did not when they were looked at last are not
    /// asked, unless there is no other. Fails when none answers.
    pub async fn projects(&self, since: Timestamp) -> Result<Listing, StoreError> {
        let (others, unreadable) = self.others();
        let mut databases = vec![self.0.own.clone()];
        databases.extend(others.into_values());
        let all_away = databases.iter().all(|database| !database.answers());
        let asking = databases.iter().map(async |database| {
            if database.answers() || all_away { database.projects(since).await } else { Err(away()) }
        });
        let mut answers = join_all(asking).await;
        if answers.iter().all(Result::is_err) {
            return answers.swap_remove(0).map(|_| Listing::default());
        }
        let mut listed: Vec<_> =
            databases.iter().zip(answers).map(|(database, answer)| listed(database, answer)).collect();
        listed.extend(unreadable.into_iter().map(|key| Listed {
            server: format!("of key {key}"),
            namespace: namespace_of(&key).map(str::to_owned),
            projects: None,
        }));
        Ok(Listing::new(listed))
    }

    /// Where projects are, by namespace and name, and whether a database did not say. Fails when none does.
    pub async fn addresses(&self) -> Result<(BTreeSet<ProjectAddress>, bool), StoreError> {
        let (others, unreadable) = self.others();
        let databases: Vec<_> = [self.0.own.clone()].into_iter().chain(others.into_values()).collect();
        let asking = databases.iter().map(async |database| {
            if database.answers() || databases.len() == 1 { database.addresses().await } else { Err(away()) }
        });
        let mut answers = join_all(asking).await;
        if answers.iter().all(Result::is_err) {
            return answers.swap_remove(0).map(|_| (BTreeSet::new(), false));
        }
        let incomplete = !unreadable.is_empty() || answers.iter().any(Result::is_err);
        Ok((answers.into_iter().flatten().flatten().collect(), incomplete))
    }

    /// The project that is wanted. `None`: every database says that it has no such project.
    pub async fn find(&self, wanted: &Wanted) -> Result<Option<Found>, StoreError> {
        let (mut others, mut unreadable) = self.others();
        others.retain(|_, database| database.may_hold(wanted));
        if let Wanted::Address(address) = wanted {
            unreadable.retain(|key| namespace_of(key) == Some(&address.namespace));
        }
        let remembered = self.remembered().get(wanted).cloned();
        if let Some(database) = remembered.and_then(|key| others.get(&key)) {
            if let Some((snapshot, project)) = database.find(wanted).await? {
                return Ok(Some(Found { database: database.clone(), snapshot, project }));
            }
            self.remembered().remove(wanted);
        }
        // The installation's own first: a number that it gives to a project of its own means nothing elsewhere.
        let own = &self.0.own;
        let mut failure = match ask(own, wanted, others.is_empty()).await {
            Ok(Some((snapshot, project))) => return Ok(Some(Found { database: own.clone(), snapshot, project })),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let mut asking: FuturesUnordered<_> =
            others.iter().map(async |(key, database)| (key, database, ask(database, wanted, false).await)).collect();
        while let Some((key, database, answer)) = asking.next().await {
            match answer {
                Ok(Some((snapshot, project))) => {
                    self.remembered().insert(wanted.clone(), key.clone());
                    return Ok(Some(Found { database: database.clone(), snapshot, project }));
                }
                Ok(None) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // It may be there.
        match failure {
            Some(error) => Err(error),
            None if !unreadable.is_empty() => Err(away()),
            None => Ok(None),
        }
    }

    /// The installation's own, where it is kept who is signed in.
    #[must_use]
    pub fn sessions(&self) -> &Database {
        &self.0.sessions
    }

    /// Follows the Secret and looks at every database until `shutdown`. Ready: one of them answers.
    pub async fn follow(self, shutdown: CancellationToken, readiness: Readiness) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = JoinSet::new();
        while shutdown.run_until_cancelled(beat.tick()).await.is_some() {
            self.follow_secret(&mut closing).await;
            self.0.sessions.reload().await;
            let mut databases = vec![self.0.own.clone()];
            databases.extend(self.others().0.into_values());
            let looking = join_all(databases.iter().map(Database::look));
            if shutdown.run_until_cancelled(looking).await.is_none() {
                break;
            }
            readiness.set(databases.iter().any(Database::answers));
            while closing.try_join_next().is_some() {}
        }
        readiness.set(false);
    }

    /// Files that cannot be listed (the kubelet is exchanging them) leave everything as it is.
    async fn follow_secret(&self, closing: &mut JoinSet<()>) {
        let directory = self.0.directory.clone();
        let Ok(Ok(keys)) = tokio::task::spawn_blocking(move || keys(&directory)).await else {
            warn!("Could not list the keys of the database Secret.");
            return;
        };
        let gone = self.0.others.write().take_up(&self.0.directory, &keys);
        for database in gone {
            closing.spawn(async move {
                let _in_time = tokio::time::timeout(MountedPool::CLOSE_TIMEOUT, database.close()).await;
            });
        }
    }

    fn others(&self) -> (BTreeMap<String, Database>, BTreeSet<String>) {
        let others = self.0.others.read();
        (others.databases.clone(), others.unreadable.clone())
    }

    fn remembered(&self) -> parking_lot::MutexGuard<'_, HashMap<Wanted, String>> {
        self.0.found.lock()
    }
}

impl Others {
    /// Opens what is new and drops what is gone, which is returned. What has only changed is followed by its pool.
    /// Blocks for a small file for each key that is new.
    fn take_up(&mut self, directory: &Path, keys: &BTreeMap<String, String>) -> Vec<Database> {
        self.unreadable.retain(|key| keys.contains_key(key));
        for (key, namespace) in keys {
            if self.databases.contains_key(key) {
                continue;
            }
            let owner = Owner::Namespace(namespace.clone());
            match Database::open(Mount::UriFile(directory.join(key)), owner, PAGE_CONNECTIONS) {
                Ok(database) => {
                    self.unreadable.remove(key);
                    self.databases.insert(key.clone(), database);
                }
                Err(error) => {
                    if self.unreadable.insert(key.clone()) {
                        warn!(key, %error, "A key of the database Secret is no login.");
                    }
                }
            }
        }
        let gone: Vec<_> = self.databases.extract_if(.., |key, _| !keys.contains_key(key)).collect();
        for (key, database) in &gone {
            info!(key, server = database.server(), "The login of a database is gone.");
        }
        gone.into_iter().map(|(_, database)| database).collect()
    }
}

/// The keys of other databases, with the namespace that each names.
fn keys(directory: &Path) -> std::io::Result<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let Ok(key) = entry?.file_name().into_string() else { continue };
        if let Some(namespace) = namespace_of(&key).map(str::to_owned) {
            keys.insert(key, namespace);
        }
    }
    Ok(keys)
}

/// `..data` and its like are the kubelet's; a namespace has no dots.
fn namespace_of(key: &str) -> Option<&str> {
    let (namespace, _) = key.strip_suffix(KEY_ENDING)?.split_once('.')?;
    (!namespace.is_empty()).then_some(namespace)
}

/// Asks a database that answered last, or that there is no other to ask beside.
async fn ask(database: &Database, wanted: &Wanted, only: bool) -> Result<Option<(Snapshot, Project)>, StoreError> {
    if database.answers() || only { database.find(wanted).await } else { Err(away()) }
}

fn away() -> StoreError {
    StoreError::Unavailable { message: "no answer when the database was looked at last".to_owned() }
}

fn listed(database: &Database, answer: Result<Vec<ProjectSummary>, StoreError>) -> Listed {
    let server = database.server();
    if let Err(error) = &answer {
        warn!(server, %error, "Could not list the projects of a database.");
    }
    Listed { server, namespace: database.namespace().map(str::to_owned), projects: answer.ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Secret(PathBuf);

    impl Secret {
        fn mounted() -> Self {
            let secret = Self(std::env::temp_dir().join(format!("console-databases-{}", uuid::Uuid::new_v4())));
            std::fs::create_dir(&secret.0).unwrap();
            for (key, value) in [("host", "127.0.0.1"), ("port", "1"), ("dbname", "d"), ("username", "u")] {
                secret.write(key, value);
            }
            secret
        }

        fn write(&self, key: &str, value: &str) {
            std::fs::write(self.0.join(key), value).unwrap();
        }
    }

    impl Drop for Secret {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn logins_appear_change_and_disappear() {
        let secret = Secret::mounted();
        secret.write("web.pg.uri", "postgresql://u:p@a.example/e");
        // Not of a namespace: the own login may have a key of this name.
        secret.write("uri", "postgresql://u:p@own.example/e");
        let databases = Databases::open(&secret.0).unwrap();
        let mut closing = JoinSet::new();
        let servers =
            |databases: &Databases| -> Vec<_> { databases.others().0.values().map(Database::server).collect() };
        assert_eq!(databases.0.own.server(), "own.example:5432/e");
        assert_eq!(servers(&databases), ["a.example:5432/e"]);
        secret.write("pay.main.pg.uri", "postgresql://u:p@b.example/e");
        secret.write("web.broken.uri", "postgresql://");
        secret.write("web.pg.uri", "postgresql://u:p@c.example/e");
        databases.follow_secret(&mut closing).await;
        databases.others().0["web.pg.uri"].look().await;
        assert_eq!(servers(&databases), ["b.example:5432/e", "c.example:5432/e"]);
        assert_eq!(databases.others().1, BTreeSet::from(["web.broken.uri".to_owned()]));
        secret.write("web.broken.uri", "postgresql://u:p@d.example/e");
        std::fs::remove_file(secret.0.join("web.pg.uri")).unwrap();
        databases.follow_secret(&mut closing).await;
        assert_eq!(servers(&databases), ["b.example:5432/e", "d.example:5432/e"]);
        assert!(databases.others().1.is_empty());
        assert_eq!(closing.len(), 1);
    }
}
