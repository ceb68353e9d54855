//! Names and addresses of a project's ingest. Pure.

/// Port of the Service, so that a DSN needs none.
pub const SERVICE_PORT: u16 = 80;

/// What the installation decides about ingest pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestImage {
    pub image: String,
    pub pull_policy: String,
}

/// Name of everything that receives a project's events.
#[must_use]
pub fn ingest_name(project: &str) -> String {
    format!("{project}-ingest")
}

/// Name of the Secret that holds the login of the ingest pods.
#[must_use]
pub fn database_secret_name(project: &str) -> String {
    format!("{project}-database")
}

/// Where pods of the cluster send events, without a trailing slash.
#[must_use]
pub fn internal_url(namespace: &str, project: &str) -> String {
    format!("http://{}.{namespace}.svc", ingest_name(project))
}
