//! What the command line and the environment say to the operator.

use std::{net::SocketAddr, time::Duration};

use http::Uri;
use jiff::SignedDuration;

use super::{
    databases::{AllowedHosts, Secrets},
    kinds::{
        AllowedKeys, KINDS, Limits,
        project::{IngestImage, IngestPods},
    },
};
use crate::{backend::servers::AllowedBackends, kubernetes::Namespaces};

/// Settings of the operator.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE")]
    pub(super) namespace: String,
    /// Name of this pod: who holds the lease.
    #[arg(long, env = "POD_NAME")]
    pub(super) pod_name: String,
    /// Image of the ingest pods: the one that this process runs from.
    #[arg(long, env = "INGEST_IMAGE")]
    pub(super) image: String,
    #[arg(long, env = "INGEST_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub(super) image_pull_policy: String,
    #[command(flatten)]
    pub(super) pods: IngestPods,
    /// Secret with the keys host, port, dbname, username and password, or uri.
    #[arg(long, env = "ERROR_TRACKING_DATABASE_SECRET")]
    pub(super) database_secret: String,
    /// Host of an evaluation Postgres: its Secret is made with a new password when it is absent.
    #[arg(long, env = "ERROR_TRACKING_CREATE_DATABASE_SECRET_FOR")]
    pub(super) create_database_secret_for: Option<String>,
    /// Secret that is made for the console's read-only login.
    #[arg(long, env = "ERROR_TRACKING_CONSOLE_SECRET", default_value = "error-tracking-console-database")]
    pub(super) console_secret: String,
    /// Address of the console, as <https://errors.example.com>: projects name their pages there.
    #[arg(long, env = "ERROR_TRACKING_CONSOLE_URL", value_name = "URL", value_parser = console_url)]
    pub(super) console_url: Option<String>,
    #[arg(long, env = "ERROR_TRACKING_LEASE_NAME", default_value = "error-tracking-operator")]
    pub(super) lease_name: String,
    /// Where probes and metrics are served.
    #[arg(long, env = "ERROR_TRACKING_PROBE_ADDRESS", default_value = "0.0.0.0:8081")]
    pub(super) probe_address: SocketAddr,
    /// Passes under way at once, for each kind.
    #[arg(long, env = "ERROR_TRACKING_CONCURRENCY", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) concurrency: u16,
    /// After which time the login of a project's ingest pods is replaced by another one, as 2160h; the former one stays
    /// valid until every pod has the new one. 0s: never.
    #[arg(long, env = "ERROR_TRACKING_INGEST_LOGIN_LIFETIME", default_value = "2160h", value_parser = duration)]
    pub(super) ingest_login_lifetime: Duration,
    /// Restart workloads that hold the key before where a `ClientKey` asks for it: needs the right to patch them.
    #[arg(long, env = "ERROR_TRACKING_RESTART_WORKLOADS")]
    pub(super) restart_workloads: bool,
    /// Do what a `RunnerBinding` asks for: needs the right to edit its config.toml or Runner, and to restart its workload.
    #[arg(long, env = "ERROR_TRACKING_RUNNER_BINDINGS")]
    pub(super) runner_bindings: bool,
    #[command(flatten)]
    pub(super) namespaces: Namespaces,
    #[command(flatten)]
    pub(super) hosts: AllowedHosts,
    #[command(flatten)]
    pub(super) backends: AllowedBackends,
    #[command(flatten)]
    pub(super) limits: Limits,
    #[command(flatten)]
    pub(super) keys: AllowedKeys,
}

/// `2160h`, `90m`.
fn duration(text: &str) -> Result<Duration, String> {
    let signed: SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(signed).map_err(|_| "a duration cannot be negative".to_owned())
}

/// Without a slash at the end.
fn console_url(text: &str) -> Result<String, &'static str> {
    let url: Uri = text.parse().map_err(|_| "this is no URL")?;
    match (url.scheme_str(), url.authority(), url.query()) {
        (Some("https" | "http"), Some(_), None) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("it begins with https:// and a host name, and has no query"),
    }
}

impl Config {
    pub(super) fn image(&self) -> IngestImage {
        IngestImage { image: self.image.clone(), pull_policy: self.image_pull_policy.clone() }
    }

    pub(super) fn secrets(&self) -> Secrets {
        Secrets {
            namespace: self.namespace.clone(),
            lease: self.lease_name.clone(),
            database: self.database_secret.clone(),
            evaluation_host: self.create_database_secret_for.clone(),
            console: self.console_secret.clone(),
            // One for each pass of every kind that has its rows there, one for looks and one for jobs.
            connections: KINDS
                .iter()
                .filter(|kind| kind.uses_postgres)
                .map(|_| u32::from(self.concurrency))
                .sum::<u32>()
                + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consoles_address_is_one() {
        for (text, url) in [
            ("https://errors.example.com", Some("https://errors.example.com")),
            ("https://errors.example.com:8443/errors/", Some("https://errors.example.com:8443/errors")),
            ("errors.example.com", None),
            ("javascript:alert(1)", None),
            ("https://errors.example.com/?a=b", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(console_url(text).ok().as_deref(), url, "{text:?}");
        }
    }
}
