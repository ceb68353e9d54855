//! `ErrorTrackingProject`: its pass, its deletion and its status. Called by the list of kinds alone.

mod children;
mod deletion;
mod elsewhere;
mod exposure;
mod facts;
mod floods;
#[cfg(test)]
mod health_states;
mod identity;
mod login;
mod metrics;
mod names;
mod plan;
mod pods;
mod refusal;
mod rollout;
mod room;
mod scale;
mod settings;
mod status;
mod template;

pub use facts::reduce;
pub use metrics::ProjectMetrics;
pub use names::{IngestImage, IngestPods, internal_url};
pub use rollout::{Rollouts, facts as rollout_facts};
pub use settings::{AskedSettings, ingest_settings};

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt, api::DynamicObject};
use secrecy::SecretString;

use self::{
    exposure::{NoAddress, Route},
    names::{database_secret_name, ingest_name},
    plan::{CatalogRow, Observed, Step},
    rollout::{Held, Rollout, Version},
    settings::Asked,
};
use super::{
    Context,
    deletion::{Deleted, Undo},
    failure::{Failure, Unmet, Waiting},
    kind::Kind,
};
use crate::{
    crd::{ErrorTrackingProject, ErrorTrackingProjectStatus, FINALIZER, Ingest, Scale},
    dsn::ProjectId,
    kubernetes::names::PROJECT_LABEL,
    operator::{
        cluster::cache::Facts,
        databases::{Database, DatabaseState, Unavailable},
        engine::pass::Pass,
        objects::{
            ApplyError, EventReason, apply,
            child::{self, Child, ChildKind, Drift, cached_digest, holder, owned_by},
        },
    },
};

impl Kind for ErrorTrackingProject {
    type Status = ErrorTrackingProjectStatus;
    type Pass<'a> = ProjectPass<'a>;

    const NAME: &'static str = "ErrorTrackingProject";
    const CONTROLLER: &'static str = "project";
    const CHILD_LABEL: &'static str = PROJECT_LABEL;
    /// It refers to the Secret of its own database.
    const DEPENDS_ON: Option<&'static str> = None;

    fn facts(object: &DynamicObject) -> Facts {
        facts::read(object)
    }

    fn reduce(object: &mut DynamicObject) {
        facts::reduce(object);
    }

    fn known_status(&self) -> Option<&ErrorTrackingProjectStatus> {
        self.status.as_ref()
    }

    fn pass<'a>(&'a self, context: &'a Context) -> ProjectPass<'a> {
        ProjectPass::new(self, context)
    }

    fn deletion(deleted: &Deleted<'_, Self>, _: &Context) -> Vec<Undo> {
        deletion::undo(deleted)
    }

    fn conditions(status: &Self::Status) -> &[Condition] {
        &status.conditions
    }

    #[cfg(test)]
    fn health_states() -> Vec<super::health_states::HealthState> {
        health_states::all()
    }
}

/// One pass over one project.
pub struct ProjectPass<'a> {
    project: &'a ErrorTrackingProject,
    context: &'a Context,
    namespace: String,
    name: String,
    uid: String,
    /// Added in this pass, so the cached object does not show it yet.
    finalizer_added: bool,
    asked: Arc<Asked>,
    /// What the spec asks of the pods and the way in, without what the installation does not allow. Boxed: the future of a
    /// pass holds it.
    ingest: Box<Ingest>,
    /// Names what was left out of it.
    key_refused: Option<String>,
    id: Option<ProjectId>,
    role: Option<String>,
    /// External URLs that the DSNs of keys name which are accepted.
    endpoints: Vec<String>,
    /// Retained projects of the namespace, when that is asked.
    retained: u32,
    /// Image of the ingest pods: the installation's, or their present one while they wait for their turn.
    image: IngestImage,
    held: Option<Held>,
    route: Route,
    /// What the API server answered in this pass, ahead of the cache.
    written: Vec<(ChildKind, String, DynamicObject)>,
    /// Deleted in this pass; the cache may not show it yet.
    removed: Vec<ChildKind>,
    /// The server that keeps the errors was asked in this pass.
    connected: bool,
}

