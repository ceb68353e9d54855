//! A project whose errors another server keeps: a connection to look after, and the keys there. No pods, no schema.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use kube::runtime::events::EventType;

use super::{
    ProjectPass,
    plan::{Observed, Step},
    status::View,
};
use crate::{
    backend::{Backend, BackendError, Elsewhere, NotConnected, Server, Upkeep},
    crd::{
        ClientKey, ConditionStatus, ConditionType, Conditions, ErrorTrackingProjectStatus, Reason, SentryStatus,
        ServerRef,
    },
    operator::{
        databases::{BackendState, FRESH, Seen, Unavailable},
        engine::queue::ObjectName,
        kinds::{
            failure::{Failure, Waiting},
            kind::unread_pause,
        },
        objects::EventReason,
    },
};

/// How often the keys at a server are compared with those that should be there: somebody may delete one by hand.
const COMPARE: Duration = Duration::from_mins(10);
/// When it is looked again at what a server is owed that takes no more calls for now.
const OWED: Duration = Duration::from_secs(30);
/// Ids that a message names.
const MOST_IDS: usize = 10;

/// What was observed of the server.
#[derive(Clone, Debug)]
pub struct ServerSeen {
    pub connection: Result<(), NotConnected>,
    pub seen: Seen,
    /// It was not looked at for a while, or does not answer and was not asked in this pass.
    pub stale: bool,
    /// Why there is no ledger now.
    pub ledger: Option<Unavailable>,
    /// Keys that have ended are to be taken back there.
    pub owes: bool,
    /// The keys there are to be compared with the ledger.
    pub uncompared: bool,
    pub upkeep: Upkeep,
}

