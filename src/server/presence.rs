//! Who is connected, and since when nothing is under way there. While all places are taken, whoever has been idle the
//! longest leaves for the next client.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::limits::{Limits, SMALL_HEAD_BYTES, Versions};

/// A client that had an answer a moment ago is likely to send the next request: it stays.
const MIN_IDLE: Duration = Duration::from_secs(1);

/// While somebody waits for a place, how long until it is looked again for who could leave.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What there is a limited number of, for all connections of a listener.
#[derive(Clone)]
pub(super) struct Places {
    pub connections: Arc<Semaphore>,
    pub http2: Arc<Semaphore>,
    /// Requests beyond the first of each connection.
    pub more_requests: Arc<Semaphore>,
    pub large_heads: Arc<Semaphore>,
}

impl Places {
    pub fn new(limits: &Limits) -> Self {
        let (http2, more_requests) = match limits.versions {
            Versions::Http1 => (0, 0),
            Versions::Http1And2 { connections, more_requests, .. } => (connections, more_requests),
        };
        let [connections, http2, more_requests, large_heads] =
            [limits.connections, http2, more_requests, limits.large_heads]
                .map(|places| Arc::new(Semaphore::new(places)));
        Self { connections, http2, more_requests, large_heads }
    }
}

/// Whose connection may end for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    Everybody,
    Http2,
}

/// Everybody who is connected: as many entries as there are connections.
#[derive(Clone, Default)]
pub(super) struct Presences(Arc<Mutex<Present>>);

#[derive(Default)]
struct Present {
    next: u64,
    present: HashMap<u64, Arc<Presence>>,
}

impl Presences {
    /// Somebody who has just come, until the answer is dropped.
    pub fn enter(&self) -> Entered {
        let presence = Arc::new(Presence::new(Instant::now()));
        let mut all = self.0.lock();
        let number = all.next;
        all.next += 1;
        all.present.insert(number, Arc::clone(&presence));
        Entered { presences: self.clone(), number, presence }
    }

    /// Waits for one of `places`; while there is none, those `among` all who are idle leave, the idlest first.
    pub async fn place(&self, places: &Arc<Semaphore>, among: Among) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Some(place);
        }
        let mut waiting = std::pin::pin!(Arc::clone(places).acquire_owned());
        loop {
            self.send_idlest_away(among, Instant::now());
            if let Ok(place) = timeout(LOOK_INTERVAL, waiting.as_mut()).await {
                // The semaphores are never closed.
                return place.ok();
            }
        }
    }

    /// At most one at a time: its place is not free before it has gone.
    fn send_idlest_away(&self, among: Among, now: Instant) {
        let all = self.0.lock();
        let present = || all.present.values().filter(move |presence| presence.is(among));
        if present().any(|presence| presence.is_leaving()) {
            return;
        }
        let idle = present().filter_map(|presence| Some((presence.idle_since()?, presence)));
        if let Some((since, idlest)) = idle.min_by_key(|(since, _)| *since)
            && since + MIN_IDLE <= now
        {
            idlest.send_away();
        }
    }
}

/// One who is connected.
pub(super) struct Entered {
    presences: Presences,
    number: u64,
    pub presence: Arc<Presence>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.presences.0.lock().present.remove(&self.number);
    }
}

/// What is under way on one connection.
pub(super) struct Presence {
    state: Mutex<State>,
    /// Cancelled: the connection ends for another.
    pub leaving: CancellationToken,
}

struct State {
    requests: u32,
    /// One of the requests has the place that every connection has.
    own_place_is_taken: bool,
    /// Since the last request, or since the connection was opened.
    idle_since: Instant,
    /// Read of a head that is not complete.
    head_bytes: usize,
    large_head: Option<OwnedSemaphorePermit>,
    http2: bool,
}

