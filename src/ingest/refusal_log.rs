//! Tells people why requests are refused, without letting those who are refused fill the disk.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::info;

use super::{outcomes::OutcomeReason, refusal::Refusal};
use crate::dsn::{ProjectId, PublicKey};

/// One line for each reason in this time; the next one says how many were left out.
const INTERVAL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct RefusalLog(Mutex<HashMap<OutcomeReason, LastLine>>);

struct LastLine {
    at: Instant,
    left_out: u64,
}

impl RefusalLog {
    /// Of the key, only its first eight characters are written.
    pub fn refused(&self, refusal: &Refusal, project: ProjectId, key: Option<&PublicKey>) {
        let reason = refusal.reason();
        if let Some(left_out) = self.may_write(reason, Instant::now()) {
            let (status, key_prefix) = (refusal.status().as_u16(), key.map(PublicKey::prefix));
            // What a JSON parser says may quote the event; what is wrong with an envelope never does.
            let cause = if let Refusal::Envelope(cause) = refusal { Some(cause.to_string()) } else { None };
            info!(
                project = project.get(),
                reason = reason.as_str(),
                status,
                key_prefix,
                detail = %refusal,
                cause,
                left_out,
                "Refused a request."
            );
        }
    }

    /// `Some` with the number of lines that were left out when a line may be written now.
    fn may_write(&self, reason: OutcomeReason, now: Instant) -> Option<u64> {
        let mut last_lines = self.0.lock();
        match last_lines.get_mut(&reason) {
            Some(last) if now < last.at + INTERVAL => {
                last.left_out += 1;
                None
            }
            _ => Some(last_lines.insert(reason, LastLine { at: now, left_out: 0 }).map_or(0, |last| last.left_out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_in_ten_seconds_with_the_number_left_out() {
        let (log, now) = (RefusalLog::default(), Instant::now());
        assert_eq!(log.may_write(OutcomeReason::UnknownKey, now), Some(0));
        assert_eq!(log.may_write(OutcomeReason::UnknownKey, now), None);
        assert_eq!(log.may_write(OutcomeReason::TooLarge, now), Some(0), "another reason has a line of its own");
        assert_eq!(log.may_write(OutcomeReason::UnknownKey, now + Duration::from_secs(9)), None);
        assert_eq!(log.may_write(OutcomeReason::UnknownKey, now + INTERVAL), Some(2));
        assert_eq!(log.may_write(OutcomeReason::UnknownKey, now + INTERVAL * 2), Some(0));
    }
}
