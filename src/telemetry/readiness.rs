//! What the probes show: the one bit of `/readyz`, and who is alive for `/livez`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::Liveness;

/// Whether this process wants traffic. Clones share the bit; it starts as "not ready".
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
    liveness: Liveness,
}

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    #[must_use]
    pub fn liveness(&self) -> &Liveness {
        &self.liveness
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_bit_which_starts_as_not_ready() {
        let readiness = Readiness::default();
        let other = readiness.clone();
        assert!(!other.is_ready());
        readiness.set(true);
        assert!(other.is_ready());
    }
}
