//! Which conditions are worth an Event. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The conditions that somebody should be warned of and that the status did not hold before: an object has stalled, has
/// lost its database, or waits for what may never come.
pub fn warnings<'a>(before: &'a [Condition], after: &'a [Condition]) -> impl Iterator<Item = &'a Condition> {
    let wrong = |condition: &&Condition| match condition.type_.as_str() {
        "Stalled" => condition.status == "True",
        "DatabaseReady" | "IngestReady" => condition.status == "False" && condition.reason != "Progressing",
        "SecretPublished" => matches!(condition.reason.as_str(), "ProjectNotFound" | "ProjectDeleted"),
        _ => false,
    };
    let quiet = ["WaitingForPods", "ScaledToZero"];
    let known =
        |condition: &Condition| before.iter().any(|old| old.type_ == condition.type_ && old.reason == condition.reason);
    after.iter().filter(wrong).filter(move |condition| !quiet.contains(&condition.reason.as_str()) && !known(condition))
}
