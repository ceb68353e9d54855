//! Postgres: the schema `errortracking` of the installation and one schema a project. All SQL of the
//! project lives here, one function a statement.
//!
//! - [`connection`]: a login from a Secret becomes a pool that also works behind a transaction pooler.
//! - [`admin`]: what the leading operator changes; every change carries its epoch.
//! - [`console`]: what the pages show, with a login that only reads.
//! - [`ingest`]: what an ingest pod may call with a login that reads nothing.
//! - [`tls`]: how the link is protected.
//! - [`MountedPool`]: the pool that follows a mounted Secret.
//! - `migrations`: brings both kinds of schema to the shape this program knows.
//!
//! Called by `operator`, `ingest` and `console`. Values go in and come out typed; what fails comes out
//! as a [`StoreError`], sorted by what can be done about it.

pub mod admin;
pub mod connection;
pub mod console;
mod error;
pub mod ingest;
mod migrations;
mod mounted;
pub mod tls;

pub use admin::Admin;
pub use connection::Connection;
pub use error::StoreError;
/// A point in time as a query's argument or column, kept to the microsecond.
pub use jiff_sqlx::Timestamp as Timestamptz;
pub use mounted::{Mount, MountedPool};
