//! Runs the passes of one kind: bounded in number, never two over one object, a failing one with its own backoff.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    Resource, ResourceExt,
    runtime::{
        controller::{Action, Config, ReconcileRequest, applier},
        reflector::Store,
    },
};
use rand::RngExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Context, watches::Guarded};

/// First and longest pause after a failed pass.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);

/// A pass failed. What to tell the user is in the object's status already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PassFailed(pub String);

/// Consecutive failures by uid.
#[derive(Debug, Default)]
struct Backoffs(Mutex<HashMap<String, u32>>);

impl Backoffs {
    fn failed(&self, uid: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(uid.into()).or_default();
        let pause = BACKOFF.start().saturating_mul(1 << (*count).min(16)).min(*BACKOFF.end());
        *count += 1;
        // Jitter: objects that failed together must not come back together.
        pause.mul_f64(rand::rng().random_range(0.8..1.2))
    }

    fn succeeded(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Reconciles what `queue` names until `stop`, and then lets passes under way finish.
pub async fn run<K, F, Fut>(
    name: &'static str,
    context: Arc<Context>,
    store: Store<Guarded<K>>,
    queue: mpsc::Receiver<ReconcileRequest<Guarded<K>>>,
    stop: CancellationToken,
    reconcile: F,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    F: Fn(Arc<Guarded<K>>, Arc<Context>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, PassFailed>> + Send + 'static,
{
    let backoffs = Arc::new(Backoffs::default());
    let failures = backoffs.clone();
    let requests = ReceiverStream::new(queue).map(Ok::<_, std::convert::Infallible>).take_until(stop.cancelled_owned());
    let concurrency = context.concurrency;
    let passes = applier(
        move |object: Arc<Guarded<K>>, context: Arc<Context>| {
            let (backoffs, reconcile) = (backoffs.clone(), reconcile.clone());
            Box::pin(async move {
                let started = Instant::now();
                let uid = object.meta().uid.clone().unwrap_or_default();
                let result = reconcile(object, context.clone()).await;
                let outcome = if result.is_ok() { "success" } else { "error" };
                context.metrics.reconciles.with_label_values(&[name, outcome]).inc();
                context.metrics.reconcile_seconds.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
                if result.is_ok() {
                    backoffs.succeeded(&uid);
                }
                result
            })
        },
        move |object: Arc<Guarded<K>>, error: &PassFailed, _| {
            let pause = failures.failed(&object.meta().uid.clone().unwrap_or_default());
            warn!(controller = name, namespace = object.namespace(), object = object.name_any(), %error, ?pause, "A pass failed.");
            Action::requeue(pause)
        },
        context,
        store,
        requests,
        Config::default().concurrency(concurrency),
    );
    passes
        .for_each(|pass| async move {
            if let Err(error) = pass {
                debug!(controller = name, %error, "A pass ended early.");
            }
        })
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_each_failure_and_starts_anew_after_a_success() {
        let backoffs = Backoffs::default();
        let pauses: Vec<_> = (0..12).map(|_| backoffs.failed("u").as_secs_f64()).collect();
        assert!(pauses[0] <= 1.2 && pauses[3] >= 6.4 && pauses[11] <= 360.0, "{pauses:?}");
        backoffs.succeeded("u");
        assert!(backoffs.failed("u").as_secs_f64() <= 1.2);
    }
}