impl<'a> ProjectPass<'a> {
    fn new(project: &'a ErrorTrackingProject, context: &'a Context) -> Self {
        let mut ingest = Box::new(project.ingest());
        let key_refused = context.keys.enforce(&mut ingest);
        Self {
            project,
            context,
            namespace: project.namespace().unwrap_or_default(),
            name: project.name_any(),
            uid: project.uid().unwrap_or_default(),
            finalizer_added: false,
            asked: context.asked.of(project),
            ingest,
            key_refused,
            id: None,
            role: None,
            endpoints: Vec::new(),
            retained: 0,
            image: context.image.clone(),
            held: None,
            route: Route::default(),
            written: Vec::new(),
            removed: Vec::new(),
            connected: false,
        }
    }

    fn workload(&self, id: ProjectId, database: &Database) -> Vec<Child> {
        let (pods, port) = (&self.context.pods, database.address.port);
        let mut workload = children::workload(self.project, &self.ingest, id, &self.image, pods, port);
        if let (Some(_), Some(live)) = (&self.held, self.own(ChildKind::Deployment)) {
            for deployment in workload.iter_mut().filter(|child| child.kind == ChildKind::Deployment) {
                template::keep(deployment, &live);
            }
        }
        let ways_in = |child: &&mut Child| matches!(child.kind, ChildKind::Ingress | ChildKind::HttpRoute);
        for child in workload.iter_mut().filter(ways_in).filter(|_| !self.endpoints.is_empty()) {
            if let Some(live) = self.own(child.kind) {
                exposure::keep_hosts(child, &live, &self.endpoints);
            }
        }
        workload
    }

    /// Everything in the Secret but the password, which is compared by its digest.
    fn compare_secret(&self, database: &Database) -> Drift {
        let password = SecretString::from("");
        let role = self.role.as_deref().unwrap_or_default();
        let desired = children::database_secret(self.project, &database.address, role, &password);
        let live = self.live(ChildKind::Secret, &desired.name).map(|live| {
            let mut live = (*live).clone();
            live.data["data"]["password"] = serde_json::json!(child::digest(b""));
            live
        });
        desired.compare(live.as_ref())
    }

    fn live(&self, kind: ChildKind, name: &str) -> Option<Arc<DynamicObject>> {
        if self.removed.contains(&kind) {
            return None;
        }
        let written = self.written.iter().rev().find(|(of, called, _)| *of == kind && called == name);
        match written {
            Some((_, _, object)) => Some(Arc::new(object.clone())),
            None if kind == ChildKind::HttpRoute => match &self.route {
                Route::Found(route) => Some(Arc::new((**route).clone())),
                _ => None,
            },
            None => self.context.caches.child(kind, &self.namespace, name),
        }
    }

    /// The child if it is there and ours.
    fn own(&self, kind: ChildKind) -> Option<Arc<DynamicObject>> {
        self.live(kind, &self.child_name(kind)).filter(|live| owned_by(live, &self.uid))
    }

    /// Pods that receive events get another image, and what this version of the operator changes in their template, only
    /// when it is their turn. What the project asks for is not held back: it must run with the former version.
    fn choose_version(&mut self) {
        let newer = Version::new(self.context.image.clone());
        let live = self.own(ChildKind::Deployment);
        let current = live.as_deref().and_then(Version::of).filter(|current| !current.is(&newer));
        let receiving = live.is_some_and(|live| Rollout::of(&live).ready > 0);
        self.held = match &current {
            Some(current) if receiving && self.project.scale() != Scale::Fixed(0) => {
                let key = (self.namespace.clone(), self.name.clone());
                let limit = self.context.limits.rollouts;
                self.context.rollouts.ask(&key, current, &newer, limit, &self.context.caches)
            }
            _ => None,
        };
        self.image = match current {
            Some(current) if self.held.is_some() => current.image,
            _ => newer.image,
        };
    }

