//! Servers that keep the keys of projects: the token read from its Secret, and what the server answered last. A project's
//! pass connects; the passes of its keys find the connection here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;

use super::{SecretName, login::values_of};
use crate::{
    backend::{
        NotConnected, Server, Upkeep,
        servers::{AllowedBackends, Gitlab, Sentry, ServerError, Turns, Web},
    },
    crd::{ErrorTrackingProject, ServerRef},
    kubernetes::KubeError,
};

/// How old a look at a server, and at the Secret of its token, may be.
pub const FRESH: Duration = Duration::from_mins(5);

/// Connections by namespace and name of the project. Clones share them.
#[derive(Clone)]
pub struct Servers {
    client: Client,
    allowed: AllowedBackends,
    turns: Turns,
    known: Arc<Mutex<HashMap<(String, String), Known>>>,
}

/// What is known of the server of one project.
#[derive(Clone)]
struct Known {
    uid: String,
    server: Result<Server, NotConnected>,
    /// The one that answered last, also after its token is gone.
    last: Option<Server>,
    seen: Seen,
    /// Secrets of the token and of the certificates.
    secrets: Vec<String>,
    /// `None`: it is to be looked at again.
    looked: Option<Instant>,
    /// When the keys there were compared with the ledger last, and what was found.
    compared: Option<(Instant, Upkeep)>,
}

/// What a server told of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of a Sentry: projects that the token can see, as "organization/project".
    pub available_projects: Vec<String>,
    /// Of a GitLab: integrated error tracking is not switched on for the project.
    pub is_off: bool,
}

impl Servers {
    #[must_use]
    pub fn new(client: Client, allowed: AllowedBackends) -> Self {
        Self { client, allowed, turns: Turns::default(), known: Arc::default() }
    }

    /// The server of the project as it was reached last, and what it told.
    pub fn state(&self, project: &ErrorTrackingProject, server: ServerRef<'_>) -> (Result<Server, NotConnected>, Seen) {
        let known = self.of(project, |known| (known.server.clone(), known.seen.clone()));
        known.unwrap_or_else(|| (Err(NotConnected::NotYet(server.kind().as_str())), Seen::default()))
    }

    /// The server that answered last, for the keys of a project that goes: its token may have gone before it.
    #[must_use]
    pub fn last(&self, project: &ErrorTrackingProject) -> Option<Server> {
        self.of(project, |known| known.last.clone()).flatten()
    }

    /// Whether the server is to be looked at again.
    #[must_use]
    pub fn is_stale(&self, project: &ErrorTrackingProject) -> bool {
        let looked = self.of(project, |known| known.looked).flatten();
        looked.is_none_or(|at| at.elapsed() >= FRESH)
    }

    /// Whether the keys there are to be compared with the ledger, which is done now and then.
    #[must_use]
    pub fn is_uncompared(&self, project: &ErrorTrackingProject, every: Duration) -> bool {
        let compared = self.of(project, |known| known.compared.as_ref().map(|(at, _)| *at)).flatten();
        compared.is_none_or(|at| at.elapsed() >= every)
    }

    /// What was found when they were compared last.
    #[must_use]
    pub fn upkeep(&self, project: &ErrorTrackingProject) -> Upkeep {
        let compared = self.of(project, |known| known.compared.as_ref().map(|(_, upkeep)| upkeep.clone()));
        compared.flatten().unwrap_or_default()
    }

    pub fn compared(&self, project: &ErrorTrackingProject, upkeep: Upkeep) {
        self.of(project, |known| known.compared = Some((Instant::now(), upkeep)));
    }

    /// What is known of the project: of this object, and not of one that had its name before.
    fn of<T>(&self, project: &ErrorTrackingProject, tell: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let mut known = self.known.lock();
        known.get_mut(&name(project)).filter(|known| known.uid == uid(project)).map(tell)
    }

