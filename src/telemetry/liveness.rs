//! What `/livez` watches over: parts of the process that must give a sign from time to time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
struct Part {
    last: Instant,
    within: Duration,
}

/// Who must give a sign, and when each did last. Clones share it; it starts empty, which is alive.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<Mutex<BTreeMap<String, Part>>>);

/// As long as it lives, a sign is expected.
#[derive(Debug)]
pub struct Expected {
    liveness: Liveness,
    part: String,
}

impl Liveness {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        self.0.lock()
    }

    /// From now on `part` must give a sign at least every `within`.
    #[must_use]
    pub fn expect(&self, part: &str, within: Duration) -> Expected {
        self.lock().insert(part.into(), Part { last: Instant::now(), within });
        Expected { liveness: self.clone(), part: part.into() }
    }

    pub fn sign(&self, part: &str) {
        if let Some(part) = self.lock().get_mut(part) {
            part.last = Instant::now();
        }
    }

    /// Who has been silent for too long.
    #[must_use]
    pub fn silent(&self) -> Vec<String> {
        self.silent_at(Instant::now())
    }

    fn silent_at(&self, now: Instant) -> Vec<String> {
        let silent = |part: &Part| now.saturating_duration_since(part.last) > part.within;
        self.lock().iter().filter(|(_, part)| silent(part)).map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.liveness.lock().remove(&self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_gives_no_sign_is_named_until_it_does_or_goes() {
        let liveness = Liveness::default();
        let secrets = liveness.expect("Secret", Duration::from_mins(5));
        let _keys = liveness.expect("ClientKey", Duration::from_secs(200));
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert!(liveness.silent_at(after(199)).is_empty());
        assert_eq!(liveness.silent_at(after(201)), ["ClientKey"]);
        assert_eq!(liveness.silent_at(after(301)), ["ClientKey", "Secret"]);
        liveness.sign("ClientKey");
        assert!(liveness.silent().is_empty());
        drop(secrets);
        assert_eq!(liveness.silent_at(after(301)), ["ClientKey"]);
    }
}
