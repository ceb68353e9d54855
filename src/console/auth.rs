//! Who asks, and what a page needs of them. Pure; `sign_in` finds out who it is, `rights` what they may.

use std::sync::Arc;

use crate::store::console::User;

/// Whoever sent a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Not signed in.
    Nobody,
    /// A console without sign-in, which listens on loopback only.
    Everybody,
    User(Arc<User>),
}

/// What a route needs of its caller, each a verb on a subresource of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Nothing: what shows no data of a project.
    None,
    /// To be somebody, for what is the caller's own.
    SignedIn,
    /// `get errortrackingprojects/issues`: titles, numbers, times.
    ReadIssues,
    /// `get errortrackingprojects/events`: payloads, which hold personal data.
    ReadEvents,
    /// `update errortrackingprojects/issues`: what people decide about errors.
    UpdateIssues,
    /// `delete errortrackingprojects/issues`
    DeleteIssues,
    /// `get errortrackingprojects/keys`: which keys there are and who uses them, not the keys themselves.
    ReadKeys,
}

impl Right {
    /// The verb and the subresource that Kubernetes is asked about.
    #[must_use]
    pub fn review(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None | Self::SignedIn => None,
            Self::ReadIssues => Some(("get", "issues")),
            Self::ReadEvents => Some(("get", "events")),
            Self::UpdateIssues => Some(("update", "issues")),
            Self::DeleteIssues => Some(("delete", "issues")),
            Self::ReadKeys => Some(("get", "keys")),
        }
    }
}
