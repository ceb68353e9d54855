//! The ways to attack.

use std::{convert::Infallible, fmt::Write as _, io::Write as _, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request as HttpRequest, body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout, timeout_at},
};

use super::{Target, Told};

const MIB: usize = 1 << 20;

/// Of an attack with large events, a second.
const LARGE_EVENTS_PER_SECOND: u32 = 500;
/// As many connections as an ingest process has.
const CONNECTIONS: usize = 1024;
/// Senders that send one request after the other.
const SENDERS: usize = 16;
/// More than may speak HTTP/2, and requests on each.
const HTTP2_CONNECTIONS: usize = 40;
const STREAMS: usize = 64;
/// Between two bytes of a slow client.
const SLOWLY: Duration = Duration::from_secs(1);
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    LargeEvents,
    SlowClients,
    Http2Flood,
    Bombs,
    LargestBodies,
    HeldBodies,
    Expressions,
}

impl Way {
    pub const ALL: [Self; 7] = [
        Self::LargeEvents,
        Self::SlowClients,
        Self::Http2Flood,
        Self::Bombs,
        Self::LargestBodies,
        Self::HeldBodies,
        Self::Expressions,
    ];

    pub fn describe(self) -> &'static str {
        match self {
            Self::LargeEvents => "500 events of 200 KB a second",
            Self::SlowClients => "1,024 clients that send a byte a second, of a head or of a body",
            Self::Http2Flood => "HTTP/2: 40 connections of 64 open bodies, large headers, resets",
            Self::Bombs => "16 senders of 100 MB in 100 KB of gzip",
            Self::LargestBodies => "16 senders of 20 MiB",
            Self::HeldBodies => "64 bodies of 20 MiB that stop before their end",
            Self::Expressions => "16 senders of texts that fill the caches of expressions",
        }
    }

    /// Starts the attackers, who end by themselves at `until`.
    pub fn start(self, target: &Target, until: Instant, told: &Told, attackers: &mut JoinSet<()>) {
        let post = |endpoint, headers, body: &[u8]| post(target, endpoint, headers, body);
        let sender = |requests, pause| send(target.clone(), requests, pause, until, told.clone());
        let slow = |beginning| send_slowly(target.clone(), beginning, until, told.clone());
        match self {
            Self::LargeEvents => {
                let body = post("store", "", event(200_000, 1).as_bytes());
                let pause = Duration::from_secs(1) * u32::try_from(SENDERS).unwrap() / LARGE_EVENTS_PER_SECOND;
                for _ in 0..SENDERS {
                    attackers.spawn(sender(vec![body.clone()], pause));
                }
            }
            Self::SlowClients => {
                let head = Bytes::from(format!("POST {} HTTP/1.1\r\nHost: ingest\r\nX-Slow: ", target.path("store")));
                let body = post("store", "", &vec![b'{'; 100_000]).slice(..head.len() + 50);
                for number in 0..CONNECTIONS {
                    attackers.spawn(slow(if number % 2 == 0 { head.clone() } else { body.clone() }));
                }
            }
            Self::Http2Flood => {
                for _ in 0..HTTP2_CONNECTIONS {
                    attackers.spawn(flood_http2(target.clone(), until, told.clone()));
                }
            }
            Self::Bombs => {
                let gzip = "Content-Encoding: gzip\r\n";
                let bombs = [99, 101].map(|mebibytes| post("envelope", gzip, &bomb(mebibytes)));
                for _ in 0..SENDERS {
                    attackers.spawn(sender(bombs.to_vec(), Duration::ZERO));
                }
            }
            Self::LargestBodies => {
                let body = post("envelope", "", &attachment(20 * MIB - 1000));
                for _ in 0..SENDERS {
                    attackers.spawn(sender(vec![body.clone()], Duration::ZERO));
                }
            }
            Self::HeldBodies => {
                let whole = post("envelope", "", &attachment(20 * MIB - 1000));
                for _ in 0..4 * SENDERS {
                    attackers.spawn(slow(whole.slice(..whole.len() - 1000)));
                }
            }
            Self::Expressions => {
                for number in 0..SENDERS as u64 {
                    let events = (0..8).map(|at| post("store", "", event(60_000, 100 * number + at).as_bytes()));
                    attackers.spawn(sender(events.collect(), Duration::ZERO));
                }
            }
        }
    }
}

/// One request after the other, on a connection for as long as it lasts.
async fn send(target: Target, requests: Vec<Bytes>, pause: Duration, until: Instant, told: Told) {
    let mut ticks = interval(pause.max(Duration::from_micros(1)));
    let mut requests = requests.iter().cycle();
    let mut connection = None;
    while Instant::now() < until {
        ticks.tick().await;
        let open = match connection.take() {
            Some(stream) => Ok(stream),
            None => TcpStream::connect(target.address).await,
        };
        let Ok(mut stream) = open else {
            told.count("not connected");
            continue;
        };
        let Some(request) = requests.next() else { return };
        let answered = async {
            // A server that refuses answers before it has read everything.
            let (mut reader, mut writer) = stream.split();
            let (status, _sent) = tokio::join!(status(&mut reader), writer.write_all(request));
            status
        };
        match timeout(PATIENCE, answered).await {
            Ok(Some(status)) => {
                told.count(&status);
                connection = (status == "200").then_some(stream);
            }
            Ok(None) => told.count("closed"),
            Err(_) => told.count("no answer"),
        }
    }
}

