//! Which conditions are worth an Event. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::crd::{ConditionStatus, ConditionType, Reason};

/// The conditions in `after` that deserve a warning and are not in `before`: an object has stalled, has lost its
/// database, or waits for what may never come.
pub fn warnings<'a>(before: &'a [Condition], after: &'a [Condition]) -> impl Iterator<Item = &'a Condition> {
    let known = |condition: &Condition| {
        let same = |old: &Condition| {
            (&old.type_, &old.status, &old.reason) == (&condition.type_, &condition.status, &condition.reason)
        };
        before.iter().any(same)
    };
    after.iter().filter(move |condition| needs_somebody(condition) && !known(condition))
}

fn needs_somebody(condition: &Condition) -> bool {
    use ConditionType::{
        DatabaseReady, DeadKeyInUse, Flooded, IngestReady, Paused, RolledOut, Rotating, SecretPublished, Stalled,
    };
    let status = |status: ConditionStatus| condition.status == status.as_str();
    let reason = |reasons: &[Reason]| reasons.iter().any(|reason| reason.as_str() == condition.reason);
    let quiet = [Reason::Progressing, Reason::WaitingForPods, Reason::ScaledToZero];
    match ConditionType::ALL.into_iter().find(|kind| kind.as_str() == condition.type_) {
        Some(Stalled | DeadKeyInUse | Flooded) => status(ConditionStatus::True),
        Some(Rotating) => reason(&[Reason::Invalid, Reason::RestartReverted]),
        Some(RolledOut) => reason(&[Reason::GraceTooShort, Reason::RestartReverted]),
        Some(DatabaseReady | IngestReady) => status(ConditionStatus::False) && !reason(&quiet),
        Some(Paused) => status(ConditionStatus::False) && reason(&[Reason::Invalid]),
        Some(SecretPublished) => {
            status(ConditionStatus::False) && reason(&[Reason::ProjectNotFound, Reason::ProjectDeleted])
        }
        _ => false,
    }
}
