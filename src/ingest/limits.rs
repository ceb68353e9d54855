//! How many events a key, and the whole project, may send: fixed windows of the clock, the same for every instance.
//!
//! An instance counts what it admits at once; what the others have stored comes back with each of its batches.

use std::collections::HashMap;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::{dsn::PublicKey, store::ingest::Usage};

/// Seconds of the window of a project's quota.
pub const QUOTA_WINDOW: u32 = 60;

/// At most so many events in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub events: u64,
    /// Seconds, at least 1.
    pub window: u32,
}

/// Whose limit it is. `None`: the project's.
pub type Holder = Option<PublicKey>;

/// No event is taken before the window ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The whole project's limit, not the key's.
    pub project: bool,
    /// Until the window ends, at least 1.
    pub seconds: u32,
}

#[derive(Debug, Default)]
pub struct Limits(Mutex<HashMap<Holder, Window>>);

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// Unix seconds.
    start: i64,
    /// By this instance.
    admitted: u64,
    /// By the others, as far as it was heard.
    by_others: u64,
}

impl Limits {
    /// Counts `events` of `key`, unless that would exceed its limit or the project's; then none of both counts.
    pub fn admit(
        &self,
        key: &PublicKey,
        limits: [(bool, Option<Limit>); 2],
        events: u64,
        now: Timestamp,
    ) -> Result<(), Exceeded> {
        let now = now.as_second();
        let mut windows = self.lock();
        for (project, limit) in limits {
            let Some(limit) = limit else { continue };
            let window = current(&mut windows, holder(key, project), limit, now);
            if window.admitted + window.by_others + events > limit.events {
                let end = window.start + i64::from(limit.window);
                let seconds = u32::try_from(end - now).unwrap_or(limit.window).max(1);
                return Err(Exceeded { project, seconds });
            }
        }
        for (project, limit) in limits {
            if let Some(limit) = limit {
                current(&mut windows, holder(key, project), limit, now).admitted += events;
            }
        }
        Ok(())
    }

    /// Takes back what was admitted and came to nothing.
    pub fn give_back(&self, key: &PublicKey, limits: [(bool, Option<Limit>); 2], events: u64, now: Timestamp) {
        let mut windows = self.lock();
        for (project, limit) in limits {
            if let Some(limit) = limit {
                let window = current(&mut windows, holder(key, project), limit, now.as_second());
                window.admitted = window.admitted.saturating_sub(events);
            }
        }
    }

    /// Takes in what the store knows of all other instances.
    pub fn observe(&self, usages: &[Usage]) {
        let mut windows = self.lock();
        for usage in usages {
            if let Some(window) = windows.get_mut(&usage.key)
                && window.start == usage.window_start.as_second()
            {
                // Answers to two writers may come in another order than they were given.
                window.by_others = window.by_others.max(usage.events);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, Window>> {
        self.0.lock()
    }
}

fn holder(key: &PublicKey, project: bool) -> Holder {
    if project { None } else { Some(key.clone()) }
}

/// The window of `now`; one that is over begins anew. A request that was received before that counts towards the new
/// one. One that is further ahead was begun by a clock that was set back since: it would take nothing until then.
fn current(windows: &mut HashMap<Holder, Window>, holder: Holder, limit: Limit, now: i64) -> &mut Window {
    let length = i64::from(limit.window.max(1));
    let start = now - now.rem_euclid(length);
    let window = windows.entry(holder).or_default();
    if window.start < start || window.start > start + length {
        *window = Window { start, ..Window::default() };
    }
    window
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn minute(events: u64) -> Limit {
        Limit { events, window: 60 }
    }

    #[test]
    fn a_window_takes_as_many_events_as_the_limit_says_and_then_none_until_it_ends() {
        let (limits, key) = (Limits::default(), PublicKey::from_random([1; 16]));
        let admit = |now| limits.admit(&key, [(false, Some(minute(2))), (true, None)], 1, second(now));
        assert_eq!([admit(600), admit(601)], [Ok(()), Ok(())]);
        assert_eq!(admit(650), Err(Exceeded { project: false, seconds: 10 }));
        assert_eq!(admit(659), Err(Exceeded { project: false, seconds: 1 }));
        assert_eq!(admit(660), Ok(()));
        assert_eq!(limits.admit(&key, [(false, None), (true, None)], 9, second(661)), Ok(()), "no limit");
    }

    #[test]
    fn a_clock_that_was_set_back_freezes_no_limit() {
        const DAY: i64 = 86_400;
        let (limits, key) = (Limits::default(), PublicKey::from_random([1; 16]));
        let of_key = [(false, Some(minute(1))), (true, Some(minute(1)))];
        let admit = |now| limits.admit(&key, of_key, 1, second(now)).is_ok();
        assert_eq!([600, DAY + 600, 600, 601, 660].map(admit), [true, true, true, false, true]);
        assert_eq!([660 - DAY, 661 - DAY, 720 - DAY].map(admit), [true, false, true]);
    }

    #[test]
    fn a_request_from_before_the_window_does_not_begin_it_anew() {
        let (limits, key) = (Limits::default(), PublicKey::from_random([1; 16]));
        let of_key = [(false, Some(minute(2))), (true, None)];
        let admit = |now| limits.admit(&key, of_key, 1, second(now)).is_ok();
        assert_eq!([660, 659, 661].map(admit), [true, true, false]);
        limits.give_back(&key, of_key, 1, second(661));
        assert_eq!([661, 661].map(admit), [true, false]);
    }

    #[test]
    fn the_limit_of_the_project_holds_for_all_keys_together() {
        let (limits, keys) = (Limits::default(), [1, 2].map(|n| PublicKey::from_random([n; 16])));
        let admit =
            |key: &PublicKey| limits.admit(key, [(false, Some(minute(5))), (true, Some(minute(3)))], 1, second(600));
        for key in [&keys[0], &keys[1], &keys[0]] {
            assert_eq!(admit(key), Ok(()));
        }
        assert_eq!(admit(&keys[1]), Err(Exceeded { project: true, seconds: 60 }));
    }

    #[test]
    fn what_other_instances_stored_counts_too_however_often_it_is_told() {
        let (limits, key) = (Limits::default(), PublicKey::from_random([1; 16]));
        let admit = || limits.admit(&key, [(false, Some(minute(10))), (true, None)], 1, second(600));
        for _ in 0..3 {
            assert_eq!(admit(), Ok(()));
        }
        let told = |window_start, events| Usage {
            key: Some(key.clone()),
            window_seconds: 60,
            window_start: second(window_start),
            events,
        };
        limits.observe(&[told(600, 5), told(600, 5), told(600, 4), told(540, 100)]);
        assert_eq!([admit(), admit()], [Ok(()), Ok(())]);
        assert!(admit().is_err());
    }
}
