//! What a project needs next: a pure function from what was observed to named steps.

use jiff::Timestamp;

use super::{
    elsewhere::{self, ServerSeen},
    exposure::NoAddress,
    rollout::{Held, Rollout},
};
use crate::{
    operator::{
        databases::Unavailable,
        objects::child::{ChildKind, Drift},
    },
    store::admin::Flood,
};

/// A project and everything that it owns, as they were observed.
#[derive(Clone, Debug)]
pub struct Observed {
    pub has_finalizer: bool,
    /// The most projects that the namespace may have, when this one is past it.
    pub past_limit: Option<u32>,
    pub database: CatalogRow,
    /// The Secret of the ingest login.
    pub database_secret: Drift,
    /// SHA-256 of the password in that Secret, in hex.
    pub secret_password: Option<String>,
    /// Every other child in the order of making, once the project has a number.
    pub workload: Vec<(ChildKind, Drift)>,
    /// Children of ours that the spec does not ask for any more.
    pub unwanted: Vec<ChildKind>,
    /// The number of pods passes to an autoscaler before the Deployment is applied.
    pub hand_over: bool,
    /// The spec asks for a route, and the cluster has no Gateway API.
    pub gateway_api_missing: bool,
    pub rollout: Rollout,
    /// Why the pods keep an older image.
    pub held: Option<Held>,
    /// Why the autoscaler does not scale, in its own word.
    pub autoscaler_trouble: Option<String>,
    /// Why new pods do not come up, in their own words.
    pub pod_trouble: Option<String>,
    /// The way in from outside is there, and leads nowhere yet.
    pub no_address: Option<NoAddress>,
    /// The server that keeps the errors, when that is another one; then there is nothing else.
    pub server: Option<ServerSeen>,
}

impl Observed {
    /// A project without anything of its own in the cluster or in Postgres.
    #[must_use]
    pub fn nothing(has_finalizer: bool, past_limit: Option<u32>) -> Self {
        Self {
            has_finalizer,
            past_limit,
            database: CatalogRow::Unknown,
            database_secret: Drift::Absent,
            secret_password: None,
            workload: Vec::new(),
            unwanted: Vec::new(),
            hand_over: false,
            gateway_api_missing: false,
            rollout: Rollout::default(),
            held: None,
            autoscaler_trouble: None,
            pod_trouble: None,
            no_address: None,
            server: None,
        }
    }

    /// Whether the Service that the DSNs name is there and ours.
    #[must_use]
    pub fn has_service(&self) -> bool {
        let missing = |drift: &Drift| matches!(drift, Drift::Absent | Drift::Foreign | Drift::Leaving);
        !self.workload.iter().any(|(kind, drift)| *kind == ChildKind::Service && missing(drift))
    }
}

/// The project in Postgres, as it was observed.
#[derive(Clone, Debug)]
pub enum CatalogRow {
    Unavailable(Unavailable),
    /// No catalog row yet.
    Unknown,
    /// No catalog row here, but in the database that the status names.
    Elsewhere {
        id: i64,
        server: String,
    },
    Known(Catalogued),
}

impl CatalogRow {
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
    /// The time of the login is over, by the installation's schedule.
    pub login_due: bool,
    /// The login may have the sessions of the pods that the spec asks for, and no more.
    pub pods_granted: bool,
    /// Two spans after the current one exist.
    pub partitions_complete: bool,
    /// When something was accepted last with any of its keys.
    pub keys_used_at: Option<Timestamp>,
    /// Limits that were met within the last hour, the worst first.
    pub floods: Vec<Flood>,
}

impl Catalogued {
    /// Pods can log in: the login is made last, so schema and partitions are there.
    #[must_use]
    pub fn in_use(&self) -> bool {
        self.password.is_some()
    }
}

#[cfg(test)]
impl Catalogued {
    /// A project that needs nothing.
    pub fn settled() -> Self {
        Self {
            retired: false,
            settings_recorded: true,
            migrated: true,
            password: Some("aa".into()),
            login_due: false,
            pods_granted: true,
            partitions_complete: true,
            keys_used_at: None,
            floods: Vec::new(),
        }
    }
}

