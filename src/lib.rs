//! A Kubernetes operator that gives a cluster its own error tracking.
//!
//! One direction of arrows: `main → commands → operator | ingest | console → kubernetes → store → protocol | scrub |
//! filters | grouping | dsn | crd`. The last six are pure: they know neither kube nor sqlx nor HTTP, neither clock nor environment.

pub mod commands;
pub mod console;
pub mod crd;
pub mod dsn;
pub mod filters;
pub mod grouping;
pub mod ingest;
mod kubernetes;
pub mod operator;
pub mod protocol;
pub mod scrub;
pub mod store;
pub mod telemetry;
