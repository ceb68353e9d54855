//! Asks for a pass over the next projects that wait for a newer version, when the rollout of others has gone on.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crate::{
    crd::ErrorTrackingProject,
    operator::{
        engine::{job::Job, queue::ObjectName},
        kinds::Context,
    },
};

pub struct Turns(pub Arc<Context>);

impl Job for Turns {
    type Error = Infallible;

    const NAME: &'static str = "turns";
    // A turn that was given and not taken ends without a sign.
    const INTERVAL: Duration = Duration::from_mins(1);
    const LIMIT: Duration = Duration::from_mins(1);

    async fn wanted(&mut self) {
        self.0.caches.rollouts.notified().await;
    }

    async fn run(&mut self) -> Result<(), Infallible> {
        for (namespace, name) in self.0.rollouts.next(self.0.limits.rollouts) {
            self.0.caches.wake::<ErrorTrackingProject>(&ObjectName::new(&namespace, &name));
        }
        Ok(())
    }
}
