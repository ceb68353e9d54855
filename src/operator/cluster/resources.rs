//! A cache read as the custom resources of one kind.

use std::{marker::PhantomData, sync::Arc};

use kube::{Resource, core::DeserializeGuard};
use serde::de::DeserializeOwned;

use super::cache::Cache;
use crate::operator::engine::queue::ObjectName;

/// A custom resource that could not be read as its kind must not stop the watch for the others.
pub type Guarded<K> = DeserializeGuard<K>;

/// A cache whose objects are custom resources of one kind.
#[derive(Debug)]
pub struct Resources<K> {
    pub cache: Arc<Cache>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Resources<K> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), kind: PhantomData }
    }
}

impl<K> Resources<K> {
    #[must_use]
    pub fn new(cache: Arc<Cache>) -> Self {
        Self { cache, kind: PhantomData }
    }
}

impl<K: Resource<DynamicType = ()> + DeserializeOwned> Resources<K> {
    #[must_use]
    pub fn get(&self, name: &ObjectName) -> Option<Arc<Guarded<K>>> {
        self.cache
            .with(&name.namespace, &name.name, |json| {
                // The guard copies the whole object to be able to fall back: only what cannot be read pays for that.
                serde_json::from_slice(json)
                    .map(|object| DeserializeGuard(Ok(object)))
                    .or_else(|_| serde_json::from_slice(json))
                    .ok()
            })?
            .map(Arc::new)
    }
}
