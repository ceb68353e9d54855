//! The console as a process, without sign-in.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use uuid::Uuid;

use super::support::{
    client::{self, Request},
    ingest::{World, until, write_secret},
};

/// Ends with the value.
pub struct Console {
    child: Child,
    secret: PathBuf,
    pub address: SocketAddr,
}

impl Console {
    /// Returns when it is ready.
    pub async fn start(world: &World) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, probes) = (free(), free());
        let role = world.admin.ensure_console_role(&"bench".into()).await.unwrap();
        let secret = std::env::temp_dir().join(format!("console-secret-{}", Uuid::new_v4()));
        fs::create_dir(&secret).unwrap();
        write_secret(&secret, &world.owner.with_login(&role, "bench".into()));
        let child = Command::new(env!("CARGO_BIN_EXE_error-tracking-operator"))
            .args(["console", "--sign-in", "none", "--database"])
            .arg(&secret)
            .args(["--listen", &address.to_string(), "--probe-address", &probes.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let console = Self { child, secret, address };
        let ready = Request::new("GET", "/readyz");
        until("the console is ready", async || {
            TcpStream::connect(probes).is_ok() && client::send(probes, &ready).await.status == 200
        })
        .await;
        console
    }

    /// Largest resident memory so far, in MiB.
    pub fn peak_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default();
        kib >> 10
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _gone = (self.child.kill(), self.child.wait(), fs::remove_dir_all(&self.secret));
    }
}
