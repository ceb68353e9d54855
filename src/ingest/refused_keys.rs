//! What is sent with keys that the project has and does not accept any more: who still has to be given the new one.
//! Only the store knows those from keys that somebody made up, which leave nothing here. The rest of what is refused is
//! only counted, by its reason.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::content::Content;
use crate::{dsn::PublicKey, protocol::envelope::ItemKind, protocol::event, store::ingest::RefusedKey};

/// Keys that are told of in one report.
const MOST_KEYS: usize = 64;

/// Addresses of one key that are told of in one report, the newest.
const MOST_ADDRESSES: usize = 8;

/// Characters that are kept of what a sender says of itself.
const MOST_CHARACTERS: usize = 64;

/// One body of a key is looked into in this time.
const READ_INTERVAL: Duration = Duration::from_mins(1);

#[derive(Default)]
pub struct RefusedKeys(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    sent: HashMap<PublicKey, Sent>,
    /// When a body of the key was looked into last, of the last [`READ_INTERVAL`].
    read: HashMap<PublicKey, Instant>,
}

/// What one key sent since the last report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    events: u64,
    last: Instant,
    client: Option<String>,
    server_name: Option<String>,
    addresses: Vec<(IpAddr, Instant)>,
}

impl RefusedKeys {
    /// Counts a request. `client` is how the SDK names itself, `address` the other end of the connection.
    pub fn note(&self, key: &PublicKey, client: Option<&str>, address: Option<IpAddr>, now: Instant) {
        let sent = Sent {
            events: 1,
            last: now,
            client: client.and_then(printable),
            server_name: None,
            // As a pod has it, whatever kind of socket it came to.
            addresses: address.map(|address| (address.to_canonical(), now)).into_iter().collect(),
        };
        self.0.lock().add(key, sent);
    }

    /// Whether the body of a request that came `now` may be looked into; the next one of the key after a minute.
    pub fn may_read(&self, key: &PublicKey, now: Instant) -> bool {
        let read = &mut self.0.lock().read;
        read.retain(|_, at| now.saturating_duration_since(*at) < READ_INTERVAL);
        read.len() < MOST_KEYS && !read.contains_key(key) && read.insert(key.clone(), now).is_none()
    }

    /// Notes the host that an event of the key names.
    pub fn name_server(&self, key: &PublicKey, name: &str, now: Instant) {
        if let Some(server_name) = printable(name) {
            let sent =
                Sent { events: 0, last: now, client: None, server_name: Some(server_name), addresses: Vec::new() };
            self.0.lock().add(key, sent);
        }
    }

    /// What was sent since the last call, for the store.
    pub fn take(&self) -> Vec<(PublicKey, Sent)> {
        self.0.lock().sent.drain().collect()
    }

    /// Puts back what [`Self::take`] gave and the store did not take.
    pub fn give_back(&self, taken: Vec<(PublicKey, Sent)>) {
        let mut inner = self.0.lock();
        for (key, sent) in taken {
            inner.add(&key, sent);
        }
    }
}

impl Inner {
    fn add(&mut self, key: &PublicKey, sent: Sent) {
        if let Some(known) = self.sent.get_mut(key) {
            known.add(sent);
        } else if self.sent.len() < MOST_KEYS {
            self.sent.insert(key.clone(), sent);
        }
    }
}

impl Sent {
    fn add(&mut self, other: Self) {
        let mut older = std::mem::replace(self, other);
        if older.last > self.last {
            std::mem::swap(self, &mut older);
        }
        self.events = self.events.saturating_add(older.events);
        self.client = self.client.take().or(older.client);
        self.server_name = self.server_name.take().or(older.server_name);
        for (address, at) in older.addresses {
            match self.addresses.iter_mut().find(|(known, _)| *known == address) {
                Some((_, last)) => *last = at.max(*last),
                None => self.addresses.push((address, at)),
            }
        }
        self.addresses.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        self.addresses.truncate(MOST_ADDRESSES);
    }

    /// As the store is told now.
    pub fn told(&self, key: &PublicKey) -> RefusedKey {
        RefusedKey {
            key: key.clone(),
            age: self.last.elapsed(),
            events: self.events,
            sentry_client: self.client.clone(),
            server_name: self.server_name.clone(),
            addresses: self.addresses.iter().map(|(address, at)| (*address, at.elapsed())).collect(),
        }
    }
}

/// The name of the host in the first event of a body.
pub fn server_name(content: &Content) -> Option<String> {
    match content {
        Content::Event(event) => event::server_name(event),
        Content::Envelope(envelope) => {
            let mut events =
                envelope.items.iter().filter(|item| matches!(item.kind, ItemKind::Event | ItemKind::Transaction));
            event::server_name(&events.next()?.payload)
        }
        Content::Security(_) | Content::NetworkErrors(_) | Content::Minidump(_) => None,
    }
}

