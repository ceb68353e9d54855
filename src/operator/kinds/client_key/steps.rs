//! The steps of a pass over a key that change the life of one, or the Secret.

use std::sync::Arc;

use jiff::Timestamp;

use super::{KeyPass, plan::Recorded, rotating, secret};
use crate::{
    backend::{Backend, Key, KeyObjects},
    operator::{
        kinds::{failure::Failure, restarts},
        objects::{EventReason, apply, child::ChildKind},
    },
    rotation::{Move, State, Why},
};

impl KeyPass<'_> {
    /// The key that the Secret is to name.
    pub(super) fn target(&self) -> Option<&Key> {
        let decided = self.life.as_ref().and_then(|life| life.decision.target);
        decided.map(|target| &self.keys.all()[target]).or_else(|| self.keys.active())
    }

    /// The key before it, for as long as it is accepted.
    pub(super) fn former(&self) -> Option<&Key> {
        let (life, target) = (self.life.as_ref()?, self.target()?);
        let goes_on = |(index, key): &(usize, &Key)| {
            key.state.is_alive() && key.id != target.id && life.rules.revoke != Some(*index)
        };
        let others = || self.keys.all().iter().enumerate().filter(goes_on).map(|(_, key)| key);
        let newest = |state, restored| others().rfind(|key| key.state == state && key.restored == restored);
        newest(State::Published, false)
            .or_else(|| newest(State::Published, true))
            .or_else(|| newest(State::Overlap, false))
            .or_else(|| newest(State::Overlap, true))
    }

    /// Whether the store knows since when the Secret names the target, where somebody asks.
    pub(super) fn recorded(&self) -> Recorded {
        let Some(target) = self.target() else { return Recorded::NotNeeded };
        let is_former = |key: &Key| key.state == State::Overlap && key.id != target.id;
        if target.state == State::Minted {
            Recorded::No
        } else if !self.keys.living().any(is_former) {
            Recorded::NotNeeded
        } else if target.published_at.is_some() {
            Recorded::Yes
        } else {
            Recorded::No
        }
    }

    pub(super) async fn change(&mut self, backend: &Backend, change: Move) -> Result<(), Failure> {
        let key = |index: usize| self.keys.all()[index].clone();
        let (reason, note) = match change {
            Move::Mint => return self.mint(backend).await,
            Move::Withdraw => return Ok(backend.withdraw(&self.uid).await?),
            Move::Succeed(active) => {
                let (active, project_uid) = (key(active).id, self.project_uid());
                let objects = KeyObjects { project_uid: &project_uid, client_key_uid: &self.uid };
                self.keys_after_step = Some(backend.succeed(&self.keys, objects, &active).await?);
                return Ok(());
            }
            Move::Restore(index) => {
                let key = key(index);
                if !backend.restore(&self.uid, &key.id).await? {
                    return Ok(());
                }
                (EventReason::KeyRestored, format!("Key {}… is accepted again.", key.public_key.prefix()))
            }
            Move::Retire(index, why) => {
                let (key, Some(life)) = (key(index), &self.life) else { return Ok(()) };
                // A pod may have come since the list that was weighed.
                if why == Why::Unheld && !self.has_no_holders(&life.rules).await {
                    return Ok(());
                }
                if !backend.end(&self.uid, &key.id, false).await? {
                    return Ok(());
                }
                let prefix = key.public_key.prefix();
                let note = match (why, &life.held) {
                    (Why::Unheld, _) => format!("Key {prefix}… is refused from now on: nobody holds it any more."),
                    (Why::Maximum, Some(held)) if held.pods > 0 => format!(
                        "Key {prefix}… is refused from now on: rotation.overlap.maximum has passed, and {}.",
                        rotating::holders(held)
                    ),
                    (Why::Withdrawn, _) => format!(
                        "Key {prefix}… is refused from now on: its project does not let this namespace in any more."
                    ),
                    (Why::Maximum, _) => {
                        format!("Key {prefix}… is refused from now on: rotation.overlap.maximum has passed.")
                    }
                };
                (EventReason::KeyRetired, note)
            }
            Move::Revoke(index) => {
                let key = key(index);
                if !backend.end(&self.uid, &key.id, true).await? {
                    return Ok(());
                }
                (EventReason::KeyRevoked, format!("Key {}… is refused for good.", key.public_key.prefix()))
            }
        };
        self.context.events.announce(self.key, reason, &note);
        if let Move::Retire(index, _) | Move::Revoke(index) = change
            && self.keys.all()[index].endpoint.is_some()
        {
            // The project keeps the way in that the DSN of the key names.
            self.wake_project();
        }
        Ok(())
    }

    /// The Secret could not be written: when it took too long, a key that leaked is refused all the same.
    pub(super) async fn revoke_anyway(&mut self, backend: &Backend) -> Result<(), Failure> {
        if self.life.as_ref().is_some_and(|life| life.decision.revoke_anyway) {
            self.revoke(backend).await
        } else {
            Ok(())
        }
    }

    /// A Secret could not be written: a key that leaked is refused all the same.
    pub(super) async fn revoke(&mut self, backend: &Backend) -> Result<(), Failure> {
        let after: Vec<_> = self.life.iter().flat_map(|life| life.decision.after.clone()).collect();
        for change in after.into_iter().filter(|change| matches!(change, Move::Revoke(_))) {
            self.change(backend, change).await?;
        }
        Ok(())
    }

    pub(super) async fn publish(&mut self) -> Result<(), Failure> {
        let Some(key) = self.target() else { return Ok(()) };
        let Some(dsn) = self.dsn(key) else { return Ok(()) };
        let former = self.former();
        let desired = secret::desired(self.key, key, former, dsn, self.secret_key.as_ref());
        let ensured = self.context.children.ensure(&desired).await?;
        let (prefix, is_next) = (key.public_key.prefix(), key.state == State::Minted);
        let note = match former {
            Some(former) if is_next => {
                let silent = self.life.as_ref().map(|life| life.silent.join(", ")).filter(|silent| !silent.is_empty());
                let unsaid = silent.map(|names| format!(" {names} has not told that it knows the new one."));
                format!(
                    "Secret {} names key {prefix}…; key {}… is accepted until nobody holds it any more.{}",
                    desired.name,
                    former.public_key.prefix(),
                    unsaid.unwrap_or_default()
                )
            }
            _ if is_next => format!("Secret {} names key {prefix}….", desired.name),
            _ => format!("Secret {} holds SENTRY_DSN.", desired.name),
        };
        if let Some(edit) = &ensured.edit {
            self.context.events.announce(self.key, EventReason::PutBack, &edit.to_string());
        } else if ensured.written {
            let reason = if is_next { EventReason::KeyRotated } else { EventReason::SecretPublished };
            self.context.events.announce(self.key, reason, &note);
        }
        self.written_at = ensured.at;
        self.written = Some(Arc::new(ensured.live));
        Ok(())
    }

    /// The Secret names the target since then; `None`: it is about to be written.
    pub(super) async fn record_published(&mut self, backend: &Backend, at: Option<Timestamp>) -> Result<(), Failure> {
        let Some(target) = self.target() else { return Ok(()) };
        let project_uid = self.project_uid();
        let objects = KeyObjects { project_uid: &project_uid, client_key_uid: &self.uid };
        self.keys_after_step = Some(backend.published(objects, &target.id, at).await?);
        Ok(())
    }

    /// Restarts the workloads that hold the key before, and remembers each.
    pub(super) async fn restart(&mut self, backend: &Backend) -> Result<(), Failure> {
        let (Some(life), Some(active)) = (&self.life, self.keys.active()) else { return Ok(()) };
        for due in life.restarts.iter().filter(|restart| restart.is_due()) {
            // Not before the Secret was written, whatever the clock here says.
            let at = active.published_at.map_or_else(Timestamp::now, |published| published.max(Timestamp::now()));
            restarts::restart(&self.context.client, &self.namespace, due, at).await?;
            backend.restarted(&active.id, &restarts::record(&due.kind, &due.name)).await?;
            let note = format!("{} {} is restarted: it holds the key before.", due.kind, due.name);
            self.context.events.announce(self.key, EventReason::WorkloadRestarted, &note);
        }
        Ok(())
    }

    /// When the newest write was that made a Secret name the target, by the API server's clock.
    pub(super) async fn published_at(&self) -> Result<Timestamp, Failure> {
        let first = match self.written_at {
            Some(at) => at,
            None => self.secret_written_at().await?,
        };
        let second = match self.target() {
            Some(target) => self.binding_written_at(target).await?,
            None => None,
        };
        Ok(second.map_or(first, |second| first.max(second)))
    }

    /// When the live Secret was written, by the API server's clock.
    async fn secret_written_at(&self) -> Result<Timestamp, Failure> {
        let (client, kind) = (&self.context.client, ChildKind::Secret);
        let live = apply::read(client, kind, &self.namespace, &self.key.secret_name()).await?;
        // Whoever holds a key may have read it until now.
        Ok(live.as_ref().and_then(apply::written_at).unwrap_or_else(Timestamp::now))
    }
}
