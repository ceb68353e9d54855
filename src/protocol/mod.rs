//! Sentry's wire format: what a client sends becomes an [`event::Event`]. Pure: bytes and a clock
//! reading come in, typed values and typed refusals go out. Used by `ingest` and, for display, by `console`.

pub mod auth;
pub mod client_report;
pub mod encoding;
pub mod envelope;
pub mod event;
mod item;
pub(crate) mod json;
pub mod minidump;
pub mod proxies;
pub mod rate_limits;
pub mod security;
pub mod session;
pub mod user_report;
