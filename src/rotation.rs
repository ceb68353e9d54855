//! The life of a client key, `minted → published → overlap → retired`: a pure function from the keys of an object, and what is
//! known of those who use them, to what comes next. The operator calls it in every pass over a `ClientKey`.
//!
//! While a key is enabled, one of its object is valid at every moment; the Secret never names one that is refused; one
//! rotation is under way at most; and each ends, or says who holds the key before.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};

/// How long a successor waits for ingest to know it: one that is silent for longer looks it up.
pub const KNOWN_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// How long a revoked key that the Secret names still is accepted while the Secret cannot be written.
pub const REVOKED_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// How long after its end a retired key may be accepted again, in days.
pub const RESTORABLE_DAYS: i32 = 90;

/// The overlap where the spec says nothing: it costs nothing, and a leak is what revoking is for.
pub const DEFAULT_OVERLAP: SignedDuration = SignedDuration::from_hours(168);

/// How often it is looked whether a successor is known.
const LOOK_FOR_KNOWLEDGE: SignedDuration = SignedDuration::from_secs(1);
/// How often it is looked who holds the key before, in seconds: as the overlap is long.
const LOOK_FOR_HOLDERS: RangeInclusive<i64> = 2..=60;

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Durable and accepted; no Secret names it yet.
    Minted,
    /// The Secret names it.
    Published,
    /// Accepted; the Secret names the next one.
    Overlap,
    /// Refused; it can be taken back.
    Retired,
    /// Refused for good.
    Revoked,
}

impl State {
    pub const ALL: [Self; 5] = [Self::Minted, Self::Published, Self::Overlap, Self::Retired, Self::Revoked];

    /// As the store has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minted => "minted",
            Self::Published => "published",
            Self::Overlap => "overlap",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether events with the key are accepted, as far as its life goes.
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Minted | Self::Published | Self::Overlap)
    }
}

/// One key of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub state: State,
    pub created_at: Timestamp,
    /// Of a key in its overlap: since when.
    pub retiring_since: Option<Timestamp>,
    /// When it was refused first.
    pub ended_at: Option<Timestamp>,
    /// It had ended and is accepted again.
    pub restored: bool,
    /// For how long nothing was sent with it, as far as every ingest instance has told; `None`: nobody knows.
    pub silent_for: Option<SignedDuration>,
}

/// What the spec and the annotations ask for. Keys are named by their place in [`Seen::keys`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    pub interval: Option<SignedDuration>,
    /// Which part of the tenth of the interval before its end is given up, of 65,536: that many keys are not due at once.
    pub spread: u16,
    /// One rotation for each that is later than the active key.
    pub requests: Vec<Timestamp>,
    pub overlap: Overlap,
    pub revoke: Option<usize>,
    pub restore: Option<usize>,
}

/// How long a key goes on after the Secret names the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    pub minimum: SignedDuration,
    pub silence: SignedDuration,
    pub maximum: Option<SignedDuration>,
}

impl Default for Overlap {
    fn default() -> Self {
        Self { minimum: DEFAULT_OVERLAP, silence: DEFAULT_OVERLAP, maximum: None }
    }
}

impl Overlap {
    /// When a key ends at the earliest that is in its overlap since then.
    #[must_use]
    pub fn not_before(&self, since: Timestamp) -> Timestamp {
        let least = self.maximum.map_or(self.minimum, |maximum| maximum.min(self.minimum));
        since.checked_add(least).unwrap_or(Timestamp::MAX)
    }

    /// How old a look at those who hold the key may be.
    #[must_use]
    pub fn look_every(&self) -> SignedDuration {
        let (least, most) = LOOK_FOR_HOLDERS.into_inner();
        SignedDuration::from_secs((self.minimum.as_secs() / 10).clamp(least, most))
    }

    fn not_after(&self, since: Timestamp) -> Option<Timestamp> {
        Some(since.checked_add(self.maximum?).unwrap_or(Timestamp::MAX))
    }
}

/// Who holds the keys before the one that the Secret names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// They cannot be seen: silence proves nothing.
    Unknown,
    Some,
    None,
}

