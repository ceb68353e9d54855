//! Stands between a program and a server, and does what networks do: stands for a server that refuses, and for a
//! firewall that forgets connections, neither of which can be had from a healthy server.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// Connections end at once, those that are open too.
    Refuse,
    /// As `Refuse`, and nobody listens any more.
    Closed,
    /// Nothing passes any more and no connection ends; those of this time stay dead afterwards.
    Silent,
}

pub struct Proxy {
    pub address: SocketAddr,
    /// The proxy ends when this is dropped.
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// Forwards to `server`, as "10.0.0.2:6443". On a thread of its own: a test that waits must not hold it up.
    pub fn start(server: &str) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Forward);
        let server = server.to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { accept(TcpListener::from_std(listener).unwrap(), server, modes).await });
        });
        Self { address, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Closes the port, and returns when the connections that were forwarded have ended too.
    pub async fn close(&self) {
        self.set(Mode::Closed);
        // Each connection follows the mode, and so does the loop that accepts them.
        while self.mode.receiver_count() > 1 || TcpStream::connect(self.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn accept(mut listener: TcpListener, server: String, mut modes: watch::Receiver<Mode>) {
    let address = listener.local_addr().unwrap();
    loop {
        if *modes.borrow_and_update() == Mode::Closed {
            drop(listener);
            if modes.wait_for(|mode| *mode != Mode::Closed).await.is_err() {
                return;
            }
            listener = TcpListener::bind(address).await.unwrap();
        }
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(forward(client, server.clone(), modes.clone()));
                }
            }
            changed = modes.changed() => if changed.is_err() { return },
        }
    }
}

async fn forward(mut client: TcpStream, server: String, mut modes: watch::Receiver<Mode>) {
    let mode = *modes.borrow_and_update();
    match mode {
        Mode::Refuse | Mode::Closed => return,
        Mode::Silent => return std::future::pending().await,
        Mode::Forward => {}
    }
    let Ok(mut server) = TcpStream::connect(&server).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let left = async { modes.wait_for(|mode| *mode != Mode::Forward).await.map_or(Mode::Refuse, |mode| *mode) };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        mode = left => if mode == Mode::Silent {
            // Neither side is told.
            std::future::pending::<()>().await;
        }
    }
}
