//! How many tokens of one sender may be refused: each costs the API server a review.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Refused tokens of one sender within [`WINDOW`]; senders behind one proxy share it.
const MOST: u32 = 30;
const WINDOW: Duration = Duration::from_mins(1);

/// Senders that are remembered. Beyond it all are forgotten: a table full of strangers must not lock out anybody.
const MAX_SENDERS: usize = 10_000;

#[derive(Default)]
pub struct Attempts(Mutex<HashMap<Option<Sender>, (Instant, u32)>>);

/// An IPv4 address, or the network of 64 bits that an IPv6 host is given.
type Sender = u64;

impl Attempts {
    pub fn are_used_up(&self, peer: Option<IpAddr>, now: Instant) -> bool {
        let senders = self.0.lock();
        senders.get(&peer.map(sender)).is_some_and(|(since, failed)| now - *since < WINDOW && *failed >= MOST)
    }

    pub fn failed(&self, peer: Option<IpAddr>, now: Instant) {
        let mut senders = self.0.lock();
        if senders.len() >= MAX_SENDERS {
            senders.retain(|_, (since, _)| now - *since < WINDOW);
            if senders.len() >= MAX_SENDERS {
                senders.clear();
            }
        }
        let (since, failed) = senders.entry(peer.map(sender)).or_insert((now, 0));
        if now - *since >= WINDOW {
            (*since, *failed) = (now, 0);
        }
        *failed += 1;
    }
}

fn sender(address: IpAddr) -> Sender {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_refused_for_the_rest_of_its_minute() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let [one, neighbour, other] =
            ["2001:db8::1", "2001:db8::2", "10.0.0.1"].map(|text| Some(text.parse::<IpAddr>().unwrap()));
        for _ in 0..MOST {
            assert!(!attempts.are_used_up(one, now));
            attempts.failed(one, now);
        }
        assert!(attempts.are_used_up(one, now) && attempts.are_used_up(neighbour, now));
        assert!(!attempts.are_used_up(other, now));
        let later = now + WINDOW;
        assert!(!attempts.are_used_up(one, later));
        attempts.failed(one, later);
        assert!(!attempts.are_used_up(one, later), "counted anew");
    }
}
