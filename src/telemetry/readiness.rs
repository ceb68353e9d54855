//! The one bit that `/readyz` shows.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether this process wants traffic. Clones share the bit; it starts as "not ready".
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
