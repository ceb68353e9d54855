//! What every process that talks to the Kubernetes API shares: the names that we write there, the namespaces that are
//! looked at, lists that are bounded, which pods hold a key, and what it answers when it refuses. Called by the operator
//! and the commands; knows no kind of ours and no state.

mod error;
#[cfg_attr(not(test), expect(dead_code, reason = "the rule comes before those who ask it"))]
pub mod holders;
pub mod names;
mod namespaces;
pub mod pages;

pub use self::{
    error::{KubeError, Refusal, kube_message},
    namespaces::Namespaces,
};
