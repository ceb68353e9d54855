//! The network between the console and Postgres, which a test can cut. Stands in for a server that went
//! away: the server of this test binary also serves the tests beside this one.

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, oneshot},
};

pub struct Wire {
    port: u16,
    server: u16,
    /// Dropped to cut.
    whole: Mutex<Option<oneshot::Sender<()>>>,
}

impl Wire {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Self { port, server, whole: Mutex::new(None) };
        wire.carry(listener).await;
        wire
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection and refuses new ones.
    pub async fn cut(&self) {
        *self.whole.lock().await = None;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    pub async fn mend(&self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.carry(listener).await;
    }

    async fn carry(&self, listener: TcpListener) {
        let (whole, mut cut) = oneshot::channel();
        *self.whole.lock().await = Some(whole);
        let server = self.server;
        tokio::spawn(async move {
            // Aborts its tasks, and so closes their connections, when it is dropped.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut client, _) = tokio::select! {
                    _ = &mut cut => return,
                    accepted = listener.accept() => accepted.unwrap(),
                };
                connections.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
    }
}
