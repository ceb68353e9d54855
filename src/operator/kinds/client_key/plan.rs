//! What a key needs next: a pure function from what was observed to named steps.

use crate::{
    backend::KeyId,
    operator::{databases::Unavailable, objects::child::Drift},
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
    /// The key that the Secret should hold.
    pub active: Option<Active>,
    /// The Secret; without a key to put into it `Absent`, or in the way.
    pub secret: Drift,
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
    NotFound,
    /// It is being deleted.
    Leaving,
    /// It has no number yet.
    Starting,
    DatabaseUnavailable(Unavailable),
    /// It takes keys.
    Known,
}

/// A key that is not revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    pub key_id: KeyId,
    pub enabled: bool,
    pub rate_limit: Option<RateLimit>,
}

/// One thing to do. Each is idempotent: a crash between any two is repaired by the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before the key is made.
    AddFinalizer,
    Mint,
    SetEnabled(bool),
    SetRateLimit(Option<RateLimit>),
    /// After the key is durable: a Secret never names a key that does not exist.
    PublishSecret,
}

impl Step {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddFinalizer => "add-finalizer",
            Self::Mint => "mint",
            Self::SetEnabled(_) => "set-enabled",
            Self::SetRateLimit(_) => "set-rate-limit",
            Self::PublishSecret => "publish-secret",
        }
    }
}

/// The steps that `observed` asks for, in order; none when the key is as it should be or must wait.
#[must_use]
pub fn plan(observed: &Observed) -> Vec<Step> {
    if !matches!(observed.project, Project::Known) || turned_away(observed).is_some() {
        return Vec::new();
    }
    if !observed.has_finalizer {
        return vec![Step::AddFinalizer];
    }
    let mut steps = Vec::new();
    if observed.active.is_none() {
        // An object that cannot publish a key must not hold one, as that of an orphaned Secret.
        if observed.no_external_url || matches!(observed.secret, Drift::Foreign | Drift::Leaving) {
            return steps;
        }
        steps.push(Step::Mint);
    }
    // A new key is accepted.
    let accepted = observed.active.as_ref().is_none_or(|active| active.enabled);
    if accepted != observed.enabled {
        steps.push(Step::SetEnabled(observed.enabled));
    }
    // A new key has none.
    if observed.active.as_ref().and_then(|active| active.rate_limit) != observed.rate_limit {
        steps.push(Step::SetRateLimit(observed.rate_limit));
    }
    let missing = observed.active.is_none() || matches!(observed.secret, Drift::Absent | Drift::Changed);
    if missing && !observed.no_external_url {
        steps.push(Step::PublishSecret);
    }
    steps
}

/// The limit of the namespace, when it keeps the object out. One that has a key keeps it.
#[must_use]
pub fn turned_away(observed: &Observed) -> Option<u32> {
    observed.past_limit.filter(|_| observed.active.is_none() && matches!(observed.project, Project::Known))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<RateLimit> = Some(RateLimit { events: 1000, window_seconds: 60 });

    fn active() -> Active {
        Active { key_id: KeyId::new("1"), enabled: true, rate_limit: None }
    }

    fn settled() -> Observed {
        Observed {
            has_finalizer: true,
            project: Project::Known,
            enabled: true,
            rate_limit: None,
            active: Some(active()),
            secret: Drift::None,
            no_external_url: false,
            no_address: false,
            past_limit: None,
        }
    }

    #[test]
    fn each_state_asks_for_what_is_missing_and_nothing_else() {
        let new = Observed { active: None, secret: Drift::Absent, ..settled() };
        for (case, observed, steps) in [
            ("settled", settled(), vec![]),
            ("new", Observed { has_finalizer: false, ..new.clone() }, vec![Step::AddFinalizer]),
            ("no key", new.clone(), vec![Step::Mint, Step::PublishSecret]),
            (
                "new and disabled",
                Observed { enabled: false, ..new.clone() },
                vec![Step::Mint, Step::SetEnabled(false), Step::PublishSecret],
            ),
            ("disabled later", Observed { enabled: false, ..settled() }, vec![Step::SetEnabled(false)]),
            (
                "enabled again",
                Observed { active: Some(Active { enabled: false, ..active() }), ..settled() },
                vec![Step::SetEnabled(true)],
            ),
            (
                "new and limited",
                Observed { rate_limit: LIMIT, ..new.clone() },
                vec![Step::Mint, Step::SetRateLimit(LIMIT), Step::PublishSecret],
            ),
            (
                "limited as it should be",
                Observed { rate_limit: LIMIT, active: Some(Active { rate_limit: LIMIT, ..active() }), ..settled() },
                vec![],
            ),
            ("limited later", Observed { rate_limit: LIMIT, ..settled() }, vec![Step::SetRateLimit(LIMIT)]),
            (
                "limit taken out",
                Observed { active: Some(Active { rate_limit: LIMIT, ..active() }), ..settled() },
                vec![Step::SetRateLimit(None)],
            ),
            ("Secret deleted", Observed { secret: Drift::Absent, ..settled() }, vec![Step::PublishSecret]),
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
    fn nothing_is_made_without_a_project() {
        for project in [
            Project::NotFound,
            Project::Leaving,
            Project::Starting,
            Project::DatabaseUnavailable(Unavailable::Connecting),
        ] {
            let observed = Observed { has_finalizer: false, active: None, project, ..settled() };
            assert_eq!(plan(&observed), []);
        }
    }
}
