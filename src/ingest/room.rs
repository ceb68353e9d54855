//! Memory that requests share. It is counted in bytes before it is used, and one key has at most half: who floods a
//! project keeps the others out of the rest no more than it keeps itself out.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::dsn::PublicKey;

/// All of it is taken, or all that one key may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory left")]
pub struct Full;

/// Clones share the same memory.
#[derive(Clone)]
pub struct Room(Arc<Shared>);

struct Shared {
    bytes: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    bytes: usize,
    /// Of those who hold some: no more keys than requests.
    by_key: HashMap<PublicKey, usize>,
}

impl Room {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Shared { bytes, taken: Mutex::default() }))
    }

    /// Nothing yet, for `key`. What belongs to no key may be all of it.
    pub fn reservation(&self, key: Option<&PublicKey>) -> Reservation {
        Reservation { room: self.clone(), key: key.cloned(), bytes: 0 }
    }

    #[cfg(test)]
    pub fn free_bytes(&self) -> usize {
        self.0.bytes - self.0.taken.lock().bytes
    }
}

/// A share of the memory, which is free again when this is dropped.
pub struct Reservation {
    room: Room,
    key: Option<PublicKey>,
    bytes: usize,
}

impl Reservation {
    /// Holds `bytes` in all from now on, more or less than before. Never waits: bodies that wait for each other's memory
    /// would all time out. On an error it holds what it held.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Full> {
        let Shared { bytes: most, taken } = &*self.room.0;
        let mut taken = taken.lock();
        let all = taken.bytes - self.bytes + bytes;
        if bytes > self.bytes && all > *most {
            return Err(Full);
        }
        if let Some(key) = &self.key {
            let others = taken.by_key.get(key).copied().unwrap_or_default() - self.bytes;
            if bytes > self.bytes && others + bytes > most / 2 {
                return Err(Full);
            }
            if others + bytes == 0 {
                taken.by_key.remove(key);
            } else {
                taken.by_key.insert(key.clone(), others + bytes);
            }
        }
        taken.bytes = all;
        self.bytes = bytes;
        Ok(())
    }

    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes > self.bytes { self.resize(bytes) } else { Ok(()) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Less always fits.
        let _fits = self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_random([number; 16])
    }

    #[test]
    fn one_key_has_at_most_half_and_all_together_no_more_than_there_is() {
        let room = Room::new(100);
        let [mut flood, mut more, mut other, mut third] =
            [key(1), key(1), key(2), key(3)].map(|key| room.reservation(Some(&key)));
        assert_eq!(flood.resize(51), Err(Full));
        assert_eq!((flood.resize(40), more.resize(11), more.resize(10)), (Ok(()), Err(Full), Ok(())));
        assert_eq!((other.resize(45), third.resize(6), third.resize(5)), (Ok(()), Err(Full), Ok(())));
        assert_eq!((room.free_bytes(), flood.resize(41)), (0, Err(Full)));
        assert_eq!((flood.resize(30), more.resize(20), room.free_bytes()), (Ok(()), Ok(()), 0));
        drop((flood, more, other));
        assert_eq!(room.free_bytes(), 95);
        drop(third);
        assert!(room.0.taken.lock().by_key.is_empty(), "nobody is remembered");
    }

    #[test]
    fn what_belongs_to_no_key_may_be_all_of_it() {
        let room = Room::new(100);
        let mut own = room.reservation(None);
        assert_eq!((own.grow_to(100), own.grow_to(10), room.free_bytes()), (Ok(()), Ok(()), 0));
        assert_eq!((own.resize(101), own.resize(10), room.free_bytes()), (Err(Full), Ok(()), 90));
    }
}