/// Everything that was observed.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// By the clock of whoever made the times of the keys, or an earlier one.
    pub now: Timestamp,
    /// In the order in which they were made.
    pub keys: &'a [Key],
    /// The key that the Secret names.
    pub named: Option<usize>,
    /// The key that the second Secret names; as `named` where there is none.
    pub named_by_second: Option<usize>,
    /// Nothing is in the way of writing the Secret.
    pub writable: bool,
    /// Every ingest instance that lives accepts the newest key.
    pub newest_is_known: bool,
    pub holders: Holders,
}

/// What comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Before the Secret is written.
    pub before: Vec<Move>,
    /// The key that the Secret is to name; `None`: the one that is made first.
    pub target: Option<usize>,
    /// After the Secret names the target.
    pub after: Vec<Move>,
    /// What is revoked then is revoked also when the Secret turns out not to be writable.
    pub revoke_anyway: bool,
    pub phase: Phase,
    /// When the next key is due.
    pub next_rotation: Option<Timestamp>,
    /// When something may have changed that nobody tells.
    pub look_again: Option<SignedDuration>,
}

/// One change of one key. Each is durable before the next, and repeating it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The first key.
    Mint,
    /// The key after this one.
    Succeed(usize),
    /// It is accepted again.
    Restore(usize),
    Retire(usize, Why),
    Revoke(usize),
    /// Every key of the object goes into its overlap: the project does not let the object in any more.
    Withdraw,
}

/// Why a key is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody holds it, and nothing is sent with it.
    Unheld,
    /// `overlap.maximum` has passed.
    Maximum,
    /// The project does not let the object in any more, and the least overlap is over.
    Withdrawn,
}

/// What is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Idle,
    /// The key is not published before ingest knows it.
    WaitingForIngest(usize),
    /// The Secret is to name the key.
    Publishing(usize),
    /// The key goes on beside the next one.
    Overlap(usize),
    /// As [`Self::Overlap`], and nobody can tell who holds it.
    HoldersUnknown(usize),
    /// The key is accepted again for as long as it is asked for.
    Restored(usize),
    /// The key is accepted for a while, though the project does not let the object in any more.
    Withdrawn(usize),
}

/// The key that the Secret names, or is to name when it is the first. An object that is let in again goes on with the key
/// that it had.
#[must_use]
pub fn active<K>(keys: &[K], state_of: impl Fn(&K) -> State) -> Option<usize> {
    let newest = |state| keys.iter().rposition(|key| state_of(key) == state);
    newest(State::Published).or_else(|| newest(State::Minted)).or_else(|| newest(State::Overlap))
}

/// What comes next for the keys of an object that its project does not let in any more: each ends after the least overlap,
/// and nothing takes its place.
#[must_use]
pub fn withdraw(keys: &[Key], overlap: &Overlap, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    if keys.iter().any(|key| matches!(key.state, State::Minted | State::Published)) {
        decision.before.push(Move::Withdraw);
    }
    for (index, key) in keys.iter().enumerate().filter(|(_, key)| key.state == State::Overlap) {
        let not_before = overlap.not_before(key.retiring_since.unwrap_or(now));
        if not_before <= now {
            decision.after.push(Move::Retire(index, Why::Withdrawn));
        } else {
            decision.phase = Phase::Withdrawn(index);
            decision.look_again(not_before.duration_since(now));
        }
    }
    decision
}

/// The key that is to take the place of the active one.
#[must_use]
pub fn successor<K>(keys: &[K], state_of: impl Fn(&K) -> State) -> Option<usize> {
    let active = active(keys, &state_of)?;
    keys.iter().rposition(|key| state_of(key) == State::Minted).filter(|next| *next > active)
}

/// What comes next for the keys of one object.
#[must_use]
pub fn decide(seen: &Seen<'_>, rules: &Rules) -> Decision {
    let mut decision = Decision { target: active(seen.keys, |key| key.state), ..Decision::default() };
    take_back(seen, rules, &mut decision);
    let Some(active) = decision.target else {
        decision.before.push(Move::Mint);
        return decision;
    };
    if seen.keys[active].state == State::Minted {
        decision.phase = Phase::Publishing(active);
    }
    decision.next_rotation = due(&seen.keys[active], rules);
    replace(seen, rules, active, &mut decision);
    end(seen, rules, active, &mut decision);
    decision
}

