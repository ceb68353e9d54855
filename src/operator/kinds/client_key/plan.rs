//! What a key needs next: a pure function from what was observed to named steps.

use super::permission;
use crate::{
    operator::{databases::Unavailable, objects::child::Drift},
    rotation::{Decision, Move},
    settings::RateLimit,
};

/// A key and everything that it owns, as they were observed.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was observed")]
pub struct Observed {
    pub has_finalizer: bool,
    pub project: Project,
    /// Whether events with the key should be accepted.
    pub enabled: bool,
    /// How many events should be accepted with the key; `None`: any number.
    pub rate_limit: Option<RateLimit>,
    /// The keys that have not ended.
    pub living: Vec<Living>,
    /// Another server keeps the keys.
    pub elsewhere: bool,
    /// It is still to be told something of them.
    pub owed: bool,
    /// It is not recorded which external URL the Secret names.
    pub endpoint_unrecorded: bool,
    /// It has not told the DSN of the key that the Secret is to name.
    pub awaits_dsn: bool,
    /// What comes next in the life of the keys.
    pub decision: Decision,
    /// The Secret, compared with what it should be for the key that it is to name; without one `Absent`, or in the way.
    pub secret: Drift,
    /// Whether it names that key already.
    pub names_target: bool,
    /// Whether the second Secret does, where it is asked for.
    pub binding_names_target: bool,
    /// Whether it is recorded since when.
    pub recorded: Recorded,
    /// Workloads that hold the key before are to be restarted.
    pub restart: bool,
    pub binding: Binding,
    /// The spec asks for the project's external URL, and it has none.
    pub no_external_url: bool,
    /// The external URL that the DSN names leads nowhere yet.
    pub no_address: bool,
    /// The most keys that the namespace may have, when this one is past it.
    pub past_limit: Option<u32>,
}

/// The project of the key, as it was observed.
#[derive(Clone, Debug)]
pub enum Project {
    /// Of another namespace, also one that does not let the key's in: that must look the same.
    NotFound,
    /// Of another namespace, and not there for the key's any more, which had a key of it.
    Withdrawn,
    /// It is being deleted.
    Leaving,
    /// It has no number yet.
    Starting,
    DatabaseUnavailable(Unavailable),
    /// It takes keys.
    Known,
}

/// The second Secret, for Service Binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// There is none that the object would have.
    NotAsked,
    Asked(Drift),
    /// It is there, and nobody asks for it any more.
    Left,
}

/// A key that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Living {
    pub enabled: bool,
    pub rate_limit: Option<RateLimit>,
}

/// Whether the store knows since when the Secret names its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Nobody asks: no other key is there.
    NotNeeded,
    Yes,
    No,
}

/// One thing to do. Each is idempotent: a crash between any two is repaired by the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before the key is made.
    AddFinalizer,
    /// Of one key.
    Change(Move),
    SetEnabled(bool),
    SetRateLimit(Option<RateLimit>),
    /// Another server is told what it has not been told of the keys.
    Settle,
    /// Before the Secret names a key again, so that a crash after it does not leave the time of before.
    BeginPublishing,
    /// After the key is durable: a Secret never names a key that does not exist.
    PublishSecret,
    /// After the Secret names the key with the project's external URL.
    RecordEndpoint,
    /// A minute after the Secret names the next key.
    Restart,
    /// After the Secrets are written: the key before is in its overlap from now on.
    RecordPublished,
    /// Behind the first Secret, which more people wait for.
    PublishBinding,
    DeleteBinding,
}

