//! The objects that a custom resource owns: what one should be, how it differs, and the writes that mend it and touch
//! nothing that is somebody else's; statuses, finalizers and Events of any kind. Manifests come in, live objects go
//! out. The databases, the kinds and the commands call it.

pub mod apply;
pub mod child;
mod children;
mod edit;
mod error;
mod events;
pub mod namespaces;
mod status;

pub use self::{
    children::ChildWriter,
    error::ApplyError,
    events::{EventReason, EventRecorder},
    status::StatusWriter,
};
