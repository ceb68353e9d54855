//! Why a step of a plan did not work, and what a user can do about it. Each failure holds its cause; the sentence for
//! people and the word for the condition are made of it at the end.

use std::{sync::Arc, time::Duration};

use crate::{
    backend::BackendError,
    crd::Reason,
    kubernetes::{KubeError, Refusal},
    operator::{
        databases::{ConnectError, Unavailable, tombstones::Unsettled},
        engine::pass::{Outlook, StepFailure},
        objects::{ApplyError, child::ChildKind},
    },
    store::StoreError,
};

/// A step that failed. `Display` is the sentence for people.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{}", describe(.0))]
    Apply(#[from] ApplyError),
    /// The API server refuses a field of a child that the project's spec asks for.
    #[error("{fields}")]
    SpecRefused { fields: String, source: KubeError },
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Database(#[from] Unavailable),
    /// The project is in another database than the one that the operator uses now.
    #[error(
        "Project {id} is in {server}, and the database that the operator uses now does not know it. Point the operator at \
         that database again, or delete this project and apply it anew to start empty."
    )]
    DatabaseChanged { id: i64, server: String },
    #[error(transparent)]
    Unmet(#[from] Unmet),
    #[error(transparent)]
    Waiting(#[from] Waiting),
}

/// What the spec asks for and cannot be had here. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unmet {
    #[error(
        "Namespace {namespace} has reached its limit of {objects} ({limit}{}): delete an older one, or ask the platform team \
         for a higher limit.", retained_of(*retained)
    )]
    Limit { namespace: String, objects: &'static str, limit: u32, retained: u32 },
    #[error(
        "This project asks for {pods} ingest pods, and the other projects of namespace {namespace} have {others} in the \
         operator's database, where a namespace may have {limit}: lower ingest.replicas or ingest.autoscaling.maxReplicas, \
         or ask the platform team for a higher limit. The pods stay as they are."
    )]
    Pods { namespace: String, pods: u32, others: u32, limit: u32 },
    #[error(
        "ingest.gateway needs the Gateway API (gateway.networking.k8s.io/v1), which this cluster does not have: ask the \
         platform team to install it, or use ingest.ingress."
    )]
    GatewayApi,
    #[error(
        "spec.endpoint is External, and ErrorTrackingProject {project} has no external URL: set externalURL, ingress or \
         gateway in its spec.backend.integrated.ingest, or use endpoint: Internal here."
    )]
    ExternalUrl { project: String },
    /// A project of another namespace, which is not there for this one any more.
    #[error("{}", kept_out(project, namespace))]
    NotAllowed { project: String, namespace: String },
    /// The second Secret of a key, which cannot have another name.
    #[error("{}", describe_binding(secret, holder.as_deref()))]
    BindingName {
        secret: String,
        /// Whose it is, if the operator made it.
        holder: Option<String>,
    },
    /// A field that the server which keeps the keys has nothing for.
    #[error("{field} cannot be had from {server}: {cure}.")]
    NotSupported { field: &'static str, server: &'static str, cure: &'static str },
    #[error(
        "spec.rotation.interval needs spec.rotation.overlap.maximum with a project that {server} keeps: nobody can see who \
         holds a key there, and the one before would be accepted for ever."
    )]
    NoMaximum { server: &'static str },
    #[error(
        "{server} took spec.rateLimit and keeps another limit: its plan may have none for keys. Take rateLimit out, or change \
         the plan; it is tried again once a day."
    )]
    RateLimit { server: &'static str },
    /// What keeps a runner from having its key, with the cure.
    #[error("{message}")]
    Runner { reason: Reason, message: String },
    /// A label or annotation that the installation's guard keeps out, with its field and the cure.
    #[error("{0}")]
    Key(String),
    /// An entry that no rule of the schema can tell to be of no use, with its field and the cure.
    #[error("{0}")]
    Setting(String),
}

/// Something else must happen first, and does so without anybody.
#[derive(Debug, thiserror::Error)]
pub enum Waiting {
    #[error("The operator is connecting to Postgres.")]
    Connecting,
    #[error(transparent)]
    Migrating(Arc<ConnectError>),
    #[error("Postgres went away during the pass")]
    PostgresWentAway,
    #[error("the operator's database, which gives the number, is away")]
    NoNumber,
    #[error("a server did not answer in time")]
    NoAnswer,
    /// What an object of this name left is still there.
    #[error(transparent)]
    Tombstone(Unsettled),
}

/// Only the platform team can do something about these.
fn retained_of(retained: u32) -> String {
    match retained {
        0 => String::new(),
        _ => format!(
            "; {retained} of them were deleted, and what they stored is retained: the platform team can drop it with \
             error-tracking-operator retained --drop"
        ),
    }
}

