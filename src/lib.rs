//! A Kubernetes operator that gives a cluster its own error tracking.
//!
//! One direction of arrows: `main → commands → operator | ingest | console | plugin → server | kubernetes | backend →
//! store → protocol | scrub | filters | grouping | runner → crd → settings | dsn`. What comes behind `store` is pure: it
//! knows neither kube nor sqlx nor HTTP, neither clock nor environment.

pub mod backend;
pub mod commands;
pub mod console;
mod console_api;
pub mod crd;
pub mod dsn;
pub mod filters;
pub mod grouping;
pub mod ingest;
mod kubernetes;
pub mod operator;
pub mod plugin;
pub mod protocol;
pub mod rotation;
pub mod runner;
pub mod scrub;
pub mod server;
pub mod settings;
pub mod store;
pub mod telemetry;
mod text;
