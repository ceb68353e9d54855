//! How a body travels: `Content-Encoding`, and the base64 of raven clients inside `/store/` bodies.
//! Nothing here holds more than the caller's limit, whatever a compressed body claims to become.

mod stream;
mod whole;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

/// Coding of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    /// The zlib format, which is what HTTP means by `deflate` (RFC 9110, 8.4.1.2).
    Deflate,
    /// Python sends it where its `brotli` package is installed.
    Brotli,
    Zstd,
}

/// The coding is one we do not read, or several on top of each other. 415.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported content encoding")]
pub struct EncodingError;

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// 413. Carries the limit in bytes.
    #[error("request body is larger than {0} bytes after decoding")]
    TooLarge(usize),
    /// 400. Truncated counts as corrupt.
    #[error("failed to decode the request body")]
    Corrupt,
    /// 400.
    #[error("empty request body")]
    Empty,
}

impl Encoding {
    /// Ruby sends an empty `Content-Encoding` below 30 KiB, old Java on Android sends `UTF-8`.
    pub fn parse(content_encoding: Option<&str>) -> Result<Self, EncodingError> {
        let coding = content_encoding.unwrap_or_default().trim().to_ascii_lowercase();
        match coding.as_str() {
            "" | "identity" | "utf-8" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "br" => Ok(Self::Brotli),
            "zstd" => Ok(Self::Zstd),
            _ => Err(EncodingError),
        }
    }
}

/// The body as it was before compression, at most `limit` bytes; an identity body is not copied.
pub fn decode(encoding: Encoding, body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    match encoding {
        Encoding::Identity if body.len() > limit => Err(DecodeError::TooLarge(limit)),
        Encoding::Identity => Ok(body),
        _ if body.is_empty() => Err(DecodeError::Empty),
        Encoding::Gzip => gunzip(&body, limit).map(exact),
        Encoding::Deflate => inflate(&body, limit).map(exact),
        Encoding::Brotli => stream::brotli(&body, limit).map(exact),
        Encoding::Zstd => stream::zstd(&body, limit).map(exact),
    }
}

/// Without room for more: callers count what they hold by its length.
fn exact(mut decoded: Vec<u8>) -> Bytes {
    decoded.shrink_to_fit();
    decoded.into()
}

/// In one go where that is safe, which takes a third of the time; whatever that leaves open, the stream decides.
fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    whole::gunzip(body, limit).map_or_else(|| stream::gunzip(body, limit), Ok)
}

fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    whole::inflate(body, limit).map_or_else(|| stream::inflate(body, limit), Ok)
}

/// The event JSON of a `/store/` body: plain, base64, or base64 of zlib, told apart by the first byte,
/// as raven clients name no coding.
pub fn store_body(body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    match body.trim_ascii_start().first() {
        None => return Err(DecodeError::Empty),
        Some(b'{') => return decode(Encoding::Identity, body, limit),
        Some(_) => {}
    }
    let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let decoded = BASE64.decode(text).map_err(|_| DecodeError::Corrupt)?;
    match decoded.first() {
        Some(b'{') => decode(Encoding::Identity, decoded.into(), limit),
        _ => inflate(&decoded, limit).map(exact),
    }
}

/// Some raven clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests;
