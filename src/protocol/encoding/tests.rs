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

fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
    encoder.write_all(plain).unwrap();
    encoder.into_inner()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(plain, 3).unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSING: [(Encoding, Compress); 4] =
    [(Encoding::Gzip, gzip), (Encoding::Deflate, zlib), (Encoding::Brotli, brotli), (Encoding::Zstd, zstd)];

#[test]
fn the_header_names_one_coding() {
    for (header, encoding) in [
        (None, Ok(Encoding::Identity)),
        (Some(""), Ok(Encoding::Identity)),
        (Some("UTF-8"), Ok(Encoding::Identity)),
        (Some("identity"), Ok(Encoding::Identity)),
        (Some(" GZip "), Ok(Encoding::Gzip)),
        (Some("deflate"), Ok(Encoding::Deflate)),
        (Some("X-Gzip"), Ok(Encoding::Gzip)),
        (Some("br"), Ok(Encoding::Brotli)),
        (Some("zstd"), Ok(Encoding::Zstd)),
        (Some("compress"), Err(EncodingError)),
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
    for (encoding, compress) in COMPRESSING {
        let body = compress(&plain);
        assert_eq!(decode(encoding, Bytes::new(), 10_000), Err(DecodeError::Empty), "{encoding:?}");
        for length in 1..body.len() {
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
        for (encoding, compress) in COMPRESSING {
            assert_eq!(decode(encoding, compress(&plain).into(), 100), expected, "{encoding:?} {length}");
        }
    }
}

const MIB: usize = 1 << 20;

/// A compressed MiB of zeros, 10,240 times: each coding can be made to begin anew at a byte.
fn ten_gigabytes(encoding: Encoding) -> Vec<u8> {
    let zeros = vec![0; MIB];
    let (start, repeated) = match encoding {
        Encoding::Gzip => (Vec::new(), gzip(&zeros)),
        Encoding::Zstd => (Vec::new(), zstd(&zeros)),
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&zeros).unwrap();
            encoder.flush().unwrap();
            let start = encoder.get_ref().clone();
            encoder.write_all(&zeros).unwrap();
            encoder.flush().unwrap();
            (start.clone(), encoder.get_ref()[start.len()..].to_vec())
        }
        Encoding::Brotli => {
            let mut encoder = ::brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
            encoder.write_all(&zeros).unwrap();
            encoder.flush().unwrap();
            let start = encoder.get_ref().clone();
            encoder.write_all(&zeros).unwrap();
            encoder.flush().unwrap();
            (start.clone(), encoder.get_ref()[start.len()..].to_vec())
        }
        Encoding::Identity => unreachable!(),
    };
    [start, repeated.repeat(10_240)].concat()
}

#[test]
fn ten_gigabytes_of_zeros_stop_at_the_limit() {
    for (encoding, _) in COMPRESSING {
        let bomb = ten_gigabytes(encoding);
        assert!(bomb.len() < 20 * MIB, "{encoding:?} {}", bomb.len());
        // It is a bomb indeed: the first megabytes are there.
        let start = Bytes::copy_from_slice(&bomb[..bomb.len() / 1000]);
        assert!(matches!(decode(encoding, start, MIB), Err(DecodeError::TooLarge(_))), "{encoding:?}");
        let started = std::time::Instant::now();
        assert_eq!(decode(encoding, bomb.into(), 20 * MIB), Err(DecodeError::TooLarge(20 * MIB)), "{encoding:?}");
        println!("{encoding:?}: {:?}", started.elapsed());
    }
    let encoded = STANDARD.encode(ten_gigabytes(Encoding::Deflate));
    assert_eq!(store_body(encoded.into(), MIB), Err(DecodeError::TooLarge(MIB)));
}

#[test]
fn windows_of_gigabytes_are_refused() {
    let mut encoder = ::zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(24).unwrap();
    encoder.write_all(&vec![0; 20 * MIB]).unwrap();
    let body = encoder.finish().unwrap();
    assert_eq!(decode(Encoding::Zstd, body.into(), 30 * MIB), Err(DecodeError::Corrupt));
    let params = ::brotli::enc::BrotliEncoderParams { quality: 4, lgwin: 30, large_window: true, ..Default::default() };
    let mut body = Vec::new();
    ::brotli::BrotliCompress(&mut &b"hello hello hello"[..], &mut body, &params).unwrap();
    assert_eq!(decode(Encoding::Brotli, body.into(), MIB), Err(DecodeError::Corrupt));
}

