//! Children as the process applies them: whether one has drifted, and the write that puts it right.

use std::{collections::HashMap, sync::Arc};

use kube::{Client, api::DynamicObject};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{
    ApplyError,
    apply::{self, Ensured},
    child::{Child, ChildKind, Drift, prune},
};
use crate::operator::engine::queue::Echoes;

/// Kind, namespace and name of a child.
type ChildKey = (ChildKind, String, String);

/// Digest of what was applied of a child, and the version that came of it.
#[derive(Debug)]
struct Applied {
    manifest: [u8; 32],
    version: String,
}

/// Writes children, and remembers what the API server made of each: it may keep a value in another form ("1000m" as
/// "1"), which is no drift.
pub struct ChildWriter {
    client: Client,
    echoes: Echoes,
    applied: Mutex<HashMap<ChildKey, Applied>>,
}

impl ChildWriter {
    #[must_use]
    pub fn new(client: Client, echoes: Echoes) -> Self {
        Self { client, echoes, applied: Mutex::default() }
    }

    /// How the child differs from what it should be. What the last apply made of it is no difference.
    #[must_use]
    pub fn drift(&self, child: &Child, live: Option<Arc<DynamicObject>>) -> Drift {
        let drift = child.compare(live.as_deref());
        if drift != Drift::Changed {
            return drift;
        }
        match (self.applied.lock().get(&key(child)), live) {
            (Some(last), Some(live))
                if last.manifest == digest(child) && last.version == version(&live) && child.same_metadata(&live) =>
            {
                Drift::None
            }
            _ => drift,
        }
    }

    /// The child as the cache would hold it, if it were small enough.
    pub async fn read(
        &self,
        kind: ChildKind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, ApplyError> {
        let Some(mut found) = apply::read(&self.client, kind, namespace, name).await? else { return Ok(None) };
        prune(kind, &mut found);
        Ok(Some(found))
    }

    /// Makes the child what it should be; returns it as the cache would hold it.
    pub async fn ensure(&self, child: &Child) -> Result<Ensured, ApplyError> {
        let mut ensured = apply::ensure(&self.client, child).await?;
        let live = &mut ensured.live;
        self.echoes.wrote(live.metadata.resource_version.as_deref().filter(|_| ensured.written));
        prune(child.kind, live);
        if ensured.written && child.kind != ChildKind::Secret {
            let applied = Applied { manifest: digest(child), version: version(live) };
            self.applied.lock().insert(key(child), applied);
        }
        Ok(ensured)
    }

    /// Forgets what was applied under this name, whatever its kind.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.applied.lock().retain(|(_, of, called), _| of != namespace || called != name);
    }
}

fn digest(child: &Child) -> [u8; 32] {
    Sha256::digest(child.manifest.to_string()).into()
}

fn key(child: &Child) -> ChildKey {
    (child.kind, child.namespace.clone(), child.name.clone())
}

/// What changes with the spec, not with the status; kinds without a generation have only the resource version.
fn version(object: &DynamicObject) -> String {
    match object.metadata.generation {
        Some(generation) => format!("generation {generation}"),
        None => object.metadata.resource_version.clone().unwrap_or_default(),
    }
}
