//! The console: web pages that list a project's errors and show one with its latest event.
//!
//! In come GET requests; out go pages rendered on the server, that need no script and are told to run
//! none. It reads Postgres with a login that may SELECT and nothing else. Until sign-in exists whoever
//! reaches it sees everything, so it listens on loopback only and answers to the names of this machine
//! only; `kubectl port-forward` is the way in. Called by `main`.
//!
//! `web` (authentication, the route, its right) → `handlers` (one a page) → `store::console`, then `pages` (fields and
//! templates, pure). `routes` is the list of what there is: nothing but `mod` imports it.

mod assets;
mod auth;
mod context;
mod databases;
mod handlers;
mod metrics;
mod pages;
mod problem;
mod routes;
mod server;
mod web;

use std::{io, net::SocketAddr, path::PathBuf};

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::{
    databases::Databases,
    metrics::Metrics,
    web::{Console, router::Router},
};
use crate::{server::probes, store::connection::ConnectionError, telemetry::Readiness};

/// Options of `error-tracking-operator console`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Folder of the mounted Secret with the read-only database logins: host, port, dbname, username and password of the
    /// operator's own database, and a key `<namespace>.<name>.uri` for each one that projects name.
    #[arg(long, env = "ERROR_TRACKING_DATABASE", value_name = "DIR")]
    pub database: PathBuf,
    /// Address of the pages; loopback only until the console has sign-in.
    #[arg(long, env = "ERROR_TRACKING_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "ERROR_TRACKING_PROBE_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub probe_address: SocketAddr,
}

/// Why the console cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "--listen {0} is not a loopback address: the console has no sign-in yet and would show every error to whoever \
         reaches it; listen on 127.0.0.1 and use kubectl port-forward"
    )]
    NotLoopback(SocketAddr),
    #[error("failed to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("failed to read the database login: {0}")]
    Credentials(#[from] ConnectionError),
    #[error(transparent)]
    Probes(#[from] probes::Error),
    #[error("failed to register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the table of routes contradicts itself: {0}")]
    Routes(#[from] matchit::InsertError),
}

/// Serves until `shutdown`, then finishes the pages under way. A database that is away ends nothing:
/// pages say so and `/readyz` fails until it is back.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let listener = bind(config.listen).await?;
    serve(listener, config, shutdown).await
}

/// A listener for [`serve`], for those who want to know the port first. Refuses what is not loopback.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    if !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Serves on `listener` instead of `config.listen`; otherwise as [`run`].
pub async fn serve(listener: TcpListener, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let registry = Registry::new();
    let metrics = Metrics::new(&registry)?;
    let databases = Databases::open(&config.database)?;
    let readiness = Readiness::default();
    if let Ok(address) = listener.local_addr() {
        info!(%address, "Serving the console.");
    }
    // Whichever ends first ends the others: a console without probes would be killed, one without pages is none.
    let ended = shutdown.child_token();
    let router = Router::new(routes::routes())?;
    let console = Console { router, policy: auth::port_forward_is_enough, databases: databases.clone(), metrics };
    let pages = async {
        server::serve(listener, ended.clone(), web::filter(console)).await;
        ended.cancel();
    };
    let probes = async {
        let served = probes::serve(config.probe_address, ended.clone(), readiness.clone(), registry).await;
        ended.cancel();
        served
    };
    let following = databases.follow(ended.clone(), readiness.clone());
    let ((), probes, ()) = tokio::join!(pages, probes, following);
    Ok(probes?)
}
