//! One database: whether it answers, where it is, and what the operator may do there.

use std::sync::Arc;

use secrecy::SecretString;

use super::{error::ConnectError, login::LoginValues};
use crate::{
    dsn::hex,
    store::{
        Admin, Connection, StoreError,
        admin::password_digest,
        tls::{LinkProtection, Tls},
    },
};

/// Where the pods find Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseAddress {
    pub host: String,
    pub port: u16,
    pub dbname: String,
    pub tls: Tls,
}

/// What is known of the database now.
#[derive(Clone, Debug)]
pub enum DatabaseState {
    Connecting,
    Ready(Arc<Database>),
    /// It answers, and its schema waits for a transaction before it can be brought to this version. Pods and console go
    /// on with it as it is.
    Migrating(Arc<ConnectError>),
    Unavailable(Arc<ConnectError>),
}

impl DatabaseState {
    /// Changes with everything that dependents must be woken for.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Connecting => String::new(),
            Self::Ready(database) => database.fingerprint(),
            Self::Migrating(error) | Self::Unavailable(error) => error.to_string(),
        }
    }
}

/// A server that answers, with the operator's schema on it.
#[derive(Debug)]
pub struct Database {
    pub admin: Admin,
    pub address: DatabaseAddress,
    /// "host:port/dbname", for people.
    pub server: String,
    pub(super) connection: Connection,
    pub(super) secret_name: String,
    /// What the Secret held, to notice a change.
    pub(super) secret: LoginValues,
    pub(super) shares_login: bool,
}

impl Database {
    /// The operator's login, which ingest must share when it may not create roles. `None` in the operator's own
    /// database, which projects of different tenants share.
    #[must_use]
    pub fn shared_login(&self) -> Option<(&str, &SecretString)> {
        self.shares_login.then_some((&self.connection.username, &self.connection.password))
    }

    /// How the link to it is protected, that of the pods as that of the operator.
    #[must_use]
    pub fn link(&self) -> LinkProtection {
        self.address.tls.describe(&self.address.host, self.admin.server().tls.as_deref())
    }

    /// Changes with the server, its incarnation, and the login, of which projects may hold a copy.
    fn fingerprint(&self) -> String {
        let password = hex(&password_digest(&self.connection.password));
        let tls: Vec<_> = self.address.tls.keys().collect();
        format!("{} {} {} {password} {tls:?}", self.server, self.admin.server().incarnation, self.connection.username)
    }

    pub(super) fn failed(&self, source: StoreError) -> ConnectError {
        ConnectError::Store { server: self.server.clone(), secret: self.secret_name.clone(), source }
    }
}
