//! Answers of a moment ago, so that not every request asks anew. Used by `rights`, `sign_in` and `trends`.

use std::{collections::HashMap, hash::Hash, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// What was found out within the last `fresh`, for at most `most` keys: beyond it, what is asked anew is not remembered.
pub struct Recent<K, V> {
    fresh: Duration,
    most: usize,
    found: Mutex<HashMap<K, (Instant, V)>>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    #[must_use]
    pub fn new(fresh: Duration, most: usize) -> Self {
        Self { fresh, most, found: Mutex::default() }
    }

    #[must_use]
    pub fn get(&self, key: &K) -> Option<V> {
        let found = self.found.lock();
        let (at, value) = found.get(key)?;
        (at.elapsed() < self.fresh).then(|| value.clone())
    }

    pub fn insert(&self, key: K, value: V) {
        let mut found = self.found.lock();
        if found.len() >= self.most {
            found.retain(|_, (at, _)| at.elapsed() < self.fresh);
        }
        if found.len() < self.most || found.contains_key(&key) {
            found.insert(key, (Instant::now(), value));
        }
    }

    pub fn remove(&self, key: &K) {
        self.found.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stale_or_too_much_is_not_remembered() {
        let stale = Recent::new(Duration::ZERO, 2);
        stale.insert(1, 'a');
        assert_eq!(stale.get(&1), None);
        let recent = Recent::new(Duration::from_hours(1), 2);
        for (key, value) in [(1, 'a'), (2, 'b'), (3, 'c'), (1, 'd')] {
            recent.insert(key, value);
        }
        assert_eq!([1, 2, 3].map(|key| recent.get(&key)), [Some('d'), Some('b'), None]);
        recent.remove(&1);
        recent.insert(3, 'c');
        assert_eq!([1, 3].map(|key| recent.get(&key)), [None, Some('c')]);
    }
}
