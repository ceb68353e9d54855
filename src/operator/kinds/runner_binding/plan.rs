//! What a binding needs next: a pure function from what was observed to named steps.

use super::{
    configured::Configured,
    rollout::{Rollout, State},
};

/// A binding and the runner that it names, as they were observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Also where there is nothing to undo.
    pub has_finalizer: bool,
    pub configured: Configured,
    /// `None`: not known, or not looked at.
    pub rollout: Option<Rollout>,
    /// The DSN was written minutes ago: whoever undoes it does so by now.
    pub is_fresh: bool,
}

/// One thing to do. Each is idempotent: a crash between any two is repaired by the next pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before anything is written that a deletion takes out again.
    AddFinalizer,
    /// The DSN, into config.toml or the Runner.
    WriteDsn,
    /// The workload, once for a key.
    Restart,
}

impl Step {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddFinalizer => "add-finalizer",
            Self::WriteDsn => "write-dsn",
            Self::Restart => "restart",
        }
    }
}

/// The steps that `observed` asks for, in order.
#[must_use]
pub fn plan(observed: &Observed) -> Vec<Step> {
    let is_due = |rollout: &Rollout| matches!(rollout.state, State::Due(_));
    match &observed.configured {
        Configured::Due if !observed.has_finalizer => vec![Step::AddFinalizer],
        Configured::Due => vec![Step::WriteDsn],
        Configured::Yes(_) if observed.rollout.as_ref().is_some_and(is_due) => vec![Step::Restart],
        Configured::Yes(_) | Configured::Awaited(..) | Configured::Stalled(..) => Vec::new(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::crd::{BoundPods, Reason};

    pub fn settled() -> Observed {
        let pods = Some(BoundPods { total: 2, current: 2 });
        Observed {
            has_finalizer: true,
            configured: Configured::Yes("It has the key.".into()),
            rollout: Some(Rollout { pods, state: State::Done, former: true }),
            is_fresh: false,
        }
    }

    #[test]
    fn each_state_asks_for_what_is_missing_and_nothing_else() {
        let due = Observed { configured: Configured::Due, rollout: None, ..settled() };
        let pods = Some(BoundPods { total: 2, current: 1 });
        let restart = Some(Rollout { pods, state: State::Due("u".into()), former: true });
        let stalled = Configured::Stalled(Reason::Drifted, "It is another one now.".into());
        for (case, observed, steps) in [
            ("settled", settled(), vec![]),
            ("new", Observed { has_finalizer: false, ..due.clone() }, vec![Step::AddFinalizer]),
            ("to be written", due, vec![Step::WriteDsn]),
            ("to be restarted", Observed { rollout: restart.clone(), ..settled() }, vec![Step::Restart]),
            ("not before it is configured", Observed { configured: stalled, rollout: restart, ..settled() }, vec![]),
        ] {
            assert_eq!(plan(&observed), steps, "{case}");
        }
    }
}
