//! Events about objects, published beside the passes. Nobody waits for them, and a full queue drops them.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;
use tracing::debug;

use crate::kubernetes::names::FIELD_MANAGER;

/// Longest note of an Event: the API server takes 1024 bytes.
const NOTE_LIMIT: usize = 1000;
/// Events that may wait to be published.
const WAITING: usize = 1_024;

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
    SecretPublished,
    TombstoneLost,
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
            Self::SecretPublished => "SecretPublished",
            Self::TombstoneLost => "TombstoneLost",
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
            note: Some(note.chars().take(NOTE_LIMIT).collect()),
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
        let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: None };
        let recorder = Recorder::new(client, reporter);
        while let Some((event, object)) = self.0.recv().await {
            if let Err(error) = recorder.publish(&event, &object).await {
                debug!(%error, "Could not publish an Event.");
            }
        }
        std::future::pending::<()>().await;
    }
}