/// A retired key is accepted again when it is asked for, and when a Secret names it, as one from a backup does.
fn take_back(seen: &Seen<'_>, rules: &Rules, decision: &mut Decision) {
    let restorable = |index: &usize| {
        let key = &seen.keys[*index];
        let days = SignedDuration::from_hours(24) * RESTORABLE_DAYS;
        key.state == State::Retired && key.ended_at.is_some_and(|at| seen.now.duration_since(at) < days)
    };
    let second = seen.named_by_second.filter(|second| seen.named != Some(*second));
    let named = seen.named.into_iter().chain(second).filter(|named| rules.restore != Some(*named));
    let back = rules.restore.into_iter().chain(named).filter(|key| rules.revoke != Some(*key)).filter(restorable);
    decision.before.extend(back.map(Move::Restore));
}

/// When the key that comes after `active` is due.
fn due(active: &Key, rules: &Rules) -> Option<Timestamp> {
    let by_interval = rules.interval.and_then(|interval| {
        let given_up = interval.as_secs() / 10 * i64::from(rules.spread) / i64::from(u16::MAX);
        active.created_at.checked_add(interval - SignedDuration::from_secs(given_up)).ok()
    });
    let asked = rules.requests.iter().copied().filter(|request| *request > active.created_at);
    by_interval.into_iter().chain(asked).min()
}

/// The next key is made when it is due, and published when ingest knows it; at once when the active one is revoked.
fn replace(seen: &Seen<'_>, rules: &Rules, active: usize, decision: &mut Decision) {
    let revoked = rules.revoke == Some(active);
    let Some(next) = successor(seen.keys, |key| key.state) else {
        let due = decision.next_rotation.is_some_and(|due| due <= seen.now);
        // One at a time: a key that was restored on request is no rotation.
        let under_way = |(index, key): (usize, &Key)| {
            key.state == State::Overlap && index != active && rules.restore != Some(index)
        };
        let one_at_a_time = !seen.keys.iter().enumerate().any(under_way);
        if revoked || (due && one_at_a_time && seen.writable) {
            decision.before.push(Move::Succeed(active));
        } else if let Some(at) = decision.next_rotation.filter(|at| *at > seen.now) {
            decision.look_again(at.duration_since(seen.now));
        }
        return;
    };
    let waited = seen.now.duration_since(seen.keys[next].created_at);
    if !revoked && !seen.newest_is_known && waited < KNOWN_WITHIN {
        decision.phase = Phase::WaitingForIngest(next);
        decision.look_again(LOOK_FOR_KNOWLEDGE);
        return;
    }
    decision.target = Some(next);
    decision.phase = Phase::Publishing(next);
    decision.look_again(LOOK_FOR_KNOWLEDGE);
    if revoked {
        decision.revoke_anyway = waited >= REVOKED_WITHIN;
        if seen.writable {
            decision.after.push(Move::Revoke(active));
        } else if decision.revoke_anyway {
            decision.before.push(Move::Revoke(active));
        }
    }
}

/// Ends the keys before the one that the Secret names.
fn end(seen: &Seen<'_>, rules: &Rules, active: usize, decision: &mut Decision) {
    for (index, key) in seen.keys.iter().enumerate() {
        if decision.target == Some(index) && key.state == State::Overlap {
            continue;
        }
        let asked = rules.revoke == Some(index);
        match key.state {
            State::Retired | State::Overlap if asked => decision.after.push(Move::Revoke(index)),
            // It was never published, and is not going to be. The active one has its successor first.
            State::Minted if asked && index != active && decision.target != Some(index) => {
                decision.after.push(Move::Revoke(index));
            }
            State::Overlap => {
                if let Some(why) = over(seen, rules, index, decision) {
                    decision.after.push(Move::Retire(index, why));
                }
            }
            State::Minted | State::Published | State::Retired | State::Revoked => {}
        }
    }
}