/// Who is kept out must not learn whether there is such a project.
#[must_use]
pub fn kept_out(project: &str, namespace: &str) -> String {
    format!(
        "There is no ErrorTrackingProject {project} that keys of namespace {namespace} may belong to: correct \
         spec.projectRef, or have its owner create it or name this namespace in its spec.allowedNamespaces."
    )
}

fn describe_binding(secret: &str, holder: Option<&str>) -> String {
    let cure = "take serviceBinding out of the spec, or make this ClientKey anew under another name";
    match holder {
        Some(holder) => format!("Secret {secret} belongs to {holder}: {cure}"),
        None => format!(
            "Secret {secret} was not made by the operator and is left alone: delete it if nobody needs it, {cure}"
        ),
    }
}

fn describe(error: &ApplyError) -> String {
    let cure = match error {
        ApplyError::Kubernetes(refused) => match refused.refusal() {
            // The API server's sentence names verb and resource.
            Refusal::MissingRight => ": the rights of the operator's ClusterRole are not what the chart gives",
            Refusal::Quota => ": delete what nobody needs, or ask the platform team for a higher quota",
            _ => "",
        },
        ApplyError::Conflict { .. } | ApplyError::Leaving { .. } => "",
    };
    format!("{error}{cure}")
}

impl Failure {
    /// The word for the condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Apply(ApplyError::Conflict { kind: ChildKind::Secret, .. })
            | Self::Unmet(Unmet::BindingName { .. }) => Reason::SecretConflict,
            Self::Apply(ApplyError::Conflict { .. }) => Reason::NameConflict,
            Self::Apply(ApplyError::Kubernetes(error)) => match error.refusal() {
                Refusal::MissingRight => Reason::Forbidden,
                Refusal::NamespaceTerminating | Refusal::Changed => Reason::Progressing,
                Refusal::Quota | Refusal::Denied | Refusal::Invalid | Refusal::Other => Reason::Rejected,
            },
            Self::SpecRefused { .. } => Reason::Rejected,
            Self::Backend(error) if error.is_fenced() => Reason::Progressing,
            Self::Backend(BackendError::ProjectNotReady)
            | Self::Waiting(_)
            | Self::Apply(ApplyError::Leaving { .. }) => Reason::Progressing,
            Self::Backend(error) => error.reason(),
            Self::Database(unavailable) => unavailable.reason(),
            Self::DatabaseChanged { .. } => Reason::DatabaseChanged,
            Self::Unmet(Unmet::Limit { .. } | Unmet::Pods { .. }) => Reason::LimitExceeded,
            Self::Unmet(Unmet::GatewayApi) => Reason::GatewayApiMissing,
            Self::Unmet(Unmet::ExternalUrl { .. }) => Reason::NoExternalUrl,
            Self::Unmet(Unmet::NotAllowed { .. }) => Reason::NotAllowed,
            Self::Unmet(Unmet::NotSupported { .. }) => Reason::NotSupported,
            Self::Unmet(Unmet::RateLimit { .. }) => Reason::RateLimitUnsupported,
            Self::Unmet(Unmet::Runner { reason, .. }) => *reason,
            Self::Unmet(Unmet::Key(_)) => Reason::KeyNotAllowed,
            Self::Unmet(Unmet::Setting(_) | Unmet::NoMaximum { .. }) => Reason::Invalid,
        }
    }

    /// Only a user can mend it.
    #[must_use]
    pub fn stalls(&self) -> bool {
        self.outlook() == Outlook::Stalled
    }

    /// The same step is tried again in a moment.
    #[must_use]
    pub fn is_retried(&self) -> bool {
        self.outlook() == Outlook::RetrySoon
    }

    /// The project's database is away, refuses, or has not answered in time.
    #[must_use]
    pub fn is_caused_by_database(&self) -> bool {
        let waits = matches!(
            self,
            Self::Waiting(Waiting::Connecting | Waiting::Migrating(_) | Waiting::PostgresWentAway | Waiting::NoAnswer)
        );
        waits || self.is_of_database()
    }

    /// It is about the server that keeps the keys of the project.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        matches!(self, Self::Backend(error) if error.is_of_server())
    }

    /// Its sentence may name the server, its token, or what it says.
    #[must_use]
    pub fn tells_of_server(&self) -> bool {
        matches!(self, Self::Backend(BackendError::Server(_) | BackendError::NotConnected(_)))
    }

    /// It is about the project's database, not about the cluster.
    #[must_use]
    pub fn is_of_database(&self) -> bool {
        match self {
            Self::Backend(error) => {
                !error.is_fenced() && !error.is_of_server() && !matches!(error, BackendError::ProjectNotReady)
            }
            Self::Database(_) | Self::DatabaseChanged { .. } => true,
            Self::Apply(_) | Self::SpecRefused { .. } | Self::Unmet(_) | Self::Waiting(_) => false,
        }
    }
}

