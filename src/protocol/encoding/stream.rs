//! Decoding piece by piece: never more than the limit is held, whatever the body is.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};

use super::DecodeError;

/// Largest window of zstd as a power of two: 8 MiB, which is what decoders must at least support
/// (RFC 8878, 3.1.1.1.2). A frame may ask for terabytes.
const MAX_ZSTD_WINDOW_LOG: u32 = 23;

/// First bits of brotli's large windows (up to 1 GiB), which the format of HTTP does not have.
const BROTLI_LARGE_WINDOW: u8 = 0b001_0001;

/// What is read of a brotli body at once.
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// Several gzip members in a row are one body (RFC 1952, 2.2).
pub(super) fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    read(MultiGzDecoder::new(body), body, limit)
}

pub(super) fn brotli(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    if body.first().is_some_and(|first| first & 0x7f == BROTLI_LARGE_WINDOW) {
        return Err(DecodeError::Corrupt);
    }
    read(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER_BYTES), body, limit)
}

/// Several frames in a row are one body (RFC 8878, 3.1).
pub(super) fn zstd(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let corrupt = |_: io::Error| DecodeError::Corrupt;
    let mut decoder = zstd::Decoder::with_buffer(body).map_err(corrupt)?;
    decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(corrupt)?;
    read(decoder, body, limit)
}

/// flate2's own zlib reader takes a truncated stream for a finished one; this loop does not.
pub(super) fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut zlib = Decompress::new(true);
    let mut inflated = Vec::with_capacity(first_capacity(body, limit));
    loop {
        let consumed = usize::try_from(zlib.total_in()).unwrap_or(usize::MAX);
        let rest = body.get(consumed..).unwrap_or_default();
        let before = inflated.len();
        match zlib.decompress_vec(rest, &mut inflated, FlushDecompress::None) {
            Ok(Status::StreamEnd) if inflated.len() <= limit => return Ok(inflated),
            Err(_) => return Err(DecodeError::Corrupt),
            Ok(_) => {}
        }
        if inflated.len() > limit {
            return Err(DecodeError::TooLarge(limit));
        }
        if inflated.len() < inflated.capacity() && inflated.len() == before {
            return Err(DecodeError::Corrupt);
        }
        if inflated.len() == inflated.capacity() {
            // One byte beyond the limit is room enough to notice that it is passed.
            inflated.reserve_exact(inflated.len().min(limit - inflated.len()) + 1);
        }
    }
}

fn read(mut reader: impl Read, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoded = Vec::with_capacity(first_capacity(body, limit));
    loop {
        let room = decoded.capacity() - decoded.len();
        let length = reader.by_ref().take(room as u64).read_to_end(&mut decoded);
        let length = length.map_err(|_: io::Error| DecodeError::Corrupt)?;
        if decoded.len() > limit {
            return Err(DecodeError::TooLarge(limit));
        }
        if length < room {
            return Ok(decoded);
        }
        // One byte beyond the limit is room enough to notice that it is passed.
        decoded.reserve_exact(decoded.len().min(limit - decoded.len()) + 1);
    }
}

/// JSON shrinks to about a quarter or better; the vector grows when there is more.
fn first_capacity(body: &[u8], limit: usize) -> usize {
    body.len().saturating_mul(4).clamp(64, limit.max(64))
}
