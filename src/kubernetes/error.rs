//! Requests that the API server refused, or that did not reach it.

use std::{borrow::Cow, fmt};

use kube::core::Status;

/// A request that failed. `Display` is the sentence for people.
#[derive(Debug)]
pub struct KubeError {
    verb: &'static str,
    kind: Cow<'static, str>,
    /// Empty: the request was about all objects of the kind.
    name: String,
    source: Box<kube::Error>,
}

/// What an answer of the API server means for who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// We lack a right.
    MissingRight,
    /// The namespace may not have more, or has to be told how much.
    Quota,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// A policy or a webhook of the cluster does not want it.
    Denied,
    /// The object says what the API server does not take.
    Invalid,
    /// It changed since it was read.
    Changed,
    /// Anything else, as an API server that is away: the same can pass in a moment.
    Other,
}

impl KubeError {
    /// For `map_err`: what failed, as "get", "Secret", "shop-dsn".
    pub fn on<K>(verb: &'static str, kind: K, name: &str) -> impl FnOnce(kube::Error) -> Self + use<K>
    where
        K: Into<Cow<'static, str>>,
    {
        let (kind, name) = (kind.into(), name.to_owned());
        move |source| Self { verb, kind, name, source: Box::new(source) }
    }

    /// The API server's answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match &*self.source {
            kube::Error::Api(status) => Some(status),
            _ => None,
        }
    }

    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self.status() {
            Some(status) if status.code == 403 => forbidden(status),
            Some(status) if status.code == 422 => Refusal::Invalid,
            Some(status) if status.code == 409 => Refusal::Changed,
            _ => Refusal::Other,
        }
    }
}

/// Admission answers 403 for many reasons; the authorizer alone says who cannot do what.
fn forbidden(status: &Status) -> Refusal {
    let message = &status.message;
    let says = |text: &str| message.contains(text);
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    if causes.any(|cause| cause.reason == "NamespaceTerminating") || says("because it is being terminated") {
        Refusal::NamespaceTerminating
    } else if says("exceeded quota") || says("failed quota") {
        Refusal::Quota
    } else if says("admission webhook") || says("ValidatingAdmissionPolicy") {
        Refusal::Denied
    } else if says("cannot ") {
        Refusal::MissingRight
    } else {
        Refusal::Denied
    }
}

impl fmt::Display for KubeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "failed to {} {}", self.verb, self.kind)?;
        if !self.name.is_empty() {
            write!(formatter, " {}", self.name)?;
        }
        write!(formatter, ": {}", kube_message(&self.source))
    }
}

impl std::error::Error for KubeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// The API server's own sentence, or the error of the connection.
#[must_use]
pub fn kube_message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
