//! Events about objects, published beside the passes. Nobody waits for them, and a full queue drops them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;
use tracing::debug;

use crate::kubernetes::names::FIELD_MANAGER;

/// Longest note of an Event, in bytes: so many the API server takes.
const NOTE_LIMIT: usize = 1024;
/// Events that may wait to be published.
const WAITING: usize = 1_024;
/// The same Event within this time is counted at the first one: as long as kube's recorder remembers it.
const SERIES: Duration = Duration::from_mins(6);
/// How often recorders are looked for that are not used any more.
const SWEEP: Duration = Duration::from_mins(1);

/// Reasons of Events that are no reasons of conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventReason {
    ProjectAllocated,
    SchemaMigrated,
    LoginPublished,
    WorkloadApplied,
    KeyAdopted,
    KeyMinted,
    KeyEnabled,
    KeyDisabled,
    KeyRotated,
    KeyRestored,
    KeyRetired,
    KeyRevoked,
    WorkloadRestarted,
    SecretPublished,
    /// Somebody changed a child, and it is as it was again.
    PutBack,
    /// Integrated error tracking was switched on in GitLab.
    ErrorTrackingEnabled,
    /// Keys at a server that nobody claims.
    KeysUnclaimed,
    /// Keys at a server that could not be taken back.
    KeysLeft,
    /// A runner's configuration has the DSN of its key.
    DsnWritten,
    TombstoneLost,
    NumberIgnored,
}

impl EventReason {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProjectAllocated => "ProjectAllocated",
            Self::SchemaMigrated => "SchemaMigrated",
            Self::LoginPublished => "LoginPublished",
            Self::WorkloadApplied => "WorkloadApplied",
            Self::KeyAdopted => "KeyAdopted",
            Self::KeyMinted => "KeyMinted",
            Self::KeyEnabled => "KeyEnabled",
            Self::KeyDisabled => "KeyDisabled",
            Self::KeyRotated => "KeyRotated",
            Self::KeyRestored => "KeyRestored",
            Self::KeyRetired => "KeyRetired",
            Self::KeyRevoked => "KeyRevoked",
            Self::WorkloadRestarted => "WorkloadRestarted",
            Self::SecretPublished => "SecretPublished",
            Self::PutBack => "PutBack",
            Self::ErrorTrackingEnabled => "ErrorTrackingEnabled",
            Self::KeysUnclaimed => "KeysUnclaimed",
            Self::KeysLeft => "KeysLeft",
            Self::DsnWritten => "DSNWritten",
            Self::TombstoneLost => "TombstoneLost",
            Self::NumberIgnored => "NumberIgnored",
        }
    }
}

/// Takes Events in. Clones share the queue.
#[derive(Clone, Debug)]
pub struct EventRecorder(mpsc::Sender<(Event, ObjectReference)>);

/// Events that wait to be published.
pub struct WaitingEvents(mpsc::Receiver<(Event, ObjectReference)>);

impl EventRecorder {
    #[must_use]
    pub fn new() -> (Self, WaitingEvents) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), WaitingEvents(receiver))
    }

    /// Something happened to the object during a pass.
    pub fn announce<K: Resource<DynamicType = ()>>(&self, object: &K, reason: EventReason, note: &str) {
        self.publish(&object.object_ref(&()), EventType::Normal, "Reconcile", reason.as_str(), note);
    }

    /// Somebody has to do something about what the condition says.
    pub fn warn<K: Resource<DynamicType = ()>>(&self, object: &K, condition: &Condition) {
        let Condition { reason, message, .. } = condition;
        self.publish(&object.object_ref(&()), EventType::Warning, "Reconcile", reason, message);
    }

    /// An Event about an object that may be gone, or that cannot be read.
    pub fn publish(&self, object: &ObjectReference, type_: EventType, action: &str, reason: &str, note: &str) {
        let event = Event {
            type_,
            reason: reason.into(),
            note: Some(note[..note.floor_char_boundary(NOTE_LIMIT)].to_owned()),
            action: action.into(),
            secondary: None,
        };
        if self.0.try_send((event, object.clone())).is_err() {
            debug!(?object, "Too many Events wait; this one is dropped.");
        }
    }
}

impl WaitingEvents {
    /// Publishes one after the other. Never ends.
    pub async fn publish(mut self, client: Client) {
        let mut recorders = Recorders { client, by_note: HashMap::new(), swept: Instant::now() };
        while let Some((event, object)) = self.0.recv().await {
            let note = event.note.clone().unwrap_or_default();
            if let Err(error) = recorders.for_note(note, Instant::now()).publish(&event, &object).await {
                debug!(%error, "Could not publish an Event.");
            }
        }
        std::future::pending::<()>().await;
    }
}

/// A recorder for each text. One folds an Event into the one before of the same object and reason, whatever that says:
/// the new key would be told of under the name of the old one.
struct Recorders {
    client: Client,
    /// With the time of the last use.
    by_note: HashMap<String, (Recorder, Instant)>,
    swept: Instant,
}

impl Recorders {
    fn for_note(&mut self, note: String, now: Instant) -> &Recorder {
        if now.duration_since(self.swept) > SWEEP {
            self.swept = now;
            self.by_note.retain(|_, (_, used)| now.duration_since(*used) < SERIES);
        }
        let (recorder, used) = self.by_note.entry(note).or_insert_with(|| {
            let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: None };
            (Recorder::new(self.client.clone(), reporter), now)
        });
        *used = now;
        recorder
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use tower::service_fn;

    use super::*;
    use crate::crd::ClientKey;

    #[tokio::test]
    async fn an_event_with_another_text_is_another_event() {
        let (requests, mut asked) = mpsc::channel(10);
        let server = service_fn(move |request: Request<Body>| {
            let requests = requests.clone();
            async move {
                let method = request.method().clone();
                let body = request.into_body().collect().await?.to_bytes();
                let event: serde_json::Value = serde_json::from_slice(&body)?;
                requests.send((method, event["note"].to_string(), event["series"]["count"].as_i64())).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Response::new(Body::from(body.to_vec())))
            }
        });
        let (events, waiting) = EventRecorder::new();
        let mut key = ClientKey::default();
        key.metadata.name = Some("shop".into());
        key.metadata.uid = Some("u1".into());
        for prefix in ["0a0a0a0a", "0b0b0b0b", "0a0a0a0a"] {
            events.announce(&key, EventReason::KeyMinted, &format!("Key {prefix}… was made."));
        }
        let listening = async {
            let mut published = Vec::new();
            while published.len() < 3 {
                published.extend(asked.recv().await);
            }
            published
        };
        let published = tokio::select! {
            () = waiting.publish(Client::new(server, "web")) => Vec::new(),
            published = listening => published,
        };
        let note = |prefix: &str| format!("\"Key {prefix}… was made.\"");
        let expected = [
            (Method::POST, note("0a0a0a0a"), None),
            (Method::POST, note("0b0b0b0b"), None),
            (Method::PATCH, note("0a0a0a0a"), Some(2)),
        ];
        assert_eq!(published, expected);
    }
}