/// Whether the key has had its overlap, and what is told of it when not.
fn over(seen: &Seen<'_>, rules: &Rules, index: usize, decision: &mut Decision) -> Option<Why> {
    let (key, overlap) = (&seen.keys[index], &rules.overlap);
    if rules.restore == Some(index) {
        decision.tell(Phase::Restored(index));
        return None;
    }
    let since = key.retiring_since.unwrap_or(seen.now);
    // Whoever reads a Secret now would get it.
    let named = [seen.named, seen.named_by_second].iter().any(|named| *named != decision.target);
    let until = overlap.not_after(since);
    if until.is_some_and(|until| until <= seen.now) && !named {
        return Some(Why::Maximum);
    }
    let not_before = overlap.not_before(since);
    let silent = key.silent_for.is_some_and(|silent| silent >= overlap.silence);
    if seen.holders == Holders::None && silent && not_before <= seen.now && !named {
        return Some(Why::Unheld);
    }
    decision.tell(if seen.holders == Holders::Unknown { Phase::HoldersUnknown(index) } else { Phase::Overlap(index) });
    let silence_left = key.silent_for.map(|silent| overlap.silence - silent);
    let times = [Some(not_before), until].into_iter().flatten().map(|at| at.duration_since(seen.now));
    let next = times.chain(silence_left).filter(SignedDuration::is_positive).min();
    let look = overlap.look_every();
    decision.look_again(next.map_or(look, |next| next.min(look)));
    None
}

impl Decision {
    /// Something else may have changed by then.
    pub fn look_again(&mut self, after: SignedDuration) {
        self.look_again = Some(self.look_again.map_or(after, |sooner| sooner.min(after)));
    }

