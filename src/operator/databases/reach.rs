//! The login that a project's Secret holds: read, held against the hosts that this installation allows, and used for a
//! look beside the leader.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::{error::ConnectError, hosts::AllowedHosts, login::read};
use crate::store::{Admin, Connection, connection::PoolSize};

/// Connections of a look.
const POOL: PoolSize = PoolSize { min: 0, max: 2 };

/// Where the database of a project's Secret is, for people, and what its leader has left there.
pub async fn visit(
    client: &Client,
    hosts: &AllowedHosts,
    namespace: &str,
    secret: &str,
) -> Result<(String, Admin), ConnectError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let absent = || ConnectError::NoSecret { name: secret.into(), of_project: true };
    let values = read(&api, secret).await?.ok_or_else(absent)?;
    let connection = connection_of_project(&values, hosts, namespace, secret)?;
    let server = connection.server();
    let failed = |source| ConnectError::Store { server: server.clone(), secret: secret.into(), source };
    connection.probe().await.map_err(failed)?;
    let admin = Admin::attach(connection.pool(POOL, "error-tracking-operator command")).await.map_err(failed)?;
    Ok((server, admin))
}

/// The login of a project's Secret; its host is named as every pod finds it.
pub(super) fn connection_of_project(
    values: &BTreeMap<String, String>,
    hosts: &AllowedHosts,
    namespace: &str,
    secret: &str,
) -> Result<Connection, ConnectError> {
    let mut connection = Connection::from_map(values).map_err(|source| ConnectError::BadSecret {
        name: secret.into(),
        source,
        of_project: true,
    })?;
    // The host that is connected to decides: "pg" is a Service that the people of the namespace make, whatever else has
    // that name elsewhere.
    connection.host = in_cluster(&connection.host, namespace);
    if !hosts.allows(&connection.host) {
        return Err(ConnectError::HostNotAllowed { secret: secret.into(), host: connection.host });
    }
    Ok(connection)
}

/// The host as every pod of the cluster finds it: a Service of the Secret's namespace is named as "pg" or, by
/// `CloudNativePG`, as "pg.web". Other hosts are names already.
fn in_cluster(host: &str, namespace: &str) -> String {
    match host.strip_suffix(namespace).and_then(|rest| rest.strip_suffix('.')) {
        Some(service) if !service.is_empty() && !service.contains('.') => format!("{host}.svc"),
        None if !host.contains(['.', ':', '/']) => format!("{host}.{namespace}.svc"),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_that_is_connected_to_is_the_one_that_is_allowed() {
        for (allowed, host, connected) in [
            ("pg", "pg", None),
            ("pg.web", "pg.web", None),
            ("db.example", "db.example", Some("db.example")),
            ("pg.web.svc", "pg", Some("pg.web.svc")),
            ("pg.web.svc", "pg.web", Some("pg.web.svc")),
            ("*.web.svc", "pg", Some("pg.web.svc")),
            ("*.data.svc", "pg.data.svc", Some("pg.data.svc")),
            ("*.web", "pg.web", None),
        ] {
            let hosts = AllowedHosts { allowed_database_hosts: vec![allowed.into()] };
            let values = [("host", host), ("dbname", "d"), ("username", "u"), ("password", "p")];
            let values = values.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            let reached = connection_of_project(&values, &hosts, "web", "pg").map(|connection| connection.host);
            assert_eq!(reached.ok().as_deref(), connected, "{host} where {allowed} is allowed");
        }
    }

    #[test]
    fn a_service_of_the_secrets_namespace_is_named_as_every_pod_finds_it() {
        for (host, found) in [
            ("pg", "pg.web.svc"),
            ("pg-rw.web", "pg-rw.web.svc"),
            ("pg-rw.web.svc", "pg-rw.web.svc"),
            ("pg-rw.other", "pg-rw.other"),
            ("db.example.web", "db.example.web"),
            ("web", "web.web.svc"),
            ("10.0.0.7", "10.0.0.7"),
            ("fd00::1", "fd00::1"),
            ("/var/run/postgresql", "/var/run/postgresql"),
        ] {
            assert_eq!(in_cluster(host, "web"), found, "{host}");
        }
    }
}
