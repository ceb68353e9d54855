//! Why a write to the Kubernetes API did not happen.

use super::child::ChildKind;
use crate::kubernetes::kube_message;

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", describe_conflict(*kind, name, holder.as_deref()))]
    Conflict { kind: ChildKind, name: String, holder: Option<String> },
    #[error("{kind} {name} of the deleted object of this name is not gone yet")]
    Leaving { kind: ChildKind, name: String },
    #[error("failed to {verb} {kind} {name}: {}", kube_message(source))]
    Kubernetes { verb: &'static str, kind: &'static str, name: String, source: Box<kube::Error> },
}

impl ApplyError {
    pub fn kubernetes(verb: &'static str, kind: &'static str, name: &str) -> impl FnOnce(kube::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::Kubernetes { verb, kind, name, source: Box::new(source) }
    }
}

/// What to do depends on whose the object is: the operator made it for another resource, or somebody else made it.
pub fn describe_conflict(kind: ChildKind, name: &str, holder: Option<&str>) -> String {
    match holder {
        Some(holder) => format!("{kind} {name} belongs to {holder}: make this object anew under another name"),
        None if kind == ChildKind::Secret => format!(
            "Secret {name} was not made by the operator and is left alone: delete it if nobody needs it, or make this \
             object anew under another name"
        ),
        None => format!(
            "{kind} {name} was not made by the operator and is left alone: delete it if nobody needs it, or give this \
             object another name"
        ),
    }
}
