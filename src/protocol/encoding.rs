//! How a body travels: `Content-Encoding`, and the base64 of raven clients inside `/store/` bodies.
//! Nothing here holds more than the caller's limit, whatever a compressed body claims to become.

use std::io::{self, Read};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};

/// Coding of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    /// The zlib format, which is what HTTP means by `deflate` (RFC 9110, 8.4.1.2).
    Deflate,
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
            _ => Err(EncodingError),
        }
    }
}

/// The body as it was before compression, at most `limit` bytes; an identity body is not copied.
pub fn decode(encoding: Encoding, body: Bytes, limit: usize) -> Result<Bytes, DecodeError> {
    match encoding {
        Encoding::Identity if body.len() > limit => Err(DecodeError::TooLarge(limit)),
        Encoding::Identity => Ok(body),
        Encoding::Gzip => gunzip(&body, limit).map(Bytes::from),
        Encoding::Deflate => inflate(&body, limit).map(Bytes::from),
    }
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
        _ => inflate(&decoded, limit).map(Bytes::from),
    }
}

/// Some raven clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Several gzip members in a row are one body (RFC 1952, 2.2).
fn gunzip(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut inflated = Vec::with_capacity(first_capacity(body, limit));
    let beyond_limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(body)
        .take(beyond_limit)
        .read_to_end(&mut inflated)
        .map_err(|_: io::Error| DecodeError::Corrupt)?;
    if inflated.len() > limit { Err(DecodeError::TooLarge(limit)) } else { Ok(inflated) }
}

/// flate2's own zlib reader takes a truncated stream for a finished one; this loop does not.
fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
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
            inflated.reserve(inflated.len().min(limit - inflated.len()) + 1);
        }
    }
}

/// JSON shrinks to about a quarter or better; the vector grows when there is more.
fn first_capacity(body: &[u8], limit: usize) -> usize {
    body.len().saturating_mul(4).clamp(64, limit.max(64))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::engine::general_purpose::STANDARD;
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use proptest::prelude::*;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_header_names_one_coding() {
        for (header, encoding) in [
            (None, Ok(Encoding::Identity)),
            (Some(""), Ok(Encoding::Identity)),
            (Some("UTF-8"), Ok(Encoding::Identity)),
            (Some("identity"), Ok(Encoding::Identity)),
            (Some(" GZip "), Ok(Encoding::Gzip)),
            (Some("deflate"), Ok(Encoding::Deflate)),
            (Some("br"), Err(EncodingError)),
            (Some("gzip, br"), Err(EncodingError)),
            (Some("gzip, gzip"), Err(EncodingError)),
        ] {
            assert_eq!(Encoding::parse(header), encoding, "{header:?}");
        }
    }

    #[test]
    fn several_gzip_members_are_one_body() {
        let body = [gzip(b"{\"a\":"), gzip(b"1}")].concat();
        assert_eq!(decode(Encoding::Gzip, body.into(), 100).unwrap(), "{\"a\":1}");
    }

    #[test]
    fn empty_truncated_and_corrupt_bodies_are_refused() {
        let plain = b"an event that is long enough to be cut anywhere".repeat(20);
        for (encoding, body) in [(Encoding::Gzip, gzip(&plain)), (Encoding::Deflate, zlib(&plain))] {
            for length in 0..body.len() {
                let cut = Bytes::copy_from_slice(&body[..length]);
                assert_eq!(decode(encoding, cut, 10_000), Err(DecodeError::Corrupt), "{encoding:?} cut at {length}");
            }
            assert_eq!(decode(encoding, "not compressed".into(), 10_000), Err(DecodeError::Corrupt));
            assert_eq!(decode(encoding, body.into(), 10_000).unwrap(), plain);
        }
    }

    #[test]
    fn the_limit_holds_to_the_byte() {
        for length in [0, 1, 99, 100, 101, 1000, 1 << 20] {
            let plain = vec![b'a'; length];
            let expected = if length > 100 { Err(DecodeError::TooLarge(100)) } else { Ok(Bytes::from(plain.clone())) };
            assert_eq!(decode(Encoding::Identity, plain.clone().into(), 100), expected, "{length}");
            assert_eq!(decode(Encoding::Gzip, gzip(&plain).into(), 100), expected, "{length}");
            assert_eq!(decode(Encoding::Deflate, zlib(&plain).into(), 100), expected, "{length}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = zlib(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(inflate(&bomb, 1 << 20), Err(DecodeError::TooLarge(1 << 20)));
        let encoded = STANDARD.encode(bomb);
        assert_eq!(store_body(encoded.into(), 1 << 20), Err(DecodeError::TooLarge(1 << 20)));
    }

    #[test]
    fn store_bodies_of_every_generation_are_json_in_the_end() {
        let json = r#"{"message":"hello"}"#;
        for body in [
            json.to_owned(),
            format!("\n {json}"),
            STANDARD.encode(json),
            STANDARD.encode(zlib(json.as_bytes())),
            STANDARD.encode(zlib(json.as_bytes())).trim_end_matches('=').to_owned(),
            format!("{}\r\n", STANDARD.encode(json)),
        ] {
            assert_eq!(store_body(body.clone().into(), 1000).unwrap().trim_ascii(), json.as_bytes(), "{body}");
        }
        assert_eq!(store_body(Bytes::new(), 10), Err(DecodeError::Empty));
        assert_eq!(store_body("[1]".into(), 10), Err(DecodeError::Corrupt));
        assert_eq!(store_body(json.into(), 10), Err(DecodeError::TooLarge(10)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(body: Vec<u8>, limit in 0_usize..100) {
            for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate] {
                if let Ok(decoded) = decode(encoding, body.clone().into(), limit) {
                    prop_assert!(decoded.len() <= limit);
                }
            }
            let _ = store_body(body.into(), limit);
        }

        #[test]
        fn what_was_compressed_comes_back(plain: Vec<u8>) {
            prop_assert_eq!(&decode(Encoding::Gzip, gzip(&plain).into(), 1000).unwrap(), &plain);
            prop_assert_eq!(&decode(Encoding::Deflate, zlib(&plain).into(), 1000).unwrap(), &plain);
        }
    }
}