impl Step {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddFinalizer => "add-finalizer",
            Self::Change(Move::Mint) => "mint",
            Self::Change(Move::Succeed(_)) => "mint-successor",
            Self::Change(Move::Restore(_)) => "restore",
            Self::Change(Move::Retire(..)) => "retire",
            Self::Change(Move::Revoke(_)) => "revoke",
            Self::Change(Move::Withdraw) => "withdraw",
            Self::SetEnabled(_) => "set-enabled",
            Self::SetRateLimit(_) => "set-rate-limit",
            Self::Settle => "settle",
            Self::RecordEndpoint => "record-endpoint",
            Self::BeginPublishing => "begin-publishing",
            Self::PublishSecret => "publish-secret",
            Self::RecordPublished => "record-published",
            Self::Restart => "restart",
            Self::PublishBinding => "publish-binding",
            Self::DeleteBinding => "delete-binding",
        }
    }
}

/// The steps that `observed` asks for, in order; none when the key is as it should be or must wait.
#[must_use]
pub fn plan(observed: &Observed) -> Vec<Step> {
    if matches!(observed.project, Project::Withdrawn) {
        return permission::withdrawn(observed);
    }
    if !matches!(observed.project, Project::Known) || turned_away(observed).is_some() {
        return Vec::new();
    }
    if !observed.has_finalizer {
        return vec![Step::AddFinalizer];
    }
    let is_first = observed.decision.before.contains(&Move::Mint);
    let in_the_way = observed.no_external_url || matches!(observed.secret, Drift::Foreign | Drift::Leaving);
    if is_first && in_the_way {
        // An object that cannot publish a key must not hold one, as that of an orphaned Secret.
        return Vec::new();
    }
    let mut steps: Vec<_> = observed.decision.before.iter().copied().map(Step::Change).collect();
    // A new key is accepted, and has no limit.
    let first = is_first.then_some(Living { enabled: true, rate_limit: None });
    let living = || observed.living.iter().copied().chain(first);
    if living().any(|key| key.enabled != observed.enabled) {
        steps.push(Step::SetEnabled(observed.enabled));
    }
    if living().any(|key| key.rate_limit != observed.rate_limit) {
        steps.push(Step::SetRateLimit(observed.rate_limit));
    }
    if observed.owed {
        steps.push(Step::Settle);
    }
    // Another server says what the Secret holds, once it has made the key: the next round goes on from there, also with the
    // end of the key before.
    if observed.awaits_dsn || is_first && observed.elsewhere {
        return steps;
    }
    steps.extend(publish(observed, is_first));
    if observed.endpoint_unrecorded && observed.secret == Drift::None {
        steps.push(Step::RecordEndpoint);
    }
    if observed.restart {
        steps.push(Step::Restart);
    }
    steps.extend(observed.decision.after.iter().copied().map(Step::Change));
    steps
}

/// What makes the Secrets name the key, and records since when both do.
fn publish(observed: &Observed, is_first: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let missing = is_first || matches!(observed.secret, Drift::Absent | Drift::Changed);
    let publishes = missing && !observed.no_external_url;
    let is_there = !missing && observed.secret == Drift::None;
    // A second Secret that cannot be written keeps nobody from recording the first.
    let recorded = if is_there && observed.recorded == Recorded::No {
        steps.push(Step::RecordPublished);
        Recorded::Yes
    } else {
        observed.recorded
    };
    let binding = binding(observed);
    let renamed = publishes && !observed.names_target
        || binding == Some(Step::PublishBinding) && !observed.binding_names_target && (publishes || is_there);
    if renamed && recorded == Recorded::Yes {
        steps.push(Step::BeginPublishing);
    }
    if publishes {
        steps.push(Step::PublishSecret);
    }
    steps.extend(binding);
    if publishes && recorded == Recorded::No || renamed && recorded == Recorded::Yes {
        steps.push(Step::RecordPublished);
    }
    steps
}

fn binding(observed: &Observed) -> Option<Step> {
    match observed.binding {
        Binding::NotAsked | Binding::Asked(Drift::Foreign | Drift::Leaving) => None,
        Binding::Left => Some(Step::DeleteBinding),
        Binding::Asked(_) if observed.no_external_url => None,
        Binding::Asked(Drift::None) if !observed.living.is_empty() => None,
        Binding::Asked(Drift::None | Drift::Absent | Drift::Changed) => Some(Step::PublishBinding),
    }
}