/// One thing to do. Each is idempotent: a crash between any two is repaired by the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Before the first thing outside the cluster is made.
    AddFinalizer,
    /// Takes a number for the project, or the one it had before.
    Allocate,
    /// Records the settings in the database: for people, for ingest, and for the time after the object.
    RecordSettings,
    Migrate,
    CreatePartitions,
    /// Lets the login have the sessions of the pods, unless the namespace has too many. Before there are such pods.
    GrantPods,
    /// Sets a new password and publishes it: what the Secret and what Postgres hold must agree.
    PublishLogin,
    Apply(ChildKind),
    /// Gives the number of pods to a field manager of its own, so that it stays when the Deployment's manifest does
    /// not name it any more.
    HandOverReplicas,
    Remove(ChildKind),
    /// Reads the token and asks the server that keeps the errors for the project.
    Connect,
    /// Switches integrated error tracking on in GitLab.
    SwitchOn,
    /// Takes keys back there whose objects are gone.
    TakeBack,
    /// Compares the keys there with those that should be.
    CompareKeys,
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
            Self::GrantPods => "grant-pods",
            Self::PublishLogin => "publish-login",
            Self::Apply(ChildKind::Secret) => "apply-secret",
            Self::Apply(ChildKind::ServiceAccount) => "apply-service-account",
            Self::Apply(ChildKind::NetworkPolicy) => "apply-network-policy",
            Self::Apply(ChildKind::Service) => "apply-service",
            Self::Apply(ChildKind::Deployment) => "apply-deployment",
            Self::Apply(ChildKind::PodDisruptionBudget) => "apply-pod-disruption-budget",
            Self::Apply(ChildKind::HorizontalPodAutoscaler) => "apply-autoscaler",
            Self::Apply(ChildKind::Ingress) => "apply-ingress",
            Self::Apply(ChildKind::HttpRoute) => "apply-http-route",
            Self::HandOverReplicas => "hand-over-replicas",
            Self::Remove(ChildKind::HorizontalPodAutoscaler) => "remove-autoscaler",
            Self::Remove(ChildKind::Ingress) => "remove-ingress",
            Self::Remove(ChildKind::HttpRoute) => "remove-http-route",
            Self::Remove(_) => "remove",
            Self::Connect => "connect",
            Self::SwitchOn => "switch-on",
            Self::TakeBack => "take-back",
            Self::CompareKeys => "compare-keys",
        }
    }
}

/// The steps that `observed` asks for, in order; none when the project is as it should be or must wait.
#[must_use]
pub fn plan(observed: &Observed) -> Vec<Step> {
    if turned_away(observed).is_some() {
        return Vec::new();
    }
    if let Some(server) = &observed.server {
        return elsewhere::plan(observed, server);
    }
    if !observed.has_finalizer {
        return vec![Step::AddFinalizer];
    }
    let taken = matches!(observed.database_secret, Drift::Foreign | Drift::Leaving);
    let mut steps = Vec::new();
    match &observed.database {
        // Pods keep what they have: an outage of Postgres must not roll anything.
        CatalogRow::Unavailable(_) | CatalogRow::Elsewhere { .. } => return steps,
        CatalogRow::Unknown => {
            steps.extend([
                Step::Allocate,
                Step::RecordSettings,
                Step::Migrate,
                Step::CreatePartitions,
                Step::GrantPods,
            ]);
            if !taken {
                steps.push(Step::PublishLogin);
            }
        }
        CatalogRow::Known(known) => {
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
            // A new login is made with the limit.
            if !known.pods_granted && known.password.is_none() {
                steps.push(Step::GrantPods);
            }
            let agree = known.password.is_some() && known.password == observed.secret_password;
            if !taken && (observed.database_secret != Drift::None || !agree || known.login_due) {
                steps.push(Step::PublishLogin);
            }
            // Who is refused more pods keeps a login that pods can use.
            if !known.pods_granted && known.password.is_some() {
                steps.push(Step::GrantPods);
            }
        }
    }
    if taken {
        // Without a login the pods could not start.
        return steps;
    }
    // First of all the autoscaler: it would change the number that the Deployment gets again. A route goes before the
    // Service forgets that there is one.
    steps.extend(observed.unwanted.iter().copied().map(Step::Remove));
    for (kind, drift) in &observed.workload {
        if *kind == ChildKind::Deployment && observed.hand_over {
            steps.push(Step::HandOverReplicas);
        }
        if matches!(drift, Drift::Absent | Drift::Changed) {
            steps.push(Step::Apply(*kind));
        }
    }
    steps
}

