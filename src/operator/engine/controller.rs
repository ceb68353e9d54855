//! Runs the passes of one kind: a bounded number at once, and never two over one object.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{
    task::JoinSet,
    time::{Instant, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info_span, warn};

use super::{
    DEAD,
    metrics::Metrics,
    queue::{Done, ObjectName, Queue},
};
use crate::telemetry::Liveness;

/// How often the time of passes under way is written down.
const OBSERVE: Duration = Duration::from_secs(1);

/// When to look at an object again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    next: Next,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Change,
    After(Duration),
    /// After a pause that grows while nothing changes.
    Seldom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// Something did not work; a longer pause would not help.
    Failed,
    /// Only a user can mend what the pass found.
    Terminal,
}

impl Action {
    #[must_use]
    pub fn requeue(after: Duration) -> Self {
        Self { next: Next::After(after), outcome: Outcome::Fine }
    }

    /// Now and then: the object waits for something that no watch shows.
    #[must_use]
    pub fn wait() -> Self {
        Self { next: Next::Seldom, outcome: Outcome::Fine }
    }

    /// When something happens to it.
    #[must_use]
    pub fn await_change() -> Self {
        Self { next: Next::Change, outcome: Outcome::Fine }
    }

    /// Now and then, after a failure that ends when somebody else mends it, at once for all objects.
    #[must_use]
    pub fn failed() -> Self {
        Self { next: Next::Seldom, outcome: Outcome::Failed }
    }

    /// Now and then, after a failure that only a user can mend.
    #[must_use]
    pub fn terminal() -> Self {
        Self { next: Next::Seldom, outcome: Outcome::Terminal }
    }
}

/// A pass failed. The object's status says why already.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct PassFailed {
    #[source]
    cause: Box<dyn std::error::Error + Send + Sync>,
    /// Only a user can mend it, though it is tried again as others are.
    terminal: bool,
}

impl PassFailed {
    pub fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { cause: Box::new(cause), terminal: false }
    }

    /// As [`Self::new`], and told apart when only a user can mend it.
    pub fn counted(cause: impl std::error::Error + Send + Sync + 'static, terminal: bool) -> Self {
        Self { terminal, ..Self::new(cause) }
    }
}

/// The controller of one kind.
pub struct Controller {
    /// Label of its metrics.
    pub name: &'static str,
    pub queue: Arc<Queue>,
    /// Passes under way at once.
    pub concurrency: u16,
    pub metrics: Metrics,
    pub liveness: Liveness,
}

/// Reconciles what the queue names until `stop`, and then lets passes under way finish. `reconcile` begins the pass
/// over an object; `None`: there is no such object any more.
pub async fn run<F, Fut>(controller: Controller, stop: CancellationToken, reconcile: F)
where
    F: Fn(&ObjectName) -> Option<Fut> + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Action, PassFailed>> + Send + 'static,
{
    let Controller { name, queue, concurrency, metrics, liveness } = controller;
    metrics.begin(name);
    queue.share_among(concurrency);
    metrics.max_concurrent.with_label_values(&[name]).set(concurrency.into());
    let mut workers = JoinSet::new();
    for _ in 0..concurrency {
        let (queue, metrics, stop, reconcile) = (queue.clone(), metrics.clone(), stop.clone(), reconcile.clone());
        workers.spawn(async move {
            loop {
                let next = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    next = queue.next() => next,
                };
                let span = info_span!("pass", controller = name, namespace = %next.namespace, object = %next.name);
                let working = async {
                    let done = match reconcile(&next) {
                        Some(reconciling) => pass(name, reconciling, &metrics).await,
                        None => Done::Gone,
                    };
                    if let Some(pause) = queue.done(&next, done) {
                        debug!(?pause, "Another attempt follows.");
                    }
                };
                working.instrument(span).await;
            }
        });
    }
    let watch_over = async {
        let _expected = liveness.expect(name, DEAD);
        let mut ticks = interval(OBSERVE);
        loop {
            ticks.tick().await;
            // A pass that hangs for good is as bad as a dead watch.
            if queue.observe_running() < DEAD {
                liveness.sign(name);
            }
        }
    };
    tokio::select! {
        () = watch_over => {}
        () = async { while workers.join_next().await.is_some() {} } => {}
    }
}