    /// What a rotation does is told before what a restored key does.
    fn tell(&mut self, phase: Phase) {
        let told = match self.phase {
            Phase::Idle => false,
            Phase::Restored(_) => matches!(phase, Phase::Restored(_)),
            _ => true,
        };
        if !told {
            self.phase = phase;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    fn key(state: State, created: i64) -> Key {
        Key {
            state,
            created_at: at(created),
            retiring_since: (state == State::Overlap).then(|| at(created + 100)),
            ended_at: (!state.is_alive()).then(|| at(created + 100)),
            restored: false,
            silent_for: None,
        }
    }

    fn seen(keys: &[Key], now: i64) -> Seen<'_> {
        let (now, named) = (at(now), keys.iter().rposition(|key| key.state == State::Published));
        Seen {
            now,
            keys,
            named,
            named_by_second: named,
            writable: true,
            newest_is_known: false,
            holders: Holders::None,
        }
    }

    fn asked(second: i64) -> Rules {
        Rules { requests: vec![at(second)], ..Rules::default() }
    }

    #[test]
    fn a_request_counts_once_and_only_when_it_is_later_than_the_active_key() {
        let keys = [key(State::Published, 1_000)];
        for (case, rules, now, before, next_rotation) in [
            ("nothing is asked", Rules::default(), 5_000, vec![], None),
            ("later", asked(1_500), 5_000, vec![Move::Succeed(0)], Some(1_500)),
            ("replayed, reverted, restored", asked(900), 5_000, vec![], None),
            ("of the same second", asked(1_000), 5_000, vec![], None),
            ("a year ahead", asked(1_000 + 365 * DAY), 5_000, vec![], Some(1_000 + 365 * DAY)),
            ("now", asked(5_000), 5_000, vec![Move::Succeed(0)], Some(5_000)),
        ] {
            let decision = decide(&seen(&keys, now), &rules);
            assert_eq!(decision.before, before, "{case}");
            assert_eq!(decision.target, Some(0), "{case}");
            assert_eq!(decision.next_rotation, next_rotation.map(at), "{case}");
        }
        let next = [key(State::Overlap, 1_000), key(State::Published, 1_501)];
        let after = decide(&seen(&next, 5_000), &asked(1_500));
        assert_eq!((after.before, after.next_rotation), (vec![], None), "the same request rotates once");
    }

    #[test]
    fn intervals_are_spread_over_the_tenth_before_their_end() {
        let keys = [key(State::Published, 0)];
        for (spread, due) in [(0, 1_000), (u16::MAX / 2, 951), (u16::MAX, 900)] {
            let rules = Rules { interval: Some(seconds(1_000)), spread, ..Rules::default() };
            let decision = decide(&seen(&keys, 10), &rules);
            assert_eq!(decision.next_rotation, Some(at(due)), "{spread}");
            assert_eq!(decision.look_again, Some(seconds(due - 10)));
            assert_eq!(decide(&seen(&keys, due), &rules).before, [Move::Succeed(0)], "{spread}");
        }
    }

    #[test]
    fn a_successor_is_published_when_ingest_knows_it_or_has_been_silent_for_a_minute() {
        let keys = [key(State::Published, 0), key(State::Minted, 2_000)];
        let (rules, waits, publishes) = (asked(1_000), Phase::WaitingForIngest(1), Phase::Publishing(1));
        for (known, now, target, phase) in [
            (false, 2_001, 0, waits),
            (true, 2_001, 1, publishes),
            (false, 2_059, 0, waits),
            (false, 2_060, 1, publishes),
        ] {
            let decision = decide(&Seen { newest_is_known: known, ..seen(&keys, now) }, &rules);
            assert_eq!((decision.target, decision.phase), (Some(target), phase), "{known} at {now}");
            assert_eq!((decision.before, decision.after), (vec![], vec![]), "{known} at {now}");
        }
    }

    #[test]
    fn a_first_key_waits_for_nobody() {
        assert_eq!(decide(&seen(&[], 0), &Rules::default()).before, [Move::Mint]);
        let minted = [key(State::Minted, 0)];
        let decision = decide(&seen(&minted, 1), &Rules::default());
        assert_eq!((decision.target, decision.phase), (Some(0), Phase::Publishing(0)));
        let dead = [key(State::Revoked, 0), key(State::Retired, 1)];
        assert_eq!(decide(&seen(&dead, 0), &Rules::default()).before, [Move::Mint]);
    }

    #[test]
    fn a_key_ends_when_its_minimum_is_over_nobody_holds_it_and_it_was_silent() {
        let overlap = Overlap { minimum: seconds(50), silence: seconds(20), maximum: None };
        let ends = Overlap { maximum: Some(seconds(200)), ..overlap };
        let (unheld, maximum) = (Some(Why::Unheld), Some(Why::Maximum));
        for (case, overlap, now, holders, silent, why, phase, again) in [
            ("unheld and silent", overlap, 160, Holders::None, Some(20), unheld, Phase::Idle, None),
            ("too early", overlap, 149, Holders::None, Some(20), None, Phase::Overlap(0), Some(1)),
            ("held", overlap, 10_000, Holders::Some, Some(9_000), None, Phase::Overlap(0), Some(5)),
            ("not silent for long enough", overlap, 160, Holders::None, Some(15), None, Phase::Overlap(0), Some(5)),
            ("ingest has not told", overlap, 160, Holders::None, None, None, Phase::Overlap(0), Some(5)),
            ("unknown", overlap, 10 * DAY, Holders::Unknown, Some(DAY), None, Phase::HoldersUnknown(0), Some(5)),
            ("held at the maximum", ends, 300, Holders::Some, None, maximum, Phase::Idle, None),
            ("unknown at the maximum", ends, 300, Holders::Unknown, None, maximum, Phase::Idle, None),
            ("unknown before", ends, 297, Holders::Unknown, None, None, Phase::HoldersUnknown(0), Some(3)),
        ] {
            let old = Key { silent_for: silent.map(seconds), ..key(State::Overlap, 0) };
            let keys = [old, key(State::Published, 90)];
            let rules = Rules { overlap, ..Rules::default() };
            let decision = decide(&Seen { holders, ..seen(&keys, now) }, &rules);
            let retire: Vec<_> = why.map(|why| Move::Retire(0, why)).into_iter().collect();
            assert_eq!((decision.after, decision.phase), (retire, phase), "{case}");
            assert_eq!(decision.look_again, again.map(seconds), "{case}");
            let put_back = Seen { holders, named: Some(0), ..seen(&keys, now) };
            let second_is_behind = Seen { holders, named_by_second: Some(0), ..seen(&keys, now) };
            assert_eq!(decide(&second_is_behind, &rules).after, [], "{now}: the second Secret names it");
            assert_eq!(decide(&put_back, &rules).after, [], "{case}, and the Secret names it again");
        }
        let unset = [Key { silent_for: Some(seconds(DAY * 30)), ..key(State::Overlap, 0) }, key(State::Published, 90)];
        assert_eq!(decide(&seen(&unset, 100 + 7 * DAY - 1), &Rules::default()).after, []);
        assert_eq!(decide(&seen(&unset, 100 + 7 * DAY), &Rules::default()).after, [Move::Retire(0, Why::Unheld)]);
    }

    #[test]
    fn the_active_key_gets_a_successor_before_it_is_revoked() {
        let rules = |revoke| Rules { revoke: Some(revoke), ..Rules::default() };
        let keys = [key(State::Overlap, 0), key(State::Published, 500)];
        let first = decide(&seen(&keys, 1_000), &rules(1));
        assert_eq!((first.before, first.after), (vec![Move::Succeed(1)], vec![]), "also during an overlap");
        let keys = [key(State::Overlap, 0), key(State::Published, 500), key(State::Minted, 1_000)];
        let second = decide(&seen(&keys, 1_001), &rules(1));
        assert_eq!((second.target, second.before, second.after), (Some(2), vec![], vec![Move::Revoke(1)]));
        let late = decide(&Seen { writable: false, ..seen(&keys, 1_030) }, &rules(1));
        assert_eq!((late.before, late.after), (vec![Move::Revoke(1)], vec![]), "the Secret cannot be written");
        let keys = [key(State::Overlap, 0), key(State::Revoked, 500), key(State::Published, 1_000)];
        let done = decide(&seen(&keys, 1_031), &rules(1));
        assert_eq!((done.before, done.after), (vec![], vec![]), "the annotation stays and does nothing more");
        assert_eq!(done.phase, Phase::Overlap(0), "the key of the overlap keeps its place");
        assert_eq!(decide(&seen(&keys, 1_031), &rules(0)).after, [Move::Revoke(0)], "one in its overlap is dead now");
        let keys = [key(State::Retired, 0), key(State::Published, 500)];
        assert_eq!(decide(&seen(&keys, 600), &rules(0)).after, [Move::Revoke(0)], "it is not to be taken back");
    }

    #[test]
    fn keys_of_an_object_that_is_not_let_in_any_more_end_after_the_least_overlap() {
        let overlap = Overlap { minimum: seconds(50), ..Overlap::default() };
        let keys = [key(State::Overlap, 0), key(State::Published, 60)];
        let first = withdraw(&keys, &overlap, at(120));
        assert_eq!((first.before, first.after, first.phase), (vec![Move::Withdraw], vec![], Phase::Withdrawn(0)));
        assert_eq!((first.target, first.look_again), (None, Some(seconds(30))));
        let keys = [key(State::Retired, 0), Key { retiring_since: Some(at(120)), ..key(State::Overlap, 60) }];
        assert_eq!(withdraw(&keys, &overlap, at(169)).phase, Phase::Withdrawn(1));
        assert_eq!(withdraw(&keys, &overlap, at(170)).after, [Move::Retire(1, Why::Withdrawn)]);
        let again = decide(&Seen { named: Some(1), ..seen(&keys, 169) }, &Rules::default());
        assert_eq!(
            (again.target, again.before, again.after),
            (Some(1), vec![], vec![]),
            "let in again, it has its key"
        );
        let over = [key(State::Retired, 0), key(State::Retired, 60)];
        assert_eq!(withdraw(&over, &overlap, at(1_000)), Decision::default());
    }

    #[test]
    fn a_retired_key_is_taken_back_when_it_is_asked_for_or_when_the_secret_names_it() {
        let rules = Rules { restore: Some(0), ..Rules::default() };
        let keys = [key(State::Retired, 0), key(State::Published, 50)];
        assert_eq!(decide(&seen(&keys, 1_000), &rules).before, [Move::Restore(0)]);
        assert_eq!(decide(&seen(&keys, 100 + 90 * DAY), &rules).before, [], "too late");
        let named = Seen { named: Some(0), ..seen(&keys, 1_000) };
        assert_eq!(decide(&named, &Rules::default()).before, [Move::Restore(0)]);
        let second = Seen { named_by_second: Some(0), ..seen(&keys, 1_000) };
        assert_eq!(decide(&second, &Rules::default()).before, [Move::Restore(0)]);
        let revoked = [key(State::Revoked, 0), key(State::Published, 50)];
        assert_eq!(decide(&seen(&revoked, 1_000), &rules).before, [], "for good");

        let back = Key { restored: true, silent_for: Some(seconds(DAY)), ..key(State::Overlap, 0) };
        let keys = [back, key(State::Published, 50)];
        let ends = Overlap { minimum: seconds(1), silence: seconds(1), maximum: Some(seconds(1)) };
        let held = Rules { overlap: ends, requests: vec![at(60)], ..rules };
        let decision = decide(&seen(&keys, 10_000), &held);
        assert_eq!((decision.after, decision.phase), (vec![], Phase::Restored(0)), "for as long as it is asked for");
        assert_eq!(decision.before, [Move::Succeed(1)], "it holds no rotation up");
        let let_go = Rules { restore: None, ..held };
        assert_eq!(decide(&seen(&keys, 10_000), &let_go).after, [Move::Retire(0, Why::Maximum)]);
    }

    /// An object, its Secret, and what can happen to them.
    #[derive(Clone, Debug)]
    struct World {
        now: i64,
        keys: Vec<Key>,
        secret: Option<usize>,
        writable: bool,
        known: bool,
        holders: Holders,
        rules: Rules,
    }

    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Later(i64),
        /// A pass that ends after so many changes, as a crash does.
        Pass(usize),
        Request(i64),
        Revoke(Option<usize>),
        Restore(Option<usize>),
        Edit(Option<usize>),
        Writable(bool),
        Known(bool),
        Holders(Holders),
        Maximum(Option<i64>),
    }

