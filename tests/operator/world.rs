//! `kubectl`, SQL and a sending pod, for tests that look from the outside.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
    sync::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

/// Namespace and release that `make test-cluster` installs the chart as.
pub const INSTALLATION: &str = "error-tracking";
pub const OPERATOR: &str = "error-tracking-operator";

/// Sends events from a pod, as an application would.
pub const SENDER: &str = include_str!("sender.py");

/// Tests that take a part of the installation away wait for the others, and the others for them.
static INSTALLATION_USE: RwLock<()> = RwLock::new(());

pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    INSTALLATION_USE.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub fn alone() -> RwLockWriteGuard<'static, ()> {
    INSTALLATION_USE.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(program);
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(input.as_bytes()).unwrap();
    }
    child.wait_with_output().unwrap()
}

/// Python with an SDK, and Postgres.
pub fn test_image() -> String {
    std::env::var("ERROR_TRACKING_TEST_IMAGE").unwrap_or_else(|_| "localhost/error-tracking-test:dev".into())
}

/// A program as a value of a `ConfigMap` has it, behind `|`.
pub fn indented(program: &str) -> String {
    program.lines().fold(String::new(), |text, line| text + "    " + line + "\n")
}

/// What `kubectl` prints; it must succeed.
pub fn kubectl(arguments: &[&str]) -> String {
    let output = run("kubectl", arguments, None);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "kubectl {}: {out}{err}", arguments.join(" "));
    out.trim().to_owned()
}

