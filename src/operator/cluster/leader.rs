//! Leader election on a Lease: one process writes, and it stops before another may begin.

use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{PostParams, WatchParams},
    core::WatchEvent,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::client::Fence;
use crate::kubernetes::KubeError;

/// How long a lease holds without being renewed, in seconds.
const LEASE_SECONDS: i32 = 15;
/// A leader that could not renew for this long stops writing: 5 s before another may take over.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);
/// Furthest that a database may be ahead of the lease, as after the Lease was deleted.
const MAX_RAISE: i32 = 1_000_000;
/// Longest wait for one answer about the lease: a dead connection must leave time for another attempt before the
/// deadline.
const ANSWER: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    #[error(transparent)]
    Lease(#[from] KubeError),
    #[error("no answer about Lease {name}")]
    NoAnswer { name: String },
    #[error("Lease {name} was taken by {holder}")]
    Taken { name: String, holder: String },
}

/// This process holds the lease.
#[derive(Debug)]
pub struct Leadership {
    api: Api<Lease>,
    lease: Lease,
    name: String,
    identity: String,
    renewed: Instant,
    fence: Fence,
}

/// Somebody else's lease as it was seen last.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    since: Instant,
    /// How long it holds without being renewed, by its own field.
    duration: Duration,
}

impl Seen {
    fn now(lease: &Lease) -> Self {
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(LEASE_SECONDS);
        Self {
            version: lease.metadata.resource_version.clone(),
            since: Instant::now(),
            duration: Duration::from_secs(seconds.unsigned_abs().into()),
        }
    }

    fn runs_out(&self) -> Instant {
        self.since + self.duration
    }
}

/// Waits until this process holds the lease; `None` when `shutdown` came first.
pub async fn campaign(
    client: Client,
    namespace: &str,
    name: &str,
    identity: &str,
    fence: &Fence,
    shutdown: &CancellationToken,
) -> Option<Leadership> {
    let api: Api<Lease> = Api::namespaced(client, namespace);
    // A holder's clock is not trusted: its lease ends when we saw it unchanged for its whole duration.
    let mut seen: Option<Seen> = None;
    let mut announced = false;
    loop {
        let attempt = timeout(2 * ANSWER, acquire(&api, name, identity, &mut seen)).await;
        match attempt.unwrap_or_else(|_| Err(LeaderError::NoAnswer { name: name.into() })) {
            Ok(Some((lease, renewed))) => {
                info!(lease = name, transitions = transitions(&lease), "Leading.");
                fence.extend(renewed + RENEW_DEADLINE);
                let (name, identity, fence) = (name.into(), identity.into(), fence.clone());
                return Some(Leadership { api, lease, name, identity, renewed, fence });
            }
            Ok(None) if !announced => {
                info!(lease = name, "Standing by: another process leads.");
                announced = true;
            }
            Ok(None) => {}
            Err(error) => warn!(%error, "Could not take the lease; trying again."),
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            // A lease that is given up is taken at once; one whose holder died is noticed by the clock.
            () = vacated(&api, name, &mut seen) => {}
        }
    }
}