impl Presence {
    fn new(now: Instant) -> Self {
        let state = State {
            requests: 0,
            own_place_is_taken: false,
            idle_since: now,
            head_bytes: 0,
            large_head: None,
            http2: false,
        };
        Self { state: Mutex::new(state), leaving: CancellationToken::new() }
    }

    pub fn speaks_http2(&self) {
        self.state.lock().http2 = true;
    }

    /// A request begins, with more than a small head if `is_large`.
    pub fn begin(self: &Arc<Self>, places: &Places, is_large: bool) -> UnderWay {
        let one_of = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let mut state = self.state.lock();
        state.requests += 1;
        let has_own_place = !std::mem::replace(&mut state.own_place_is_taken, true);
        let more = if has_own_place { None } else { one_of(&places.more_requests) };
        let needs_room = is_large && state.large_head.is_none();
        let large_head = if needs_room { one_of(&places.large_heads) } else { None };
        let is_crowded = !has_own_place && more.is_none() || needs_room && large_head.is_none();
        UnderWay { presence: Arc::clone(self), has_own_place, is_crowded, _places: [more, large_head] }
    }

    /// Nothing is under way. A head that is not complete is nothing.
    pub fn is_idle(&self) -> bool {
        self.idle_since().is_some()
    }

    /// Whether what is read next still belongs to a small head, or to a body.
    pub fn may_read(&self) -> bool {
        let state = self.state.lock();
        state.requests > 0 || state.large_head.is_some() || state.head_bytes < SMALL_HEAD_BYTES
    }

    pub fn has_read(&self, bytes: usize) {
        let mut state = self.state.lock();
        if state.requests == 0 {
            state.head_bytes += bytes;
        }
    }

    /// `place` is for the head that is being read, until its request has been answered.
    pub fn take_large_head(&self, place: OwnedSemaphorePermit) {
        self.state.lock().large_head = Some(place);
    }

    fn is(&self, among: Among) -> bool {
        among == Among::Everybody || self.state.lock().http2
    }

    fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled() && self.is_idle()
    }

    /// `None`: it is not idle.
    fn idle_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        (state.requests == 0).then_some(state.idle_since)
    }

    /// Unless a request has just begun.
    fn send_away(&self) {
        let state = self.state.lock();
        if state.requests == 0 {
            self.leaving.cancel();
        }
    }
}

/// A request, until it has been answered or its client has left.
pub(super) struct UnderWay {
    presence: Arc<Presence>,
    has_own_place: bool,
    /// It is one too many, and to be refused at once.
    pub is_crowded: bool,
    _places: [Option<OwnedSemaphorePermit>; 2],
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.presence.state.lock();
        state.requests -= 1;
        state.own_place_is_taken &= !self.has_own_place;
        if state.requests == 0 {
            state.idle_since = Instant::now();
            state.head_bytes = 0;
            state.large_head = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        connections: 2,
        when_full: crate::server::WhenFull::Wait,
        head_timeout: Duration::from_secs(30),
        large_heads: 1,
        versions: Versions::Http1And2 {
            connections: 1,
            streams: 64,
            more_requests: 2,
            max_age: Duration::from_mins(10),
        },
    };

    #[tokio::test]
    async fn the_idlest_leaves_and_one_with_a_request_stays() {
        let (presences, places) = (Presences::default(), Places::new(&LIMITS));
        let [first, second, third] = [(); 3].map(|()| presences.enter());
        let request = first.presence.begin(&places, false);
        drop(third.presence.begin(&places, false));
        let leaving = || [&first, &second, &third].map(|entered| entered.presence.leaving.is_cancelled());
        presences.send_idlest_away(Among::Everybody, Instant::now());
        assert_eq!(leaving(), [false; 3], "nobody has been idle for long");
        let later = Instant::now() + MIN_IDLE;
        presences.send_idlest_away(Among::Everybody, later);
        assert_eq!(leaving(), [false, true, false]);
        presences.send_idlest_away(Among::Everybody, later);
        assert_eq!(leaving(), [false, true, false], "one has not gone yet");
        drop(second);
        presences.send_idlest_away(Among::Http2, later);
        assert!(!third.presence.leaving.is_cancelled(), "nobody speaks HTTP/2");
        presences.send_idlest_away(Among::Everybody, later);
        assert!(third.presence.leaving.is_cancelled());
        drop(third);
        presences.send_idlest_away(Among::Everybody, later);
        assert!(!first.presence.leaving.is_cancelled(), "its request is under way");
        drop(request);
        presences.send_idlest_away(Among::Everybody, Instant::now() + MIN_IDLE);
        assert!(first.presence.leaving.is_cancelled());
        drop(first);
        assert!(presences.0.lock().present.is_empty());
    }

