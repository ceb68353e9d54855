//! Stands between the ingest server and a real Postgres, and does what networks do: stands for a network
//! that loses an answer or goes silent, which a server on loopback cannot be made to do.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Default)]
pub struct Faults {
    /// This many times: when a batch has been sent, the connection ends before its answer passes.
    pub lose_answers: Arc<AtomicU32>,
    /// Nothing passes any more; no connection ends.
    pub silent: Arc<AtomicBool>,
}

/// Forwards to `server` until the test's runtime ends.
pub async fn start(server: SocketAddr, faults: Faults) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, server, faults.clone()));
        }
    });
    address
}

async fn forward(mut client: TcpStream, server: SocketAddr, faults: Faults) {
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut batch_sent = false;
    loop {
        let sent = tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                // An execution of the prepared statement carries the rows: nothing else is as long.
                batch_sent |= length > 1000;
                if faults.silent.load(Ordering::Relaxed) { continue; }
                server.write_all(&up[..length]).await
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                let lost = &faults.lose_answers;
                let lose = |left: u32| left.checked_sub(1);
                if batch_sent && lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lose).is_ok() {
                    return;
                }
                batch_sent = false;
                if faults.silent.load(Ordering::Relaxed) { continue; }
                client.write_all(&down[..length]).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}
