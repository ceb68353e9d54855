//! What the installation lets the users of its namespaces ask for. Pure.

/// Limits that the platform team sets; none by default but for the hosts of databases.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Guards {
    /// Hosts of Postgres that a project may name with `database.secretRef`: a name, or `*.suffix` for every name
    /// below it. None: projects use the operator's database.
    #[arg(long = "allowed-database-host", env = "ERROR_TRACKING_ALLOWED_DATABASE_HOSTS", value_delimiter = ',')]
    pub allowed_database_hosts: Vec<String>,
    /// Projects that a namespace may have; absent: any number.
    #[arg(long, env = "ERROR_TRACKING_MAX_PROJECTS_PER_NAMESPACE")]
    pub max_projects_per_namespace: Option<u32>,
    /// Client keys that a namespace may have; absent: any number.
    #[arg(long, env = "ERROR_TRACKING_MAX_KEYS_PER_NAMESPACE")]
    pub max_keys_per_namespace: Option<u32>,
    /// Projects whose ingest pods are taken to a new version at the same time.
    #[arg(long, env = "ERROR_TRACKING_MAX_ROLLOUTS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_rollouts: u32,
}

impl Guards {
    /// Whether a project may keep its events on this host. Names are compared without regard to case and to the dot
    /// that ends an absolute one.
    #[must_use]
    pub fn allows_database_host(&self, host: &str) -> bool {
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
        let guards =
            Guards { allowed_database_hosts: vec!["db.example".into(), "*.data.svc".into()], ..Guards::default() };
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
            assert_eq!(guards.allows_database_host(host), allowed, "{host}");
        }
        assert!(!Guards::default().allows_database_host("db.example"));
    }
}
