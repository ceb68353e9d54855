//! Telling a client to wait, in words that every SDK understands. Their parsers differ, so what is written
//! here is what all of them read: whole seconds, no blanks, always a scope.

use std::fmt::Write;

/// SDKs keep a limit in memory and do not ask again before it ends: a longer one would outlive its reason.
pub const MAX_SECONDS: u32 = 6 * 60 * 60;

/// One limit that is in force: a `quota_limit` in the words of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLimit {
    /// From now; brought into 1 to [`MAX_SECONDS`] when written.
    pub seconds: u32,
    pub categories: Categories,
    pub scope: Scope,
    pub reason: ReasonCode,
}

/// What a client must keep back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Categories {
    /// Everything, sessions and reports as well.
    Everything,
    /// Events of all kinds: SDKs file them under `error`, older ones under `default`, reports under `security`.
    Events,
}

/// Whom the limit is set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Organization,
    Project,
    Key,
}

/// Why; clients only show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonCode {
    KeyRateLimit,
    ProjectQuota,
    StorageFull,
}

impl Categories {
    /// Empty means every category there is or will be.
    fn names(self) -> &'static str {
        match self {
            Self::Everything => "",
            Self::Events => "default;error;security",
        }
    }
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Project => "project",
            Self::Key => "key",
        }
    }
}

impl ReasonCode {
    /// A word of a closed set, fit for a metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyRateLimit => "key_rate_limit",
            Self::ProjectQuota => "project_quota",
            Self::StorageFull => "storage_full",
        }
    }
}

/// Value of `X-Sentry-Rate-Limits`, which may stand on any answer; none without limits.
#[must_use]
pub fn header(limits: &[QuotaLimit]) -> Option<String> {
    let mut value = String::new();
    for QuotaLimit { seconds, categories, scope, reason } in limits {
        // PHP takes a blank behind the comma for part of the number.
        let comma = if value.is_empty() { "" } else { "," };
        let seconds = clamped(*seconds);
        // Rust wants the scope, Ruby and PHP trip over a limit that ends with its colon.
        let _ = write!(value, "{comma}{seconds}:{}:{}:{}", categories.names(), scope.name(), reason.name());
    }
    if value.is_empty() { None } else { Some(value) }
}

/// Value of `Retry-After`, the longest of all limits.
///
/// For 429 and 503 only: Node, PHP, Ruby and Rust take it on any answer for a limit of everything. The body
/// of such an answer must be empty, or PHP does not look at its headers.
#[must_use]
pub fn retry_after(limits: &[QuotaLimit]) -> Option<u32> {
    limits.iter().map(|limit| clamped(limit.seconds)).max()
}

fn clamped(seconds: u32) -> u32 {
    seconds.clamp(1, MAX_SECONDS)
}

#[cfg(test)]
#[path = "rate_limits_tests.rs"]
mod tests;
