//! One watch with its own backoff, which keeps a cache true and tells of each change.
//!
//! A watch lists, then follows the changes from there. When its connection ends it goes on from the last version;
//! when that version is too old (410) it lists anew and tells only what differs. A connection that says nothing for
//! too long is taken for dead.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, WatchParams},
    core::{PartialObjectMeta, WatchEvent},
};
use prometheus::IntCounterVec;
use rand::RngExt;
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

use super::cache::{Cache, Change};
use crate::{
    kubernetes::{
        kube_message,
        pages::{Contents, Page, PageSize, Turn},
    },
    operator::engine::{DEAD, queue::ObjectName},
    telemetry::Liveness,
};

/// Seconds after which the API server ends a watch, which then goes on anew. A connection that a proxy on the way has
/// forgotten is silent for ever, and is noticed because it does not end either.
const WATCH_SECONDS: u32 = 20;
/// An end that is late by more is not coming.
const SILENCE: Duration = Duration::from_secs(25);
/// An answer to a list, or to the beginning of a watch, that takes longer is not coming.
const ANSWER: Duration = Duration::from_secs(30);
/// First and longest pause after a failure: whoever comes back is noticed soon.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(15);

/// Called with each change, and with the object as it is or was last.
pub type Touched = Box<dyn Fn(Change, &DynamicObject) + Send + Sync>;

/// Why a watch has to pause.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    /// The API server's sentence names the verb and the resource when a right is missing.
    #[error("{}", kube_message(.0))]
    Kubernetes(#[from] Box<kube::Error>),
    #[error("no answer within {} s", ANSWER.as_secs())]
    NoAnswer,
    #[error("the connection was silent for {} s", SILENCE.as_secs())]
    Silent,
    /// Changes since the last version are not kept any more.
    #[error("the last version that was seen is too old")]
    Expired,
}

impl WatchError {
    fn is_forbidden(&self) -> bool {
        matches!(self, Self::Kubernetes(error) if matches!(&**error, kube::Error::Api(status) if status.code == 403))
    }
}

impl From<kube::Error> for WatchError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 410 => Self::Expired,
            error => Self::Kubernetes(Box::new(error)),
        }
    }
}