impl ProjectPass<'_> {
    pub(super) async fn observe_server(
        &mut self,
        has_finalizer: bool,
        reference: ServerRef<'_>,
    ) -> Result<Observed, Failure> {
        let servers = &self.context.databases.servers;
        let (server, seen) = servers.state(self.project, reference);
        let ledger = self.server_keys();
        let upkeep = servers.upkeep(self.project);
        let (owes, more_orphans, ledger) = match ledger {
            Ok(elsewhere) => match owed(&elsewhere, &upkeep).await {
                Ok((owes, more_orphans)) => (owes, more_orphans, None),
                Err(error) if error.retryable() => return Err(error.into()),
                Err(error) => (false, false, Some(Unavailable::refused(error))),
            },
            Err(unavailable) => (false, false, Some(unavailable)),
        };
        let server = ServerSeen {
            stale: servers.is_stale(self.project) || (server.is_err() && !self.connected),
            connection: server.map(drop),
            seen,
            owes,
            uncompared: more_orphans || servers.is_uncompared(self.project, COMPARE),
            upkeep,
            ledger,
        };
        let past_limit = self.past_limit();
        Ok(Observed { server: Some(server), ..Observed::nothing(has_finalizer, past_limit) })
    }

    /// The keys of the project, while the ledger answers.
    fn server_keys(&self) -> Result<Elsewhere, Unavailable> {
        match self.context.databases.backend_of(self.project) {
            BackendState::Ready(backend) => match *backend {
                Backend::Elsewhere(elsewhere) => Ok(elsewhere),
                Backend::Integrated(_) => Err(Unavailable::Connecting),
            },
            BackendState::Unavailable(unavailable) => Err(unavailable),
        }
    }

    /// Whether the status says so already, also that of an operator before this one.
    fn has_said(&self, note: &str) -> bool {
        let before = self.context.caches.newest_status(self.project);
        before.conditions.iter().any(|condition| condition.message.contains(note))
    }

    pub(super) async fn perform_at_server(&mut self, step: Step) -> Result<(), Failure> {
        let Some(reference) = self.project.server() else { return Ok(()) };
        let servers = &self.context.databases.servers;
        match step {
            Step::Connect => {
                servers.connect(self.project, reference).await;
                self.connected = true;
            }
            Step::SwitchOn => {
                if let (Ok(Server::Gitlab(gitlab)), _) = servers.state(self.project, reference) {
                    gitlab.switch_on().await.map_err(BackendError::from)?;
                    let note = format!("Integrated error tracking of {} is switched on.", describe(reference));
                    self.context.events.announce(self.project, EventReason::ErrorTrackingEnabled, &note);
                    // What it says of itself now is looked at again.
                    servers.connect(self.project, reference).await;
                }
            }
            Step::TakeBack => {
                let elsewhere = self.server_keys().map_err(Failure::Database)?;
                if let Err(error) = elsewhere.take_back().await
                    && error.retry_after().is_none()
                {
                    return Err(error.into());
                }
            }
            Step::CompareKeys => {
                let elsewhere = self.server_keys().map_err(Failure::Database)?;
                let upkeep = match elsewhere.compare().await {
                    // Housekeeping has time: the server is asked again in a later pass.
                    Err(error) if error.retry_after().is_some() => return Ok(()),
                    compared => compared?,
                };
                for (namespace, name) in &upkeep.touched {
                    self.context.caches.wake::<ClientKey>(&ObjectName::new(namespace, name));
                }
                let note = orphans(&upkeep.orphans);
                if !upkeep.orphans.is_empty() && !self.has_said(&note) {
                    let reference = kube::Resource::object_ref(self.project, &());
                    let reason = EventReason::KeysUnclaimed.as_str();
                    self.context.events.publish(&reference, EventType::Warning, "Reconcile", reason, &note);
                }
                servers.compared(self.project, upkeep);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether keys are to be taken back at the server, and whether more are nobody's than is said.
async fn owed(elsewhere: &Elsewhere, upkeep: &Upkeep) -> Result<(bool, bool), BackendError> {
    Ok((elsewhere.owes().await?, elsewhere.has_more_orphans(upkeep).await?))
}

/// The steps that a project at another server asks for, in order.
pub fn plan(observed: &Observed, server: &ServerSeen) -> Vec<Step> {
    if !observed.has_finalizer {
        return vec![Step::AddFinalizer];
    }
    if server.stale {
        return vec![Step::Connect];
    }
    if server.connection.is_err() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if server.seen.is_off {
        steps.push(Step::SwitchOn);
    }
    if server.ledger.is_none() {
        if server.owes {
            steps.push(Step::TakeBack);
        }
        if server.uncompared {
            steps.push(Step::CompareKeys);
        }
    }
    steps
}

/// What keeps the project from being connected.
pub fn obstacle(server: &ServerSeen) -> Option<Failure> {
    if let Err(error) = &server.connection {
        return Some(BackendError::from(error.clone()).into());
    }
    match &server.ledger {
        Some(Unavailable::Connecting) => Some(Waiting::Connecting.into()),
        Some(unavailable) => Some(unavailable.clone().into()),
        None => None,
    }
}

/// When it is looked at the server again.
pub fn look_again(server: &ServerSeen) -> Duration {
    if server.owes { OWED } else { FRESH }
}

/// The status to write; equal to the one before when nothing changed.
pub fn build(
    view: &View<'_>,
    server: &ServerSeen,
    reference: ServerRef<'_>,
    now: Timestamp,
) -> ErrorTrackingProjectStatus {
    let project = view.project;
    let name = describe(reference);
    let (connected, reason, message) = match (&server.connection, view.failure) {
        (Err(error @ NotConnected::NotYet(_)), _) => (ConditionStatus::Unknown, error.reason(), error.to_string()),
        (Err(error), _) => (ConditionStatus::False, error.reason(), sentence(format!("{name}: {error}"))),
        (Ok(()), Some(failure)) if failure.is_of_server() => {
            (ConditionStatus::False, failure.reason(), sentence(format!("{name}: {failure}")))
        }
        (Ok(()), _) => (ConditionStatus::True, Reason::Connected, answers(&name, &server.upkeep)),
    };
    let ready = match (connected, view.failure) {
        (ConditionStatus::True, Some(failure)) => (ConditionStatus::False, failure.reason(), failure.to_string()),
        (ConditionStatus::True, None) => (ConditionStatus::True, reason, message.clone()),
        _ => (ConditionStatus::False, reason, message.clone()),
    };
    let is_ready = ready.0 == ConditionStatus::True;
    let stalled = view.failure.filter(|failure| failure.stalls()).map(|_| (ready.1, ready.2.clone()));
    let mut conditions = Conditions::new(&view.before.conditions, project.metadata.generation, now);
    conditions.set(ConditionType::Ready, ready.0, ready.1, &ready.2);
    conditions.set_progress((!is_ready).then_some((ready.1, ready.2)), stalled);
    conditions.set(ConditionType::Connected, connected, reason, &message);
    if let Some(value) = unread_pause(&project.metadata) {
        conditions.set_pause_ignored(value);
    }
    let sentry = matches!(reference, ServerRef::Sentry(_)).then(|| SentryStatus {
        available_projects: match server.connection {
            Ok(()) => server.seen.available_projects.clone(),
            Err(_) => view.before.sentry.clone().unwrap_or_default().available_projects,
        },
    });
    ErrorTrackingProjectStatus {
        observed_generation: project.metadata.generation,
        conditions: conditions.finish(),
        sentry,
        ..ErrorTrackingProjectStatus::default()
    }
}

/// As `Sentry project acme/shop at https://sentry.io`.
fn describe(reference: ServerRef<'_>) -> String {
    let (kind, url) = (reference.kind().as_str(), reference.url());
    match reference {
        ServerRef::Sentry(sentry) => format!("{kind} project {}/{} at {url}", sentry.organization, sentry.project),
        ServerRef::Gitlab(gitlab) => format!("{kind} project {} at {url}", gitlab.project),
    }
}

/// With a full stop, unless it ends with a server's own words that have one.
fn sentence(mut text: String) -> String {
    if !text.ends_with(['.', '!', '?', '…']) {
        text.push('.');
    }
    text
}

fn answers(name: &str, upkeep: &Upkeep) -> String {
    let mut message = format!("{name} answers.");
    if !upkeep.orphans.is_empty() {
        message.push(' ');
        message.push_str(&orphans(&upkeep.orphans));
    }
    if upkeep.undeletable > 0 {
        let keys = upkeep.undeletable;
        _ = write!(
            message,
            " {keys} disabled keys stay there: to delete them 30 days after their end, the token needs project:admin."
        );
    }
    message
}

fn orphans(ids: &[String]) -> String {
    let more = if ids.len() > MOST_IDS { " and others" } else { "" };
    format!(
        "Keys {}{more} appeared there while an answer was lost, and no ClientKey claims them: delete those that nobody \
         else made.",
        ids[..ids.len().min(MOST_IDS)].join(", ")
    )
}

#[cfg(test)]
pub(super) fn connected() -> ServerSeen {
    ServerSeen {
        connection: Ok(()),
        seen: Seen::default(),
        stale: false,
        ledger: None,
        owes: false,
        uncompared: false,
        upkeep: Upkeep::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::servers::ServerError;

    #[test]
    fn each_state_of_a_server_asks_for_what_is_missing() {
        let refused = || Err(NotConnected::Server(Arc::new(ServerError::Unauthorized)));
        let off = Seen { is_off: true, ..Seen::default() };
        for (case, server, steps) in [
            ("settled", connected(), vec![]),
            (
                "new",
                ServerSeen { connection: Err(NotConnected::NotYet("Sentry")), stale: true, ..connected() },
                vec![Step::Connect],
            ),
            ("refused just now", ServerSeen { connection: refused(), owes: true, ..connected() }, vec![]),
            (
                "refused a while ago",
                ServerSeen { connection: refused(), stale: true, ..connected() },
                vec![Step::Connect],
            ),
            ("switched off", ServerSeen { seen: off, ..connected() }, vec![Step::SwitchOn]),
            (
                "owed",
                ServerSeen { owes: true, uncompared: true, ..connected() },
                vec![Step::TakeBack, Step::CompareKeys],
            ),
            (
                "no ledger",
                ServerSeen { owes: true, uncompared: true, ledger: Some(Unavailable::Connecting), ..connected() },
                vec![],
            ),
        ] {
            let observed = Observed { server: Some(server.clone()), ..Observed::nothing(true, None) };
            assert_eq!(super::super::plan::plan(&observed), steps, "{case}");
            assert_eq!(obstacle(&server).is_some(), server.connection.is_err() || server.ledger.is_some(), "{case}");
        }
    }
    #[test]
    fn a_sentence_has_one_full_stop() {
        for (text, said) in [
            ("It fails with status 500", "It fails with status 500."),
            ("status 400: Invalid name.", "status 400: Invalid name."),
            ("status 400: a..b is no name", "status 400: a..b is no name."),
            ("status 400: and so on…", "status 400: and so on…"),
        ] {
            assert_eq!(sentence(text.into()), said);
        }
    }
}