/// One pass, counted.
async fn pass(name: &str, reconcile: impl Future<Output = Result<Action, PassFailed>>, metrics: &Metrics) -> Done {
    let active = metrics.active_workers.with_label_values(&[name]);
    let started = Instant::now();
    active.inc();
    // A pass that panics takes nobody with it.
    let ended = AssertUnwindSafe(reconcile).catch_unwind().await;
    active.dec();
    metrics.reconcile_seconds.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
    let (result, done) = match ended {
        Ok(Ok(Action { next, outcome })) => {
            if outcome != Outcome::Fine {
                metrics.reconcile_errors.with_label_values(&[name]).inc();
            }
            if outcome == Outcome::Terminal {
                metrics.terminal_errors.with_label_values(&[name]).inc();
            }
            let result = match (outcome, next) {
                (Outcome::Failed | Outcome::Terminal, _) => "error",
                (Outcome::Fine, Next::After(_) | Next::Seldom) => "requeue_after",
                (Outcome::Fine, Next::Change) => "success",
            };
            let done = match next {
                Next::Change => Done::Await,
                Next::After(pause) => Done::Again(pause),
                Next::Seldom => Done::Waits,
            };
            (result, done)
        }
        Ok(Err(failed)) => {
            metrics.reconcile_errors.with_label_values(&[name]).inc();
            if failed.terminal {
                metrics.terminal_errors.with_label_values(&[name]).inc();
            }
            warn!(error = %failed, "A pass failed.");
            ("error", Done::Failed)
        }
        Err(_) => {
            metrics.reconcile_errors.with_label_values(&[name]).inc();
            metrics.panics.with_label_values(&[name]).inc();
            error!("A pass panicked.");
            ("error", Done::Failed)
        }
    };
    metrics.reconciles.with_label_values(&[name, result]).inc();
    done
}

#[cfg(test)]
mod tests {
    use std::future;

    use prometheus::Registry;

    use super::*;
    use crate::operator::engine::{metrics::QueueMetrics, queue::Echoes};

    fn counted(metrics: &Metrics) -> [u64; 3] {
        [&metrics.reconcile_errors, &metrics.terminal_errors, &metrics.panics]
            .map(|counter| counter.with_label_values(&["project"]).get())
    }

    #[tokio::test]
    async fn what_only_a_user_can_mend_is_told_apart_from_other_errors() {
        let failed = |terminal| Err(PassFailed::counted(std::fmt::Error, terminal));
        for (case, ended, expected) in [
            ("fine", Ok(Action::await_change()), [0, 0, 0]),
            ("somebody else mends it", Ok(Action::failed()), [1, 0, 0]),
            ("stalled", Ok(Action::terminal()), [1, 1, 0]),
            ("tried again", failed(false), [1, 0, 0]),
            ("the user's database", failed(true), [1, 1, 0]),
        ] {
            let metrics = Metrics::register(&Registry::new()).unwrap();
            pass("project", future::ready(ended), &metrics).await;
            assert_eq!(counted(&metrics), expected, "{case}");
        }
        let metrics = Metrics::register(&Registry::new()).unwrap();
        pass("project", async { panic!("as a defect does") }, &metrics).await;
        assert_eq!(counted(&metrics), [1, 0, 1]);
    }

    #[tokio::test]
    async fn counters_show_before_anything_is_counted() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let controller = Controller {
            name: "project",
            queue: Arc::new(Queue::new(Echoes::default(), QueueMetrics::unregistered())),
            concurrency: 1,
            metrics,
            liveness: Liveness::default(),
        };
        run(controller, stop, |_| None::<future::Ready<_>>).await;
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for name in ["reconcile_errors_total", "terminal_reconcile_errors_total", "reconcile_panics_total"] {
            let line = format!("errortracking_operator_{name}{{controller=\"project\"}} 0\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