    /// Reads the children that the cache does not keep.
    async fn read_large_children(&mut self) -> Result<(), Failure> {
        for kind in ChildKind::ALL {
            let name = self.child_name(kind);
            let known = self.written.iter().any(|(of, called, _)| *of == kind && *called == name);
            if !known
                && self.context.caches.is_large_child(kind, &self.namespace, &name)
                && let Some(live) = self.context.children.read(kind, &self.namespace, &name).await?
            {
                self.written.push((kind, name, live));
            }
        }
        Ok(())
    }

    /// Looks for the route if one is asked for, or was made before.
    async fn look_for_route(&mut self) -> Result<(), Failure> {
        let wanted = self.ingest.gateway.is_some();
        let name = ingest_name(&self.name);
        if wanted || self.own(ChildKind::Service).is_some_and(|service| children::routed(&service)) {
            self.route = exposure::look(&self.context.client, &self.namespace, &name).await?;
        }
        Ok(())
    }

    fn no_address(&self) -> Option<NoAddress> {
        let (ingress, route) = (self.own(ChildKind::Ingress), self.own(ChildKind::HttpRoute));
        exposure::no_address(&self.ingest, ingress.as_deref(), route.as_deref())
    }

    fn child_name(&self, kind: ChildKind) -> String {
        match kind {
            ChildKind::Secret => database_secret_name(&self.name),
            _ => ingest_name(&self.name),
        }
    }

    /// Whether anything new was written. What was only put back is told here.
    async fn ensure(&mut self, child: &Child) -> Result<bool, Failure> {
        let ensured = self.context.children.ensure(child).await.map_err(|error| refusal::explain(child.kind, error))?;
        self.written.push((child.kind, child.name.clone(), ensured.live));
        if let Some(edit) = &ensured.edit {
            self.context.events.announce(self.project, EventReason::PutBack, &edit.to_string());
        }
        Ok(ensured.written && ensured.edit.is_none())
    }
}