#[test]
fn what_stands_behind_a_gzip_member_is_never_left_out() {
    let (a, b) = (gzip(b"aaaa"), gzip(b"bbbb"));
    let footer = &a[a.len() - 8..];
    for (body, expected) in [
        (a.clone(), Ok("aaaa")),
        ([&a[..], &b].concat(), Ok("aaaabbbb")),
        ([&a[..], &a].concat(), Ok("aaaaaaaa")),
        ([&a[..], footer].concat(), Err(DecodeError::Corrupt)),
        ([&a[..], b"xx", footer].concat(), Err(DecodeError::Corrupt)),
        ([&a[..], b"rubbish"].concat(), Err(DecodeError::Corrupt)),
    ] {
        assert_eq!(
            decode(Encoding::Gzip, body.clone().into(), 100),
            expected.map(|text| Bytes::from_static(text.as_bytes())),
            "{body:?}"
        );
    }
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

/// Compressible and incompressible text, so that matches, literals and stored blocks occur.
fn any_plain() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        ("[a-z]{1,6}", 1_usize..300).prop_map(|(word, times)| word.repeat(times).into_bytes()),
    ];
    proptest::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

/// What may happen to a body on its way.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Cut(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Append(Vec<u8>),
    Again,
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        Just(Damage::None),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), 1_u8..).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        proptest::collection::vec(any::<u8>(), 1..20).prop_map(Damage::Append),
        Just(Damage::Again),
    ]
}

fn damaged(mut body: Vec<u8>, damage: Damage) -> Vec<u8> {
    match damage {
        Damage::None => {}
        Damage::Cut(at) => body.truncate(at.index(body.len())),
        Damage::Flip(at, bits) => *at.get_mut(&mut body) ^= bits,
        Damage::Append(more) => body.extend(more),
        Damage::Again => body.extend(body.clone()),
    }
    body
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(body: Vec<u8>, limit in 0_usize..100) {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
            if let Ok(decoded) = decode(encoding, body.clone().into(), limit) {
                prop_assert!(decoded.len() <= limit);
            }
        }
        let _ = store_body(body.into(), limit);
    }

    #[test]
    fn what_was_compressed_comes_back(plain in any_plain()) {
        for (encoding, compress) in COMPRESSING {
            prop_assert_eq!(&decode(encoding, compress(&plain).into(), 10_000).unwrap(), &plain);
        }
    }

    #[test]
    fn in_one_go_and_piece_by_piece_are_the_same(
        members in proptest::collection::vec(any_plain(), 1..3), damage in any_damage(), limit in 0_usize..5_000
    ) {
        let body = damaged(members.iter().flat_map(|plain| gzip(plain)).collect(), damage.clone());
        prop_assert_eq!(gunzip(&body, limit), stream::gunzip(&body, limit));
        let body = damaged(members.iter().flat_map(|plain| zlib(plain)).collect(), damage);
        prop_assert_eq!(inflate(&body, limit), stream::inflate(&body, limit));
    }

    #[test]
    fn damaged_bodies_are_decoded_or_refused(plain in any_plain(), damage in any_damage()) {
        for (encoding, compress) in COMPRESSING {
            if let Ok(decoded) = decode(encoding, damaged(compress(&plain), damage.clone()).into(), 5_000) {
                prop_assert!(decoded.len() <= 5_000);
            }
        }
    }
}

#[test]
fn events_as_sdks_send_them_are_decoded_in_one_go() {
    let plain = br#"{"message":"hello","extra":{"a":1}}"#.repeat(700);
    assert_eq!(whole::gunzip(&gzip(&plain), MIB), Some(plain.clone()));
    assert_eq!(whole::inflate(&zlib(&plain), MIB), Some(plain.clone()));
    assert_eq!(whole::gunzip(&gzip(&plain), plain.len() - 1), None);
    assert_eq!(whole::inflate(&zlib(&plain), plain.len() - 1), None);
}
