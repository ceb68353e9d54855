//! `observe → plan → apply`, for every kind: the loop that a pass over one object is.

use std::time::Duration;

use kube::{Resource, core::NamespaceResourceScope};
use tokio::time::timeout;
use tracing::warn;

use super::{
    Context,
    apply::ApplyError,
    controller::{Action, PassFailed},
    failure::Failure,
    fault::{self, When},
};
use crate::crd::PAUSED_ANNOTATION;

/// Longest time between two passes over an object that nobody touches.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
/// While something must come first that no watch shows: the database, a right, or a name that somebody else has taken.
const WAIT: Duration = Duration::from_secs(10);

/// What is looked at is answered in milliseconds: a server that accepts and says nothing must not take the workers from others.
const OBSERVE_LIMIT: Duration = Duration::from_secs(20);
/// Longest step; a migration takes longest.
const STEP_LIMIT: Duration = Duration::from_mins(4);

fn no_answer() -> Failure {
    Failure::Waiting("a server did not answer in time".into())
}

/// One pass over one object of a kind.
pub trait Pass: Send {
    type Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Sync;
    /// Everything that is known of the object and of what it owns.
    type Observed: Send + Sync;
    type Step: Copy + Send;

    /// Label of the steps in metrics.
    const CONTROLLER: &'static str;
    /// Rounds that a new object takes, with the one that finds nothing to do.
    const ROUNDS: usize;

    fn object(&self) -> &Self::Kind;

    /// Fails when an answer could not be had that would say nothing about the object: then nothing is written.
    fn observe(&mut self) -> impl Future<Output = Result<Self::Observed, Failure>> + Send;

    /// Pure: the steps that are missing, in order; none when the object is as it should be or must wait.
    fn plan(observed: &Self::Observed) -> Vec<Self::Step>;

    /// What keeps the object from becoming what it should be, though no step has failed.
    fn obstacle(&self, observed: &Self::Observed) -> Option<Failure>;

    /// Whether the object waits for something that no watch shows.
    fn waits(observed: &Self::Observed) -> bool;

    /// Name of the step in metrics.
    fn name(step: Self::Step) -> &'static str;

    /// Does one step. Repeating it changes nothing.
    fn perform(
        &mut self,
        observed: &Self::Observed,
        step: Self::Step,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Writes the status if it says anything new.
    fn write_status(
        &self,
        observed: &Self::Observed,
        failure: Option<&Failure>,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send;
}

/// Goes round until nothing is left to do or a step fails, and says in the status how it went.
pub async fn run<P: Pass>(mut pass: P, context: &Context) -> Result<Action, PassFailed> {
    let metadata = pass.object().meta();
    if metadata.annotations.as_ref().and_then(|all| all.get(PAUSED_ANNOTATION)).is_some_and(|value| value == "true") {
        return finished(context.report_paused::<P::Kind>(metadata).await.map_err(Failure::from));
    }
    let mut round = 1;
    let (observed, failure) = loop {
        let observed = timeout(OBSERVE_LIMIT, pass.observe()).await;
        let observed =
            observed.unwrap_or_else(|_| Err(no_answer())).map_err(|failure| PassFailed(failure.to_string()))?;
        let steps = P::plan(&observed);
        let done = steps.is_empty() || round == P::ROUNDS;
        let mut failure = pass.obstacle(&observed);
        for step in steps {
            let performed =
                async { timeout(STEP_LIMIT, pass.perform(&observed, step)).await.unwrap_or_else(|_| Err(no_answer())) };
            let result = context.step(P::CONTROLLER, P::name(step), performed).await;
            if let Err(failed) = result {
                failure = Some(failed);
                break;
            }
        }
        if done || failure.is_some() {
            break (observed, failure);
        }
        round += 1;
    };
    if let Some(Failure::Fenced(message)) = failure {
        return Err(PassFailed(message));
    }
    fault::point(P::CONTROLLER, "status", When::Before);
    if let Err(error) = pass.write_status(&observed, failure.as_ref()).await {
        return finished(Err(error.into()));
    }
    fault::point(P::CONTROLLER, "status", When::After);
    match failure {
        Some(failure) if failure.retry_soon() => Err(PassFailed(failure.to_string())),
        Some(failure) if failure.stalls() => Ok(Action::stalled(WAIT)),
        Some(_) => Ok(Action::failed(WAIT)),
        None if P::waits(&observed) => Ok(Action::requeue(WAIT)),
        None => Ok(Action::requeue(LOOK_AGAIN)),
    }
}

/// Ends a pass after which nothing is left to do until something happens.
pub fn finished(result: Result<(), Failure>) -> Result<Action, PassFailed> {
    match result {
        Ok(()) => Ok(Action::await_change()),
        Err(failure @ Failure::Forbidden(_)) => {
            warn!(error = %failure, "A pass failed.");
            Ok(Action::failed(WAIT))
        }
        Err(failure) => Err(PassFailed(failure.to_string())),
    }
}
