//! Log lines: one JSON object a line on stderr, so that stdout stays free for what a command prints.

use std::io;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Sends events of `tracing` to stderr, those that `RUST_LOG` lets through (default: `info` and above).
/// A directive that cannot be read is reported and skipped; a second call does nothing.
pub fn init() {
    let mut filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    // Postgres notes at INFO what a repeated statement found done already.
    if let Ok(directive) = "sqlx::postgres::notice=warn".parse() {
        filter = filter.add_directive(directive);
    }
    let lines = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        // It says what a line is about: the object of a pass, the job.
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(io::stderr)
        .with_env_filter(filter);
    // The tests of one process start several servers; the first one's subscriber serves all.
    let _already_set = lines.try_init();
}