    #[tokio::test]
    async fn one_that_began_a_request_when_it_was_to_leave_holds_up_nobody() {
        let (presences, places) = (Presences::default(), Places::new(&LIMITS));
        let [first, second] = [(); 2].map(|()| presences.enter());
        first.presence.leaving.cancel();
        let _request = first.presence.begin(&places, false);
        presences.send_idlest_away(Among::Everybody, Instant::now() + MIN_IDLE);
        assert!(second.presence.leaving.is_cancelled());
    }

    #[tokio::test]
    async fn a_place_that_becomes_free_goes_to_who_waits() {
        let (presences, places) = (Presences::default(), Places::new(&LIMITS));
        let idle = presences.enter();
        idle.presence.speaks_http2();
        let held = presences.place(&places.http2, Among::Http2).await;
        let waiting = presences.place(&places.http2, Among::Http2);
        let leaving = async {
            idle.presence.leaving.cancelled().await;
            drop((idle, held));
        };
        let (held, ()) = tokio::join!(waiting, leaving);
        assert!(held.is_some());
        // Who leaves while he waits takes no place along.
        assert!(timeout(LOOK_INTERVAL * 2, presences.place(&places.http2, Among::Http2)).await.is_err());
        drop(held);
        assert_eq!(places.http2.available_permits(), 1);
    }

    #[tokio::test]
    async fn each_connection_has_one_request_and_all_have_some_more() {
        let (presences, places) = (Presences::default(), Places::new(&LIMITS));
        let [flood, good] = [(); 2].map(|()| presences.enter());
        let mut requests: Vec<_> = (0..4).map(|_| flood.presence.begin(&places, false)).collect();
        let crowded: Vec<bool> = requests.iter().map(|request| request.is_crowded).collect();
        assert_eq!(crowded, [false, false, false, true]);
        assert!(!good.presence.begin(&places, false).is_crowded);
        requests.remove(0);
        assert!(!flood.presence.begin(&places, false).is_crowded, "its own place is free again");
        drop(requests);
        assert_eq!(places.more_requests.available_permits(), 2);
        assert!(flood.presence.is_idle());
    }

    #[tokio::test]
    async fn large_heads_have_few_places_which_come_back() {
        let (presences, places) = (Presences::default(), Places::new(&LIMITS));
        let [first, second] = [(); 2].map(|()| presences.enter());
        first.presence.has_read(SMALL_HEAD_BYTES - 1);
        assert!(first.presence.may_read());
        first.presence.has_read(1);
        assert!(!first.presence.may_read());
        first.presence.take_large_head(Arc::clone(&places.large_heads).try_acquire_owned().unwrap());
        assert!(first.presence.may_read());
        assert!(second.presence.begin(&places, true).is_crowded);
        assert!(!second.presence.begin(&places, false).is_crowded);
        let request = first.presence.begin(&places, true);
        assert!(!request.is_crowded, "it has its place from when it was read");
        first.presence.has_read(1 << 20);
        drop(request);
        assert!(first.presence.may_read(), "a body is no head");
        assert!(!second.presence.begin(&places, true).is_crowded);
        assert_eq!(places.large_heads.available_permits(), 1);
    }
}
