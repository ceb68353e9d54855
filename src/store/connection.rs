//! Where a database is and as whom to log in: read from a Secret, turned into a pool.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::Path,
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    StoreError,
    tls::{AUTHORITY, SSL_MODE, SslMode, Tls, is_authority},
};

const DEFAULT_PORT: u16 = 5432;
/// A pool hands out a connection that rested longer than this only after a ping.
const TRUSTED_IDLE: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

/// A login of one database.
#[derive(Clone)]
pub struct Connection {
    pub host: String,
    pub port: u16,
    pub dbname: String,
    pub username: String,
    pub password: SecretString,
    /// Nothing given: TLS if the server offers it.
    pub tls: Tls,
}

/// How many connections a pool keeps and opens at most.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    pub min: u32,
    pub max: u32,
}

/// The Secret or folder does not say how to connect. Names keys, never values.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("key {0} is missing")]
    Missing(&'static str),
    #[error("key {0} is not valid")]
    Invalid(&'static str),
    #[error("the parameter {0} of the uri is not supported")]
    UnsupportedParameter(String),
    #[error("sslrootcert of the uri must be system, or end in the name of a key of the same Secret, as ca.crt")]
    UnknownAuthority,
    #[error("failed to read {file}: {source}")]
    Unreadable { file: &'static str, source: std::io::Error },
    /// The process is ending.
    #[error("reading was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// The keys of a database Secret; `uri` wins, because `host` as `CloudNativePG` writes it lacks the namespace.
const KEYS: [&str; 8] = ["uri", "host", "port", "dbname", "username", "password", SSL_MODE, AUTHORITY];

impl Connection {
    /// From the decoded data of a Secret: `uri`, or `host`, `port` (5432), `dbname`, `username`, `password`; and `sslmode`
    /// and `ca.crt`, the certificates of a private CA, which a `uri` need not name.
    pub fn from_map(map: &BTreeMap<String, String>) -> Result<Self, ConnectionError> {
        let get = |key: &'static str| map.get(key).map(|value| value.trim_end_matches(['\r', '\n']));
        let tls = Tls {
            given: get(SSL_MODE).filter(|mode| !mode.is_empty()).map(ssl_mode).transpose()?,
            authority: get(AUTHORITY).filter(|pem| !pem.is_empty()).map(authority).transpose()?,
        };
        if let Some(uri) = get("uri").filter(|uri| !uri.is_empty()) {
            let known = tls.authority.clone();
            let named = |name: &str| {
                if name == AUTHORITY {
                    known.ok_or(ConnectionError::Missing(AUTHORITY))
                } else {
                    Err(ConnectionError::UnknownAuthority)
                }
            };
            return Self::from_uri(uri, tls, named);
        }
        let need = |key| get(key).filter(|value| !value.is_empty()).ok_or(ConnectionError::Missing(key));
        let port = get("port").filter(|port| !port.is_empty());
        Ok(Self {
            host: need("host")?.to_owned(),
            port: port.map_or(Ok(DEFAULT_PORT), |port| port.parse().map_err(|_| ConnectionError::Invalid("port")))?,
            dbname: need("dbname")?.to_owned(),
            username: need("username")?.to_owned(),
            password: get("password").unwrap_or_default().into(),
            tls,
        })
    }

    /// From the files of a mounted Secret, all of one version: a name and the password of another would be refused.
    pub fn from_directory(directory: &Path) -> Result<Self, ConnectionError> {
        // The kubelet exchanges this link as the last step of an update.
        let version = std::fs::canonicalize(directory.join("..data")).unwrap_or_else(|_| directory.to_owned());
        let mut map = BTreeMap::new();
        for file in KEYS {
            match std::fs::read_to_string(version.join(file)) {
                Ok(text) => {
                    map.insert(file.to_owned(), text);
                }
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(ConnectionError::Unreadable { file, source }),
            }
        }
        Self::from_map(&map)
    }

    /// From one file of a mounted Secret, which holds a URI. A CA that the URI names is the file of that name beside it.
    pub fn from_uri_file(path: &Path) -> Result<Self, ConnectionError> {
        let uri =
            std::fs::read_to_string(path).map_err(|source| ConnectionError::Unreadable { file: "uri", source })?;
        let named = |name: &str| {
            let beside = std::fs::read_to_string(path.with_file_name(name));
            authority(&beside.map_err(|source| ConnectionError::Unreadable { file: "sslrootcert", source })?)
        };
        Self::from_uri(uri.trim_end_matches(['\r', '\n']), Tls::default(), named)
    }

    /// `postgresql://user:password@host:port/dbname?sslmode=…&sslrootcert=…`, with one host. `named` finds the CA of which
    /// it has the name; a path before the name is that of somebody else's machine.
    fn from_uri(
        uri: &str,
        mut tls: Tls,
        named: impl FnOnce(&str) -> Result<String, ConnectionError>,
    ) -> Result<Self, ConnectionError> {
        let invalid = || ConnectionError::Invalid("uri");
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| invalid());
        let rest = uri.strip_prefix("postgresql://").or_else(|| uri.strip_prefix("postgres://")).ok_or_else(invalid)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, dbname) = rest.split_once('/').ok_or_else(invalid)?;
        let (login, address) = authority.rsplit_once('@').ok_or_else(invalid)?;
        let (username, password) = login.split_once(':').unwrap_or((login, ""));
        // The colons of an IPv6 address are inside its brackets.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| invalid())?),
            _ => (address, DEFAULT_PORT),
        };
        let mut root = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                SSL_MODE => tls.given = Some(ssl_mode(&value)?),
                "sslrootcert" => root = Some(value.into_owned()),
                "application_name" => {}
                _ => return Err(ConnectionError::UnsupportedParameter(name.into_owned())),
            }
        }
        match root.as_deref() {
            None => {}
            // As libpq: only who verifies the name can trust all public ones.
            Some("system") => tls = Tls { given: Some(SslMode::VerifyFull), authority: None },
            Some(path) => match path.rsplit('/').next() {
                Some(name) if !name.is_empty() => tls.authority = Some(named(name)?),
                _ => return Err(ConnectionError::UnknownAuthority),
            },
        }
        let connection = Self {
            host: decode(host.trim_start_matches('[').trim_end_matches(']'))?,
            port,
            dbname: decode(dbname)?,
            username: decode(username)?,
            password: decode(password)?.into(),
            tls,
        };
        let complete = [&connection.host, &connection.dbname, &connection.username].iter().all(|text| !text.is_empty());
        if complete { Ok(connection) } else { Err(invalid()) }
    }

    /// The same database with another login.
    #[must_use]
    pub fn with_login(&self, username: &str, password: SecretString) -> Self {
        Self { username: username.to_owned(), password, ..self.clone() }
    }

    /// The decoded data of a Secret for this login: `host`, `port`, `dbname`, `username`, `password`, `uri`.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let mut map: BTreeMap<_, _> = [
            ("host", self.host.clone()),
            ("port", self.port.to_string()),
            ("dbname", self.dbname.clone()),
            ("username", self.username.clone()),
            ("password", self.password.expose_secret().to_owned()),
            ("uri", self.uri()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        map.extend(self.tls.keys().map(|(key, value)| (key.to_owned(), value.to_owned())));
        map
    }

    /// For a Secret of several logins: the URI, and the CA that it names `authority`, the key beside it.
    #[must_use]
    pub fn to_uri(&self, authority: &str) -> (String, Option<&str>) {
        let mut uri = self.uri();
        if self.tls.authority.is_some() {
            let sign = if uri.contains('?') { '&' } else { '?' };
            // Writing to a String cannot fail.
            let _ = write!(uri, "{sign}sslrootcert={authority}");
        }
        (uri, self.tls.authority.as_deref())
    }

    fn uri(&self) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else if self.host.starts_with('/') {
            encode(&self.host)
        } else {
            self.host.clone()
        };
        let mode = self.tls.given.map(|mode| format!("?{SSL_MODE}={}", mode.as_str())).unwrap_or_default();
        let (username, password) = (encode(&self.username), encode(self.password.expose_secret()));
        format!("postgresql://{username}:{password}@{host}:{}/{}{mode}", self.port, encode(&self.dbname))
    }

    /// What people may see of it: `db.example:5432/errors`.
    #[must_use]
    pub fn server(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.dbname)
    }

    /// How sqlx connects: no password file is read, no statement is logged (some hold a password's
    /// verifier), and no start-up parameter is sent that `PgBouncer` refuses.
    #[must_use]
    pub fn options(&self) -> PgConnectOptions {
        use sqlx::ConnectOptions as _;
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .database(&self.dbname)
            .username(&self.username)
            .password(self.password.expose_secret())
            .ssl_mode(self.tls.mode().into())
            .extra_float_digits(None)
            .disable_statement_logging();
        match &self.tls.authority {
            Some(authority) => options.ssl_root_cert_from_pem(authority.clone().into_bytes()),
            None => options,
        }
    }

    /// Opens one connection and closes it. A pool only says that it got none in time; this says why.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let attempt = async { PgConnection::connect_with(&self.options()).await?.close().await };
        let Ok(result) = tokio::time::timeout(PROBE_TIMEOUT, attempt).await else {
            let message = format!("no answer within {} s", PROBE_TIMEOUT.as_secs());
            return Err(StoreError::Unavailable { message });
        };
        Ok(result?)
    }

    /// A pool that connects at first use; a server that is away does not fail this.
    #[must_use]
    pub fn pool(&self, size: PoolSize, application_name: &str) -> PgPool {
        PgPoolOptions::new()
            .min_connections(size.min)
            .max_connections(size.max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            // A ping before every use would cost each batch a second round trip.
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(self.options().application_name(application_name))
    }
}

