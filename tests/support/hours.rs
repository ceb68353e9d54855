//! What is counted by the hour of the clock.

use std::time::Duration;

use jiff::Timestamp;

/// What a test needs of an hour.
const NEEDED_SECONDS: i64 = 100;

/// Waits for the next hour if this one is nearly over.
pub async fn early_in_an_hour() {
    let left = 3_600 - Timestamp::now().as_second().rem_euclid(3_600);
    if left < NEEDED_SECONDS {
        tokio::time::sleep(Duration::from_secs(left.unsigned_abs() + 1)).await;
    }
}
