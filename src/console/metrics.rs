//! What the console counts: pages by kind and status, with their time.

use std::time::Duration;

use http::StatusCode;
use prometheus::{HistogramOpts, HistogramVec, Registry};

use crate::telemetry::build_info::{self, Component};

/// Clones share the numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    pages: HistogramVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        build_info::register(registry, Component::Console)?;
        let pages = HistogramVec::new(
            HistogramOpts::new(
                "errortracking_console_page_duration_seconds",
                "Time to answer a page, by page and status.",
            )
            // Round the goal of 50 ms, up to the statement timeout.
            .buckets(vec![0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0]),
            &["page", "status"],
        )?;
        registry.register(Box::new(pages.clone()))?;
        Ok(Self { pages })
    }

    /// `page` is the name of a route.
    pub fn observe(&self, page: &'static str, status: StatusCode, time: Duration) {
        self.pages.with_label_values(&[page, status.as_str()]).observe(time.as_secs_f64());
    }
}
