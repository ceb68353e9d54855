//! Follows the status of every project and key by a watch, as a dashboard would.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};

use crate::world::{is_ready, resource};

/// Ready or not, by uid.
#[derive(Clone, Default)]
pub struct Following(Arc<Mutex<HashMap<String, bool>>>);

impl Following {
    pub fn start(client: &Client) -> Self {
        let following = Self::default();
        for kind in ["ErrorTrackingProject", "ClientKey"] {
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
            let known = following.clone();
            tokio::spawn(async move {
                let mut events = watcher(api, watcher::Config::default()).boxed();
                while let Some(event) = events.next().await {
                    if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                        let uid = object.metadata.uid.clone().unwrap();
                        known.0.lock().unwrap().insert(uid, is_ready(&object));
                    }
                }
            });
        }
        following
    }

    /// Waits until so many objects are known and Ready; tells how it goes.
    pub async fn all_ready(&self, objects: usize, limit: Duration) {
        let (started, mut told) = (Instant::now(), Instant::now());
        loop {
            let ready = self.0.lock().unwrap().values().filter(|ready| **ready).count();
            if ready >= objects {
                return;
            }
            if told.elapsed() > Duration::from_secs(15) {
                println!("{ready} of {objects} Ready after {:.0} s", started.elapsed().as_secs_f64());
                told = Instant::now();
            }
            assert!(started.elapsed() < limit, "{ready} of {objects} Ready after {limit:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
