//! What a project needs next: a pure function from what was observed to named steps.

use crate::{
    crd::Reason,
    operator::child::{ChildKind, Drift},
};

/// What was seen of a project and of everything it owns.
#[derive(Clone, Debug)]
pub struct Observed {
    pub has_finalizer: bool,
    pub database: Database,
    /// The Secret of the ingest login.
    pub database_secret: Drift,
    /// SHA-256 of the password in that Secret, in hex.
    pub secret_password: Option<String>,
    /// Every other child in the order of making, once the project has a number.
    pub workload: Vec<(ChildKind, Drift)>,
    pub rollout: Rollout,
}

/// What was seen of the project in Postgres.
#[derive(Clone, Debug)]
pub enum Database {
    Unavailable {
        reason: Reason,
        message: String,
    },
    /// No catalog row yet.
    Unknown,
    /// No catalog row here, but in the database that the status names.
    Elsewhere {
        id: i64,
        server: String,
    },
    Known(Catalogued),
}

impl Database {
    /// SHA-256 of the ingest login's password, in hex.
    #[must_use]
    pub fn password(&self) -> Option<&String> {
        match self {
            Self::Known(known) => known.password.as_ref(),
            _ => None,
        }
    }
}

/// A project that has a catalog row.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was observed")]
pub struct Catalogued {
    /// The row was given up by a deletion and is taken over by this object, or the catalog does not say where it is.
    pub retired: bool,
    /// The row says the same as the spec.
    pub settings_recorded: bool,
    pub migrated: bool,
    /// SHA-256 of the ingest login's password, in hex; `None` without a login.
    pub password: Option<String>,
    /// Two spans after the current one exist.
    pub partitions_complete: bool,
}

/// What the Deployment says of its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    pub desired: i32,
    pub ready: i32,
    /// The Deployment controller has seen the newest template, and all its pods run and are ready.
    pub complete: bool,
    /// No progress within the deadline.
    pub failing: bool,
}

/// One thing to do. Each is idempotent: a crash between any two is repaired by the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Before the first thing outside the cluster is made.
    AddFinalizer,
    /// Takes a number for the project, or the one it had before.
    Allocate,
    /// Writes down what the catalog keeps of the spec: for people, and for when the object is gone.
    RecordSettings,
    Migrate,
    CreatePartitions,
    /// Sets a new password and publishes it: what the Secret and what Postgres hold must agree.
    PublishLogin,
    Apply(ChildKind),
}

impl Step {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddFinalizer => "add-finalizer",
            Self::Allocate => "allocate",
            Self::RecordSettings => "record-settings",
            Self::Migrate => "migrate",
            Self::CreatePartitions => "create-partitions",
            Self::PublishLogin => "publish-login",
            Self::Apply(ChildKind::Secret) => "apply-secret",
            Self::Apply(ChildKind::ServiceAccount) => "apply-service-account",
            Self::Apply(ChildKind::NetworkPolicy) => "apply-network-policy",
            Self::Apply(ChildKind::Service) => "apply-service",
            Self::Apply(ChildKind::Deployment) => "apply-deployment",
            Self::Apply(ChildKind::PodDisruptionBudget) => "apply-pod-disruption-budget",
        }
    }
}

/// The steps that `observed` asks for, in order; none when the project is as it should be or must wait.
#[must_use]
pub fn plan(observed: &Observed) -> Vec<Step> {
    if !observed.has_finalizer {
        return vec![Step::AddFinalizer];
    }
    let taken = matches!(observed.database_secret, Drift::Foreign | Drift::Leaving);
    let mut steps = Vec::new();
    match &observed.database {
        // Pods keep what they have: an outage of Postgres must not roll anything.
        Database::Unavailable { .. } | Database::Elsewhere { .. } => return steps,
        Database::Unknown => {
            steps.extend([Step::Allocate, Step::RecordSettings, Step::Migrate, Step::CreatePartitions]);
            if !taken {
                steps.push(Step::PublishLogin);
            }
        }
        Database::Known(known) => {
            if known.retired {
                steps.push(Step::Allocate);
            }
            if !known.settings_recorded {
                steps.push(Step::RecordSettings);
            }
            if !known.migrated {
                steps.push(Step::Migrate);
            }
            if !known.partitions_complete {
                steps.push(Step::CreatePartitions);
            }
            let agree = known.password.is_some() && known.password == observed.secret_password;
            if !taken && (observed.database_secret != Drift::None || !agree) {
                steps.push(Step::PublishLogin);
            }
        }
    }
    if taken {
        // Without a login the pods could not start.
        return steps;
    }
    steps.extend(
        observed
            .workload
            .iter()
            .filter(|(_, drift)| matches!(drift, Drift::Absent | Drift::Changed))
            .map(|(kind, _)| Step::Apply(*kind)),
    );
    steps
}

