//! The address of the console for a browser: its own, or a port of this machine that leads to it.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Console, Way};
use crate::plugin::{PluginError, cluster::Cluster, forward::Target, output::note};

/// Connections at once: a browser has six to a host.
const MAX_CONNECTIONS: usize = 64;

pub struct Entrance {
    /// Without a slash at its end.
    pub url: String,
    /// Where the console has no address of its own.
    forwarded: Option<(TcpListener, Cluster, Target)>,
}

impl Console {
    /// A console that answers to a host name has an address of its own, with TLS: without it, browsers do not keep its
    /// cookie.
    pub async fn entrance(self) -> Result<Entrance, PluginError> {
        let (cluster, target) = match self.way {
            Way::Address(url) => return Ok(Entrance { url: url.to_string(), forwarded: None }),
            Way::Pod(cluster, target) => (cluster, target),
        };
        if let Some(host) = target.hosts.first() {
            return Ok(Entrance { url: format!("https://{host}"), forwarded: None });
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Entrance { url, forwarded: Some((listener, cluster, target)) })
    }
}

impl Entrance {
    /// Serves the port until the command is interrupted; ends at once where there is none.
    pub async fn keep(self) -> Result<(), PluginError> {
        let Some((listener, cluster, target)) = self.forwarded else { return Ok(()) };
        note("The console is there until this command is interrupted.");
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            while connections.try_join_next().is_some() || connections.len() >= MAX_CONNECTIONS {
                if connections.len() >= MAX_CONNECTIONS {
                    connections.join_next().await;
                }
            }
            connections.spawn(lead(stream, cluster.clone(), target.clone()));
        }
    }
}

async fn lead(mut stream: TcpStream, cluster: Cluster, target: Target) {
    match cluster.forward(&target).await {
        // The browser sees when a connection ends.
        Ok(mut forwarded) => drop(copy_bidirectional(&mut stream, &mut forwarded).await),
        Err(error) => note(&error.to_string()),
    }
}
