//! Whose turn it is: calls with one token go one at a time, and none while the server asks for a pause.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

use super::ServerError;

/// How long a call waits for those before it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// When to ask again for a turn that did not come.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Gates that are kept without looking which of them are used.
const FEWEST: usize = 64;

/// The gates of all servers and tokens. Cheap to clone: one for the whole process.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    gates: Arc<Mutex<Gates>>,
}

#[derive(Debug, Default)]
struct Gates {
    /// By a digest of server and token.
    all: HashMap<[u8; 32], Arc<Gate>>,
    /// From so many on, unused ones are looked for.
    sweep_at: usize,
}

impl Turns {
    /// The gate that everybody who calls this server with this token shares.
    pub(super) fn gate(&self, origin: &str, token: &SecretString) -> Arc<Gate> {
        let digest: [u8; 32] =
            Sha256::new().chain_update(origin).chain_update([0]).chain_update(token.expose_secret()).finalize().into();
        let mut gates = self.gates.lock();
        if gates.all.len() >= gates.sweep_at.max(FEWEST) {
            let now = Instant::now();
            // A closed gate is remembered while nobody asks.
            gates.all.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.closed_for(now).is_some());
            gates.sweep_at = gates.all.len() * 2;
        }
        gates.all.entry(digest).or_insert_with(|| Arc::new(Gate::new())).clone()
    }
}

/// One server and one token.
#[derive(Debug)]
pub(super) struct Gate {
    /// Fair: in the order of asking.
    turn: Semaphore,
    opens_at: Mutex<Option<Instant>>,
}

/// The right to make one call.
pub(super) struct Turn<'a> {
    gate: &'a Gate,
    _permit: SemaphorePermit<'a>,
}

impl Gate {
    fn new() -> Self {
        Self { turn: Semaphore::new(1), opens_at: Mutex::new(None) }
    }

    /// Waits for those who asked before. While the gate is closed nobody waits: [`ServerError::Limited`] says when to
    /// come again, which is a little later for some than for others.
    pub(super) async fn pass(&self) -> Result<Turn<'_>, ServerError> {
        self.is_open()?;
        let late = |_| ServerError::Limited { after: ASK_AGAIN };
        let turn = tokio::time::timeout(LONGEST_WAIT, self.turn.acquire()).await.map_err(late)?;
        // Nobody closes the semaphore.
        let permit = turn.map_err(|_| ServerError::Limited { after: ASK_AGAIN })?;
        // The call before may have closed the gate.
        self.is_open()?;
        Ok(Turn { gate: self, _permit: permit })
    }

    fn is_open(&self) -> Result<(), ServerError> {
        self.closed_for(Instant::now()).map_or(Ok(()), |pause| Err(limited(pause)))
    }

    fn closed_for(&self, now: Instant) -> Option<Duration> {
        let left = self.opens_at.lock().as_ref()?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    fn close(&self, now: Instant, pause: Duration) {
        let mut opens_at = self.opens_at.lock();
        let then = now + pause;
        *opens_at = Some(opens_at.map_or(then, |before| before.max(then)));
    }
}

impl Turn<'_> {
    /// The server asks to be left alone for so long.
    pub(super) fn close(&self, pause: Duration) {
        self.gate.close(Instant::now(), pause);
    }
}

/// The rest of a pause, and up to a fifth of it and a second more: those who wait come one after the other.
pub(super) fn limited(pause: Duration) -> ServerError {
    let more = rand::rng().random_range(0.0..1.0);
    ServerError::Limited { after: pause + (pause / 5 + Duration::from_secs(1)).mul_f64(more) }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};

    use super::*;

    fn token(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn calls_with_one_token_go_in_the_order_of_asking() {
        let turns = Turns::default();
        let order = Mutex::new(Vec::new());
        let first = turns.gate("https://a:443", &token("t"));
        let held = first.pass().await.unwrap();
        let calls = (0..5).map(|number| {
            let gate = turns.gate("https://a:443", &token("t"));
            let order = &order;
            async move {
                let turn = gate.pass().await.unwrap();
                tokio::task::yield_now().await;
                order.lock().push(number);
                drop(turn);
            }
        });
        let mut calls = Box::pin(join_all(calls));
        assert!(calls.as_mut().now_or_never().is_none());
        assert!(order.lock().is_empty(), "none passes while another calls");
        drop(held);
        calls.await;
        assert_eq!(*order.lock(), [0, 1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn a_pause_holds_for_everybody_with_the_token_and_for_nobody_else() {
        let turns = Turns::default();
        let gate = turns.gate("https://a:443", &token("t"));
        let turn = gate.pass().await.unwrap();
        let other = turns.gate("https://a:443", &token("t"));
        let mut waiting = Box::pin(other.pass());
        assert!(waiting.as_mut().now_or_never().is_none());
        turn.close(Duration::from_secs(100));
        turn.close(Duration::from_secs(1));
        drop(turn);
        for refused in [waiting.await.err(), gate.pass().await.err()] {
            let after = refused.unwrap().retry_after().unwrap();
            assert!(after > Duration::from_secs(90) && after < Duration::from_secs(122), "{after:?}");
        }
        assert!(turns.gate("https://a:443", &token("u")).pass().await.is_ok());
        assert!(turns.gate("https://b:443", &token("t")).pass().await.is_ok());
    }

    #[test]
    fn a_gate_opens_when_the_pause_is_over() {
        let (gate, now) = (Gate::new(), Instant::now());
        assert_eq!(gate.closed_for(now), None);
        gate.close(now, Duration::from_secs(10));
        assert_eq!(gate.closed_for(now + Duration::from_secs(4)), Some(Duration::from_secs(6)));
        assert_eq!(gate.closed_for(now + Duration::from_secs(10)), None);
    }

    #[test]
    fn those_who_wait_come_at_different_times() {
        let pause = Duration::from_mins(1);
        let times: Vec<_> = (0..50).filter_map(|_| limited(pause).retry_after()).collect();
        assert!(times.iter().all(|after| (pause..=pause + Duration::from_secs(13)).contains(after)));
        assert!(times.iter().max() > times.iter().min());
    }

    #[tokio::test]
    async fn gates_that_nobody_uses_go_and_closed_ones_stay() {
        let turns = Turns::default();
        let closed = turns.gate("https://a:443", &token("closed"));
        closed.pass().await.unwrap().close(Duration::from_secs(1000));
        drop(closed);
        let used = turns.gate("https://a:443", &token("used"));
        for number in 0..1000 {
            turns.gate("https://a:443", &token(&number.to_string()));
        }
        assert!(turns.gates.lock().all.len() <= FEWEST, "{}", turns.gates.lock().all.len());
        assert!(Arc::ptr_eq(&used, &turns.gate("https://a:443", &token("used"))));
        assert!(turns.gate("https://a:443", &token("closed")).pass().await.is_err());
    }
}
