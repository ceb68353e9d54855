//! The web APIs of servers that keep keys: Sentry's and GitLab's. The address of a server and a token come in, keys
//! and errors for people go out. Only `backend` and who checks a connection for it call them.
//!
//! [`Web`] reaches one server, and only one that [`AllowedBackends`] lets in; [`Turns`] lets the calls with one token
//! go one at a time, and none while the server asks for a pause; [`Sentry`] and [`Gitlab`] are a method for each call.
//! Whatever a server answers is a stranger's: it is bounded, checked, and repeated to people only in part.

mod addresses;
mod allowed;
mod api;
mod connector;
mod error;
mod gitlab;
mod pauses;
mod sentry;
mod sentry_answers;
mod turns;
mod url;
mod web;

#[cfg(test)]
mod gitlab_tests;
#[cfg(test)]
mod sentry_tests;
#[cfg(test)]
mod tests;

pub use self::{
    allowed::AllowedBackends,
    connector::tls,
    error::ServerError,
    gitlab::{Gitlab, GitlabKey, GitlabSettings},
    sentry::{ProjectSeen, Sentry, SentryKey},
    turns::Turns,
    web::Web,
};
