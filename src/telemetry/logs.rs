//! Log lines: one JSON object a line on stderr, so that stdout stays free for what a command prints.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, filter::LevelFilter, fmt::MakeWriter, registry::LookupSpan, util::SubscriberInitExt as _,
};

/// What sqlx says louder than it is.
const QUIETER: [&str; 2] = [
    // Postgres notes at INFO what a repeated statement found done already.
    "sqlx::postgres::notice=warn",
    // A broken connection is tested once more when it is given back, and closed: whose statement broke has been told.
    "sqlx_core::pool::connection=error",
];

/// Sends events of `tracing` to stderr, those that `RUST_LOG` lets through (default: `info` and above).
/// A directive that cannot be read is reported and skipped; a second call does nothing.
pub fn init() {
    // The tests of one process start several servers; the first one's subscriber serves all.
    let _already_set = lines_to(io::stderr).try_init();
}

fn lines_to(
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync {
    let mut filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    for quieter in QUIETER {
        if let Ok(directive) = quieter.parse() {
            filter = filter.add_directive(directive);
        }
    }
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        // It says what a line is about: the object of a pass, the job.
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(writer)
        .with_env_filter(filter)
        .finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex, MutexGuard};

    use tracing::{subscriber::DefaultGuard, warn};

    use super::*;

    /// Lines that were written instead of to stderr.
    #[derive(Clone, Default)]
    pub struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        /// Of this thread, until the guard is dropped.
        pub fn begin() -> (Self, DefaultGuard) {
            let captured = Self::default();
            let writer = captured.clone();
            (captured, lines_to(move || writer.clone()).set_default())
        }

        pub fn lines(&self) -> Vec<serde_json::Value> {
            self.written().split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
        }

        fn written(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }
    }

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_broken_connection_that_is_given_back_is_no_warning() {
        let (captured, _guard) = Captured::begin();
        // As sqlx-core 0.9 says it.
        warn!(target: "sqlx_core::pool::connection", "error occurred while testing the connection on-release");
        warn!(target: "sqlx_core::pool::inner", "a connection could not be made");
        let lines = captured.lines();
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["a connection could not be made"]);
    }
}
