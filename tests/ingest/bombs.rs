//! Small bodies that become very large ones. Each is answered, soon, and the server goes on.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compress, Compression, FlushCompress};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::{Answer, Request},
    wire::gzip,
    world::{EVENT, World},
};

const MIB: usize = 1 << 20;
const TEN_GIB: usize = 10 << 30;

/// No SDK waits longer for its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// `plain` as blocks of deflate that end at a byte and refer to nothing before them: they can be repeated.
fn blocks(plain: &[u8]) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(plain.len() + 1024);
    Compress::new(Compression::default(), false).compress_vec(plain, &mut blocks, FlushCompress::Full).unwrap();
    blocks
}

/// `start` and then zeros, `length` bytes of them; the checksum at the end is wrong, but nobody gets there.
fn deflated(header: &[u8], start: &[u8], length: usize) -> Vec<u8> {
    let zeros = blocks(&vec![0; MIB]);
    [header, &blocks(start), &zeros.repeat(length / MIB), &[3, 0], &[0; 8]].concat()
}

fn gzip_bomb(start: &[u8], length: usize) -> Vec<u8> {
    deflated(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], start, length)
}

fn zlib_bomb(start: &[u8], length: usize) -> Vec<u8> {
    deflated(&[0x78, 0x9c], start, length)
}

/// Repeats the second of three equal parts, as the parts of a stream of zeros are from there on.
fn brotli_bomb(length: usize) -> Vec<u8> {
    use std::io::Write;
    let part = vec![0; 8 * MIB];
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 1 << 16, 5, 22);
    let mut ends = Vec::new();
    for _ in 0..3 {
        encoder.write_all(&part).unwrap();
        encoder.flush().unwrap();
        ends.push(encoder.get_ref().len());
    }
    let stream = encoder.into_inner();
    let (first, second, third) = (&stream[..ends[0]], &stream[ends[0]..ends[1]], &stream[ends[1]..ends[2]]);
    assert_eq!(second, third);
    [first, &second.repeat(length / part.len())].concat()
}

/// Blocks that say one byte and how often it comes (RFC 8878, 3.1.1.2).
fn zstd_bomb(length: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    let header = u32::try_from(BLOCK << 3 | 1 << 1).unwrap().to_le_bytes();
    let block = [header[0], header[1], header[2], 0];
    // The magic number, no checksum and no size, a window of 128 KiB.
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38][..], &block.repeat(length / BLOCK)].concat()
}

async fn answered(world: &World, request: &Request, name: &str) -> Answer {
    timeout(PATIENCE, world.send(request)).await.unwrap_or_else(|_| panic!("{name}: no answer"))
}

async fn assert_serves(world: &World) {
    let before = world.stored().await;
    assert_eq!(world.send(&world.post("store", EVENT)).await.status, 200);
    assert_eq!(world.stored().await, before + 1);
}

#[tokio::test]
async fn ten_gigabytes_of_zeros_are_refused_in_every_coding_by_every_endpoint() {
    let mut world = World::start().await;
    let bombs = [
        ("gzip", gzip_bomb(b"", TEN_GIB)),
        ("deflate", zlib_bomb(b"", TEN_GIB)),
        ("br", brotli_bomb(TEN_GIB)),
        ("zstd", zstd_bomb(TEN_GIB)),
    ];
    for (coding, bomb) in &bombs {
        println!("{coding}: {} bytes", bomb.len());
        for endpoint in ["store", "envelope", "minidump", "security", "csp-report", "nel"] {
            let path = format!("{}?sentry_key={}", world.path(endpoint), world.key.as_str());
            let request = Request::post(path, bomb.clone()).header("Content-Encoding", *coding);
            let answer = answered(&world, &request.header("Content-Type", "application/json"), coding).await;
            assert_eq!(answer.status, 413, "{coding} to {endpoint}: {}", answer.body);
            assert!(answer.header("x-sentry-error").unwrap().contains("bytes"), "{coding} to {endpoint}");
        }
    }
    assert_serves(&world).await;
    world.end().await;
    let expected = ["error accepted x1", "error refused too_large x12", "security refused too_large x12"];
    assert_eq!(world.outcomes().await, expected);
}

