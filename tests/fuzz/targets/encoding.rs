//! Compressed bodies and those of `/store/`: never more than the limit, and what is accepted is what was compressed.

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use error_tracking_operator::protocol::{
    encoding::{DecodeError, Encoding, decode, store_body},
    event,
};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::receipt;
use crate::seeds::compressed;

/// Events of some length are taken, zip bombs are not.
const LIMIT: usize = 1 << 20;

/// The first byte says the coding.
pub fn check(input: &[u8]) {
    let Some((first, body)) = input.split_first() else { return };
    let coding = first % 5;
    let names = ["identity", "gzip", "deflate", "br", "zstd"];
    let encoding = Encoding::parse(Some(names[usize::from(coding)])).expect("a known coding");
    match decode(encoding, Bytes::copy_from_slice(body), LIMIT) {
        Ok(plain) => {
            assert!(plain.len() <= LIMIT, "{} bytes", plain.len());
            // The quick decoder and the careful one must not differ where both accept. The quick one also takes codes
            // that the careful one finds incomplete; checksums are compared by both.
            let mut expected = Vec::new();
            let accepted = match coding {
                1 => MultiGzDecoder::new(body).read_to_end(&mut expected),
                2 => ZlibDecoder::new(body).read_to_end(&mut expected),
                _ => return,
            };
            assert!(accepted.is_err() || plain == expected, "two decoders read two texts");
        }
        Err(DecodeError::TooLarge(limit)) => assert_eq!(limit, LIMIT),
        Err(DecodeError::Corrupt) => assert_ne!(coding, 0),
        Err(DecodeError::Empty) => assert!(body.is_empty()),
    }
    if body.len() < 4096 {
        let plain = decode(encoding, compressed(coding, body).into(), LIMIT);
        assert_eq!(plain.as_deref(), Ok(body), "there and back");
    }
}

pub fn check_store(input: &[u8]) {
    match store_body(Bytes::copy_from_slice(input), LIMIT) {
        Ok(plain) => {
            assert!(plain.len() <= LIMIT, "{} bytes", plain.len());
            if let Ok(event) = event::parse(&plain, &receipt()) {
                super::event::check_event(&event);
            }
        }
        Err(DecodeError::Empty) => assert!(input.trim_ascii_start().is_empty()),
        Err(DecodeError::TooLarge(_) | DecodeError::Corrupt) => {}
    }
    let begins_as_json = input.first() == Some(&b'{');
    if begins_as_json && input.len() < 4096 {
        for body in [STANDARD.encode(input), STANDARD.encode(compressed(2, input))] {
            assert_eq!(store_body(Bytes::from(body), LIMIT).as_deref(), Ok(input), "there and back");
        }
    }
}
