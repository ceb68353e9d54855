//! Asks for another key, or says what that would do.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use tokio::time::{Instant, sleep};

use super::{
    PluginError,
    annotations::keys_of,
    cluster::{Cluster, FoundKey, name, typed},
    keys::{condition, conditions, holding},
    output::{Output, note, print, print_document, print_object},
    plan::{Plan, Seen, obstacles_of_rotation},
};
use crate::{
    crd::{ClientKey, ConditionType, ROTATE_ANNOTATION, RunnerBinding, Window},
    kubernetes::holders::PodFacts,
};

/// How often a rotation that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Put another key into the Secret. The one before is accepted until nobody holds it any more.
///
/// Sets the annotation errortracking.dev/rotate to the current time. Applications take the new key when they restart.
#[derive(Clone, Debug, clap::Args)]
pub struct Rotate {
    /// Name of the key, as `kubectl get clientkeys` has it.
    #[arg(value_parser = name)]
    key: String,
    /// Say who holds the key now and what a rotation would do, and change nothing.
    #[arg(long)]
    plan: bool,
    /// Wait until the Secret names the new key.
    #[arg(long, conflicts_with = "plan")]
    wait: bool,
    /// Longest wait, as 90s or 10m.
    #[arg(long, requires = "wait", default_value = "5m", value_parser = length)]
    timeout: Duration,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

fn length(text: &str) -> Result<Duration, String> {
    let window = Window::try_from(text.to_owned()).map_err(|error| error.to_string())?;
    Ok(Duration::from_secs(window.seconds().into()))
}

pub async fn rotate(command: &Rotate, cluster: &Cluster) -> Result<(), PluginError> {
    let FoundKey { key, .. } = cluster.key(&command.key).await?;
    let now = cluster.now().await;
    if command.plan {
        return plan(command, cluster, &key, now).await;
    }
    for obstacle in obstacles_of_rotation(&key, now) {
        note(&obstacle);
    }
    let object =
        cluster.annotate(&command.key, ROTATE_ANNOTATION, &time_of_request(&key, now).to_string(), None).await?;
    if !command.wait {
        return print_object(command.output, object, "rotation requested");
    }
    let (object, done) = wait(command, cluster, &key).await?;
    print_object(command.output, object, &done)
}

/// The present, and in any case later than the active key was made, by whichever clock that was: an earlier request
/// rotates nothing.
fn time_of_request(key: &ClientKey, now: Timestamp) -> Timestamp {
    let active = key.status.as_ref().and_then(|status| status.active.as_ref());
    let after =
        active.and_then(|active| Timestamp::from_second(active.created_at.0.as_second().saturating_add(1)).ok());
    after.map_or(now, |after| after.max(now))
}

async fn plan(command: &Rotate, cluster: &Cluster, key: &ClientKey, now: Timestamp) -> Result<(), PluginError> {
    let secrets = key.secret_names();
    let takes_one = |pod: &PodFacts| secrets.iter().any(|secret| pod.refers_to(secret));
    let (mut pods, mut unread) = (Vec::new(), 0);
    let listed = cluster
        .each::<Pod>(false, |object| match object.try_parse::<Pod>() {
            Ok(pod) => pods.extend(Some(PodFacts::of(&pod)).filter(takes_one)),
            Err(_) => unread += 1,
        })
        .await;
    let pods = match listed {
        Ok(()) if unread == 0 => Some(pods),
        Ok(()) => return Err(PluginError::Refused(format!("{unread} pods cannot be read by this version"))),
        Err(error) if error.is_missing_right() => None,
        Err(error) => return Err(error),
    };
    let bindings = bindings(cluster).await?;
    let seen = Seen { pods: pods.as_deref(), bindings: &bindings };
    let plan = Plan::of(key, cluster.server_of(key).await?, seen, now, command.output);
    match command.output {
        Some(Output::Name) => print(&format!("clientkey.errortracking.dev/{}\n", command.key)),
        output => match output.and_then(Output::document) {
            Some(document) => print_document(document, &plan),
            None => print(&plan.text(now)),
        },
    }
}

/// Those of the namespace; none, and a note, where they may not be listed or the cluster does not know them.
async fn bindings(cluster: &Cluster) -> Result<Vec<RunnerBinding>, PluginError> {
    let why = match cluster.objects::<RunnerBinding>(false).await {
        Ok(objects) => {
            let unread =
                |object: DynamicObject| RunnerBinding { metadata: object.metadata, ..RunnerBinding::default() };
            return Ok(typed(&objects, unread));
        }
        Err(error) if error.is_missing_right() => error.to_string(),
        Err(error) if error.is_not_found() => "the cluster does not know RunnerBindings".to_owned(),
        Err(error) => return Err(error),
    };
    note(&format!("Runners that a RunnerBinding configures are not shown: {why}."));
    Ok(Vec::new())
}

/// Until the Secret names another key than that of `before`; the object then, and what was done.
async fn wait(command: &Rotate, cluster: &Cluster, before: &ClientKey) -> Result<(DynamicObject, String), PluginError> {
    let deadline = Instant::now() + command.timeout;
    let mut said = String::new();
    loop {
        sleep(LOOK).await;
        // An API server that is away for a moment is asked again.
        let looked = cluster.key(&command.key).await;
        match &looked {
            Ok(found) => match progress(before, &found.key) {
                Progress::Done(done) => return Ok((found.object.clone(), done)),
                Progress::Stalled(message) => return Err(PluginError::Refused(message)),
                Progress::Waiting(message) if message != said => {
                    note(&message);
                    said = message;
                }
                Progress::Waiting(_) => {}
            },
            Err(error) if error.may_pass() => {}
            Err(_) => return looked.map(|found| (found.object, String::new())),
        }
        if Instant::now() >= deadline {
            let last = looked.map_or_else(|error| error.to_string(), |_| said);
            let name = &command.key;
            let message = format!("ClientKey {name} was not rotated in time; the request stands: {last}");
            return Err(PluginError::Refused(message));
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Done(String),
    Stalled(String),
    Waiting(String),
}

fn progress(before: &ClientKey, now: &ClientKey) -> Progress {
    let (active, retiring) = keys_of(now);
    if let Some(id) = active.filter(|&id| keys_of(before).0 != Some(id)) {
        let former = retiring.map(|former| format!("; key {former} is accepted until nobody holds it"));
        let former = former.unwrap_or_default();
        return Progress::Done(format!("rotated: Secret {} names key {id}{former}", now.secret_name()));
    }
    let conditions = conditions(now);
    if let Some(stalled) = holding(conditions, ConditionType::Stalled) {
        return Progress::Stalled(format!("the rotation waits for a person ({}): {}", stalled.reason, stalled.message));
    }
    let not_ready = || condition(conditions, ConditionType::Ready).filter(|ready| ready.status != "True");
    let waits = holding(conditions, ConditionType::Rotating).or_else(not_ready);
    Progress::Waiting(waits.map_or("the operator has not begun", |condition| &condition.message).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn key(active: &str, change: fn(&mut Value)) -> ClientKey {
        let mut key = json!({
            "metadata": {"name": "shop"}, "spec": {"projectRef": {"name": "shop"}},
            "status": {"active": {"keyID": active, "publicKeyPrefix": "1a2b3c4d", "createdAt": "2026-11-29T12:00:00Z"}},
        });
        change(&mut key);
        serde_json::from_value(key).unwrap()
    }

    #[test]
    fn a_request_is_later_than_the_key_that_it_is_about() {
        for (now, requested) in [
            ("2026-11-29T11:55:00Z", "2026-11-29T12:00:01Z"),
            ("2026-11-29T12:00:00Z", "2026-11-29T12:00:01Z"),
            ("2026-11-29T12:30:00Z", "2026-11-29T12:30:00Z"),
        ] {
            let time = time_of_request(&key("42", |_| {}), now.parse().unwrap());
            assert_eq!(time.to_string(), requested, "{now}");
        }
    }

    #[test]
    fn a_rotation_is_over_when_the_secret_names_another_key() {
        let before = key("42", |_| {});
        let condition = |kind: &str, message: &str| json!([{"type": kind, "status": "True", "reason": "R", "message": message, "lastTransitionTime": "2026-11-29T12:00:00Z"}]);
        let waiting = key("42", |_| {});
        assert_eq!(progress(&before, &waiting), Progress::Waiting("the operator has not begun".into()));
        let mut rotating = serde_json::to_value(&waiting).unwrap();
        rotating["status"]["conditions"] = condition("Rotating", "Waiting for 1 ingest pod.");
        let rotating: ClientKey = serde_json::from_value(rotating).unwrap();
        assert_eq!(progress(&before, &rotating), Progress::Waiting("Waiting for 1 ingest pod.".into()));
        let mut stalled = serde_json::to_value(&waiting).unwrap();
        stalled["status"]["conditions"] = condition("Stalled", "Delete Secret shop-dsn.");
        let stalled: ClientKey = serde_json::from_value(stalled).unwrap();
        let waits = "the rotation waits for a person (R): Delete Secret shop-dsn.";
        assert_eq!(progress(&before, &stalled), Progress::Stalled(waits.into()));
        let done = key("43", |key| {
            key["status"]["retiring"] =
                json!({"keyID": "42", "publicKeyPrefix": "1a2b3c4d", "since": "2026-11-29T12:00:00Z"});
        });
        let said = "rotated: Secret shop-dsn names key 43; key 42 is accepted until nobody holds it";
        assert_eq!(progress(&before, &done), Progress::Done(said.into()));
    }
}