/// Returns when the lease was given up or has not been renewed for its duration; after a pause when it cannot be
/// watched.
async fn vacated(api: &Api<Lease>, name: &str, seen: &mut Option<Seen>) {
    let Some(Seen { version: Some(version), .. }) = seen.clone() else { return sleep(RETRY).await };
    let parameters = WatchParams::default().fields(&format!("metadata.name={name}"));
    let Ok(Ok(events)) = timeout(RETRY, api.watch(&parameters, &version)).await else { return sleep(RETRY).await };
    let mut events = std::pin::pin!(events);
    while let Some(runs_out) = seen.as_ref().map(Seen::runs_out) {
        match timeout_at(runs_out, events.try_next()).await {
            Ok(Ok(Some(WatchEvent::Added(lease) | WatchEvent::Modified(lease)))) => {
                *seen = Some(Seen::now(&lease));
                if holder(&lease).is_none() {
                    return;
                }
            }
            Ok(Ok(Some(WatchEvent::Bookmark(_)))) => {}
            // Ran out, or deleted.
            Err(_) | Ok(Ok(Some(WatchEvent::Deleted(_)))) => return,
            Ok(Ok(Some(WatchEvent::Error(_)) | None) | Err(_)) => return sleep(RETRY).await,
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

async fn acquire(
    api: &Api<Lease>,
    name: &str,
    identity: &str,
    seen: &mut Option<Seen>,
) -> Result<Option<(Lease, Instant)>, LeaderError> {
    let failed = |error| LeaderError::Lease(KubeError::on("read or write", "Lease", name)(error));
    let started = Instant::now();
    let Some(current) = api.get_opt(name).await.map_err(failed)? else {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
            spec: Some(held(identity, 1)),
        };
        return match api.create(&PostParams::default(), &lease).await {
            Ok(lease) => Ok(Some((lease, started))),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(failed(error)),
        };
    };
    let holder = current.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
    // A holder of our name is this pod before its container was started again.
    if !holder.is_empty() && holder != identity {
        match seen {
            Some(before) if before.version == current.metadata.resource_version => {
                if Instant::now() < before.runs_out() {
                    return Ok(None);
                }
            }
            _ => {
                *seen = Some(Seen::now(&current));
                return Ok(None);
            }
        }
    }
    let next = transitions(&current).saturating_add(1);
    let lease = Lease { spec: Some(held(identity, next)), ..current };
    match api.replace(name, &PostParams::default(), &lease).await {
        Ok(lease) => Ok(Some((lease, started))),
        Err(error) if is_conflict(&error) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

impl Leadership {
    /// Rises with every new leader: the epoch that each Postgres statement carries.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        transitions(&self.lease).into()
    }

    /// Renews until `shutdown`, then gives the lease up at once. Returns an error as soon as writing must stop.
    ///
    /// `raises` names epochs that a database has already seen, as after the Lease was deleted: ours is raised
    /// over them. Writing it proves that the lease is still held; `epoch` tells the new one.
    pub async fn keep(
        self,
        shutdown: CancellationToken,
        raises: mpsc::Receiver<i64>,
        epoch: watch::Sender<i64>,
    ) -> Result<(), LeaderError> {
        let fence = self.fence.clone();
        let kept = self.renew(shutdown, raises, epoch).await;
        fence.close();
        kept
    }

    async fn renew(
        mut self,
        shutdown: CancellationToken,
        mut raises: mpsc::Receiver<i64>,
        epoch: watch::Sender<i64>,
    ) -> Result<(), LeaderError> {
        loop {
            let mut next = transitions(&self.lease);
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.release().await;
                    return Ok(());
                }
                Some(seen) = raises.recv() => match i32::try_from(seen) {
                    Ok(seen) if seen <= next.saturating_add(MAX_RAISE) => next = next.max(seen.saturating_add(1)),
                    // No number of leaders explains it: somebody wrote it by hand, and the Lease counts to 2³¹.
                    _ => warn!(seen, ours = next, "A database has seen an epoch that is too far ahead; it is not followed."),
                },
                () = sleep(RETRY) => {}
            }
            let deadline = self.renewed + RENEW_DEADLINE;
            loop {
                let renewal = held(&self.identity, next);
                match timeout_at(deadline.min(Instant::now() + ANSWER), self.write(renewal)).await {
                    Ok(Ok(())) => {
                        self.fence.extend(self.renewed + RENEW_DEADLINE);
                        epoch.send_if_modified(|epoch| std::mem::replace(epoch, next.into()) != i64::from(next));
                        break;
                    }
                    Ok(Err(error @ LeaderError::Taken { .. })) => return Err(error),
                    Ok(Err(error)) if Instant::now() >= deadline => return Err(error),
                    Ok(Err(error)) => warn!(%error, "Could not renew the lease; trying again."),
                    Err(_) if Instant::now() < deadline => warn!("No answer about the lease; trying again."),
                    Err(_) => {
                        return Err(LeaderError::Taken {
                            name: self.name,
                            holder: "nobody: the renew deadline passed".into(),
                        });
                    }
                }
                sleep(RETRY / 4).await;
            }
        }
    }

    async fn write(&mut self, spec: LeaseSpec) -> Result<(), LeaderError> {
        let started = Instant::now();
        let acquire_time = self.lease.spec.as_ref().and_then(|spec| spec.acquire_time.clone());
        let lease = Lease { spec: Some(LeaseSpec { acquire_time, ..spec }), ..self.lease.clone() };
        match self.api.replace(&self.name, &PostParams::default(), &lease).await {
            Ok(lease) => {
                self.lease = lease;
                self.renewed = started;
                Ok(())
            }
            Err(error) if is_conflict(&error) => {
                let current = self.api.get(&self.name).await.map_err(|source| self.failed(source))?;
                let holder = current.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
                if holder != self.identity {
                    return Err(LeaderError::Taken { name: self.name.clone(), holder });
                }
                // Somebody edited another field: we still hold it.
                self.lease = current;
                Err(self.failed(error))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                Err(LeaderError::Taken { name: self.name.clone(), holder: "nobody: it was deleted".into() })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: kube::Error) -> LeaderError {
        LeaderError::Lease(KubeError::on("read or write", "Lease", &self.name)(source))
    }

    /// A lease without a holder lets a standby take over at its next look, instead of after the lease duration.
    async fn release(mut self) {
        // Nothing of ours is written once somebody else may lead.
        self.fence.close();
        let spec = LeaseSpec { holder_identity: None, ..held(&self.identity, transitions(&self.lease)) };
        match self.write(spec).await {
            Ok(()) => info!(lease = self.name, "Gave the lease up."),
            Err(error) => warn!(%error, "Could not give the lease up; it runs out by itself."),
        }
    }
}

fn held(identity: &str, transitions: i32) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    LeaseSpec {
        holder_identity: Some(identity.into()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}

fn transitions(lease: &Lease) -> i32 {
    lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default()
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