impl Pass for ProjectPass<'_> {
    type Observed = Observed;
    type Step = Step;
    type Failure = Failure;

    const CONTROLLER: &'static str = ErrorTrackingProject::CONTROLLER;
    // Finalizer, database, workload, nothing.
    const ROUNDS: usize = 4;

    async fn observe(&mut self) -> Result<Observed, Failure> {
        let has_finalizer = self.finalizer_added || self.project.finalizers().iter().any(|name| name == FINALIZER);
        if let Some(reference) = self.project.server() {
            return self.observe_server(has_finalizer, reference).await;
        }
        self.read_large_children().await?;
        let state = self.context.databases.of_project(self.project);
        let (database, workload, database_secret) = match &state {
            DatabaseState::Ready(database) => {
                let known = self.look_up(database).await?;
                self.choose_version();
                if self.id.is_some() {
                    self.look_for_route().await?;
                }
                let workload = self.id.map_or_else(Vec::new, |id| self.workload(id, database));
                (known, workload, self.compare_secret(database))
            }
            // The status keeps what it held before the operator was started.
            DatabaseState::Connecting if self.project.database_secret().is_some() => {
                return Err(Waiting::Connecting.into());
            }
            // So it does while the schema waits for somebody's transaction; a new project is told.
            DatabaseState::Migrating(error) if self.project.status.is_some() => {
                return Err(Waiting::Migrating(error.clone()).into());
            }
            DatabaseState::Migrating(error) => {
                (CatalogRow::Unavailable(Unavailable::Migrating(error.clone())), Vec::new(), Drift::Absent)
            }
            DatabaseState::Connecting => (CatalogRow::Unavailable(Unavailable::Connecting), Vec::new(), Drift::Absent),
            DatabaseState::Unavailable(error) => {
                let unavailable = Unavailable::NotConnected(error.clone());
                (CatalogRow::Unavailable(unavailable), Vec::new(), Drift::Absent)
            }
        };
        self.count_retained().await?;
        let secret = self.live(ChildKind::Secret, &database_secret_name(&self.name));
        let wanted = |kind: &ChildKind| workload.iter().any(|child| child.kind == *kind);
        let gateway_api_missing = matches!(self.route, Route::NoSuchKind) && wanted(&ChildKind::HttpRoute);
        // What cannot be read is left alone, and so is what says that it is there.
        let unreadable = matches!(self.route, Route::Forbidden(_));
        let left_alone = |kind| match kind {
            ChildKind::HttpRoute => gateway_api_missing || unreadable,
            ChildKind::Service => unreadable && !wanted(&ChildKind::HttpRoute),
            _ => false,
        };
        let is_left = |live: &DynamicObject| !exposure::serves(live, &self.endpoints);
        let unwanted = children::OPTIONAL.into_iter();
        let unwanted = unwanted.filter(|kind| !wanted(kind) && self.own(*kind).is_some_and(|live| is_left(&live)));
        let unwanted = if workload.is_empty() { Vec::new() } else { unwanted.collect() };
        let workload: Vec<_> = workload
            .iter()
            .filter(|child| !left_alone(child.kind))
            .map(|child| (child.kind, self.context.children.drift(child, self.live(child.kind, &child.name))))
            .collect();
        let deployment = self.own(ChildKind::Deployment);
        let rollout = deployment.as_deref().map(Rollout::of).unwrap_or_default();
        let changed = workload.contains(&(ChildKind::Deployment, Drift::Changed));
        let autoscaler = self.own(ChildKind::HorizontalPodAutoscaler);
        let pod_trouble =
            if rollout.failing { pods::trouble(&self.context.client, &self.namespace, &self.name).await } else { None };
        Ok(Observed {
            has_finalizer,
            past_limit: self.past_limit(),
            database,
            database_secret,
            secret_password: secret.as_deref().and_then(|secret| cached_digest(secret, "password")),
            hand_over: deployment.is_some() && scale::must_hand_over(self.project.scale(), &rollout, changed),
            workload,
            unwanted,
            gateway_api_missing,
            rollout,
            held: self.held.clone(),
            autoscaler_trouble: autoscaler.as_deref().and_then(scale::autoscaler_trouble),
            pod_trouble,
            no_address: self.no_address(),
            server: None,
        })
    }

    fn plan(observed: &Observed) -> Vec<Step> {
        plan::plan(observed)
    }

    fn obstacle(&self, observed: &Observed) -> Option<Failure> {
        if let CatalogRow::Elsewhere { id, server } = &observed.database {
            return Some(Failure::DatabaseChanged { id: *id, server: server.clone() });
        }
        if let Some(limit) = plan::turned_away(observed) {
            self.context.caches.turn_away::<ErrorTrackingProject>(&self.namespace, &self.name);
            let namespace = self.namespace.clone();
            return Some(Unmet::Limit { namespace, objects: "projects", limit, retained: self.retained }.into());
        }
        if let Some(server) = &observed.server {
            return elsewhere::obstacle(server);
        }
        if let Route::Forbidden(status) = &self.route {
            return Some(exposure::unreadable(&ingest_name(&self.name), status.clone()).into());
        }
        if observed.gateway_api_missing {
            return Some(Unmet::GatewayApi.into());
        }
        if let CatalogRow::Unavailable(unavailable) = &observed.database {
            return Some(Failure::from(unavailable.clone())).filter(Failure::stalls);
        }
        let Some((kind, drift)) = plan::obstacle(observed) else {
            let key = self.key_refused.clone().map(Unmet::Key);
            return key.or_else(|| self.asked.trouble.clone().map(Unmet::Setting)).map(Failure::from);
        };
        let name = self.child_name(kind);
        let in_the_way = match drift {
            Drift::Leaving => ApplyError::Leaving { kind, name },
            _ => ApplyError::Conflict {
                holder: self.live(kind, &name).as_deref().and_then(holder),
                owner: ErrorTrackingProject::NAME.into(),
                kind,
                name,
            },
        };
        Some(in_the_way.into())
    }

    fn is_of_owner(&self, failure: &Failure) -> bool {
        failure.is_of_server() || failure.is_caused_by_database() && self.project.database_secret().is_some()
    }

    fn is_in_owners_database(&self) -> bool {
        self.project.database_secret().is_some() || self.project.server().is_some()
    }

    fn look_again(observed: &Observed) -> Option<Duration> {
        observed.server.as_ref().map(elsewhere::look_again)
    }

    fn waits(observed: &Observed) -> bool {
        // No watch shows a route.
        let route_waits = matches!(observed.no_address, Some(NoAddress::Route { .. }));
        matches!(observed.database, CatalogRow::Unavailable(_)) || observed.held.is_some() || route_waits
    }

    fn name(step: Step) -> &'static str {
        step.as_str()
    }

    async fn perform(&mut self, observed: &Observed, step: Step) -> Result<(), Failure> {
        if step == Step::AddFinalizer {
            self.context.statuses.set_finalizer::<ErrorTrackingProject>(&self.project.metadata, true).await?;
            self.finalizer_added = true;
            return Ok(());
        }
        if observed.server.is_some() {
            return self.perform_at_server(step).await;
        }
        let DatabaseState::Ready(database) = self.context.databases.of_project(self.project) else {
            return Err(Waiting::PostgresWentAway.into());
        };
        match (step, self.id) {
            (Step::Allocate, _) => self.allocate(&database).await?,
            (Step::RecordSettings, Some(id)) => {
                database.admin.record_settings(id, &self.asked.settings).await?;
            }
            (Step::Migrate, Some(id)) => {
                database.admin.migrate_project(id).await?;
                let note = format!("Schema {} is up to date.", id.schema());
                self.context.events.announce(self.project, EventReason::SchemaMigrated, &note);
            }
            (Step::CreatePartitions, Some(id)) => {
                database.admin.ensure_partitions(id, Timestamp::now()).await?;
            }
            (Step::GrantPods, Some(id)) => self.grant_pods(observed, &database, id).await?,
            (Step::PublishLogin, Some(id)) => self.publish_login(observed, &database, id).await?,
            (Step::Remove(kind), _) => {
                let name = self.child_name(kind);
                apply::delete(&self.context.client, kind, &self.namespace, &name, &self.uid).await?;
                self.removed.push(kind);
            }
            (Step::HandOverReplicas, _) => {
                if let Scale::Automatic(bounds) = self.project.scale() {
                    let name = ingest_name(&self.name);
                    scale::hand_over(&self.context.client, &self.namespace, &name, &self.uid, bounds).await?;
                }
            }
            (Step::Apply(kind), Some(id)) => {
                let Some(mut child) = self.workload(id, &database).into_iter().find(|child| child.kind == kind) else {
                    return Ok(());
                };
                if kind == ChildKind::Deployment && observed.workload.contains(&(kind, Drift::Absent)) {
                    children::start_with(&mut child, self.project.scale());
                }
                let written = self.ensure(&child).await?;
                if written && kind == ChildKind::Deployment {
                    let note = format!("Deployment {} was applied.", child.name);
                    self.context.events.announce(self.project, EventReason::WorkloadApplied, &note);
                }
            }
            (_, None)
            | (Step::AddFinalizer | Step::Connect | Step::SwitchOn | Step::TakeBack | Step::CompareKeys, _) => {}
        }
        Ok(())
    }

    async fn write_status(&self, observed: &Observed, failure: Option<&Failure>) -> Result<(), Failure> {
        let before = self.context.caches.newest_status(self.project);
        let home = match self.context.databases.of_project(self.project) {
            DatabaseState::Ready(database) => Some(status::HomeDatabase::of(&database)),
            _ => None,
        };
        let console = self.context.console_url.as_deref();
        let view =
            status::View { project: self.project, before: &before, observed, id: self.id, home, failure, console };
        Ok(self.context.report(self.project, &before, &status::build(&view, Timestamp::now())).await?)
    }
}