    impl World {
        fn new() -> Self {
            let overlap = Overlap { minimum: seconds(100), silence: seconds(100), maximum: None };
            Self {
                now: 1_000,
                keys: Vec::new(),
                secret: None,
                writable: true,
                known: true,
                holders: Holders::None,
                rules: Rules { overlap, ..Rules::default() },
            }
        }

        fn happen(&mut self, what: Happens) {
            match what {
                Happens::Later(seconds) => self.now += seconds,
                Happens::Pass(changes) => self.pass(changes),
                Happens::Request(ahead) => self.rules.requests = vec![at(self.now + ahead)],
                Happens::Revoke(key) => self.rules.revoke = key,
                Happens::Restore(key) => self.rules.restore = key,
                Happens::Edit(key) => self.secret = key.filter(|key| *key < self.keys.len()),
                Happens::Writable(writable) => self.writable = writable,
                Happens::Known(known) => self.known = known,
                Happens::Holders(holders) => self.holders = holders,
                Happens::Maximum(maximum) => self.rules.overlap.maximum = maximum.map(seconds),
            }
        }

        fn decide(&self) -> Decision {
            let mut keys = self.keys.clone();
            for key in &mut keys {
                key.silent_for = Some(seconds(1_000_000));
            }
            let seen = Seen {
                now: at(self.now),
                keys: &keys,
                named: self.secret,
                named_by_second: self.secret,
                writable: self.writable,
                newest_is_known: self.known,
                holders: self.holders,
            };
            let known = |key: &usize| *key < keys.len();
            let (revoke, restore) = (self.rules.revoke.filter(known), self.rules.restore.filter(known));
            decide(&seen, &Rules { revoke, restore, ..self.rules.clone() })
        }

