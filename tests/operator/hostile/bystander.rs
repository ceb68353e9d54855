//! Somebody in another namespace who goes on while a tenant attacks.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use crate::world::{Namespace, pause};

/// When a bystander that was not served is given up.
const GIVEN_UP: Duration = Duration::from_mins(2);

/// Has a project, and asks for something new again and again.
pub struct Bystander {
    pub namespace: Namespace,
    asked: AtomicU32,
}

impl Bystander {
    pub fn new() -> Self {
        let namespace = Namespace::new("bystander");
        namespace.ready_project("shop", 1);
        Self { namespace, asked: AtomicU32::new(0) }
    }

    /// How long a new key takes until its Secret is there.
    pub fn waits_for_a_key(&self) -> Duration {
        let name = format!("key-{}", self.asked.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        self.namespace.key(&name, "{projectRef: {name: shop}}");
        waits(began, || self.namespace.exists(&format!("secret/{name}-dsn")))
    }

    /// How long a new project takes until it has a number and a schema; it has no pods.
    pub fn waits_for_a_project(&self) -> Duration {
        let name = format!("project-{}", self.asked.fetch_add(1, Ordering::Relaxed));
        let began = Instant::now();
        self.namespace.project(&name, "{backend: {integrated: {ingest: {replicas: 0}}}}");
        let ready = || self.namespace.condition(&format!("etp/{name}"), "Ready", "status") == "True";
        waits(began, ready)
    }
}

fn waits(began: Instant, served: impl Fn() -> bool) -> Duration {
    while !served() && began.elapsed() < GIVEN_UP {
        pause(Duration::from_millis(100));
    }
    began.elapsed()
}
