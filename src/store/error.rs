//! Why a statement did not do what it was sent for, sorted by what can be done about it.

use std::borrow::Cow;

use sqlx::postgres::PgDatabaseError;

use super::tls;
use crate::crd::Reason;

/// Raised by `errortracking.fence`: DETAIL holds "stored ours".
const FENCED: &str = "ETF01";
/// Raised by `ingest_batch`: no partition covers the newest `received_at` yet.
const NO_PARTITION: &str = "ETP01";

/// A failed statement. `Display` and [`Self::message`] show the server's own words and hold no password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nobody answers, or a server that cannot write now (classes 08, 53, 57, 25006, I/O, pool).
    #[error("the database is not available: {message}")]
    Unavailable { message: String },
    /// Somebody else was in the way (40001, 40P01, 55P03, 55006); the same statement can pass next time.
    #[error("the database is busy: {message}")]
    Busy { message: String },
    /// A newer leader has claimed the database.
    #[error("epoch {ours} is over: the database is led by epoch {stored}")]
    Fenced { stored: i64, ours: i64 },
    /// The login is refused or lacks a right (classes 28, 42501).
    #[error("the database refuses: {message}")]
    NotPermitted { message: String },
    /// A value the schema does not take (classes 22, 23, 54); `constraint` names the rule if it has a name.
    #[error("the database rejects a value: {message}")]
    Rejected { message: String, sqlstate: String, constraint: Option<String> },
    /// The operator has not made the partition for these events yet.
    #[error("no partition is ready: {message}")]
    NoPartition { message: String },
    /// A schema or row of this name belongs to another installation, project or namespace.
    #[error("{object} belongs to {owner}")]
    SchemaMismatch { object: String, owner: String },
    /// Another installation uses this database and lives.
    #[error(
        "the database is led by the installation of namespace {namespace} (Lease {lease}): use a database of your own"
    )]
    LedByAnother { namespace: String, lease: String },
    /// There is no such project, or it is not active any more.
    #[error("project {0} is not active in this database")]
    UnknownProject(crate::dsn::ProjectId),
    #[error("migration {migration} of schema {schema} failed: {source}")]
    Migration { schema: String, migration: &'static str, source: Box<StoreError> },
    #[error("PostgreSQL {found} is too old: version 15 or newer is needed")]
    ServerTooOld { found: String },
    #[error("{message}")]
    Other { message: String, sqlstate: Option<String> },
}

impl StoreError {
    /// Whether the same call can succeed later without anybody changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::Busy { .. } | Self::NoPartition { .. } => true,
            Self::Migration { source, .. } => source.retryable(),
            _ => false,
        }
    }

    /// The word for a condition that this causes.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unavailable { .. } => Reason::DatabaseUnavailable,
            Self::SchemaMismatch { .. } => Reason::SchemaConflict,
            Self::Migration { .. } => Reason::MigrationFailed,
            _ => Reason::DatabaseRejected,
        }
    }

    /// What to show to people: the server's own words where there are any.
    #[must_use]
    pub fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Unavailable { message }
            | Self::NotPermitted { message }
            | Self::Rejected { message, .. }
            | Self::Other { message, .. } => Cow::Borrowed(message),
            _ => Cow::Owned(self.to_string()),
        }
    }

    /// A migration could not have its locks, because a transaction is open: it is tried again later, and the schema of
    /// before goes on serving.
    #[must_use]
    pub fn waits_for_a_transaction(&self) -> bool {
        matches!(self, Self::Migration { source, .. } if source.busy())
    }

    /// The statement lost against another transaction and nothing of it was kept.
    pub(super) fn busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => error
                .try_downcast_ref::<PgDatabaseError>()
                .map_or_else(|| Self::Other { message: error.message().to_owned(), sqlstate: None }, of_server),
            sqlx::Error::Io(error) => {
                Self::Unavailable { message: tls::untrusted(&error).map_or_else(|| error.to_string(), Into::into) }
            }
            sqlx::Error::Tls(error) => Self::Unavailable { message: format!("TLS: {error}") },
            // As of a server that takes connections and closes them, or of a proxy with nothing behind it.
            sqlx::Error::Protocol(error) => Self::Unavailable { message: format!("no answer of Postgres: {error}") },
            sqlx::Error::PoolTimedOut => Self::Unavailable { message: "no connection became free in time".to_owned() },
            sqlx::Error::PoolClosed => Self::Unavailable { message: "the pool is closed".to_owned() },
            sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
                Self::Unavailable { message: "the connection was lost".to_owned() }
            }
            // What a connection is configured with may hold the password.
            sqlx::Error::Configuration(_) => {
                Self::Other { message: "the connection is not configured correctly".to_owned(), sqlstate: None }
            }
            error => Self::Other { message: error.to_string(), sqlstate: None },
        }
    }
}

fn of_server(error: &PgDatabaseError) -> StoreError {
    let mut message = error.message().to_owned();
    let sqlstate = error.code();
    match (sqlstate, sqlstate.get(..2).unwrap_or_default()) {
        (FENCED, _) => {
            let mut epochs = error.detail().unwrap_or_default().split(' ').map(|epoch| epoch.parse().unwrap_or(0));
            StoreError::Fenced { stored: epochs.next().unwrap_or(0), ours: epochs.next().unwrap_or(0) }
        }
        (NO_PARTITION, _) => StoreError::NoPartition { message },
        ("25006", _) | (_, "08" | "53" | "57") => StoreError::Unavailable { message },
        ("40001" | "40P01" | "55P03" | "55006", _) => StoreError::Busy { message },
        ("42501", _) | (_, "28") => {
            // It names the right: "User does not have CONNECT privilege."
            if let Some(detail) = error.detail() {
                message = format!("{message}: {detail}");
            }
            StoreError::NotPermitted { message }
        }
        (_, "22" | "23" | "54") => StoreError::Rejected {
            message,
            sqlstate: sqlstate.to_owned(),
            constraint: error.constraint().map(str::to_owned),
        },
        _ => StoreError::Other { message, sqlstate: Some(sqlstate.to_owned()) },
    }
}
