//! One database as the operator knows it: whether it answers, where it is, and what may be done there.

use std::sync::Arc;

use secrecy::SecretString;

use super::{error::ConnectError, login::LoginValues};
use crate::{
    dsn::hex,
    store::{Admin, Connection, StoreError, admin::password_digest},
};

/// Where the pods find Postgres.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseAddress {
    pub host: String,
    pub port: u16,
    pub dbname: String,
}

/// What is known of the database now.
#[derive(Clone, Debug)]
pub enum DatabaseState {
    Connecting,
    Ready(Arc<Database>),
    Unavailable(Arc<ConnectError>),
}

impl DatabaseState {
    /// What is known, in a text that is the same while nothing else is known: who depends on it is woken when it changes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Connecting => String::new(),
            Self::Ready(database) => database.fingerprint(),
            Self::Unavailable(error) => error.to_string(),
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
    /// The operator's own login, when ingest must use it because that one may not create others. Never in the
    /// operator's database, which projects of different people share.
    #[must_use]
    pub fn shared_login(&self) -> Option<(&str, &SecretString)> {
        self.shares_login.then_some((&self.connection.username, &self.connection.password))
    }

    /// Changes with the server, with what may be in it, and with the login, of which projects may hold a copy.
    fn fingerprint(&self) -> String {
        let password = hex(&password_digest(&self.connection.password));
        format!("{} {} {} {password}", self.server, self.admin.server().incarnation, self.connection.username)
    }

    pub(super) fn failed(&self, source: StoreError) -> ConnectError {
        ConnectError::Store { server: self.server.clone(), secret: self.secret_name.clone(), source }
    }
}
