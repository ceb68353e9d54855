//! Which hashes of the newest grouping are known to be stored: only of the others the older one is computed too, so that
//! their issues are found by it.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::store::ingest::Row;

/// Hashes of one generation, some hundred kilobytes: two are kept, and the older one is forgotten when the newer is full.
const GENERATION: usize = 8_192;

/// The hashes that were committed by this process, each by its first eight bytes. A hash that was forgotten costs an
/// older one; one that another process took away with its issue has none.
#[derive(Debug, Default)]
pub struct Groupings(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    newer: HashSet<u64>,
    older: HashSet<u64>,
}

impl Groupings {
    pub fn is_known(&self, hash: &[u8; 32]) -> bool {
        let (start, generations) = (start(hash), self.0.lock());
        generations.newer.contains(&start) || generations.older.contains(&start)
    }

    /// These were committed.
    pub fn learn(&self, rows: &[Row]) {
        let mut generations = self.0.lock();
        for row in rows {
            let start = start(&row.grouping_hash);
            if generations.newer.contains(&start) {
                continue;
            }
            if generations.newer.len() == GENERATION {
                generations.older = std::mem::take(&mut generations.newer);
            }
            generations.newer.insert(start);
        }
    }
}

fn start(hash: &[u8; 32]) -> u64 {
    hash.iter().take(8).fold(0, |start, byte| (start << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::prepare;

    #[test]
    fn what_was_committed_lately_is_known() {
        let groupings = Groupings::default();
        let row = |number: usize| {
            let mut row = prepare::tests::row(b"{}");
            row.grouping_hash[..8].copy_from_slice(&number.to_be_bytes());
            row
        };
        let rows: Vec<Row> = (0..3 * GENERATION / 2).map(row).collect();
        assert!(!groupings.is_known(&rows[0].grouping_hash));
        groupings.learn(&rows);
        assert!(rows.iter().all(|row| groupings.is_known(&row.grouping_hash)));
        // What is used stays, the rest goes with its generation.
        let more: Vec<Row> = (3 * GENERATION / 2..3 * GENERATION).map(row).collect();
        groupings.learn(&more);
        assert!(!groupings.is_known(&rows[0].grouping_hash));
        assert!(more.iter().all(|row| groupings.is_known(&row.grouping_hash)));
    }
}
