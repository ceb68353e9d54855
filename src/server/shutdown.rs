//! How a process ends: a list of stages, one behind the other.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// The end of a process. Each stage has a name and a limit; the next one begins in any case, so that what hangs costs
/// its own limit and nothing of what comes after.
pub struct Shutdown {
    began: Instant,
    /// Stages that did not end in time.
    overran: Vec<&'static str>,
}

impl Shutdown {
    #[must_use]
    pub fn begin() -> Self {
        info!("Ending.");
        Self { began: Instant::now(), overran: Vec::new() }
    }

    /// Goes on with `work` for as long as `time`: others need it to notice.
    pub async fn linger(&mut self, stage: &'static str, time: Duration, work: impl Future<Output = ()>) {
        info!(stage, ?time, "A stage of the end.");
        let _over = timeout(time, work).await;
    }

    /// Waits for `work`, which is dropped at `limit`. `None`: it did not end.
    pub async fn finish<T>(
        &mut self,
        stage: &'static str,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let ended = timeout(limit, work).await.ok();
        if ended.is_none() {
            warn!(stage, ?limit, "A stage of the end took too long.");
            self.overran.push(stage);
        }
        ended
    }

    /// The last line of the process.
    pub fn end(self) {
        let elapsed = self.began.elapsed();
        if self.overran.is_empty() {
            info!(?elapsed, "Ended.");
        } else {
            warn!(?elapsed, overran = self.overran.join(", "), "Ended; not all of it was in time.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stage_that_hangs_costs_its_own_limit_only() {
        let (mut shutdown, limit) = (Shutdown::begin(), Duration::from_millis(20));
        shutdown.linger("pause", limit, std::future::pending()).await;
        assert_eq!(shutdown.finish("hung", limit, std::future::pending::<()>()).await, None);
        assert_eq!(shutdown.finish("last", Duration::from_mins(1), async { 7 }).await, Some(7));
        assert_eq!(shutdown.overran, ["hung"]);
        assert!(shutdown.began.elapsed() < Duration::from_secs(10));
    }
}