#[tokio::test]
async fn a_bomb_behind_a_good_beginning_is_one_all_the_same() {
    let world = World::start().await;
    let attachment = b"{}\n{\"type\":\"event\"}\n{\"message\":\"m\"}\n{\"type\":\"attachment\"}\n";
    let raven = STANDARD.encode(zlib_bomb(br#"{"message":""#, 1 << 30));
    assert!(raven.len() < 2 * MIB, "{}", raven.len());
    let twice = gzip(&gzip_bomb(b"", 1 << 30));
    for (name, request, status) in [
        ("event", world.post("store", gzip_bomb(br#"{"message":""#, TEN_GIB)).header("Content-Encoding", "gzip"), 413),
        ("attachment", world.post("envelope", gzip_bomb(attachment, TEN_GIB)).header("Content-Encoding", "gzip"), 413),
        ("base64 of zlib", world.post("store", raven), 413),
        (
            "in a header nobody asked to be read twice",
            world.post("store", twice).header("Content-Encoding", "gzip"),
            400,
        ),
        (
            "of a stranger",
            Request::post(world.path("envelope"), zstd_bomb(TEN_GIB)).header("Content-Encoding", "zstd"),
            413,
        ),
        ("two codings", world.post("store", gzip_bomb(b"", MIB)).header("Content-Encoding", "gzip, gzip"), 415),
    ] {
        let answer = answered(&world, &request, name).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
    }
    assert_eq!(world.stored().await, 0);
    assert_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bombs_at_once_keep_no_event_out_for_long() {
    let world = World::start().await;
    let bomb = zstd_bomb(TEN_GIB);
    let request = world.post("envelope", bomb).header("Content-Encoding", "zstd");
    let bombs = futures::future::join_all((0..8).map(|_| answered(&world, &request, "bomb")));
    let event = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answered(&world, &world.post("store", EVENT), "event").await.status
    };
    let (answers, event) = tokio::join!(bombs, event);
    assert_eq!(event, 200);
    for answer in answers {
        assert!(matches!(answer.status, 413 | 503), "{}: {}", answer.status, answer.body);
    }
    assert_eq!(world.stored().await, 1);
}

#[tokio::test]
async fn ten_gigabytes_that_are_really_sent_are_not_taken() {
    let world = World::start().await;
    for (name, length) in [("announced", Some(TEN_GIB)), ("in chunks", None)] {
        let stream = TcpStream::connect(world.address).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sending = {
            let path = world.path("envelope");
            let key = world.key.as_str().to_owned();
            tokio::spawn(async move {
                let coding =
                    length.map_or("Transfer-Encoding: chunked".into(), |length| format!("Content-Length: {length}"));
                let head = format!("POST {path}?sentry_key={key} HTTP/1.1\r\nHost: ingest\r\n{coding}\r\n\r\n");
                let chunk = match length {
                    Some(_) => vec![0; MIB],
                    None => [format!("{MIB:x}\r\n").as_bytes(), &vec![0; MIB], b"\r\n"].concat(),
                };
                let mut sent = 0;
                let mut part = head.as_bytes();
                while sent < TEN_GIB && writer.write_all(part).await.is_ok() {
                    part = &chunk;
                    sent += MIB;
                }
                sent
            })
        };
        let mut answer = vec![0; 12];
        timeout(PATIENCE, reader.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413", "{name}");
        let mut rest = Vec::new();
        let _reset = timeout(PATIENCE, reader.read_to_end(&mut rest)).await.expect("the connection ends");
        drop(reader);
        let sent = timeout(PATIENCE, sending).await.expect("nobody reads on").unwrap();
        println!("{name}: {sent} bytes went out");
        assert!(sent < 200 * MIB, "{name}: {sent}");
    }
    assert_serves(&world).await;
}
