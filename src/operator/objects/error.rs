//! Why a write to the Kubernetes API did not happen.

use kube::Resource;

use super::child::ChildKind;
use crate::{crd::ClientKey, kubernetes::KubeError};

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("{}", describe_conflict(*kind, name, holder.as_deref(), owner))]
    Conflict {
        kind: ChildKind,
        name: String,
        /// Whose it is, if the operator made it.
        holder: Option<String>,
        /// Kind of the custom resource that asks for it.
        owner: String,
    },
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

/// What to do depends on whose the object is (the operator made it for another resource, or somebody else made it), and on
/// who can take another name: a key as long as it has no Secret.
fn describe_conflict(kind: ChildKind, name: &str, holder: Option<&str>, owner: &str) -> String {
    let rename = if owner == ClientKey::kind(&()) {
        "set spec.secretTemplate.name to another name".to_owned()
    } else {
        format!("make this {owner} anew under another name")
    };
    match holder {
        Some(holder) => format!("{kind} {name} belongs to {holder}: {rename}"),
        None => format!(
            "{kind} {name} was not made by the operator and is left alone: delete it if nobody needs it, or {rename}"
        ),
    }
}
