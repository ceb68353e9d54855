//! One file a page, each with what its request says: it asks the store within one snapshot and fills the page in.
//! Every handler gets a [`Context`](super::context::Context), which holds the caller. `routes` names them.

pub mod asset;
pub mod event;
pub mod issue;
pub mod issues;
pub mod keys;
pub mod project;
pub mod projects;
pub mod sign_in;
