//! Decoding in one go with libdeflate, for bodies as SDKs send them. `None` is no verdict: the stream then
//! says what is wrong, or decodes what does not fit here.

use std::cell::RefCell;

use libdeflater::{DecompressionError, Decompressor};
use memchr::memmem;

/// More than this is not set aside on the word of a body.
const MAX_BYTES: usize = 4 << 20;

/// Deflate cannot shrink further: a match of 258 bytes takes two bits.
const MAX_RATIO: usize = 1032;

/// Identification, method, no flags (RFC 1952, 2.3): a header of ten bytes and nothing behind it.
const PLAIN_GZIP: [u8; 4] = [0x1f, 0x8b, 8, 0];

/// CRC-32 and length of what was compressed.
const GZIP_FOOTER_BYTES: usize = 8;

thread_local! {
    /// Its tables are 11 kB; one for each thread is enough.
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// A body of one plain member that fills the body to its last byte.
pub(super) fn gunzip(body: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (rest, footer) = body.split_last_chunk::<GZIP_FOOTER_BYTES>()?;
    let [.., a, b, c, d] = *footer;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?;
    let plausible = length <= limit.min(MAX_BYTES) && length / MAX_RATIO <= body.len();
    if !plausible || !rest.starts_with(&PLAIN_GZIP) {
        return None;
    }
    let mut plain = vec![0; length];
    let decoded = DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.gzip_decompress(body, &mut plain));
    // libdeflate stops behind the first member and does not say where that is. It has compared CRC and
    // length with the eight bytes there: if these eight stand in the body once, and at its end, that is there.
    let only_member = || {
        let crc = libdeflater::crc32(&plain).to_le_bytes();
        footer.starts_with(&crc) && memmem::find(body, footer) == Some(rest.len())
    };
    (decoded == Ok(length) && only_member()).then_some(plain)
}

/// A zlib stream does not say how long it will be; text seldom shrinks to less than an eighth.
pub(super) fn inflate(body: &[u8], limit: usize) -> Option<Vec<u8>> {
    let max = limit.min(MAX_BYTES);
    let mut length = body.len().saturating_mul(8).max(1024);
    loop {
        let mut plain = vec![0; length.min(max)];
        let decoded = DECOMPRESSOR.with_borrow_mut(|decompressor| decompressor.zlib_decompress(body, &mut plain));
        match decoded {
            Ok(length) => {
                plain.truncate(length);
                // Half empty room would wait in the queue with its event.
                plain.shrink_to_fit();
                return Some(plain);
            }
            Err(DecompressionError::InsufficientSpace) if plain.len() < max => length = length.saturating_mul(4),
            Err(_) => return None,
        }
    }
}
