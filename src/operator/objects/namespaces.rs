//! Labels of namespaces, which say who may hold keys of a project. No watch shows them: they are read when a pass needs
//! them, once for all objects of the namespace whose passes come together.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::ApplyError;

/// How long what was read is used again.
const FRESH: Duration = Duration::from_secs(10);

pub type Labels = BTreeMap<String, String>;

/// Reads the labels of namespaces.
pub struct NamespaceLabels {
    client: Client,
    known: Mutex<Known>,
}

/// By namespace; `None`: there is no such one.
type Known = HashMap<String, (Instant, Option<Arc<Labels>>)>;

impl NamespaceLabels {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, known: Mutex::default() }
    }

    /// As they are, or were a moment ago; `None`: there is no such namespace.
    pub async fn of(&self, namespace: &str) -> Result<Option<Arc<Labels>>, ApplyError> {
        if let Some((read, labels)) = self.known.lock().get(namespace)
            && read.elapsed() < FRESH
        {
            return Ok(labels.clone());
        }
        let found = Api::<Namespace>::all(self.client.clone()).get_opt(namespace).await;
        let found = found.map_err(ApplyError::kubernetes("get", "Namespace", namespace))?;
        let labels = found.map(|found| Arc::new(found.labels().clone()));
        let mut known = self.known.lock();
        known.retain(|_, (read, _)| read.elapsed() < FRESH);
        known.insert(namespace.to_owned(), (Instant::now(), labels.clone()));
        Ok(labels)
    }
}
