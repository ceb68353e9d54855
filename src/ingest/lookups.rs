//! Asks the store about keys that the table does not have: one question at a time, answers remembered for
//! a second, and a bounded number of questions a second, so that a client with a wrong key (or somebody
//! who tries keys) cannot keep Postgres busy, nor the connections that events are stored by.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::{Instant, timeout},
};

use crate::dsn::PublicKey;

/// How long an answer is used, counted from the question. A revoked key is refused within this and one
/// poll; a new key that was refused is looked up again after it.
const ANSWER_LIFETIME: Duration = Duration::from_secs(1);

/// Most questions to the store in one second.
const QUESTIONS_PER_SECOND: u32 = 50;

/// How long a question waits for its turn, and how long it may take then.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether a key may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyLookup {
    Accepted,
    /// The project has it, and does not accept it any more.
    Refused,
    /// The project has no such key.
    Unknown,
    /// Nobody could be asked.
    Unavailable,
}

pub struct Lookups {
    inner: Mutex<Inner>,
    /// Who asks holds a connection: one at a time.
    turn: Semaphore,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { inner: Mutex::default(), turn: Semaphore::new(1) }
    }
}

#[derive(Default)]
struct Inner {
    answers: HashMap<PublicKey, Question>,
    /// Start of the second that is counted, and the questions in it.
    second: Option<Instant>,
    questions: u32,
}

#[derive(Clone)]
struct Question {
    at: Instant,
    answer: Arc<OnceCell<KeyLookup>>,
}

impl Lookups {
    /// The answer of the last second about `key`, or that of `ask`, which runs once however many wait.
    /// Beyond [`QUESTIONS_PER_SECOND`], or without a turn within [`ANSWER_TIMEOUT`], nobody is asked: [`KeyLookup::Unavailable`].
    pub async fn state<F, A>(&self, key: &PublicKey, ask: F) -> KeyLookup
    where
        F: FnOnce() -> A,
        A: Future<Output = KeyLookup>,
    {
        match self.question(key, Instant::now()) {
            Some(answer) => {
                let ask = async || match timeout(ANSWER_TIMEOUT, self.turn.acquire()).await {
                    Ok(Ok(_turn)) => ask().await,
                    Ok(Err(_)) | Err(_) => KeyLookup::Unavailable,
                };
                *answer.get_or_init(ask).await
            }
            None => KeyLookup::Unavailable,
        }
    }

    fn question(&self, key: &PublicKey, now: Instant) -> Option<Arc<OnceCell<KeyLookup>>> {
        let mut inner = self.inner.lock();
        if let Some(asked) = inner.answers.get(key).filter(|asked| now < asked.at + ANSWER_LIFETIME) {
            return Some(Arc::clone(&asked.answer));
        }
        if inner.second.is_none_or(|second| now >= second + Duration::from_secs(1)) {
            inner.second = Some(now);
            inner.questions = 0;
            // At most one second's questions stay: the table is bounded whatever is sent.
            inner.answers.retain(|_, asked| now < asked.at + ANSWER_LIFETIME);
        }
        if inner.questions >= QUESTIONS_PER_SECOND {
            return None;
        }
        inner.questions += 1;
        let asked = Question { at: now, answer: Arc::default() };
        inner.answers.insert(key.clone(), asked.clone());
        Some(asked.answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;

    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_random([number; 16])
    }

    #[tokio::test]
    async fn many_who_ask_for_one_key_ask_once() {
        let (lookups, key, asked) = (Lookups::default(), key(1), AtomicU32::new(0));
        let states = join_all((0..64).map(|_| {
            lookups.state(&key, async || {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                KeyLookup::Accepted
            })
        }));
        assert!(states.await.into_iter().all(|state| state == KeyLookup::Accepted));
        assert_eq!(asked.into_inner(), 1);
    }

    #[tokio::test]
    async fn one_key_is_asked_for_at_a_time() {
        let (lookups, asking, most) = (Lookups::default(), AtomicU32::new(0), AtomicU32::new(0));
        let keys: Vec<_> = (0..20).map(key).collect();
        let states = join_all(keys.iter().map(|key| {
            lookups.state(key, async || {
                most.fetch_max(asking.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                asking.fetch_sub(1, Ordering::Relaxed);
                KeyLookup::Unknown
            })
        }));
        assert!(states.await.into_iter().all(|state| state == KeyLookup::Unknown));
        assert_eq!(most.into_inner(), 1);
    }

    #[test]
    fn an_answer_lives_for_a_second_from_the_question() {
        let (lookups, now) = (Lookups::default(), Instant::now());
        let first = lookups.question(&key(1), now).unwrap();
        let again = lookups.question(&key(1), now + Duration::from_millis(999)).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        let later = lookups.question(&key(1), now + ANSWER_LIFETIME).unwrap();
        assert!(!Arc::ptr_eq(&first, &later));
    }

    #[test]
    fn questions_are_bounded_and_so_is_what_is_remembered() {
        let (lookups, now) = (Lookups::default(), Instant::now());
        for second in 0..3 {
            let now = now + Duration::from_secs(second);
            let allowed = (0..=255).filter(|number| lookups.question(&key(*number), now).is_some()).count();
            assert_eq!(allowed, QUESTIONS_PER_SECOND as usize, "in second {second}");
        }
        assert!(lookups.inner.lock().answers.len() <= 2 * QUESTIONS_PER_SECOND as usize);
    }
}