/// What `kubectl` prints, or how it complains.
pub fn try_kubectl(arguments: &[&str]) -> Result<String, String> {
    let output = run("kubectl", arguments, None);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What `helm` prints; it must succeed.
pub fn helm(arguments: &[&str]) -> String {
    let output = run("helm", arguments, None);
    assert!(output.status.success(), "helm {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Lets projects name this host as their own database; `None`: no host.
pub fn allow_database_hosts(host: Option<&str>) {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/error-tracking-operator");
    let hosts = host.map_or("null".into(), |host| format!("{{{host}}}"));
    let hosts = format!("guards.allowedDatabaseHosts={hosts}");
    helm(&["upgrade", INSTALLATION, chart, "--namespace", INSTALLATION, "--reuse-values", "--set", &hosts]);
    kubectl(&["rollout", "status", "-n", INSTALLATION, &format!("deployment/{OPERATOR}"), "--timeout=120s"]);
}

/// Looks until `found` gives a value; prints how long it took.
pub fn wait_for<T>(what: &str, limit: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = found() {
            println!("{what}: {:.1} s", started.elapsed().as_secs_f64());
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain: {what}");
        pause(Duration::from_millis(200));
    }
}

#[expect(clippy::disallowed_methods, reason = "these tests run kubectl on threads of their own, without a runtime")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The answer to a query on the installation's Postgres, rows by line, columns by `|`.
pub fn sql(query: &str) -> String {
    sql_in("errortracking", query)
}

/// As [`sql`], in another database of the server.
pub fn sql_in(database: &str, query: &str) -> String {
    let pod = format!("{INSTALLATION}-postgresql-0");
    kubectl(&["exec", "-n", INSTALLATION, &pod, "--", "psql", "-U", "postgres", "-d", database, "-Atc", query])
}

/// A command of tests/cluster for the cluster of these tests; how it complains.
pub fn cluster(command: &str, arguments: &[&str]) -> Result<(), String> {
    let name = std::env::var("ERROR_TRACKING_CLUSTER").unwrap_or_else(|_| "test".into());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster");
    let program = ["-C", folder, "run", "./cmd/cluster", command, "--name", &name];
    let output = run("go", &[&program[..], arguments].concat(), None);
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Takes down the process of the container in every pod whose name begins so, as the kernel would; one that is being
/// started is waited for.
pub fn sigkill(namespace: &str, pod: &str, container: &str) {
    let started = Instant::now();
    let arguments = ["--namespace", namespace, "--pod", pod, "--container", container, "SIGKILL"];
    while let Err(complaint) = cluster("signal", &arguments) {
        assert!(started.elapsed() < Duration::from_mins(1), "{complaint}");
        pause(Duration::from_millis(200));
    }
}

/// A namespace that goes with the test.
pub struct Namespace(pub String);

impl Namespace {
    /// Held to the strictest Pod Security Standard: what the operator makes must pass it.
    pub fn new(name: &str) -> Self {
        let name = format!("t-{name}");
        let _ = try_kubectl(&["delete", "namespace", &name, "--ignore-not-found", "--timeout=120s"]);
        kubectl(&["create", "namespace", &name]);
        kubectl(&["label", "namespace", &name, "pod-security.kubernetes.io/enforce=restricted"]);
        Self(name)
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", &self.0], arguments].concat())
    }

    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        try_kubectl(&[&["-n", &self.0], arguments].concat())
    }

    /// Applies manifests; the complaint when the API server refuses.
    pub fn try_apply(&self, manifests: &str) -> Result<(), String> {
        let output = run("kubectl", &["-n", &self.0, "apply", "-f", "-"], Some(manifests));
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    /// Makes new objects; nothing is written down beside them, as an apply does.
    pub fn try_create(&self, manifests: &str) -> Result<(), String> {
        let output = run("kubectl", &["-n", &self.0, "create", "-f", "-"], Some(manifests));
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    pub fn apply(&self, manifests: &str) {
        self.try_apply(manifests).unwrap();
    }

    /// Applies on the server, as a GitOps tool does.
    pub fn apply_as(&self, manager: &str, manifests: &str) {
        let manager = format!("--field-manager={manager}");
        let arguments = ["-n", &self.0, "apply", "--server-side", "--force-conflicts", &manager, "-f", "-"];
        let output = run("kubectl", &arguments, Some(manifests));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn project(&self, name: &str, spec: &str) {
        self.apply(&format!(
            "apiVersion: errortracking.dev/v1alpha1\nkind: ErrorTrackingProject\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        ));
    }

    pub fn key(&self, name: &str, spec: &str) {
        self.apply(&format!(
            "apiVersion: errortracking.dev/v1alpha1\nkind: ClientKey\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        ));
    }

    /// A field by its `JSONPath`; empty when it is not there, or the object is not.
    pub fn get(&self, object: &str, path: &str) -> String {
        self.try_kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")]).unwrap_or_default()
    }

    pub fn condition(&self, object: &str, kind: &str, field: &str) -> String {
        self.get(object, &format!(".status.conditions[?(@.type==\"{kind}\")].{field}"))
    }

    /// Messages of a condition of every object of a kind, a line each.
    pub fn messages(&self, kind: &str, condition: &str) -> String {
        let path =
            format!("{{range .items[*]}}{{.status.conditions[?(@.type==\"{condition}\")].message}}{{\"\\n\"}}{{end}}");
        self.try_kubectl(&["get", kind, "-o", &format!("jsonpath={path}")]).unwrap_or_default()
    }

    /// As a user would wait.
    pub fn wait_ready(&self, object: &str) {
        let started = Instant::now();
        let waited = self.try_kubectl(&["wait", "--for=condition=Ready", object, "--timeout=120s"]);
        assert!(waited.is_ok(), "{object} is not Ready: {waited:?}\n{}", self.kubectl(&["describe", object]));
        println!("{object} Ready: {:.1} s", started.elapsed().as_secs_f64());
    }

    pub fn exists(&self, object: &str) -> bool {
        self.try_kubectl(&["get", object, "-o", "name"]).is_ok()
    }

    /// A project with one pod and a key, both Ready, and a pod that sends with the key's Secret.
    pub fn ready_project(&self, name: &str, replicas: u8) -> String {
        self.project(name, &format!("{{backend: {{integrated: {{ingest: {{replicas: {replicas}}}}}}}}}"));
        self.key(name, &format!("{{projectRef: {{name: {name}}}}}"));
        self.wait_ready(&format!("etp/{name}"));
        self.wait_ready(&format!("etk/{name}"));
        self.get(&format!("etp/{name}"), ".status.projectID")
    }

    /// Starts a pod `sender` whose only configuration is the Secret.
    pub fn start_sender(&self, secret: &str) {
        let (image, script) = (test_image(), indented(SENDER));
        self.apply(&format!(
            r"apiVersion: v1
kind: ConfigMap
metadata: {{name: sender}}
data:
  sender.py: |
{script}---
apiVersion: v1
kind: Pod
metadata: {{name: sender}}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: sender
    image: {image}
    imagePullPolicy: Never
    command: [sleep, infinity]
    envFrom: [{{secretRef: {{name: {secret}}}}}]
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: sender, mountPath: /sender}}, {{name: results, mountPath: /results}}]
  volumes: [{{name: sender, configMap: {{name: sender}}}}, {{name: results, emptyDir: {{}}}}]
"
        ));
        self.kubectl(&["wait", "--for=condition=Ready", "pod/sender", "--timeout=60s"]);
    }

    /// Runs the sender with `arguments` in its pod; what it prints.
    pub fn send(&self, arguments: &[&str]) -> String {
        self.kubectl(&[&["exec", "sender", "--", "python3", "/sender/sender.py"], arguments].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for object in ["etp,etk,deploy,pod,secret", "events"] {
                println!("{}", self.try_kubectl(&["get", object, "-o", "wide"]).unwrap_or_default());
            }
            return;
        }
        let _ = try_kubectl(&["delete", "namespace", &self.0, "--wait=false"]);
    }
}
