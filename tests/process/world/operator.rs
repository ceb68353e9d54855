//! An operator as a child of the test: its signals, its end, its log and its metrics.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{World, eventually};

static STARTS: AtomicU32 = AtomicU32::new(0);

pub struct Operator {
    child: Child,
    pub pod: String,
    /// Id of its token, as the audit log has it.
    pub credential: String,
    probe_port: u16,
    log: PathBuf,
}

impl Operator {
    pub(super) fn start(world: &World, pod: &str, variables: &[(&str, &str)], token: &str) -> Self {
        let probe_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let number = STARTS.fetch_add(1, Ordering::Relaxed);
        let log = world.folder().join(format!("{pod}-{number}.log"));
        let kubeconfig = world.folder().join(format!("{pod}-{number}.kubeconfig"));
        std::fs::write(&kubeconfig, world.kubeconfig(token)).unwrap();
        let arguments = world.chart.arguments.iter().map(|argument| {
            if argument.starts_with("--probe-address=") {
                format!("--probe-address=127.0.0.1:{probe_port}")
            } else {
                argument.clone()
            }
        });
        let errors = File::create(&log).unwrap();
        // The kernel ends the operator with the test's thread, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_error-tracking-operator")])
            .args(arguments)
            .envs(world.chart.variables.iter().cloned())
            .env("KUBECONFIG", kubeconfig)
            .env("POD_NAMESPACE", &world.name)
            .env("POD_NAME", pod)
            // As the chart sets it.
            .env("MALLOC_ARENA_MAX", "2")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(errors.try_clone().unwrap())
            .stderr(errors);
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy);
        }
        let child = command.spawn().expect("setpriv of util-linux");
        Self { child, pod: pod.to_owned(), credential: token_id(token), probe_port, log }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name: "TERM", "STOP", "CONT", "KILL".
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Ends it as the kernel would, and waits for that.
    pub fn kill(mut self) {
        self.end();
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < limit, "{} did not end within {limit:?}:\n{}", self.pod, self.log_tail());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until it leads and its caches are filled.
    pub async fn leads(&self) {
        eventually(&format!("{} leads", self.pod), Duration::from_mins(1), async || {
            self.logged("Caches are filled; reconciling.").then_some(())
        })
        .await;
    }

    #[must_use]
    pub fn logged(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Status and body of a path of the probe port; `None` when nobody answers.
    pub async fn probe(&self, path: &str) -> Option<(u16, String)> {
        let exchange = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.probe_port)).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = timeout(Duration::from_secs(5), exchange).await.ok()?.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The sum of a metric over all of its labels that contain `labels`, as `result="error"`.
    pub async fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let (_, text) = self.probe("/metrics").await?;
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(labels)
        });
        let values: Vec<f64> = samples.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// A field of `/proc/PID/status` in KiB, as "`VmRSS`".
    #[must_use]
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The claim `jti` of a token.
fn token_id(token: &str) -> String {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            println!("end of the log of {}:\n{}", self.pod, self.log_tail());
        }
    }
}
