//! How many calls a token may make.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// So many calls within each window, which begins with the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub calls: u32,
    pub window_milliseconds: u64,
}

/// How a token stands after a call.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub limit: u32,
    /// Those of this window, the call itself and refused ones included.
    pub observed: u32,
    pub resets_in: Duration,
    pub window_seconds: u64,
}

#[derive(Default)]
pub struct Quotas {
    windows: HashMap<String, (Instant, u32)>,
}

impl RateLimit {
    pub fn per_minute(calls: u32) -> Self {
        Self { calls, window_milliseconds: 60_000 }
    }
}

impl Quota {
    pub fn exceeded(&self) -> bool {
        self.observed > self.limit
    }

    pub fn remaining(&self) -> u32 {
        self.limit.saturating_sub(self.observed)
    }

    /// Whole seconds, at least one.
    pub fn retry_after(&self) -> u64 {
        self.resets_in.as_millis().div_ceil(1000).max(1).try_into().unwrap()
    }
}

impl Quotas {
    pub fn count(&mut self, token: &str, limit: RateLimit) -> Quota {
        let window = Duration::from_millis(limit.window_milliseconds);
        let (began, observed) = self.windows.entry(token.to_owned()).or_insert_with(|| (Instant::now(), 0));
        if began.elapsed() >= window {
            (*began, *observed) = (Instant::now(), 0);
        }
        *observed += 1;
        Quota {
            limit: limit.calls,
            observed: *observed,
            resets_in: window.saturating_sub(began.elapsed()),
            window_seconds: window.as_secs(),
        }
    }
}