        /// As the operator does it: rounds until nothing is left, each change durable by itself.
        fn pass(&mut self, changes: usize) {
            let mut left = changes;
            for _ in 0..4 {
                let decision = self.decide();
                let publish = decision.target.filter(|target| {
                    self.writable
                        && (self.secret != Some(*target) || self.keys[*target].state == State::Minted)
                        && self.keys[*target].state.is_alive()
                });
                let steps = decision.before.iter().map(|step| Some(*step));
                let steps = steps.chain(publish.map(|_| None)).chain(decision.after.iter().map(|step| Some(*step)));
                let steps: Vec<_> = steps.collect();
                if steps.is_empty() {
                    return;
                }
                for step in steps {
                    if left == 0 {
                        return;
                    }
                    left -= 1;
                    match (step, publish) {
                        (Some(step), _) => self.change(step),
                        (None, Some(target)) => self.publish(target),
                        (None, None) => {}
                    }
                    let alive = self.keys.iter().filter(|key| key.state.is_alive()).count();
                    assert!(alive > 0, "no key is accepted: {self:?}");
                    // What cannot be written is not ours to keep.
                    if !self.writable && self.rules.revoke.is_some() && step.is_some() {
                        continue;
                    }
                    if let Some(Move::Retire(key, _) | Move::Revoke(key)) = step {
                        assert!(self.secret != Some(key), "the Secret names {key}, which is dead: {self:?}");
                    }
                }
            }
        }

