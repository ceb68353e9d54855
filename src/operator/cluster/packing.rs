//! Objects of one kind differ little: each is compressed against the beginning of the first one that was seen.

use std::sync::OnceLock;

use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};

/// Fast, and beside such a dictionary hardly larger than the best.
const LEVEL: i32 = 1;
/// Most of the first text that the others are packed against: who makes the first object chooses how long it is.
const EXAMPLE: usize = 16 << 10;
/// In front of what is packed: how long the text is, in bytes; 0: the text follows as it is.
const LENGTH: usize = size_of::<u32>();

/// Packs texts that are alike.
#[derive(Default)]
pub struct Packing(OnceLock<Option<Coders>>);

struct Coders {
    compressor: Mutex<Compressor<'static>>,
    decompressor: Mutex<Decompressor<'static>>,
}

impl std::fmt::Debug for Packing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Packing").finish_non_exhaustive()
    }
}

impl Coders {
    fn like(example: &[u8]) -> std::io::Result<Self> {
        Ok(Self {
            compressor: Mutex::new(Compressor::with_dictionary(LEVEL, example)?),
            decompressor: Mutex::new(Decompressor::with_dictionary(example)?),
        })
    }
}

impl Packing {
    /// The beginning of the first text is what all others are packed against.
    pub fn pack(&self, text: &[u8]) -> Box<[u8]> {
        let coders = self.0.get_or_init(|| Coders::like(&text[..text.len().min(EXAMPLE)]).ok());
        let packed = coders.as_ref().and_then(|coders| coders.compressor.lock().compress(text).ok());
        let (length, body) = match (&packed, u32::try_from(text.len())) {
            (Some(packed), Ok(length)) if packed.len() < text.len() => (length, packed.as_slice()),
            _ => (0, text),
        };
        [&length.to_le_bytes(), body].concat().into_boxed_slice()
    }

    /// What was packed; empty when that was not done here.
    pub fn unpack(&self, packed: &[u8]) -> Vec<u8> {
        let Some((length, body)) = packed.split_first_chunk::<LENGTH>() else { return Vec::new() };
        match (u32::from_le_bytes(*length) as usize, self.0.get()) {
            (0, _) => body.to_vec(),
            (length, Some(Some(coders))) => coders.decompressor.lock().decompress(body, length).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_like_the_first_takes_little() {
        let text = |n: u32| {
            format!(
                r#"{{"metadata":{{"name":"key-{n}","uid":"9f3c-{n}"}},"spec":{{"projectRef":{{"name":"shop"}},"rotation":{{"interval":"2160h","overlap":{{"minimum":"24h","silence":"24h"}}}}}}}}"#
            )
        };
        let packing = Packing::default();
        let packed: Vec<_> = (0..100).map(|n| packing.pack(text(n).as_bytes())).collect();
        for (n, packed) in (0..).zip(&packed) {
            assert_eq!(packing.unpack(packed), text(n).as_bytes());
        }
        assert!(packed[99].len() * 3 < text(99).len(), "{} of {} bytes", packed[99].len(), text(99).len());
        for odd in ["", "x"] {
            assert_eq!(packing.unpack(&packing.pack(odd.as_bytes())), odd.as_bytes());
        }
    }
}
