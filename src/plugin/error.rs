//! Why a command could not do what it was called for. `Display` is the sentence for people: what to do, where something
//! can be done.

use std::{error::Error, io};

use crate::kubernetes::{KubeError, Refusal};

#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("no cluster can be found: {}. Look at --kubeconfig and --context", chain(.0.as_ref()))]
    Config(Box<dyn Error + Send + Sync>),
    #[error("{}", sentence(.0, .1))]
    Api(Box<Asked>, #[source] KubeError),
    /// What was asked for cannot be, or did not come.
    #[error("{0}")]
    Refused(String),
    /// The console, or the way to it, did not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The console said why not.
    #[error("{message}")]
    Console { status: u16, message: String },
    #[error("failed to write the answer: {0}")]
    Output(#[from] io::Error),
    #[error("failed to write the answer: {0}")]
    Json(#[from] serde_json::Error),
    #[error("failed to write the answer: {0}")]
    Yaml(#[from] serde_yaml::ser::Error),
}

/// What the API server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As RBAC names it.
    pub verb: &'static str,
    pub kind: String,
    /// As RBAC names it.
    pub plural: String,
    /// `None`: all of them.
    pub namespace: Option<String>,
    /// Empty: a list.
    pub name: String,
}

impl PluginError {
    /// For `map_err`.
    pub fn on(asked: Asked) -> impl FnOnce(kube::Error) -> Self {
        move |error| {
            let failed = KubeError::on(asked.verb, asked.kind.clone(), &asked.name)(error);
            Self::Api(Box::new(asked), failed)
        }
    }

    /// The object changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.refusal() == Some(Refusal::Changed)
    }

    pub fn is_missing_right(&self) -> bool {
        self.refusal() == Some(Refusal::MissingRight)
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(_, failed) if failed.status().is_some_and(|status| status.code == 404))
    }

    /// The same may be answered in a moment: there was no answer, or whoever was asked could not give one.
    pub fn may_pass(&self) -> bool {
        let is_away = |code: u16| code >= 500 || code == 429;
        match self {
            Self::Api(_, failed) => failed.status().is_none_or(|status| is_away(status.code)),
            Self::Console { status, .. } => is_away(*status),
            Self::Unreachable(_) => true,
            _ => false,
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Api(_, failed) => Some(failed.refusal()),
            _ => None,
        }
    }
}

fn sentence(asked: &Asked, failed: &KubeError) -> String {
    let Asked { verb, kind, plural, namespace, name } = asked;
    let place = namespace.as_ref().map_or("all namespaces".to_owned(), |namespace| format!("namespace {namespace}"));
    let Some(status) = failed.status() else {
        return format!("the API server could not be asked: {}", chain(failed.source().unwrap_or(failed)));
    };
    match status.code {
        401 => "the API server does not accept your credentials: sign in again".to_owned(),
        403 if failed.refusal() == Refusal::MissingRight => format!("you may not {verb} {plural} in {place}"),
        // The API server names the object that is not there, and nothing where it does not know the kind.
        404 if status.details.as_ref().is_some_and(|details| !details.name.is_empty()) => {
            format!("there is no {kind} {name} in {place}")
        }
        404 => format!("the cluster does not know {plural}: error-tracking-operator is not installed there"),
        _ => failed.to_string(),
    }
}

/// The error and its causes, of which each adds something.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_says_what_is_missing() {
        let asked = |namespace: Option<&str>, name: &str| Asked {
            verb: "patch",
            kind: "ClientKey".into(),
            plural: "clientkeys".into(),
            namespace: namespace.map(str::to_owned),
            name: name.into(),
        };
        let status = |code: u16, message: &str, name: &str| -> Status {
            serde_json::from_value(
                json!({"status": "Failure", "code": code, "message": message, "details": {"name": name}}),
            )
            .unwrap()
        };
        let denied =
            r#"clientkeys.errortracking.dev "shop" is forbidden: User "eve" cannot patch resource "clientkeys""#;
        for (asked, status, says) in [
            (asked(Some("web"), "shop"), status(403, denied, "shop"), "you may not patch clientkeys in namespace web"),
            (asked(None, ""), status(403, denied, ""), "you may not patch clientkeys in all namespaces"),
            (
                asked(Some("web"), "shop"),
                status(404, "not found", "shop"),
                "there is no ClientKey shop in namespace web",
            ),
            (
                asked(Some("web"), ""),
                status(404, "the server could not find the requested resource", ""),
                "the cluster does not know clientkeys: error-tracking-operator is not installed there",
            ),
            (
                asked(Some("web"), "shop"),
                status(401, "Unauthorized", ""),
                "the API server does not accept your credentials: sign in again",
            ),
            (
                asked(Some("web"), "shop"),
                status(422, "the annotation is too long", ""),
                "failed to patch ClientKey shop: the annotation is too long",
            ),
        ] {
            let error = PluginError::on(asked)(kube::Error::Api(Box::new(status)));
            assert_eq!(error.to_string(), says);
        }
    }

    #[test]
    fn causes_are_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("connection refused")]
        struct Cause;
        #[derive(Debug, thiserror::Error)]
        #[error("{said}")]
        struct Outer {
            said: &'static str,
            source: Cause,
        }
        assert_eq!(chain(&Outer { said: "could not connect", source: Cause }), "could not connect: connection refused");
        assert_eq!(chain(&Outer { said: "tried: connection refused", source: Cause }), "tried: connection refused");
    }
}
