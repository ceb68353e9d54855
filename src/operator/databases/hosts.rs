//! The hosts that projects may keep their events on. Pure.

/// A guard that the platform team sets.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AllowedHosts {
    /// Hosts of Postgres that a project may name with `database.secretRef`: a name, or `*.suffix` for every name
    /// below it. A Service of the cluster is `name.namespace.svc`, however the Secret names it. None: projects use the
    /// operator's database.
    #[arg(long = "allowed-database-host", env = "ERROR_TRACKING_ALLOWED_DATABASE_HOSTS", value_delimiter = ',')]
    pub allowed_database_hosts: Vec<String>,
}

impl AllowedHosts {
    /// Whether a project may keep its events on this host. Names are compared without regard to case and to the dot
    /// that ends an absolute one.
    #[must_use]
    pub fn allows(&self, host: &str) -> bool {
        let plain = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
        let host = plain(host);
        self.allowed_database_hosts.iter().map(|allowed| plain(allowed)).any(|allowed| {
            match allowed.strip_prefix("*.") {
                // Of a name below, not of the suffix itself.
                Some(suffix) => host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
                None => host == allowed,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_host_is_allowed_by_its_name_or_a_suffix() {
        let hosts = AllowedHosts { allowed_database_hosts: vec!["db.example".into(), "*.data.svc".into()] };
        for (host, allowed) in [
            ("db.example", true),
            ("DB.Example.", true),
            ("other.db.example", false),
            ("pg-rw.data.svc", true),
            ("a.b.data.svc", true),
            ("data.svc", false),
            (".data.svc", false),
            ("evildata.svc", false),
            ("/var/run/postgresql", false),
            ("", false),
        ] {
            assert_eq!(hosts.allows(host), allowed, "{host}");
        }
        assert!(!AllowedHosts::default().allows("db.example"));
    }
}
