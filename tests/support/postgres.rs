//! A PostgreSQL server for one test binary and a database for each test.
//!
//! The server is a real one with `fsync` on, in a folder of its own; a watcher at the other end of a pipe
//! stops it and removes the folder when this process ends, however it ends.

use std::{
    io::Write as _,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use error_tracking_operator::store::{Connection, connection::PoolSize, tls::Tls};
use sqlx::{AssertSqlSafe, PgPool};

/// The login databases belong to: may create roles, is no superuser.
const OWNER: &str = "owner";
const PASSWORD: &str = "0123456789abcdef";

static SERVER: LazyLock<Server> = LazyLock::new(Server::start);
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of its own on the test server.
pub struct Database {
    /// The operator's login.
    pub connection: Connection,
}

impl Database {
    pub async fn create() -> Self {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let superuser = SERVER.connection("postgres", "postgres");
        let pool = superuser.pool(PoolSize { min: 0, max: 1 }, "tests");
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} OWNER {OWNER}"))).execute(&pool).await.unwrap();
        pool.close().await;
        Self { connection: SERVER.connection(&name, OWNER) }
    }

    /// As the operator's login.
    pub fn pool(&self) -> PgPool {
        self.connection.pool(PoolSize { min: 0, max: 20 }, "tests")
    }

    /// As the superuser, for what a test breaks or looks at from outside.
    pub fn superuser(&self) -> PgPool {
        SERVER.connection(&self.connection.dbname, "postgres").pool(PoolSize { min: 0, max: 2 }, "tests")
    }

    /// A database on the same server that belongs to `owner`, a new login with these attributes; as that login.
    pub async fn create_owned_by(owner: &str, attributes: &str) -> Self {
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let superuser = SERVER.connection("postgres", "postgres");
        let pool = superuser.pool(PoolSize { min: 0, max: 1 }, "tests");
        for statement in [
            format!("CREATE ROLE {owner} LOGIN {attributes} PASSWORD '{PASSWORD}'"),
            format!("CREATE DATABASE {name} OWNER {owner}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        }
        pool.close().await;
        Self { connection: SERVER.connection(&name, owner) }
    }

    pub fn pool_as(&self, role: &str, password: &str) -> PgPool {
        self.connection.with_login(role, password.into()).pool(PoolSize { min: 0, max: 20 }, "tests")
    }
}

/// All of a database of the tests' server as `pg_dump` writes it.
pub fn dump(dbname: &str) -> String {
    let port = SERVER.port.to_string();
    let mut command = Command::new(programs().join("pg_dump"));
    command.env("PGPASSWORD", PASSWORD).args(["--host=127.0.0.1", "--username=postgres", "--port", &port, dbname]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

struct Server {
    port: u16,
    /// Notices the end of this process by the end of its standard input.
    _watcher: Child,
}

impl Server {
    fn start() -> Self {
        let programs = programs();
        let folder = std::env::temp_dir().join(format!("error-tracking-postgres-{}", std::process::id()));
        let log = folder.join("log");
        let watcher = watch(&programs, &folder);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        run(Command::new(programs.join("initdb")).arg("--pgdata").arg(folder.join("data")).args([
            "--username=postgres",
            "--auth=scram-sha-256",
            "--pwfile",
            folder.join("password").to_str().unwrap(),
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]));
        let mut settings = std::fs::OpenOptions::new().append(true).open(folder.join("data/postgresql.conf")).unwrap();
        writeln!(
            settings,
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 200\n\
             shared_buffers = 256MB\nmax_wal_size = 2GB\nlog_statement = 'ddl'",
            folder.display()
        )
        .unwrap();
        // Of a measurement, as what counts statements.
        writeln!(settings, "{}", std::env::var("TEST_POSTGRES_SETTINGS").unwrap_or_default()).unwrap();
        run(Command::new(programs.join("pg_ctl"))
            .args(["start", "--wait", "--silent", "--pgdata"])
            .arg(folder.join("data"))
            .arg("--log")
            .arg(&log));
        run(Command::new(programs.join("psql"))
            .env("PGPASSWORD", PASSWORD)
            .args(["--no-psqlrc", "--quiet", "--host=127.0.0.1", "--username=postgres", "--port", &port.to_string()])
            .arg("--command")
            .arg(format!("CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")));
        Self { port, _watcher: watcher }
    }

    fn connection(&self, dbname: &str, username: &str) -> Connection {
        Connection {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            dbname: dbname.to_owned(),
            username: username.to_owned(),
            password: PASSWORD.into(),
            tls: Tls::default(),
        }
    }
}

/// Makes the folder and starts what removes it. In a session of its own, so that Ctrl-C does not end it first.
fn watch(programs: &Path, folder: &Path) -> Child {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("password"), PASSWORD).unwrap();
    if let Some((user, group)) = server_user() {
        for path in [folder.to_owned(), folder.join("password")] {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }
    let mut command = Command::new("setsid");
    command
        .args(["sh", "-c", "cat >/dev/null; \"$0\" stop --mode immediate --silent --pgdata \"$1/data\"; rm -rf \"$1\""])
        .arg(programs.join("pg_ctl"))
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    as_server_user(&mut command);
    command.spawn().unwrap()
}

/// Postgres does not run as root: there it gets the user that its package made.
pub(super) fn server_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().expect("the user postgres exists")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

pub(super) fn as_server_user(command: &mut Command) {
    if let Some((user, group)) = server_user() {
        command.gid(group).uid(user).current_dir("/");
    }
}

fn run(command: &mut Command) {
    as_server_user(command);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `PG_BIN`, or the newest PostgreSQL of the distribution.
pub(super) fn programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("PG_BIN") {
        return folder.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed, or PG_BIN is set");
    let newest = versions
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok()));
    newest.expect("a version of PostgreSQL").join("bin")
}