/// The limit of the namespace, when it keeps the object out. One that has a key keeps it.
#[must_use]
pub fn turned_away(observed: &Observed) -> Option<u32> {
    observed.past_limit.filter(|_| observed.living.is_empty() && matches!(observed.project, Project::Known))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rotation::{Phase, Why};

    const LIMIT: Option<RateLimit> = Some(RateLimit { events: 1000, window_seconds: 60 });
    const LIVING: Living = Living { enabled: true, rate_limit: None };

    /// Nothing comes next for the key of this place.
    pub fn idle(target: Option<usize>) -> Decision {
        let before = if target.is_none() { vec![Move::Mint] } else { vec![] };
        Decision { before, target, ..Decision::default() }
    }

    pub fn settled() -> Observed {
        Observed {
            has_finalizer: true,
            project: Project::Known,
            enabled: true,
            rate_limit: None,
            living: vec![LIVING],
            elsewhere: false,
            owed: false,
            awaits_dsn: false,
            endpoint_unrecorded: false,
            decision: idle(Some(0)),
            secret: Drift::None,
            names_target: true,
            binding_names_target: true,
            recorded: Recorded::NotNeeded,
            restart: false,
            binding: Binding::NotAsked,
            no_external_url: false,
            no_address: false,
            past_limit: None,
        }
    }

    #[test]
    fn each_state_asks_for_what_is_missing_and_nothing_else() {
        const MINT: Step = Step::Change(Move::Mint);
        let absent = Drift::Absent;
        let new = Observed { living: vec![], decision: idle(None), secret: absent, names_target: false, ..settled() };
        let limited = Living { rate_limit: LIMIT, ..LIVING };
        for (case, observed, steps) in [
            ("settled", settled(), vec![]),
            ("new", Observed { has_finalizer: false, ..new.clone() }, vec![Step::AddFinalizer]),
            ("no key", new.clone(), vec![MINT, Step::PublishSecret]),
            (
                "new and disabled",
                Observed { enabled: false, ..new.clone() },
                vec![MINT, Step::SetEnabled(false), Step::PublishSecret],
            ),
            ("disabled later", Observed { enabled: false, ..settled() }, vec![Step::SetEnabled(false)]),
            (
                "enabled again",
                Observed { living: vec![Living { enabled: false, ..LIVING }], ..settled() },
                vec![Step::SetEnabled(true)],
            ),
            (
                "new and limited",
                Observed { rate_limit: LIMIT, ..new.clone() },
                vec![MINT, Step::SetRateLimit(LIMIT), Step::PublishSecret],
            ),
            ("limited", Observed { rate_limit: LIMIT, living: vec![limited], ..settled() }, vec![]),
            (
                "one of two limited",
                Observed { rate_limit: LIMIT, living: vec![LIVING, limited], ..settled() },
                vec![Step::SetRateLimit(LIMIT)],
            ),
            ("limit taken out", Observed { living: vec![limited], ..settled() }, vec![Step::SetRateLimit(None)]),
            (
                "Secret deleted",
                Observed { secret: absent, names_target: false, ..settled() },
                vec![Step::PublishSecret],
            ),
            ("Secret edited", Observed { secret: Drift::Changed, ..settled() }, vec![Step::PublishSecret]),
            ("Secret of somebody else", Observed { secret: Drift::Foreign, ..settled() }, vec![]),
            ("new, Secret of somebody else", Observed { secret: Drift::Foreign, ..new.clone() }, vec![]),
            ("no external URL", Observed { no_external_url: true, ..new.clone() }, vec![]),
            (
                "external URL taken away, disabled",
                Observed { no_external_url: true, enabled: false, ..settled() },
                vec![Step::SetEnabled(false)],
            ),
            ("past the limit", Observed { past_limit: Some(1), has_finalizer: false, ..new.clone() }, vec![]),
            ("older than the limit", Observed { past_limit: Some(1), ..settled() }, vec![]),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }

    #[test]
    fn a_successor_is_durable_before_the_secret_names_it_and_recorded_after() {
        let change = |secret| Observed { secret, names_target: false, ..settled() };
        let (revoke, retire) = (Move::Revoke(0), Move::Retire(0, Why::Unheld));
        let publishing = Decision { phase: Phase::Publishing(1), ..idle(Some(1)) };
        let revoking = Decision { after: vec![revoke], ..publishing.clone() };
        let (publish, record) = (Step::PublishSecret, Step::RecordPublished);
        for (case, observed, steps) in [
            (
                "due",
                Observed { decision: Decision { before: vec![Move::Succeed(0)], ..idle(Some(0)) }, ..settled() },
                vec![Step::Change(Move::Succeed(0))],
            ),
            (
                "ingest knows it",
                Observed { decision: publishing.clone(), recorded: Recorded::No, ..change(Drift::Changed) },
                vec![publish, record],
            ),
            (
                "a crash after the Secret was written",
                Observed { decision: publishing, recorded: Recorded::No, ..settled() },
                vec![record],
            ),
            (
                "the active one is revoked",
                Observed { decision: revoking, recorded: Recorded::No, ..change(Drift::Changed) },
                vec![publish, record, Step::Change(revoke)],
            ),
            (
                "put back to the key before, during the overlap",
                Observed { recorded: Recorded::Yes, ..change(Drift::Changed) },
                vec![Step::BeginPublishing, publish, record],
            ),
            (
                "the annotation of the key before is taken out",
                Observed { recorded: Recorded::Yes, secret: Drift::Changed, ..settled() },
                vec![publish],
            ),
            (
                "the key before is over",
                Observed { decision: Decision { after: vec![retire], ..idle(Some(1)) }, ..settled() },
                vec![Step::Change(retire)],
            ),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }

    #[test]
    fn another_server_makes_a_key_before_the_secret_names_it() {
        let elsewhere = || Observed { elsewhere: true, ..settled() };
        let new = || Observed {
            living: vec![],
            decision: idle(None),
            secret: Drift::Absent,
            names_target: false,
            ..elsewhere()
        };
        let made = || Observed { owed: true, awaits_dsn: true, ..elsewhere() };
        let revoking = Decision { phase: Phase::Publishing(1), after: vec![Move::Revoke(0)], ..idle(Some(1)) };
        let (mint, settle) = (Step::Change(Move::Mint), Step::Settle);
        for (case, observed, steps) in [
            ("new", new(), vec![mint]),
            ("in the ledger", Observed { secret: Drift::Absent, names_target: false, ..made() }, vec![settle]),
            (
                "the server made it",
                Observed { secret: Drift::Absent, names_target: false, ..elsewhere() },
                vec![Step::PublishSecret],
            ),
            ("disabled", Observed { enabled: false, ..elsewhere() }, vec![Step::SetEnabled(false)]),
            ("to be told", Observed { owed: true, ..elsewhere() }, vec![settle]),
            (
                "the active one is revoked, and its successor is not there yet",
                Observed { decision: revoking, recorded: Recorded::No, ..made() },
                vec![settle],
            ),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }

    #[test]
    fn the_second_secret_is_there_while_it_is_asked_for() {
        let new = || Observed {
            living: vec![],
            decision: idle(None),
            secret: Drift::Absent,
            names_target: false,
            ..settled()
        };
        let asked = Binding::Asked;
        for (case, observed, binding, steps) in [
            ("as it should be", settled(), asked(Drift::None), vec![]),
            ("asked for later", settled(), asked(Drift::Absent), vec![Step::PublishBinding]),
            ("edited", settled(), asked(Drift::Changed), vec![Step::PublishBinding]),
            ("somebody else's", settled(), asked(Drift::Foreign), vec![]),
            ("of an object that goes", settled(), asked(Drift::Leaving), vec![]),
            ("not asked for any more", settled(), Binding::Left, vec![Step::DeleteBinding]),
            (
                "new",
                new(),
                asked(Drift::Absent),
                vec![Step::Change(Move::Mint), Step::PublishSecret, Step::PublishBinding],
            ),
            (
                "key lost",
                new(),
                asked(Drift::None),
                vec![Step::Change(Move::Mint), Step::PublishSecret, Step::PublishBinding],
            ),
            ("new, somebody else's", new(), asked(Drift::Foreign), vec![Step::Change(Move::Mint), Step::PublishSecret]),
            (
                "no external URL any more",
                Observed { no_external_url: true, ..settled() },
                asked(Drift::Changed),
                vec![],
            ),
        ] {
            assert_eq!(plan(&Observed { binding, ..observed }), steps, "{case}");
        }
    }

    #[test]
    fn since_when_the_secrets_name_the_key_is_recorded_after_the_later_one() {
        let overlap = || Observed { recorded: Recorded::Yes, ..settled() };
        let renamed = || Observed { secret: Drift::Changed, names_target: false, ..settled() };
        let (begin, publish, record) = (Step::BeginPublishing, Step::PublishSecret, Step::RecordPublished);
        let bind = Step::PublishBinding;
        let behind =
            |observed| Observed { binding: Binding::Asked(Drift::Changed), binding_names_target: false, ..observed };
        for (case, observed, steps) in [
            ("the next key", behind(Observed { recorded: Recorded::No, ..renamed() }), vec![publish, bind, record]),
            (
                "the second Secret could not be written",
                behind(Observed { recorded: Recorded::No, ..settled() }),
                vec![record, begin, bind, record],
            ),
            ("nor later", behind(overlap()), vec![begin, bind, record]),
            (
                "both are put back by hand",
                behind(Observed { recorded: Recorded::Yes, ..renamed() }),
                vec![begin, publish, bind, record],
            ),
            (
                "the second one has lost an entry",
                Observed { binding_names_target: true, ..behind(overlap()) },
                vec![bind],
            ),
            ("the first one is in the way", behind(Observed { secret: Drift::Foreign, ..overlap() }), vec![bind]),
            ("nobody asks", behind(settled()), vec![bind]),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }

    #[test]
    fn a_key_that_is_not_let_in_any_more_stays_as_it_is_unless_it_is_disabled() {
        let withdrawn = || Observed { project: Project::Withdrawn, ..settled() };
        let disabled = || Living { enabled: false, ..LIVING };
        let ends = Decision { after: vec![Move::Retire(0, Why::Withdrawn)], ..Decision::default() };
        for (case, observed, steps) in [
            ("as it was", withdrawn(), vec![]),
            ("Secret edited", Observed { secret: Drift::Changed, ..withdrawn() }, vec![]),
            ("disabled", Observed { enabled: false, ..withdrawn() }, vec![Step::SetEnabled(false)]),
            ("enabled", Observed { living: vec![disabled()], ..withdrawn() }, vec![]),
            ("the project is gone", Observed { living: vec![], enabled: false, ..withdrawn() }, vec![]),
            (
                "after its overlap",
                Observed { decision: ends, ..withdrawn() },
                vec![Step::Change(Move::Retire(0, Why::Withdrawn))],
            ),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }

    #[test]
    fn nothing_is_made_without_a_project() {
        for project in [
            Project::NotFound,
            Project::Leaving,
            Project::Starting,
            Project::DatabaseUnavailable(Unavailable::Connecting),
        ] {
            let observed =
                Observed { has_finalizer: false, living: vec![], decision: idle(None), project, ..settled() };
            assert_eq!(plan(&observed), []);
        }
    }
}
