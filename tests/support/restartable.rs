//! A PostgreSQL server that a test may stop and start. The other tests share one that stays.

use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use error_tracking_operator::store::{Connection, tls::Tls};
use uuid::Uuid;

use super::{
    authority::Authority,
    postgres::{as_server_user, programs, server_user},
};

pub struct Restartable {
    programs: PathBuf,
    folder: PathBuf,
    pub superuser: Connection,
}

impl Restartable {
    pub fn start() -> Self {
        Self::make(None)
    }

    /// One that answers over TLS alone, with a certificate of `authority` for localhost.
    pub fn start_secured(authority: &Authority) -> Self {
        Self::make(Some(authority))
    }

    fn make(authority: Option<&Authority>) -> Self {
        let programs = programs();
        let folder = std::env::temp_dir().join(format!("ingest-postgres-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(&folder, Some(user), Some(group)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let superuser = Connection {
            host: "127.0.0.1".into(),
            port,
            dbname: "postgres".into(),
            username: "postgres".into(),
            password: "".into(),
            tls: Tls::default(),
        };
        let server = Self { programs, folder, superuser };
        server.run("initdb", &["--username=postgres", "--auth=trust", "--no-sync"]);
        let mut settings = format!("port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n");
        if let Some(authority) = authority {
            let certificate = authority.issue("DNS:localhost");
            server.keep("server.crt", &certificate.chain);
            server.keep("server.key", &certificate.key);
            settings += "ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n";
            let access = "hostssl all all 127.0.0.0/8 trust\n";
            std::fs::write(server.folder.join("data/pg_hba.conf"), access).unwrap();
        }
        std::fs::write(server.folder.join("data/postgresql.auto.conf"), settings).unwrap();
        server.start_again();
        server
    }

    pub fn start_again(&self) {
        let log = self.folder.join("log").display().to_string();
        self.run("pg_ctl", &["start", "--wait", "--silent", "--log", &log]);
    }

    /// As a crash: no connection is told.
    pub fn stop(&self) {
        self.run("pg_ctl", &["stop", "--wait", "--silent", "--mode", "immediate"]);
    }

    /// A file of its data that the server's user alone may read.
    fn keep(&self, file: &str, content: &str) {
        let path = self.folder.join("data").join(file);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.programs.join(program));
        command.arg("--pgdata").arg(self.folder.join("data")).args(arguments).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        as_server_user(&mut command);
        assert!(command.status().unwrap().success(), "{command:?}");
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        if self.folder.join("data/postmaster.pid").exists() {
            self.stop();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