/// The limit of the namespace, when it keeps the project out. One that has a number keeps it.
#[must_use]
pub fn turned_away(observed: &Observed) -> Option<u32> {
    observed.past_limit.filter(|_| matches!(observed.database, CatalogRow::Unknown))
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
            past_limit: None,
            database: CatalogRow::Known(Catalogued::settled()),
            database_secret: Drift::None,
            secret_password: Some("aa".into()),
            workload: vec![(ChildKind::Service, Drift::None), (ChildKind::Deployment, Drift::None)],
            unwanted: vec![],
            hand_over: false,
            gateway_api_missing: false,
            rollout: Rollout { desired: 2, ready: 2, updated: 2, existing: 2, seen: true, ..Rollout::default() },
            held: None,
            autoscaler_trouble: None,
            pod_trouble: None,
            no_address: None,
            server: None,
        }
    }

    fn known(change: impl FnOnce(&mut Catalogued)) -> Observed {
        let mut observed = settled();
        if let CatalogRow::Known(known) = &mut observed.database {
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
        let observed = Observed { has_finalizer: false, database: CatalogRow::Unknown, ..settled() };
        assert_eq!(plan(&observed), [Step::AddFinalizer]);
    }

    #[test]
    fn a_new_project_gets_a_number_a_schema_and_a_login_in_this_order() {
        let observed = Observed {
            database: CatalogRow::Unknown,
            database_secret: Drift::Absent,
            secret_password: None,
            workload: vec![],
            ..settled()
        };
        assert_eq!(
            plan(&observed),
            [
                Step::Allocate,
                Step::RecordSettings,
                Step::Migrate,
                Step::CreatePartitions,
                Step::GrantPods,
                Step::PublishLogin
            ]
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
            (
                "another policy, filter or the like",
                known(|known| known.settings_recorded = false),
                vec![Step::RecordSettings],
            ),
            ("old schema", known(|known| known.migrated = false), vec![Step::Migrate]),
            ("few partitions", known(|known| known.partitions_complete = false), vec![Step::CreatePartitions]),
            ("more pods", known(|known| known.pods_granted = false), vec![Step::GrantPods]),
            ("an old login", known(|known| known.login_due = true), vec![Step::PublishLogin]),
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
    fn the_number_of_pods_passes_to_the_autoscaler_and_back_without_a_jump() {
        use ChildKind::{Deployment, HorizontalPodAutoscaler as Autoscaler};
        let workload = |deployment, autoscaler| vec![(Deployment, deployment), (Autoscaler, autoscaler)];
        let observed = |hand_over, workload, unwanted| Observed { workload, unwanted, hand_over, ..settled() };
        for (case, observed, steps) in [
            (
                "there",
                observed(true, workload(Drift::Changed, Drift::Absent), vec![]),
                vec![Step::HandOverReplicas, Step::Apply(Deployment), Step::Apply(Autoscaler)],
            ),
            (
                "scaled to zero by hand",
                observed(true, workload(Drift::None, Drift::None), vec![]),
                vec![Step::HandOverReplicas],
            ),
            (
                "back",
                observed(false, vec![(Deployment, Drift::Changed)], vec![Autoscaler]),
                vec![Step::Remove(Autoscaler), Step::Apply(Deployment)],
            ),
            (
                "another way in",
                observed(
                    false,
                    vec![(ChildKind::Service, Drift::Changed), (ChildKind::Ingress, Drift::Absent)],
                    vec![ChildKind::HttpRoute],
                ),
                vec![
                    Step::Remove(ChildKind::HttpRoute),
                    Step::Apply(ChildKind::Service),
                    Step::Apply(ChildKind::Ingress),
                ],
            ),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }

    #[test]
    fn a_project_past_the_limit_gets_nothing_unless_it_has_a_number() {
        let new = Observed { past_limit: Some(3), has_finalizer: false, database: CatalogRow::Unknown, ..settled() };
        assert_eq!((plan(&new), turned_away(&new)), (vec![], Some(3)));
        let old = Observed { past_limit: Some(3), ..known(|known| known.migrated = false) };
        assert_eq!((plan(&old), turned_away(&old)), (vec![Step::Migrate], None));
    }

    #[test]
    fn an_outage_of_postgres_rolls_nothing() {
        let observed = Observed {
            database: CatalogRow::Unavailable(Unavailable::Connecting),
            workload: vec![(ChildKind::Deployment, Drift::Changed)],
            ..settled()
        };
        assert_eq!(plan(&observed), []);
    }

    #[test]
    fn a_project_of_another_database_gets_no_new_number() {
        let database = CatalogRow::Elsewhere { id: 2, server: "old:5432/errors".into() };
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
