//! The real ingest process, and what it holds in memory.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use crate::support::{
    client::{self, Request},
    ingest::{World, until},
};

/// Ends with the value.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    /// Returns when it is ready.
    pub async fn start(world: &World) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, probes) = (free(), free());
        // The examples, which share these files, are built without it.
        let Some(program) = option_env!("CARGO_BIN_EXE_error-tracking-operator") else {
            panic!("only tests and benchmarks have the program")
        };
        let child = Command::new(program)
            .args(["ingest", "--instance", "shop-ingest-9", "--drain-delay", "1s"])
            .args(["--project-id", &world.project.to_string(), "--database"])
            .arg(&world.secret)
            .args(["--listen", &address.to_string(), "--probe-address", &probes.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, address };
        let ready = Request::new("GET", "/readyz");
        until("the process is ready", async || {
            TcpStream::connect(probes).is_ok() && client::send(probes, &ready).await.status == 200
        })
        .await;
        process
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Largest resident memory since [`Self::forget_peak`], in MiB.
    pub fn peak_mib(&self) -> u64 {
        self.status("VmHWM:") >> 10
    }

    /// Resident memory without what the kernel can read again from files, in MiB.
    pub fn anonymous_mib(&self) -> u64 {
        self.status("RssAnon:") >> 10
    }

    /// proc(5), `clear_refs`.
    pub fn forget_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        // A process that has died holds nothing.
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = (self.child.kill(), self.child.wait());
    }
}
