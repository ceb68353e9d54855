//! Doubles of servers that keep keys for others: [`SentryDouble`] and [`GitlabDouble`]. They stand in for a Sentry and a
//! GitLab, which no test can have, and for their faults, which no healthy server shows. They are written from what the
//! projects document; nothing of them comes from a real server's code.
//!
//! A double answers on a thread of its own until it is dropped. A test looks into it and changes it while it runs
//! ([`Double::with`]), makes calls fail ([`Double::fault`]), does something of its own between two calls
//! ([`Double::before_call`], [`Double::after_call`]) and counts what was asked ([`Double::calls`]).
//!
//! Cases that say nothing of how a server is made take a [`KeyServer`], so that other servers can stand there too.

#![allow(unused_imports, reason = "not every test binary uses every part")]

mod control;
pub mod faults;
pub mod gitlab;
pub mod quota;
pub mod sentry;
mod server;
mod wire;

pub use self::{
    faults::{Fault, Rule, When},
    gitlab::GitlabDouble,
    quota::RateLimit,
    sentry::SentryDouble,
    server::{Call, Double},
};

/// A server that keeps keys.
pub trait KeyServer {
    /// Scheme, host and port.
    fn url(&self) -> String;

    /// The CA of its certificate in PEM, if it is a private one.
    fn authority(&self) -> Option<String>;

    /// A token that may do everything.
    fn token(&self) -> String;

    /// The keys of a project, named as in paths (`acme/shop`), the oldest first: what is there, not what the API says.
    fn keys_of(&self, project: &str) -> impl Future<Output = Vec<KeptKey>> + Send;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    pub id: String,
    pub public: String,
    /// `None` where keys have no names.
    pub name: Option<String>,
    pub active: bool,
    pub dsn: String,
}
