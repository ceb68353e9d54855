//! Why a write to the Kubernetes API did not happen.

use super::child::ChildKind;
use crate::kubernetes::KubeError;

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", describe_conflict(*kind, name, holder.as_deref()))]
    Conflict { kind: ChildKind, name: String, holder: Option<String> },
    #[error("{kind} {name} of the deleted object of this name is not gone yet")]
    Leaving { kind: ChildKind, name: String },
    #[error(transparent)]
    Kubernetes(#[from] KubeError),
}

impl ApplyError {
    pub fn kubernetes(verb: &'static str, kind: &'static str, name: &str) -> impl FnOnce(kube::Error) -> Self + use<> {
        let failed = KubeError::on(verb, kind, name);
        move |source| Self::Kubernetes(failed(source))
    }
}

/// What to do depends on whose the object is: the operator made it for another resource, or somebody else made it.
fn describe_conflict(kind: ChildKind, name: &str, holder: Option<&str>) -> String {
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
