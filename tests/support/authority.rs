//! A private CA, by the `openssl` program.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use uuid::Uuid;

pub struct Authority {
    folder: PathBuf,
}

/// What a server shows, and the key that belongs to it, in PEM.
#[derive(Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn create() -> Self {
        let folder = std::env::temp_dir().join(format!("authority-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let authority = Self { folder };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -days 2 \
             -subj /CN=authority",
        );
        authority
    }

    /// Its certificate in PEM.
    pub fn certificate(&self) -> String {
        self.read("ca.crt")
    }

    /// A server's certificate for names as `DNS:localhost,IP:127.0.0.1`.
    pub fn issue(&self, names: &str) -> Certificate {
        self.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr \
             -subj /CN=server",
        );
        std::fs::write(self.folder.join("names"), format!("subjectAltName = {names}\nbasicConstraints = CA:FALSE\n"))
            .unwrap();
        self.openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
        );
        Certificate { chain: self.read("server.crt"), key: self.read("server.key") }
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.join(file)).unwrap()
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(&self.folder).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