/// What is left of a text in printable ASCII: people read it in a status.
fn printable(text: &str) -> Option<String> {
    let text = text.trim().chars().filter(|character| matches!(character, ' '..='~'));
    Some(text.take(MOST_CHARACTERS).collect()).filter(|text: &String| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::envelope;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_random([number; 16])
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn requests_of_a_key_are_counted_with_what_was_said_last() {
        let (keys, start) = (RefusedKeys::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        keys.note(&key(1), Some("sentry.python/2.0"), Some(address(1)), at(1));
        keys.note(&key(1), None, Some("::ffff:10.0.0.2".parse().unwrap()), at(2));
        keys.name_server(&key(1), "web-1", at(2));
        keys.note(&key(1), Some("sentry.go/0.1\n\u{7f}é\u{202e}"), Some(address(1)), at(3));
        keys.note(&key(2), Some(" \t"), None, at(4));
        let mut taken = keys.take();
        taken.sort_by(|one, other| one.0.cmp(&other.0));
        let [(_, first), (_, second)] = &*taken else { panic!("{taken:?}") };
        assert_eq!((first.events, first.last), (3, at(3)));
        assert_eq!((first.client.as_deref(), first.server_name.as_deref()), (Some("sentry.go/0.1"), Some("web-1")));
        assert_eq!(first.addresses, [(address(1), at(3)), (address(2), at(2))]);
        assert_eq!((second.events, &second.client, second.addresses.len()), (1, &None, 0));
        assert_eq!(keys.take(), []);

        // A report that failed, and what came meanwhile.
        keys.note(&key(1), Some("sentry.go/0.2"), Some(address(3)), at(9));
        keys.give_back(taken);
        let (_, whole) = keys.take().into_iter().find(|(of, _)| *of == key(1)).unwrap();
        assert_eq!((whole.events, whole.last, whole.client.as_deref()), (4, at(9), Some("sentry.go/0.2")));
        assert_eq!(whole.addresses.len(), 3);
    }

    #[test]
    fn what_is_kept_between_two_reports_is_bounded() {
        let (keys, start) = (RefusedKeys::default(), Instant::now());
        let long = "x".repeat(10_000);
        for number in 0..=255 {
            for second in 0..20 {
                let now = start + Duration::from_secs(second.into());
                keys.note(&key(number), Some(&long), Some(address(second)), now);
                keys.name_server(&key(number), &long, now);
            }
        }
        let taken = keys.take();
        assert_eq!(taken.len(), MOST_KEYS);
        for (_, sent) in &taken {
            let newest: Vec<_> = (12..20).rev().map(address).collect();
            assert_eq!(sent.addresses.iter().map(|(address, _)| *address).collect::<Vec<_>>(), newest);
            assert_eq!(sent.events, 20);
            assert!([&sent.client, &sent.server_name].iter().all(|text| text.as_ref().unwrap().len() == 64));
        }
        for number in 0..=255 {
            keys.note(&key(number), None, None, start);
        }
        keys.give_back(taken);
        assert_eq!(keys.take().len(), MOST_KEYS);
    }

    #[test]
    fn a_body_of_a_key_is_read_once_a_minute() {
        let (keys, start) = (RefusedKeys::default(), Instant::now());
        assert!(keys.may_read(&key(1), start));
        keys.take();
        assert!(!keys.may_read(&key(1), start + Duration::from_secs(59)));
        assert!(keys.may_read(&key(2), start + Duration::from_secs(59)));
        assert!(keys.may_read(&key(1), start + READ_INTERVAL));
        // However many keys there are.
        let later = start + READ_INTERVAL * 3;
        let read = (0..=255).filter(|number| keys.may_read(&key(*number), later)).count();
        assert_eq!(read, MOST_KEYS);
        assert_eq!(keys.0.lock().read.len(), MOST_KEYS);
    }

    #[test]
    fn the_host_is_that_of_the_first_event() {
        let envelope = |items: &str| {
            let body = Bytes::from(format!("{{}}\n{items}"));
            server_name(&Content::Envelope(envelope::parse(&body).unwrap()))
        };
        let event = |kind: &str| format!("{{\"type\":\"{kind}\"}}\n{{\"server_name\":\"{kind}-1\"}}\n");
        assert_eq!(envelope(&(event("session") + &event("event"))).as_deref(), Some("event-1"));
        assert_eq!(envelope(&event("transaction")).as_deref(), Some("transaction-1"));
        assert_eq!(envelope(""), None);
        let body = Bytes::from_static(br#"{"server_name":"web-1"}"#);
        assert_eq!(server_name(&Content::Event(body.clone())).as_deref(), Some("web-1"));
        assert_eq!(server_name(&Content::Security(body)), None);
    }
}