/// Drops what nobody compares, which is most of an object.
pub fn prune_metadata(object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Keeps one cache true.
pub struct Watch {
    pub kind: &'static str,
    pub api: Api<DynamicObject>,
    /// The namespace that it is about; `None`: all.
    pub namespace: Option<String>,
    pub contents: Contents,
    /// Labels.
    pub selector: Option<String>,
    pub cache: Arc<Cache>,
    /// Drops what the cache need not hold; whether it need know of the object at all.
    pub prune: Box<dyn Fn(&mut DynamicObject) -> bool + Send + Sync>,
    pub operations: IntCounterVec,
    pub liveness: Liveness,
}

impl Watch {
    fn count(&self, operation: &str) {
        self.operations.with_label_values(&[self.kind, operation]).inc();
    }

    /// As liveness knows it.
    fn part(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} of {namespace}", self.kind),
            None => self.kind.to_owned(),
        }
    }

    /// Never ends.
    pub async fn keep(self, touched: Touched) {
        let part = self.part();
        let _expected = self.liveness.expect(&part, DEAD);
        let mut version: Option<String> = None;
        let mut failures = 0_u32;
        let mut size = PageSize::default();
        loop {
            let step = match &mut version {
                None => self.list(&touched, &mut size).await.map(|listed| version = Some(listed)),
                Some(version) => self.follow(version, &touched).await,
            };
            // A failure is a sign of life as well: it is the API server that is away.
            self.liveness.sign(&part);
            let Err(error) = step else {
                failures = 0;
                continue;
            };
            let operation = match (&error, &version) {
                (WatchError::Expired, _) => "relist",
                (WatchError::Silent, _) => "silent",
                (_, None) => "list_failed",
                (_, Some(_)) => "watch_failed",
            };
            self.count(operation);
            if matches!(error, WatchError::Expired) {
                debug!(kind = self.kind, "Changes were missed; listing anew.");
                // Not a second time without a pause: a list can expire as well.
                if version.take().is_some() {
                    continue;
                }
            }
            if version.is_none() && self.namespace.is_some() && error.is_forbidden() {
                // A namespace that went, and its role with it, keeps nobody waiting. Whatever comes is told.
                self.cache.pass_over(self.namespace.as_deref());
            }
            let pause = BACKOFF.start().saturating_mul(1 << failures.min(8)).min(*BACKOFF.end());
            let pause = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            failures += 1;
            warn!(watch = part, %error, ?pause, "A watch failed; it goes on after a pause.");
            sleep(pause).await;
        }
    }

    /// Fills the cache from a list, page by page; the version to follow from.
    async fn list(&self, touched: &Touched, size: &mut PageSize) -> Result<String, WatchError> {
        let mut parameters = ListParams { label_selector: self.selector.clone(), ..ListParams::default() };
        let mut seen = HashSet::new();
        // At first everything gets a pass anyway.
        let again = self.cache.is_filled();
        loop {
            self.count("list");
            let turn = Turn::wait().await;
            let page = timeout(ANSWER, Page::read(&self.api, self.contents, &parameters, size, turn)).await;
            let Ok(page) = page else {
                // Fewer may come in time.
                size.lower();
                return Err(WatchError::NoAnswer);
            };
            self.liveness.sign(&self.part());
            let list = page?.take(size, |mut object| {
                let kept = (self.prune)(&mut object);
                let change = if kept {
                    seen.insert(ObjectName::new(&object.namespace().unwrap_or_default(), &object.name_any()));
                    self.cache.put(&mut object)
                } else {
                    self.cache.remove(&object)
                };
                if let Some(change) = change.filter(|_| again) {
                    // What happened before our own last write may not have been shown.
                    touched(Change { version: None, ..change }, &object);
                }
            })?;
            parameters.continue_token = list.continue_.filter(|token| !token.is_empty());
            if parameters.continue_token.is_none() {
                for (change, last_seen) in self.cache.listed(self.namespace.as_deref(), &seen) {
                    touched(change, &last_seen);
                }
                return Ok(list.resource_version.unwrap_or_default());
            }
        }
    }

    async fn events(
        &self,
        parameters: &WatchParams,
        version: &str,
    ) -> Result<BoxStream<'static, Result<WatchEvent<DynamicObject>, kube::Error>>, kube::Error> {
        Ok(match self.contents {
            Contents::Whole => self.api.watch(parameters, version).await?.boxed(),
            Contents::Metadata => {
                self.api.watch_metadata(parameters, version).await?.map_ok(event_without_contents).boxed()
            }
        })
    }

    /// Takes changes in until the connection ends; `version` follows.
    async fn follow(&self, version: &mut String, touched: &Touched) -> Result<(), WatchError> {
        self.count("watch");
        let begin = Instant::now();
        let mut parameters = WatchParams::default().timeout(WATCH_SECONDS);
        parameters.label_selector.clone_from(&self.selector);
        let mut events =
            timeout(ANSWER, self.events(&parameters, version)).await.map_err(|_| WatchError::NoAnswer)??;
        loop {
            let next = timeout(SILENCE, events.next()).await.map_err(|_| WatchError::Silent)?;
            self.liveness.sign(&self.part());
            let Some(event) = next else {
                // A server that ends each watch at once is not asked without a pause.
                sleep_until(begin + *BACKOFF.start()).await;
                return Ok(());
            };
            let change = match event? {
                WatchEvent::Added(mut object) | WatchEvent::Modified(mut object) => {
                    let kept = (self.prune)(&mut object);
                    object.resource_version().unwrap_or_default().clone_into(version);
                    let change = if kept { self.cache.put(&mut object) } else { self.cache.remove(&object) };
                    change.map(|change| (change, object))
                }
                WatchEvent::Deleted(object) => {
                    object.resource_version().unwrap_or_default().clone_into(version);
                    self.cache.remove(&object).map(|change| (change, object))
                }
                WatchEvent::Bookmark(bookmark) => {
                    *version = bookmark.metadata.resource_version;
                    None
                }
                WatchEvent::Error(status) => return Err(kube::Error::Api(status).into()),
            };
            if let Some((change, object)) = change {
                touched(change, &object);
            }
        }
    }
}

fn without_contents(object: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: object.types, metadata: object.metadata, data: Value::Null }
}

fn event_without_contents(event: WatchEvent<PartialObjectMeta<DynamicObject>>) -> WatchEvent<DynamicObject> {
    match event {
        WatchEvent::Added(object) => WatchEvent::Added(without_contents(object)),
        WatchEvent::Modified(object) => WatchEvent::Modified(without_contents(object)),
        WatchEvent::Deleted(object) => WatchEvent::Deleted(without_contents(object)),
        WatchEvent::Bookmark(bookmark) => WatchEvent::Bookmark(bookmark),
        WatchEvent::Error(status) => WatchEvent::Error(status),
    }
}
