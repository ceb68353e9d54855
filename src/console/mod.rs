//! The console: web pages that list a project's errors and show one with its latest event.
//!
//! In come requests; out go pages rendered on the server, that need no script: the one they have presses their buttons
//! by keys. It reads Postgres with a login that may SELECT, keep who is signed in, and act on errors by two functions.
//! Who somebody is and what they may see, Kubernetes says (`TokenReview`, `SubjectAccessReview`); who somebody is, an
//! OpenID provider may say as well. Without sign-in whoever reaches it sees everything: then it listens on loopback
//! only. Called by `main`.
//!
//! `web` (the name asked by, `sign_in`, the route) → `handlers` (one a page) → `context` (`rights`, `databases`) →
//! `store::console`, then `pages` (fields and templates, pure). `selection` and `query` read which errors a list has.
//! `routes` is the list of what there is: nothing but `mod` imports it.

mod assets;
mod auth;
mod context;
mod databases;
mod handlers;
mod lookup;
mod metrics;
mod moved;
mod pages;
mod problem;
mod query;
mod recent;
mod rights;
mod routes;
mod selection;
mod server;
mod sign_in;
mod trends;
mod web;

use std::{io, net::SocketAddr, path::PathBuf};

use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::sign_in::{Mode as SignInMode, OidcOptions};
use self::{
    databases::Databases,
    metrics::Metrics,
    rights::Rights,
    sign_in::{BadIssuer, Oidc, SignIn},
    trends::Trends,
    web::{Console, Forms, origin::Hosts, router::Router},
};
use crate::{server::probes, store::connection::ConnectionError, telemetry::Readiness};

/// Options of `error-tracking-operator console`.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Folder of the mounted Secret with the read-only database logins: host, port, dbname, username and password of the
    /// operator's own database, and a key `<namespace>.<name>.uri` for each one that projects name.
    #[arg(long, env = "ERROR_TRACKING_DATABASE", value_name = "DIR")]
    pub database: PathBuf,
    /// Address of the pages; with --sign-in=none loopback only.
    #[arg(long, env = "ERROR_TRACKING_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// How people show who they are.
    #[arg(long, env = "ERROR_TRACKING_SIGN_IN", value_name = "HOW", default_value = "kubernetes")]
    pub sign_in: SignInMode,
    #[command(flatten)]
    pub oidc: OidcOptions,
    /// A name that the console answers to beside localhost, 127.0.0.1 and `[::1]`, without a port; for several, several times.
    #[arg(long = "host", env = "ERROR_TRACKING_HOSTS", value_name = "NAME", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "ERROR_TRACKING_PROBE_ADDRESS", value_name = "ADDRESS", default_value = "0.0.0.0:8081")]
    pub probe_address: SocketAddr,
}

/// Why the console cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "--listen {0} is not a loopback address: with --sign-in=none the console would show every error to whoever \
         reaches it; listen on 127.0.0.1 and use kubectl port-forward, or leave --sign-in as it is"
    )]
    NotLoopback(SocketAddr),
    #[error("failed to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("failed to find the Kubernetes API server, which reviews who signs in: {0}")]
    Kubernetes(#[from] kube::Error),
    #[error(transparent)]
    Oidc(#[from] BadIssuer),
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
    let listener = bind(config.listen, config.sign_in).await?;
    let client = match config.sign_in {
        SignInMode::Kubernetes => Some(kube::Client::try_default().await?),
        SignInMode::None => None,
    };
    serve(listener, config, client, shutdown).await
}

/// A listener for [`serve`], for those who want to know the port first. Refuses what is not loopback where nobody signs
/// in.
pub async fn bind(address: SocketAddr, sign_in: SignInMode) -> Result<TcpListener, Error> {
    if sign_in == SignInMode::None && !address.ip().is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Serves on `listener` instead of `config.listen`, and asks that API server, instead of the one that the environment
/// names, who signs in: `None` for nobody. Otherwise as [`run`].
pub async fn serve(
    listener: TcpListener,
    config: Config,
    client: Option<kube::Client>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
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
    let oidc = Oidc::new(config.oidc)?;
    let (sign_in, rights) = match client {
        Some(client) => (SignIn::of_kubernetes(client.clone(), oidc, databases.clone()), Rights::of_kubernetes(client)),
        None => (SignIn::Off, Rights::Everything),
    };
    let console = Console {
        router,
        hosts: Hosts::new(&config.hosts),
        sign_in,
        rights,
        databases: databases.clone(),
        trends: Trends::default(),
        metrics,
        forms: Forms::default(),
    };
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