/// The first child that cannot be made now: its name is taken by an object that is not ours, or by one that is going.
#[must_use]
pub fn obstacle(observed: &Observed) -> Option<(ChildKind, Drift)> {
    let secret = (ChildKind::Secret, observed.database_secret);
    let in_the_way = |(_, drift): &(ChildKind, Drift)| matches!(drift, Drift::Foreign | Drift::Leaving);
    std::iter::once(secret).chain(observed.workload.iter().copied()).find(in_the_way)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled() -> Observed {
        Observed {
            has_finalizer: true,
            database: Database::Known(Catalogued {
                retired: false,
                settings_recorded: true,
                migrated: true,
                password: Some("aa".into()),
                partitions_complete: true,
            }),
            database_secret: Drift::None,
            secret_password: Some("aa".into()),
            workload: vec![(ChildKind::Service, Drift::None), (ChildKind::Deployment, Drift::None)],
            rollout: Rollout { desired: 2, ready: 2, complete: true, failing: false },
        }
    }

    fn known(change: impl FnOnce(&mut Catalogued)) -> Observed {
        let mut observed = settled();
        if let Database::Known(known) = &mut observed.database {
            change(known);
        }
        observed
    }

    #[test]
    fn a_settled_project_needs_nothing() {
        assert_eq!(plan(&settled()), []);
    }

    #[test]
    fn the_finalizer_comes_before_anything_outside_the_cluster() {
        let observed = Observed { has_finalizer: false, database: Database::Unknown, ..settled() };
        assert_eq!(plan(&observed), [Step::AddFinalizer]);
    }

    #[test]
    fn a_new_project_gets_a_number_a_schema_and_a_login_in_this_order() {
        let observed = Observed {
            database: Database::Unknown,
            database_secret: Drift::Absent,
            secret_password: None,
            workload: vec![],
            ..settled()
        };
        assert_eq!(
            plan(&observed),
            [Step::Allocate, Step::RecordSettings, Step::Migrate, Step::CreatePartitions, Step::PublishLogin]
        );
    }

    #[test]
    fn each_missing_piece_is_put_back_alone() {
        let secret_gone = Observed { database_secret: Drift::Absent, secret_password: None, ..settled() };
        let deployment_edited = Observed {
            workload: vec![(ChildKind::Service, Drift::None), (ChildKind::Deployment, Drift::Changed)],
            ..settled()
        };
        for (case, observed, steps) in [
            ("other policy", known(|known| known.settings_recorded = false), vec![Step::RecordSettings]),
            ("old schema", known(|known| known.migrated = false), vec![Step::Migrate]),
            ("few partitions", known(|known| known.partitions_complete = false), vec![Step::CreatePartitions]),
            ("login gone", known(|known| known.password = None), vec![Step::PublishLogin]),
            ("another password", known(|known| known.password = Some("bb".into())), vec![Step::PublishLogin]),
            ("retained before", known(|known| known.retired = true), vec![Step::Allocate]),
            ("Secret deleted", secret_gone, vec![Step::PublishLogin]),
            ("Deployment edited", deployment_edited, vec![Step::Apply(ChildKind::Deployment)]),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }

    #[test]
    fn an_outage_of_postgres_rolls_nothing() {
        let observed = Observed {
            database: Database::Unavailable { reason: Reason::DatabaseUnavailable, message: "refused".into() },
            workload: vec![(ChildKind::Deployment, Drift::Changed)],
            ..settled()
        };
        assert_eq!(plan(&observed), []);
    }

    #[test]
    fn a_project_of_another_database_gets_no_new_number() {
        let database = Database::Elsewhere { id: 2, server: "old:5432/errors".into() };
        assert_eq!(plan(&Observed { database, database_secret: Drift::Absent, ..settled() }), []);
    }

    #[test]
    fn what_belongs_to_others_is_left_alone() {
        let secret = Observed { database_secret: Drift::Foreign, secret_password: None, ..settled() };
        assert_eq!(plan(&secret), []);
        assert_eq!(obstacle(&secret), Some((ChildKind::Secret, Drift::Foreign)));

        let service = Observed {
            workload: vec![(ChildKind::Service, Drift::Foreign), (ChildKind::Deployment, Drift::Absent)],
            ..settled()
        };
        assert_eq!(plan(&service), [Step::Apply(ChildKind::Deployment)]);
        assert_eq!(obstacle(&service), Some((ChildKind::Service, Drift::Foreign)));
    }
}
