//! The store against a real Postgres: what the operator may rely on, and what ingest may not do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what its functions share too")]
#![expect(clippy::disallowed_methods, reason = "the tasks of a test end with its runtime")]

#[path = "../support/mod.rs"]
mod support;

mod acting;
mod backend;
mod floods;
mod fresh;
mod groupings;
mod identity;
mod ingest;
mod instances;
mod key_secrets;
mod keys;
mod pages;
mod projects;
mod refused;
mod reports;
mod retention;
mod rights;
mod roles;
mod search;
mod search_path;
mod server_keys;
mod sessions;
mod settings;
mod tenants;
mod tls;
mod user_keys;
mod waiting;
mod world;

use world::{
    Store, applied, heartbeat_of_the_version_before, key_identity, of_shop, project_identity, public_key, row, send,
};