/// Without the password.
impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Connection({}@{})", self.username, self.server())
    }
}

fn ssl_mode(name: &str) -> Result<SslMode, ConnectionError> {
    SslMode::parse(name).ok_or(ConnectionError::Invalid(SSL_MODE))
}

fn authority(pem: &str) -> Result<String, ConnectionError> {
    if is_authority(pem) { Ok(format!("{}\n", pem.trim_end())) } else { Err(ConnectionError::Invalid(AUTHORITY)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_secret_with_single_keys_is_read() {
        let keys = [("host", "pg.web"), ("dbname", "errors\n"), ("username", "app"), ("password", "p@ss/w:ord\n")];
        let connection = Connection::from_map(&map(&keys)).unwrap();
        assert_eq!(connection.server(), "pg.web:5432/errors");
        assert_eq!(connection.username, "app");
        assert_eq!(connection.password.expose_secret(), "p@ss/w:ord");
    }

    #[test]
    fn a_uri_is_read() {
        for (uri, server, username, password) in [
            ("postgresql://app:pw@pg-rw.web:6432/errors", "pg-rw.web:6432/errors", "app", "pw"),
            ("postgres://app@pg/errors", "pg:5432/errors", "app", ""),
            ("postgresql://a%40b:p%3A%2F%3F@pg/my%20db", "pg:5432/my db", "a@b", "p:/?"),
            ("postgresql://app:pw@[fd00::1]:5433/errors", "fd00::1:5433/errors", "app", "pw"),
            ("postgresql://app:pw@[fd00::1]/errors", "fd00::1:5432/errors", "app", "pw"),
        ] {
            let connection = Connection::from_map(&map(&[("uri", uri), ("host", "ignored")])).unwrap();
            assert_eq!(connection.server(), server, "{uri}");
            assert_eq!(connection.username, username, "{uri}");
            assert_eq!(connection.password.expose_secret(), password, "{uri}");
            let again = Connection::from_map(&connection.to_map()).unwrap();
            assert_eq!((again.server(), again.username), (connection.server(), connection.username), "{uri}");
            assert_eq!(again.password.expose_secret(), password, "{uri}");
        }
    }

    #[test]
    fn the_demanded_encryption_is_kept() {
        let uri = "postgresql://app:pw@pg/errors?sslmode=verify-full";
        let connection = Connection::from_map(&map(&[("uri", uri)])).unwrap();
        assert_eq!(connection.tls.given, Some(SslMode::VerifyFull));
        assert!(connection.to_map()["uri"].ends_with("/errors?sslmode=verify-full"));
        assert_eq!(connection.to_map()["sslmode"], "verify-full");
    }

    /// Nobody looks at what is in it before a link is made.
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_private_ca_comes_with_the_secret() {
        let keys = [("host", "pg"), ("dbname", "d"), ("username", "u"), ("ca.crt", CERTIFICATE)];
        for (more, mode) in [
            (&[][..], "verify-full"),
            (&[("sslmode", "require")][..], "verify-ca"),
            (&[("sslmode", "verify-full")][..], "verify-full"),
            (&[("uri", "postgresql://u@pg/d")][..], "verify-full"),
            (&[("uri", "postgresql://u@pg/d?sslmode=require&sslrootcert=/etc/pg/ca.crt")][..], "verify-ca"),
            (&[("uri", "postgresql://u@pg/d"), ("sslmode", "disable")][..], "disable"),
        ] {
            let connection = Connection::from_map(&map(&[&keys[..], more].concat())).unwrap();
            assert_eq!(connection.tls.mode().as_str(), mode, "{more:?}");
            assert_eq!(connection.tls.authority.as_deref(), Some(CERTIFICATE), "{more:?}");
            let again = Connection::from_map(&connection.to_map()).unwrap();
            assert_eq!(again.tls, connection.tls, "{more:?}");
        }
        let system = [("uri", "postgresql://u@pg/d?sslrootcert=system"), ("ca.crt", CERTIFICATE)];
        let system = Connection::from_map(&map(&system)).unwrap();
        assert_eq!((system.tls.mode().as_str(), system.tls.authority), ("verify-full", None));
    }

    #[test]
    fn a_ca_that_cannot_be_used_is_named() {
        let uri = |uri| ("uri", uri);
        let named = "postgresql://u@pg/d?sslrootcert=ca.crt";
        for (pairs, message) in [
            (&[uri("postgresql://u@pg/d"), ("ca.crt", "no certificate")][..], "key ca.crt is not valid"),
            (&[uri(named)], "key ca.crt is missing"),
            (
                &[uri("postgresql://u@pg/d?sslrootcert=/etc/other.pem"), ("ca.crt", CERTIFICATE)],
                "sslrootcert of the uri must be system, or end in the name of a key of the same Secret, as ca.crt",
            ),
            (&[uri("postgresql://u@pg/d?sslmode=full")], "key sslmode is not valid"),
        ] {
            assert_eq!(Connection::from_map(&map(pairs)).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_a_value() {
        for (pairs, message) in [
            (&[("host", "pg")][..], "key dbname is missing"),
            (&[("host", "pg"), ("dbname", "d"), ("username", "u"), ("port", "secret")], "key port is not valid"),
            (&[("uri", "mysql://u:secret@pg/d")], "key uri is not valid"),
            (&[("uri", "postgresql://u:secret@pg")], "key uri is not valid"),
            (
                &[("uri", "postgresql://u:secret@pg/d?sslcert=secret")],
                "the parameter sslcert of the uri is not supported",
            ),
        ] {
            let error = Connection::from_map(&map(pairs)).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        let connection = Connection::from_map(&map(&[("uri", "postgresql://u:secret@pg/d")])).unwrap();
        assert_eq!(format!("{connection:?}"), "Connection(u@pg:5432/d)");
    }
}