/// Sends `beginning`, and then a byte now and then.
async fn send_slowly(target: Target, beginning: Bytes, until: Instant, told: Told) {
    while Instant::now() < until {
        let Ok(mut stream) = TcpStream::connect(target.address).await else {
            told.count("not connected");
            sleep(SLOWLY).await;
            continue;
        };
        let (mut reader, mut writer) = stream.split();
        let sending = async {
            let _all = writer.write_all(&beginning).await;
            while writer.write_all(b"x").await.is_ok() {
                sleep(SLOWLY).await;
            }
            std::future::pending::<()>().await;
        };
        let ended = async {
            tokio::select! { status = status(&mut reader) => status, () = sending => None }
        };
        match timeout_at(until, ended).await {
            Ok(Some(status)) => told.count(&status),
            Ok(None) => told.count("closed"),
            Err(_) => told.count("kept waiting"),
        }
        sleep(SLOWLY / 4).await;
    }
}

/// The status of an answer whose head and body come at once; `None`: the connection ended.
async fn status(reader: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut answer = [0; 2048];
    match reader.read(&mut answer).await {
        Ok(12..) => Some(String::from_utf8_lossy(&answer[9..12]).into_owned()),
        Ok(_) | Err(_) => None,
    }
}

async fn flood_http2(target: Target, until: Instant, told: Told) {
    while Instant::now() < until {
        let Ok(stream) = TcpStream::connect(target.address).await else {
            told.count("not connected");
            sleep(SLOWLY).await;
            continue;
        };
        let Ok((requests, connection)) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await else {
            told.count("no HTTP/2");
            continue;
        };
        let mut streams = JoinSet::new();
        for number in 0..STREAMS {
            streams.spawn(http2_stream(requests.clone(), target.clone(), number, told.clone()));
        }
        drop(requests);
        let ended = async {
            let answered = async { while streams.join_next().await.is_some() {} };
            tokio::select! { _ended = connection => "connection ended", () = answered => "all answered" }
        };
        told.count(timeout_at(until, ended).await.unwrap_or("kept waiting"));
        sleep(SLOWLY / 10).await;
    }
}

/// A third have an open body, a third a large head, and a third are reset as soon as they began.
async fn http2_stream(
    mut requests: http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    target: Target,
    number: usize,
    told: Told,
) {
    let slow = stream::unfold(0, |sent| async move {
        if sent > 0 {
            sleep(SLOWLY).await;
        }
        let part = if sent == 0 { Bytes::from(vec![b'{'; 60_000]) } else { Bytes::from_static(b"x") };
        (sent < 60).then_some((Ok(Frame::data(part)), sent + 1))
    });
    let mut request = HttpRequest::post(format!("http://ingest{}", target.path("store")));
    if number % 3 == 1 {
        for header in 0..100 {
            request = request.header(format!("x-{header}"), "v".repeat(80));
        }
    }
    let request = request.body(StreamBody::new(slow).boxed_unsync()).unwrap();
    if requests.ready().await.is_err() {
        return told.count("reset");
    }
    let answer = requests.send_request(request);
    if number % 3 == 2 {
        return drop(timeout(Duration::from_millis(5), answer).await);
    }
    match answer.await {
        Ok(answer) => told.count(answer.status().as_str()),
        Err(_) => told.count("reset"),
    }
}

fn post(target: &Target, endpoint: &str, headers: &str, body: &[u8]) -> Bytes {
    let path = target.path(endpoint);
    let head = format!("POST {path} HTTP/1.1\r\nHost: ingest\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat().into()
}

/// An event whose texts look like secrets, numbers and names, different for each number.
fn event(bytes: usize, number: u64) -> String {
    const LOOKS: [&str; 16] = [
        "password=",
        "Bearer ",
        "4111 1111 1111 1",
        "GB82 WEST 1234 ",
        "eyJabcdef.eyJabcdef",
        "ghp_",
        "AKIA",
        "https://u:p@h/",
        "ann@shop.example ",
        "/home/ann/",
        "C:\\\\Users\\\\ann\\\\",
        "<password>",
        "2026-11-29T10:00:00Z ",
        "10.0.0.1 ",
        "fe80::1 ",
        "0x1f ",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ (number + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut text = |length: usize| {
        let mut text = String::new();
        while text.len() < length {
            let number = next();
            text += LOOKS[usize::try_from(number % 16).unwrap()];
            write!(text, "{:x}.{}-{}\u{e9}{} ", number >> 8, number >> 40, (number >> 20) % 1000, (number >> 30) % 7)
                .unwrap();
        }
        text
    };
    let extras: Vec<_> = (0..bytes / 2000).map(|at| format!(r#""{at}":"{}""#, text(1900))).collect();
    format!(r#"{{"message":"{}","extra":{{{}}}}}"#, text(2000), extras.join(","))
}

/// An envelope with an attachment of so many bytes.
fn attachment(bytes: usize) -> Vec<u8> {
    [attachment_header(bytes).as_bytes(), &vec![b'a'; bytes]].concat()
}

fn attachment_header(bytes: usize) -> String {
    format!("{{}}\n{{\"type\":\"attachment\",\"length\":{bytes}}}\n")
}

/// The same as gzip, a member for each MiB.
fn bomb(mebibytes: usize) -> Vec<u8> {
    let header = gzip(attachment_header(mebibytes * MIB).as_bytes());
    [header, gzip(&vec![b'a'; MIB]).repeat(mebibytes)].concat()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
