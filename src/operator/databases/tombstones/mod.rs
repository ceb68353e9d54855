//! What deleted objects still have in Postgres when it was away at their deletion: written down in `ConfigMap`s, and
//! settled when Postgres answers again.

mod pages;
mod settle;

use std::{borrow::Cow, fmt};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use serde::{Deserialize, Serialize};

pub use self::{
    pages::{Tombstones, config_map_name, forget, list},
    settle::Unsettled,
};
use crate::crd::{ClientKey, DeletionPolicy, ErrorTrackingProject};

/// An object that is gone, and what is owed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Tombstone {
    #[serde(rename = "ErrorTrackingProject", rename_all = "camelCase")]
    Project { uid: String, namespace: String, name: String, deletion_policy: DeletionPolicy },
    #[serde(rename_all = "camelCase")]
    ClientKey {
        uid: String,
        namespace: String,
        name: String,
        /// Secret of the project's own database, where the key is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        database: Option<String>,
        /// The key's project, when only the catalog can say which database that had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project: Option<String>,
        /// Namespace of the project, and of the Secret of its database, when it is another one than the key's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        project_namespace: Option<String>,
    },
}

/// A new object, which may have the name of one that left a tombstone.
#[derive(Clone, Copy, Debug)]
pub struct Successor<'a> {
    pub kind: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// Secret of the project's own database.
    pub database: Option<&'a str>,
    /// Namespace of that Secret.
    pub database_namespace: &'a str,
}

impl fmt::Display for Tombstone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind(), self.namespace(), self.name())
    }
}

impl Tombstone {
    #[must_use]
    pub fn project(uid: &str, namespace: &str, name: &str, deletion_policy: DeletionPolicy) -> Self {
        Self::Project { uid: uid.into(), namespace: namespace.into(), name: name.into(), deletion_policy }
    }

    #[must_use]
    pub fn client_key(uid: &str, namespace: &str, name: &str, database: Option<String>) -> Self {
        Self::ClientKey {
            uid: uid.into(),
            namespace: namespace.into(),
            name: name.into(),
            database,
            project: None,
            project_namespace: None,
        }
    }

    /// Of a key whose project is gone: the catalog says where that one was.
    #[must_use]
    pub fn client_key_of(uid: &str, namespace: &str, name: &str, project: &str) -> Self {
        let mut tombstone = Self::client_key(uid, namespace, name, None);
        if let Self::ClientKey { project: of, .. } = &mut tombstone {
            *of = Some(project.to_owned());
        }
        tombstone
    }

    /// The same, of a key whose project is in that namespace.
    #[must_use]
    pub fn of_project_in(mut self, namespace: &str) -> Self {
        if let Self::ClientKey { namespace: own, project_namespace, .. } = &mut self {
            *project_namespace = Some(namespace.to_owned()).filter(|namespace| namespace != own);
        }
        self
    }

    fn kind(&self) -> Cow<'static, str> {
        match self {
            Self::Project { .. } => ErrorTrackingProject::kind(&()),
            Self::ClientKey { .. } => ClientKey::kind(&()),
        }
    }

    fn is_of(&self, new: &Successor<'_>) -> bool {
        (&*self.kind(), self.namespace(), self.name()) == (new.kind, new.namespace, new.name)
    }

    #[must_use]
    pub fn uid(&self) -> &str {
        match self {
            Self::Project { uid, .. } | Self::ClientKey { uid, .. } => uid,
        }
    }

    fn namespace(&self) -> &str {
        match self {
            Self::Project { namespace, .. } | Self::ClientKey { namespace, .. } => namespace,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Project { name, .. } | Self::ClientKey { name, .. } => name,
        }
    }

    /// Secret of the database that a key is in. `None` for keys in the operator's, and for projects: the catalog
    /// knows those.
    fn database(&self) -> Option<&str> {
        match self {
            Self::ClientKey { database, .. } => database.as_deref(),
            Self::Project { .. } => None,
        }
    }

    /// Namespace of the project, and of the Secret of its own database.
    #[must_use]
    pub fn project_namespace(&self) -> &str {
        match self {
            Self::ClientKey { namespace, project_namespace, .. } => project_namespace.as_ref().unwrap_or(namespace),
            Self::Project { namespace, .. } => namespace,
        }
    }

    /// For the Event about it.
    fn reference(&self) -> ObjectReference {
        let api_version = match self {
            Self::Project { .. } => ErrorTrackingProject::api_version(&()),
            Self::ClientKey { .. } => ClientKey::api_version(&()),
        };
        ObjectReference {
            api_version: Some(api_version.into_owned()),
            kind: Some(self.kind().into_owned()),
            namespace: Some(self.namespace().to_owned()),
            name: Some(self.name().to_owned()),
            uid: Some(self.uid().to_owned()),
            ..ObjectReference::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_is_of_its_kind_namespace_and_name() {
        let new =
            Successor { kind: "ClientKey", namespace: "web", name: "shop", database: None, database_namespace: "web" };
        let key = Tombstone::client_key("u", "web", "shop", None);
        assert!(key.is_of(&new));
        assert!(!key.is_of(&Successor { kind: "ErrorTrackingProject", ..new }));
        assert!(!key.is_of(&Successor { namespace: "other", ..new }));
        assert!(!key.is_of(&Successor { name: "blog", ..new }));
    }

    #[test]
    fn a_key_of_another_namespaces_project_is_owed_by_the_database_there() {
        let key = || Tombstone::client_key("u", "web", "shop", Some("pg".into()));
        assert_eq!(key().of_project_in("web"), key());
        let elsewhere = key().of_project_in("shared");
        assert_eq!((elsewhere.namespace(), elsewhere.project_namespace()), ("web", "shared"));
        let text = serde_json::to_string(&elsewhere).unwrap();
        assert_eq!(serde_json::from_str::<Tombstone>(&text).unwrap(), elsewhere, "{text}");
        // A version that does not know the field asks for a Secret of the key's namespace, finds none, and waits.
        assert!(!serde_json::to_string(&key()).unwrap().contains("projectNamespace"));
    }
}
