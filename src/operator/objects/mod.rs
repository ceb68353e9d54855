//! The objects that a custom resource owns: what one should be, how it differs, and the writes that make it so without
//! touching what is somebody else's. Manifests come in, live objects go out. Called by the databases and the kinds.

pub mod apply;
pub mod child;
mod children;
mod error;
mod events;
mod status;

pub use self::{
    children::ChildWriter,
    error::ApplyError,
    events::{EventReason, EventRecorder},
    status::StatusWriter,
};