        fn publish(&mut self, target: usize) {
            self.secret = Some(target);
            let now = at(self.now);
            for (index, key) in self.keys.iter_mut().enumerate() {
                if index != target && matches!(key.state, State::Minted | State::Published) {
                    (key.state, key.retiring_since) = (State::Overlap, Some(now));
                }
            }
            self.keys[target].state = State::Published;
        }

        fn change(&mut self, step: Move) {
            let now = at(self.now);
            match step {
                Move::Mint => self.keys.push(key(State::Minted, self.now)),
                Move::Succeed(active) => {
                    assert!(self.keys[active].state.is_alive());
                    self.keys.push(key(State::Minted, self.now));
                }
                Move::Withdraw => unreachable!("the object is let in"),
                Move::Restore(index) => {
                    let key = &mut self.keys[index];
                    (key.state, key.retiring_since, key.restored) = (State::Overlap, Some(now), true);
                    key.ended_at = None;
                }
                Move::Retire(index, _) => {
                    (self.keys[index].state, self.keys[index].ended_at) = (State::Retired, Some(now));
                }
                Move::Revoke(index) => {
                    (self.keys[index].state, self.keys[index].ended_at) = (State::Revoked, Some(now));
                }
            }
        }
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let index = || proptest::option::of(0_usize..6);
        prop_oneof![
            4 => (0_usize..9).prop_map(Happens::Pass),
            3 => prop_oneof![Just(1_i64), Just(29), Just(31), Just(61), Just(150), Just(91 * DAY)].prop_map(Happens::Later),
            2 => (-2_000_i64..2_000).prop_map(Happens::Request),
            1 => index().prop_map(Happens::Revoke),
            1 => index().prop_map(Happens::Restore),
            1 => index().prop_map(Happens::Edit),
            1 => any::<bool>().prop_map(Happens::Writable),
            1 => any::<bool>().prop_map(Happens::Known),
            1 => prop_oneof![Just(Holders::Unknown), Just(Holders::Some), Just(Holders::None)].prop_map(Happens::Holders),
            1 => proptest::option::of(100_i64..1_000).prop_map(Happens::Maximum),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happened, a key is accepted at every moment; and when the rest is quiet and nobody holds a key any more,
        /// the Secret names the one key that is left.
        #[test]
        fn no_history_ends_without_a_key_or_with_a_rotation_that_does_not_end(
            history in proptest::collection::vec(happens(), 1..60)
        ) {
            let mut world = World::new();
            world.pass(9);
            for what in history {
                world.happen(what);
            }
            (world.writable, world.known, world.holders) = (true, true, Holders::None);
            (world.rules.restore, world.rules.requests) = (None, Vec::new());
            for _ in 0..5 {
                world.pass(99);
                world.now += 3_000;
            }
            let named = world.secret.map(|key| world.keys[key].state);
            prop_assert_eq!(named, Some(State::Published));
            let alive = world.keys.iter().filter(|key| key.state.is_alive()).count();
            prop_assert_eq!((alive, world.decide().phase), (1, Phase::Idle));
        }

        /// The same manifest, seen again and again, changes nothing.
        #[test]
        fn a_pass_after_a_whole_pass_has_nothing_to_do(history in proptest::collection::vec(happens(), 1..40)) {
            let mut world = World::new();
            for what in history {
                world.happen(what);
            }
            world.writable = true;
            world.pass(99);
            world.pass(99);
            let decision = world.decide();
            prop_assert_eq!((decision.before, decision.after), (vec![], vec![]));
        }
    }
}
