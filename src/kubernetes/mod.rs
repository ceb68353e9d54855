//! What every process that talks to the Kubernetes API shares: the names that we write there, the namespaces that are
//! looked at, lists that are bounded and how they are shown, which pods hold a key, and what it answers when it refuses.
//! Called by the operator, the commands and the plugin; knows no kind of ours and no state.

mod error;
pub mod holders;
pub mod names;
mod namespaces;
pub mod pages;
pub mod table;

pub use self::{
    error::{KubeError, Refusal, kube_message},
    namespaces::Namespaces,
};
