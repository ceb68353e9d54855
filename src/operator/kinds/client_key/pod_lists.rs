//! The pods of namespaces in which a key goes on beside the next one, listed when somebody asks. They are not watched: that
//! would be most of what happens in a cluster.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ApiResource};
use parking_lot::Mutex;
use tracing::debug;

use crate::kubernetes::{
    holders::PodFacts,
    pages::{Contents, list_each},
};

/// Pods of one namespace that are kept. Where there are more, nobody knows who holds a key.
const MOST_PODS: usize = 20_000;
/// A list that nobody has asked for in this time is dropped.
const FORGOTTEN: Duration = Duration::from_mins(5);

/// The pods of one namespace; `None`: they cannot be listed.
type Pods = Option<Arc<[PodFacts]>>;

/// A list, and the lock under which it is made: whoever asks meanwhile waits for the same one.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Pods)>>>;

/// Lists of pods, each kept for as long as who asks can do with.
pub struct PodLists {
    client: Client,
    namespaces: Mutex<HashMap<String, (Instant, Slot)>>,
}

impl PodLists {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, namespaces: Mutex::default() }
    }

    /// The pods of the namespace as they were at most `age` ago; `None` when they cannot be listed.
    pub async fn of(&self, namespace: &str, age: Duration) -> Pods {
        let slot = self.slot(namespace);
        let mut listed = slot.lock().await;
        if let Some((at, pods)) = listed.as_ref().filter(|(at, _)| at.elapsed() < age) {
            debug!(namespace, age = ?at.elapsed(), "Pods as they were listed before.");
            return pods.clone();
        }
        // Before the request: what happens during it may not be in the answer.
        let at = Instant::now();
        let pods = self.list(namespace).await;
        *listed = Some((at, pods.clone()));
        pods
    }

    fn slot(&self, namespace: &str) -> Slot {
        let mut namespaces = self.namespaces.lock();
        namespaces.retain(|_, (asked, _)| asked.elapsed() < FORGOTTEN);
        let (asked, slot) = namespaces.entry(namespace.to_owned()).or_insert_with(|| (Instant::now(), Slot::default()));
        *asked = Instant::now();
        Arc::clone(slot)
    }

    async fn list(&self, namespace: &str) -> Pods {
        let api = Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<Pod>(&()));
        let (mut pods, mut unread) = (Vec::new(), false);
        let listed = list_each(&api, Contents::Whole, |object| match object.try_parse::<Pod>() {
            Ok(pod) if pods.len() < MOST_PODS => pods.push(PodFacts::of(&pod)),
            // One that is not understood, or does not fit, could hold a key.
            _ => unread = true,
        });
        match listed.await {
            Ok(()) if unread => None,
            Ok(()) => Some(pods.into()),
            Err(error) => {
                debug!(namespace, %error, "Could not list the pods.");
                None
            }
        }
    }
}