    /// Reads the token, and looks whether the server knows the project. What came of it is found in [`Self::state`].
    pub async fn connect(&self, project: &ErrorTrackingProject, reference: ServerRef<'_>) {
        let opened = self.open(project, reference).await;
        let looked = match &opened {
            Ok(server) => look(server).await.map_err(not_connected),
            Err(error) => Err(error.clone()),
        };
        let mut known = self.known.lock();
        let former = known.remove(&name(project)).filter(|known| known.uid == uid(project));
        // What is known of the other side stays while it does not answer.
        let known_seen = || former.as_ref().map(|known| known.seen.clone()).unwrap_or_default();
        let was_connected = former.as_ref().is_some_and(|known| known.server.is_ok());
        let (server, seen) = match (opened, looked) {
            (Ok(server), Ok(seen)) => (Ok(server), seen),
            // That it takes no more calls for now says nothing against it: keys wait for their turns.
            (Ok(server), Err(error)) if was_connected && error.is_limit() => (Ok(server), known_seen()),
            (_, Err(error)) | (Err(error), _) => (Err(error), known_seen()),
        };
        let last = server.as_ref().ok().cloned().or_else(|| former.as_ref().and_then(|known| known.last.clone()));
        let entry = Known {
            last,
            uid: uid(project).to_owned(),
            server,
            seen,
            secrets: reference
                .ca_bundle()
                .into_iter()
                .chain([reference.token()])
                .map(|(name, _)| name.to_owned())
                .collect(),
            looked: Some(Instant::now()),
            compared: former.and_then(|known| known.compared),
        };
        known.insert(name(project), entry);
    }

    async fn open(&self, project: &ErrorTrackingProject, reference: ServerRef<'_>) -> Result<Server, NotConnected> {
        let namespace = project.metadata.namespace.as_deref().unwrap_or_default();
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let (secret, key) = reference.token();
        let token = read(&api, secret, key, "the token").await?;
        // A line break at its end is what most editors leave.
        let token = token.trim().to_owned();
        let ca_bundle = match reference.ca_bundle() {
            Some((secret, key)) => Some(read(&api, secret, key, "the certificates").await?),
            None => None,
        };
        let web = Web::new(reference.url(), ca_bundle.as_deref().map(str::as_bytes), &self.allowed);
        let web = web.map_err(not_connected)?;
        Ok(match reference {
            ServerRef::Sentry(sentry) => {
                let (organization, project) = (sentry.organization.clone(), sentry.project.clone());
                Server::Sentry(Arc::new(Sentry::new(web, &self.turns, token.into(), organization, project)))
            }
            ServerRef::Gitlab(gitlab) => {
                Server::Gitlab(Arc::new(Gitlab::new(web, &self.turns, token.into(), gitlab.project.clone())))
            }
        })
    }

    /// A Secret has changed; whether a project's token or certificates are in it.
    pub fn touch(&self, (namespace, secret): &SecretName) -> bool {
        let mut touched = false;
        for ((of, _), known) in self.known.lock().iter_mut() {
            if of == namespace && known.secrets.contains(secret) {
                known.looked = None;
                touched = true;
            }
        }
        touched
    }

    /// The project is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.known.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }
}

async fn look(server: &Server) -> Result<Seen, ServerError> {
    match server {
        Server::Sentry(sentry) => {
            sentry.check().await?;
            Ok(Seen { available_projects: sentry.available_projects().await?, is_off: false })
        }
        Server::Gitlab(gitlab) => {
            let settings = gitlab.settings().await?;
            let is_off = !settings.is_some_and(|settings| settings.active && settings.integrated);
            Ok(Seen { is_off, ..Seen::default() })
        }
    }
}

fn not_connected(error: ServerError) -> NotConnected {
    NotConnected::Server(Arc::new(error))
}

async fn read(api: &Api<Secret>, secret: &str, key: &str, what: &'static str) -> Result<String, NotConnected> {
    let absent = || NotConnected::NoSecret { secret: secret.into(), key: key.into(), what };
    let found = api.get_opt(secret).await.map_err(KubeError::on("get", "Secret", secret));
    let found =
        found.map_err(|error| NotConnected::SecretNotRead { secret: secret.into(), error: error.to_string() })?;
    let mut values: BTreeMap<String, String> = values_of(found.ok_or_else(absent)?);
    values.remove(key).filter(|value| !value.trim().is_empty()).ok_or_else(absent)
}

fn name(project: &ErrorTrackingProject) -> (String, String) {
    (project.namespace().unwrap_or_default(), project.name_any())
}

fn uid(project: &ErrorTrackingProject) -> &str {
    project.metadata.uid.as_deref().unwrap_or_default()
}
