//! A project in a Postgres of its own, which answers over TLS alone, with a certificate of a private CA.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use serde_json::json;

use crate::world::{Namespace, allow_database_hosts, alone, test_image, wait_for};

const LIMIT: Duration = Duration::from_mins(2);
const NAMESPACE: &str = "own-postgres";

/// Until the end of the test projects may name the server.
struct Allowed;

impl Allowed {
    fn new() -> Self {
        allow_database_hosts(Some(&format!("pg.t-{NAMESPACE}.svc")));
        Self
    }
}

impl Drop for Allowed {
    fn drop(&mut self) {
        allow_database_hosts(None);
    }
}

/// A private CA in a folder of its own.
struct Authority(PathBuf);

impl Authority {
    fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{NAMESPACE}-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let authority = Self(folder);
        authority.openssl(&format!("req -x509 {NEW_KEY} -keyout ca.key -out ca.crt -days 2 -subj /CN={name}"));
        authority
    }

    /// Certificate and key of a server.
    fn issue(&self, host: &str) -> (String, String) {
        self.openssl(&format!("req {NEW_KEY} -keyout server.key -out server.csr -subj /CN=server"));
        fs::write(self.0.join("names"), format!("subjectAltName = DNS:{host}\nbasicConstraints = CA:FALSE\n")).unwrap();
        let issue = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2";
        self.openssl(&format!("{issue} -extfile names -out server.crt"));
        (self.read("server.crt"), self.read("server.key"))
    }

    fn certificate(&self) -> String {
        self.read("ca.crt")
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl").args(arguments.split_whitespace()).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

#[test]
fn events_reach_a_postgres_of_a_private_ca_and_none_that_is_not_verified() {
    let _turn = alone();
    let _allowed = Allowed::new();
    let namespace = Namespace::new(NAMESPACE);
    let (theirs, other) = (Authority::new("theirs"), Authority::new("other"));
    start_postgres(&namespace, &theirs);
    let connection = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "pg", "labels": {"errortracking.dev/watch": "true"}},
        "stringData": {
            "host": "pg", "dbname": "postgres", "username": "postgres", "password": "not-a-real-password",
            "sslmode": "verify-full", "ca.crt": other.certificate(),
        },
    });
    namespace.apply(&connection.to_string());

    namespace.project("shop", "{backend: {integrated: {database: {secretRef: {name: pg}}, ingest: {replicas: 1}}}}");
    let message = wait_for("another CA is told", LIMIT, || {
        // The way to the Service may be there a moment later than its pod.
        let message = namespace.condition("etp/shop", "DatabaseReady", "message");
        message.contains("certificate").then_some(message)
    });
    println!("{message}");
    assert_eq!(namespace.condition("etp/shop", "DatabaseReady", "status"), "False");
    let patch = json!({"stringData": {"ca.crt": theirs.certificate()}}).to_string();
    namespace.kubectl(&["patch", "secret", "pg", "--type=merge", "-p", &patch]);
    namespace.key("shop", "{projectRef: {name: shop}}");
    namespace.wait_ready("etp/shop");
    namespace.wait_ready("etk/shop");
    let message = namespace.condition("etp/shop", "DatabaseReady", "message");
    println!("{message}");
    assert!(message.contains("who answers is verified"), "{message}");

    namespace.start_sender("shop-dsn");
    assert_eq!(namespace.send(&["once"]), "200");
    let id = namespace.get("etp/shop", ".status.projectID");
    let ask = |query: &str| namespace.kubectl(&["exec", "pg", "--", "psql", "-U", "postgres", "-Atc", query]);
    assert_eq!(ask(&format!("SELECT count(*) FROM project_{id}.events")), "1");
    let links =
        ask("SELECT DISTINCT usename ~ '_ingest', ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE client_addr IS NOT NULL ORDER BY 1");
    assert_eq!(links, "f|t|TLSv1.3\nt|t|TLSv1.3", "operator and ingest");
    namespace.kubectl(&["delete", "etk,etp", "--all", "--timeout=90s"]);
}

/// A server that takes no connection without TLS.
fn start_postgres(namespace: &Namespace, authority: &Authority) {
    let (certificate, key) = authority.issue(&format!("pg.{}.svc", namespace.0));
    let access = "local all all trust\nhostssl all all all scram-sha-256\n";
    let settings =
        ["ssl=on", "ssl_cert_file=/tls/server.crt", "ssl_key_file=/tls/server.key", "hba_file=/tls/pg_hba.conf"];
    let arguments: Vec<_> =
        ["postgres"].into_iter().chain(settings.iter().flat_map(|setting| ["-c", setting])).collect();
    let metadata = json!({"name": "pg", "labels": {"app": "pg"}});
    let items = json!([
        {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pg-tls"},
            "stringData": {"server.crt": certificate, "server.key": key, "pg_hba.conf": access},
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": {"app": "pg"}, "ports": [{"port": 5432}]},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {
                "automountServiceAccountToken": false,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 999, "fsGroup": 999, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "postgres",
                    "image": test_image(),
                    "imagePullPolicy": "Never",
                    "args": arguments,
                    "env": [
                        {"name": "POSTGRES_PASSWORD", "value": "not-a-real-password"},
                        {"name": "PGDATA", "value": "/pg/data"},
                    ],
                    "readinessProbe": {"exec": {"command": ["pg_isready", "-U", "postgres"]}, "periodSeconds": 1},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [
                        {"name": "pg", "mountPath": "/pg"},
                        {"name": "tls", "mountPath": "/tls"},
                        {"name": "sockets", "mountPath": "/var/run/postgresql"},
                    ],
                }],
                "volumes": [
                    {"name": "pg", "emptyDir": {}},
                    {"name": "sockets", "emptyDir": {}},
                    {"name": "tls", "secret": {"secretName": "pg-tls", "defaultMode": 0o440}},
                ],
            },
        },
    ]);
    namespace.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    namespace.kubectl(&["wait", "--for=condition=Ready", "pod/pg", "--timeout=120s"]);
}
