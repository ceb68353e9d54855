//! The time of the database, which all pods of a project share. The clock of a pod's node may be a day off, and may be set
//! at any moment: it counts until the database has told its own, and never after.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;

/// What two clocks may differ by before one is set: the way of an answer is no reason to jump.
const TOLERANCE: Duration = Duration::from_millis(500);

/// Goes on by the clock that nobody sets.
#[derive(Debug)]
pub struct Clock(Mutex<(Instant, Timestamp)>);

impl Clock {
    /// As the node has it.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new((Instant::now(), Timestamp::now())))
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The time at a moment.
    fn at(&self, moment: Instant) -> Timestamp {
        let (since, time) = *self.0.lock();
        time.checked_add(moment.saturating_duration_since(since)).unwrap_or(Timestamp::MAX)
    }

    /// The database told its time, and the answer came at `moment`.
    pub fn follow(&self, told: Timestamp, moment: Instant) {
        if self.at(moment).duration_since(told).unsigned_abs() > TOLERANCE {
            *self.0.lock() = (moment, told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_database_and_goes_on_without_it() {
        let (clock, began) = (Clock::new(), Instant::now());
        let at = |second: u64| began + Duration::from_secs(second);
        let told = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        for (case, moment, answer, moment_after, time) in [
            ("the node is years off", 0, Some(0), 0, 0),
            ("the database is away", 60, None, 60, 60),
            ("an answer that was on its way for a moment", 61, Some(61), 61, 61),
            ("the database is set a day ahead", 62, Some(86_462), 63, 86_463),
            ("and back", 64, Some(64), 65, 65),
        ] {
            if let Some(answer) = answer {
                clock.follow(told(answer), at(moment));
            }
            assert_eq!(clock.at(at(moment_after)), told(time), "{case}");
        }
        // A little later than it should have come.
        clock.follow(told(70), at(70) + Duration::from_millis(300));
        assert_eq!(clock.at(at(71)), told(71), "it does not jump for that");
    }
}