impl StepFailure for Failure {
    fn no_answer() -> Self {
        Waiting::NoAnswer.into()
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Backend(error) => error.retry_after(),
            _ => None,
        }
    }

    fn outlook(&self) -> Outlook {
        match self {
            Self::Apply(ApplyError::Kubernetes(error)) => match error.refusal() {
                Refusal::MissingRight => Outlook::Wait,
                Refusal::Quota | Refusal::Denied | Refusal::Invalid => Outlook::Stalled,
                Refusal::NamespaceTerminating | Refusal::Changed | Refusal::Other => Outlook::RetrySoon,
            },
            Self::Apply(ApplyError::Conflict { .. })
            | Self::SpecRefused { .. }
            | Self::DatabaseChanged { .. }
            | Self::Unmet(_) => Outlook::Stalled,
            Self::Apply(ApplyError::Leaving { .. }) | Self::Waiting(_) => Outlook::RetrySoon,
            Self::Backend(error) if error.is_fenced() => Outlook::Fenced,
            Self::Backend(error) if error.retryable() => Outlook::RetrySoon,
            Self::Backend(error) if error.is_of_server() => Outlook::Stalled,
            Self::Backend(_) | Self::Database(_) => match self.reason() {
                Reason::SchemaConflict | Reason::DatabaseHostNotAllowed | Reason::DatabaseSecretInvalid => {
                    Outlook::Stalled
                }
                _ => Outlook::Wait,
            },
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Backend(error.into())
    }
}

impl From<Unsettled> for Failure {
    fn from(unsettled: Unsettled) -> Self {
        match unsettled {
            Unsettled::Store(error) => error.into(),
            Unsettled::Backend(error) => error.into(),
            Unsettled::Apply(error) => error.into(),
            waiting @ Unsettled::Waiting(_) => Waiting::Tombstone(waiting).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(code: u16, message: &str, cause: Option<&str>) -> Failure {
        let details = json!({"causes": cause.map(|reason| json!([{"reason": reason}])).unwrap_or_default()});
        let status = json!({
            "status": "Failure", "reason": "Forbidden", "code": code, "message": message,
            "details": if cause.is_some() { details } else { json!(null) },
        });
        let error = kube::Error::Api(serde_json::from_value(status).unwrap());
        ApplyError::kubernetes("create", "Service", "shop-ingest")(error).into()
    }

    #[test]
    fn a_refusal_is_read_by_its_cause() {
        let right = r#"services is forbidden: User "system:serviceaccount:e:o" cannot create resource "services" in API group "" in the namespace "web""#;
        let quota = r#"services "shop-ingest" is forbidden: exceeded quota: small, requested: services=1, used: services=2, limited: services=2"#;
        let unset = r#"services "shop-ingest" is forbidden: failed quota: small: must specify services.nodeports"#;
        let going = r#"services "shop-ingest" is forbidden: unable to create new content in namespace web because it is being terminated"#;
        let policy = r#"services "shop-ingest" is forbidden: ValidatingAdmissionPolicy 'ports' with binding 'ports' denied request: no port 80"#;
        let webhook = r#"admission webhook "ports.example" denied the request: no port 80"#;
        for (code, message, cause, reason, outlook, says) in [
            (403, right, None, Reason::Forbidden, Outlook::Wait, "the rights of the operator's ClusterRole"),
            (403, quota, None, Reason::Rejected, Outlook::Stalled, "ask the platform team for a higher quota"),
            (403, unset, None, Reason::Rejected, Outlook::Stalled, "must specify"),
            (403, going, Some("NamespaceTerminating"), Reason::Progressing, Outlook::RetrySoon, "being terminated"),
            (403, going, None, Reason::Progressing, Outlook::RetrySoon, "being terminated"),
            (403, policy, None, Reason::Rejected, Outlook::Stalled, "no port 80"),
            (403, webhook, None, Reason::Rejected, Outlook::Stalled, "no port 80"),
            (422, "spec.ports: Invalid", None, Reason::Rejected, Outlook::Stalled, "spec.ports"),
            (409, "the object has been modified", None, Reason::Progressing, Outlook::RetrySoon, "modified"),
            (500, "etcd is away", None, Reason::Rejected, Outlook::RetrySoon, "etcd is away"),
        ] {
            let failure = refused(code, message, cause);
            assert_eq!((failure.reason(), failure.outlook()), (reason, outlook), "{message}");
            let sentence = failure.to_string();
            assert!(
                sentence.starts_with("failed to create Service shop-ingest: ") && sentence.contains(says),
                "{sentence}"
            );
            assert_eq!(sentence.contains("ClusterRole"), reason == Reason::Forbidden, "{sentence}");
        }
    }
}
