//! One pass over one object: `observe → plan → apply`, until nothing is left to do.

use std::{error::Error, time::Duration};

use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::{
    controller::{Action, PassFailed},
    fault::{self, When},
    metrics::Metrics,
};

/// Longest time between two passes over an object that nobody touches.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

/// Longest observation. Answers take milliseconds; a server that accepts and stays silent must not hold the workers.
const OBSERVE_LIMIT: Duration = Duration::from_secs(20);
/// Longest pass, in which a migration takes longest. A worker that is held for longer is taken for dead.
const PASS_LIMIT: Duration = Duration::from_mins(4);
/// Longest pass over an object whose database belongs to its owner, who may let every statement take as long as it can.
const OWNERS_PASS_LIMIT: Duration = Duration::from_mins(1);

/// What a failure means for the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The same step can pass in a moment.
    RetrySoon,
    /// Somebody else mends it, at once for all objects.
    Wait,
    /// Only a user can mend it.
    Stalled,
    /// Another process leads; nothing is to be written any more.
    Fenced,
}

/// Why a step did not work. `Display` is the sentence for people.
pub trait StepFailure: Error + Send + Sync + 'static {
    /// A server did not answer in time.
    fn no_answer() -> Self;

    fn outlook(&self) -> Outlook;

    /// When the same step can pass at the earliest, where somebody said so.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// One pass over one object of a kind.
pub trait Pass: Send {
    /// Everything that is known of the object and of what it owns.
    type Observed: Send + Sync;
    type Step: Copy + Send + Sync;
    type Failure: StepFailure;

    /// Label of the steps in metrics.
    const CONTROLLER: &'static str;
    /// Rounds that a new object takes, with the one that finds nothing to do.
    const ROUNDS: usize;

    /// Looks at the object and at what it owns. On failure nothing is known about the object, and nothing is written.
    fn observe(&mut self) -> impl Future<Output = Result<Self::Observed, Self::Failure>> + Send;

    /// Pure: the steps that are missing, in order; none when the object is as it should be or must wait.
    fn plan(observed: &Self::Observed) -> Vec<Self::Step>;

    /// What keeps the object from becoming what it should be, though no step has failed.
    fn obstacle(&self, observed: &Self::Observed) -> Option<Self::Failure>;

    /// Whether only the object's owner can mend the failure, though it is no reason to stall: theirs is the database.
    fn is_of_owner(&self, failure: &Self::Failure) -> bool;

    /// Whether the object's database belongs to its owner.
    fn is_in_owners_database(&self) -> bool;

    /// Whether the object waits for something that no watch shows.
    fn waits(observed: &Self::Observed) -> bool;

    /// When the object is looked at again at the latest, if something may change by then that nobody tells.
    fn look_again(_: &Self::Observed) -> Option<Duration> {
        None
    }

    /// Name of the step in metrics.
    fn name(step: Self::Step) -> &'static str;

    /// Does one step. Repeating it changes nothing.
    fn perform(
        &mut self,
        observed: &Self::Observed,
        step: Self::Step,
    ) -> impl Future<Output = Result<(), Self::Failure>> + Send;

    /// Writes the status if it has changed.
    fn write_status(
        &self,
        observed: &Self::Observed,
        failure: Option<&Self::Failure>,
    ) -> impl Future<Output = Result<(), Self::Failure>> + Send;
}

/// Repeats until nothing is left to do or a step fails, then writes the status.
pub async fn run<P: Pass>(mut pass: P, metrics: &Metrics) -> Result<Action, PassFailed> {
    let mut round = 1;
    let limit = if pass.is_in_owners_database() { OWNERS_PASS_LIMIT } else { PASS_LIMIT };
    let deadline = Instant::now() + limit;
    let (observed, failure) = loop {
        let observed = timeout_at(deadline.min(Instant::now() + OBSERVE_LIMIT), pass.observe()).await;
        let observed = observed.unwrap_or_else(|_| Err(P::Failure::no_answer())).map_err(|failure| {
            let terminal = pass.is_of_owner(&failure);
            PassFailed::counted(failure, terminal)
        })?;
        let steps = P::plan(&observed);
        let done = steps.is_empty() || round == P::ROUNDS;
        let mut failure = None;
        for named in steps {
            let performed = async {
                let performed = timeout_at(deadline, pass.perform(&observed, named)).await;
                performed.unwrap_or_else(|_| Err(P::Failure::no_answer()))
            };
            if let Err(failed) = step(metrics, P::CONTROLLER, P::name(named), performed).await {
                failure = Some(failed);
                break;
            }
        }
        if done || failure.is_some() {
            // What keeps one piece back does not slow the others down: it is told when these are done.
            let failure = failure.or_else(|| pass.obstacle(&observed));
            break (observed, failure);
        }
        round += 1;
    };
    let failure = match failure {
        Some(fenced) if fenced.outlook() == Outlook::Fenced => return Err(PassFailed::new(fenced)),
        failure => failure,
    };
    fault::point(P::CONTROLLER, "status", When::Before);
    if let Err(error) = pass.write_status(&observed, failure.as_ref()).await {
        return finished(Err(error));
    }
    fault::point(P::CONTROLLER, "status", When::After);
    let Some(failure) = failure else {
        let after = P::look_again(&observed).map_or(LOOK_AGAIN, |after| after.min(LOOK_AGAIN));
        return Ok(if P::waits(&observed) { Action::wait() } else { Action::requeue(after) });
    };
    let terminal = pass.is_of_owner(&failure);
    if let Some(after) = failure.retry_after() {
        return Ok(Action::requeue(after));
    }
    match failure.outlook() {
        Outlook::RetrySoon | Outlook::Fenced => Err(PassFailed::counted(failure, terminal)),
        Outlook::Stalled => Ok(Action::terminal()),
        Outlook::Wait if terminal => Ok(Action::terminal()),
        Outlook::Wait => Ok(Action::failed()),
    }
}

/// Does one step of a plan and counts how it went.
pub async fn step<T, E>(
    metrics: &Metrics,
    controller: &str,
    step: &str,
    doing: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    fault::point(controller, step, When::Before);
    let result = doing.await;
    fault::point(controller, step, When::After);
    let outcome = if result.is_ok() { "applied" } else { "failed" };
    metrics.steps.with_label_values(&[controller, step, outcome]).inc();
    result
}

/// Ends a pass after which nothing is left to do until something happens.
pub fn finished<F: StepFailure>(result: Result<(), F>) -> Result<Action, PassFailed> {
    match result {
        Ok(()) => Ok(Action::await_change()),
        Err(failure) if failure.outlook() == Outlook::Wait => {
            warn!(error = %failure, "A pass failed.");
            Ok(Action::failed())
        }
        Err(failure) => {
            let terminal = failure.outlook() == Outlook::Stalled;
            Err(PassFailed::counted(failure, terminal))
        }
    }
}
