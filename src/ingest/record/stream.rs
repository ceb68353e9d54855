//! Marks, by which the store knows what it has applied.

use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

/// Name of a record for the store, which applies it only if its sequence is above all that it has applied of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub stream: Uuid,
    pub sequence: i64,
}

/// Gives out marks, each above the last. They have to be used in that order, and one that may still be tried again must
/// be settled before the next is used: what is put off needs a stream of its own.
#[derive(Debug)]
pub struct Stream {
    last: Mark,
}

impl Stream {
    pub fn next_mark(&mut self) -> Mark {
        self.last.sequence += 1;
        self.last
    }
}

/// All streams of this process, whose events it counts itself. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Streams(Arc<Mutex<Arc<[Uuid]>>>);

impl Streams {
    /// A new one, which nobody else uses.
    #[must_use]
    pub fn open(&self) -> Stream {
        let stream = Uuid::new_v4();
        let mut ids = self.0.lock();
        *ids = ids.iter().copied().chain([stream]).collect();
        Stream { last: Mark { stream, sequence: 0 } }
    }

    #[must_use]
    pub fn ids(&self) -> Arc<[Uuid]> {
        Arc::clone(&self.0.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_has_its_own_rising_marks() {
        let streams = Streams::default();
        let (mut one, mut two) = (streams.open(), streams.open());
        let marks = [one.next_mark(), one.next_mark(), two.next_mark()];
        assert_eq!(marks.map(|mark| mark.sequence), [1, 2, 1]);
        assert_eq!(*streams.ids(), [marks[0].stream, marks[2].stream]);
    }
}
