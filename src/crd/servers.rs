//! The part of an `ErrorTrackingProject` whose errors are kept elsewhere: in a Sentry, or in GitLab's integrated error tracking.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Key of the token in its Secret when the spec names none.
const TOKEN_KEY: &str = "token";
/// Key of the certificates in their Secret when the spec names none, as cert-manager writes it.
const CA_BUNDLE_KEY: &str = "ca.crt";

/// A project of a Sentry, whose keys the operator manages. What applications send goes there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sentry {
    /// Where the Sentry is, as "https://sentry.io", "https://de.sentry.io" or "https://sentry.example.com". The installation must allow the host.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(super::schema::IS_URL).message("sentry.url must be https://, a host, and if need be a port and a path, as https://sentry.io: no user, query or fragment"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("sentry.url is immutable: the keys stay where they are. Create another project for the other server"))]
    pub url: String,

    /// Slug of the organization, as it is in Sentry's addresses.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$')").message("sentry.organization must be the slug of an organization, as acme: lower-case letters, digits, '-' and '_'"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("sentry.organization is immutable: the keys stay where they are. Create another project for the other organization"))]
    pub organization: String,

    /// Slug of the project, as it is in Sentry's addresses; status.sentry.availableProjects lists those that the token can see.
    #[schemars(length(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$')").message("sentry.project must be the slug of a project, as shop: lower-case letters, digits, '-' and '_'"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("sentry.project is immutable: the keys stay where they are. Create another project for the other one there"))]
    pub project: String,

    /// The auth token, in a Secret of this namespace. Its scopes: project:read to look, project:write to make and disable keys, project:admin to delete them 30 days after their end.
    pub token_secret_ref: SecretKeyReference,

    /// Certificates of the authorities that are trusted, and no others, in PEM, in a Secret of this namespace under "ca.crt" or the key that is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_secret_ref: Option<SecretKeyReference>,
}

/// A project of a GitLab with integrated error tracking, whose keys the operator manages. What applications send goes there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gitlab {
    /// Where the GitLab is, as "https://gitlab.com". The installation must allow the host.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(super::schema::IS_URL).message("gitlab.url must be https://, a host, and if need be a port and a path, as https://gitlab.com: no user, query or fragment"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("gitlab.url is immutable: the keys stay where they are. Create another project for the other server"))]
    pub url: String,

    /// Path of the project with its groups, as "acme/shop", or its number.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+|[A-Za-z0-9_.][-A-Za-z0-9_.]*(/[A-Za-z0-9_.][-A-Za-z0-9_.]*)+)$')").message("gitlab.project must be the path of a project with its groups, as acme/shop, or its number"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("gitlab.project is immutable: the keys stay where they are. Create another project for the other one there"))]
    pub project: String,

    /// A token with the scope api and the role Maintainer, in a Secret of this namespace.
    pub token_secret_ref: SecretKeyReference,

    /// Certificates of the authorities that are trusted, and no others, in PEM, in a Secret of this namespace under "ca.crt" or the key that is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_secret_ref: Option<SecretKeyReference>,
}

/// A value in a Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct SecretKeyReference {
    /// Name of the Secret. With the label errortracking.dev/watch: "true" a change of it is followed at once, else within five minutes.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')").message("the name of a Secret holds only lower-case letters, digits, '-' and '.'"))]
    pub name: String,
    /// Key in the Secret: "token" for a token and "ca.crt" for certificates when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("a key of a Secret holds only letters, digits, '-', '_' and '.'"))]
    pub key: Option<String>,
}

/// What the token can see of a Sentry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SentryStatus {
    /// Projects that the token can see, as "organization/project", to choose from; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::available_projects")]
    pub available_projects: Vec<String>,
}

/// Which server it is, also while it cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    Sentry,
    Gitlab,
}

impl ServerKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sentry => "Sentry",
            Self::Gitlab => "GitLab",
        }
    }
}

/// Where the keys of a project are when another server keeps its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRef<'a> {
    Sentry(&'a Sentry),
    Gitlab(&'a Gitlab),
}

impl ServerRef<'_> {
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Sentry(Sentry { url, .. }) | Self::Gitlab(Gitlab { url, .. }) => url.trim_end_matches('/'),
        }
    }

    /// Server and project as people and the ledger of keys call them, as `sentry https://sentry.io acme/shop`: the same for
    /// every project that is the same one there.
    #[must_use]
    pub fn place(&self) -> String {
        let url = self.url();
        match self {
            Self::Sentry(Sentry { organization, project, .. }) => format!("sentry {url} {organization}/{project}"),
            Self::Gitlab(Gitlab { project, .. }) => format!("gitlab {url} {project}"),
        }
    }

    #[must_use]
    pub fn kind(&self) -> ServerKind {
        match self {
            Self::Sentry(_) => ServerKind::Sentry,
            Self::Gitlab(_) => ServerKind::Gitlab,
        }
    }

    /// Secret and key of the token.
    #[must_use]
    pub fn token(&self) -> (&str, &str) {
        let (Self::Sentry(Sentry { token_secret_ref, .. }) | Self::Gitlab(Gitlab { token_secret_ref, .. })) = self;
        (&token_secret_ref.name, token_secret_ref.key.as_deref().unwrap_or(TOKEN_KEY))
    }

    /// Secret and key of the certificates that are trusted in place of the public ones.
    #[must_use]
    pub fn ca_bundle(&self) -> Option<(&str, &str)> {
        let (Self::Sentry(Sentry { ca_bundle_secret_ref, .. }) | Self::Gitlab(Gitlab { ca_bundle_secret_ref, .. })) =
            self;
        let reference = ca_bundle_secret_ref.as_ref()?;
        Some((&reference.name, reference.key.as_deref().unwrap_or(CA_BUNDLE_KEY)))
    }
}
