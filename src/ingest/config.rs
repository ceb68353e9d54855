//! What an ingest process is started with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use crate::dsn::ProjectId;

/// Flags of `error-tracking-operator ingest`; each can be set by its environment variable too.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Number of the project that is served.
    #[arg(long, env = "ERROR_TRACKING_PROJECT_ID")]
    pub project_id: ProjectId,
    /// Directory of the mounted database Secret: host, port, dbname, username, password, or uri.
    #[arg(long, env = "ERROR_TRACKING_DATABASE", value_name = "DIR")]
    pub database: PathBuf,
    /// Where clients send to.
    #[arg(long, env = "ERROR_TRACKING_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are.
    #[arg(long, env = "ERROR_TRACKING_PROBE_ADDRESS", default_value = "0.0.0.0:8081")]
    pub probe_address: SocketAddr,
    /// Name of this instance in the store: the pod's.
    #[arg(long, env = "POD_NAME")]
    pub instance: String,
    /// How long requests are still accepted after SIGTERM, so that endpoints can forget this pod.
    #[arg(long, env = "ERROR_TRACKING_DRAIN_DELAY", default_value = "5s", value_parser = duration)]
    pub drain_delay: Duration,
    /// How long the requests under way may take after that. With the delay it has to fit into the pod's
    /// grace period.
    #[arg(long, env = "ERROR_TRACKING_DRAIN_TIMEOUT", default_value = "15s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// `5s`, `1m30s`, `200ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(signed).map_err(|_| "a duration cannot be negative".to_owned())
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        config: Config,
    }

    const ARGUMENTS: [&str; 7] =
        ["ingest", "--project-id", "42", "--database", "/database", "--instance", "shop-ingest-0"];

    /// With every default.
    pub fn config() -> Config {
        Command::try_parse_from(ARGUMENTS).unwrap().config
    }

    #[test]
    fn only_project_database_and_instance_have_to_be_said() {
        let config = config();
        assert_eq!(config.project_id.get(), 42);
        assert_eq!((config.listen.port(), config.probe_address.port()), (8080, 8081));
        assert_eq!((config.drain_delay.as_secs(), config.drain_timeout.as_secs()), (5, 15));
        assert!(Command::try_parse_from(ARGUMENTS.iter().chain(&["--project-id", "0"])).is_err());
    }

    #[test]
    fn durations_are_positive_and_have_units() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert!(duration("5").is_err());
        assert!(duration("-5s").is_err());
    }
}
