//! What can go wrong between us and a server, tried on a loopback server that answers what it is told.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{AllowedBackends, ServerError, Web, addresses::Reach};

/// What the loopback server does with a request, after which it closes the connection.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// These bytes.
    Bytes(Vec<u8>),
    /// These bytes, and then nothing, for ever.
    Silence(&'static str),
    /// A head, and a body without an end.
    Endless,
    /// Hangs up.
    Nothing,
}

/// An answer with a status line, headers and a body.
pub(super) fn reply(status: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let length = body.len();
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    Reply::Bytes(format!("{text}\r\n{body}").into_bytes())
}

pub(super) fn ok(body: &str) -> Reply {
    reply("200 OK", &[], body)
}

/// Answers requests with the replies in their order; the last one serves for all that follow.
pub(super) struct Loopback {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Loopback {
    pub(super) async fn with(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            for number in 0.. {
                let Ok((mut connection, _)) = listener.accept().await else { return };
                let request = request(&mut connection).await;
                seen.lock().push(request);
                let reply = replies.get(number).or(replies.last()).cloned();
                perform(&mut connection, reply.unwrap_or(Reply::Nothing)).await;
            }
        });
        Self { port, asked, _task: task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn web(&self) -> Web {
        web(&self.url())
    }

    /// The requests so far, head and body.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    /// The same, each as "METHOD path body".
    pub(super) fn calls(&self) -> Vec<String> {
        let line = |request: &String| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let call = head.split(" HTTP/1.1").next().unwrap();
            if body.is_empty() { call.to_owned() } else { format!("{call} {body}") }
        };
        self.asked.lock().iter().map(line).collect()
    }
}

pub(super) fn web(url: &str) -> Web {
    Web::new(url, None, &AllowedBackends { allowed_backend_hosts: vec![url.to_owned()] }).unwrap()
}

async fn request(connection: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text.into_owned();
            }
        }
        if connection.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return String::from_utf8(read).unwrap();
        }
    }
}

async fn perform(connection: &mut TcpStream, reply: Reply) {
    match reply {
        Reply::Nothing => {}
        Reply::Silence(begun) => {
            connection.write_all(begun.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
        Reply::Bytes(bytes) => {
            // Who has read enough hangs up.
            let _result = connection.write_all(&bytes).await;
        }
        Reply::Endless => {
            let mut chunk = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            while connection.write_all(&chunk).await.is_ok() {
                chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).into_bytes();
            }
        }
    }
}

async fn ask(web: &Web) -> Result<u16, ServerError> {
    let authorization = (HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer s3cret"));
    let answer = web.send(Method::GET, "/api/0/", authorization, None).await;
    answer.map(|answer| answer.status.as_u16())
}

#[tokio::test]
async fn an_answer_is_whole_in_time_and_of_bounded_size_or_an_error() {
    let long_header = "a".repeat(200_000);
    let large = " ".repeat(3 << 20);
    let bytes = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    for (case, what, expected) in [
        ("fine", ok("{}"), Ok(200)),
        ("every status is an answer", reply("503 Away", &[], ""), Ok(503)),
        ("a redirect is not followed", reply("302 Found", &[("location", "http://127.0.0.1:1/")], ""), Ok(302)),
        ("half a body", bytes("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"a\":"), Err(ServerError::Unreachable)),
        ("half a head", bytes("HTTP/1.1 200 OK\r\ncontent-"), Err(ServerError::Unreachable)),
        ("another protocol", bytes("SSH-2.0-OpenSSH_9.2p1\r\n"), Err(ServerError::Unreachable)),
        ("hangs up", Reply::Nothing, Err(ServerError::Unreachable)),
        ("a long body", ok(&large), Err(ServerError::TooLarge)),
        ("a body without an end", Reply::Endless, Err(ServerError::TooLarge)),
        ("a long head", reply("200 OK", &[("a", &long_header)], ""), Err(ServerError::TooLarge)),
    ] {
        let server = Loopback::with(vec![what]).await;
        assert_eq!(ask(&server.web()).await, expected, "{case}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    for begun in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"] {
        let server = Loopback::with(vec![Reply::Silence(begun)]).await;
        let web = server.web().with_deadline(Duration::from_millis(300));
        assert_eq!(ask(&web).await, Err(ServerError::NoAnswer), "{begun:?}");
    }
}

#[tokio::test]
async fn unknown_names_and_closed_ports_are_told_alike() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for url in [format!("http://127.0.0.1:{port}"), "http://no-such-host.invalid".into()] {
        assert_eq!(ask(&web(&url)).await, Err(ServerError::Unreachable), "{url}");
    }
}

#[tokio::test]
async fn a_name_that_leads_to_the_machine_itself_is_not_connected_to() {
    let server = Loopback::with(vec![ok("{}")]).await;
    let url = format!("http://localhost:{}", server.port);
    let within = |reach| Web::within(reach, url.parse().unwrap(), None).unwrap();
    assert_eq!(ask(&within(Reach::Network)).await, Err(ServerError::Unreachable));
    assert!(server.asked().is_empty());
    assert_eq!(ask(&within(Reach::Any)).await, Ok(200));
}

#[test]
fn a_server_that_is_not_allowed_gets_no_client() {
    let refused = |url: &str| Web::new(url, None, &AllowedBackends::default()).err();
    for (url, host) in [
        ("http://sentry.io", "http://sentry.io"),
        ("https://sentry.io:8443", "sentry.io:8443"),
        ("https://errors.example", "errors.example"),
        ("https://[::1]", "[::1]"),
    ] {
        assert_eq!(refused(url), Some(ServerError::HostNotAllowed { host: host.into() }), "{url}");
    }
    assert_eq!(refused("sentry.io"), Some(ServerError::BadUrl));
    assert_eq!(refused("https://sentry.io"), None);
}

#[test]
fn only_addresses_on_the_same_server_have_a_path_here() {
    let web = Web::new("https://sentry.io/below", None, &AllowedBackends::default()).unwrap();
    for (location, path) in [
        ("/api/0/", Some("/api/0/")),
        ("https://sentry.io/api/0/", Some("/api/0/")),
        ("https://Sentry.io:443/api/0/?a=http://b/", Some("/api/0/?a=http://b/")),
        ("http://sentry.io/api/0/", None),
        ("https://sentry.io:8443/api/0/", None),
        ("https://sentry.io.evil.example/api/0/", None),
        ("https://sentry.io@evil.example/api/0/", None),
        ("//evil.example/api/0/", None),
        ("https://sentry.io", None),
        ("api/0/", None),
        ("", None),
    ] {
        assert_eq!(web.path_here(location), path, "{location}");
    }
}

#[tokio::test]
async fn a_request_says_who_asks_and_shows_the_token_nowhere_else() {
    let server = Loopback::with(vec![ok("{}")]).await;
    let web = server.web();
    ask(&web).await.unwrap();
    let asked = server.asked().join("");
    assert!(asked.starts_with("GET /api/0/ HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("user-agent: error-tracking-operator/{}\r\n", env!("CARGO_PKG_VERSION"))));
    assert!(asked.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)), "{asked}");
    assert!(!format!("{web:?}").contains("s3cret"));
}

/// A server with a certificate of its own for these names; its URL and the certificate. It answers two requests.
fn tls_server(names: &[&str], expired: bool) -> (String, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    if expired {
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let (config, listener) = (Arc::new(config), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for connection in listener.incoming().take(2) {
            let mut session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut connection = connection.unwrap();
            let mut stream = rustls::Stream::new(&mut session, &mut connection);
            if stream.read(&mut [0; 4096]).is_ok() {
                let _result = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    (url, certificate.pem())
}

#[tokio::test]
async fn only_a_certificate_that_is_vouched_for_is_talked_to() {
    let allowed = |url: &str| AllowedBackends { allowed_backend_hosts: vec![url.to_owned()] };
    let refused = Err(ServerError::NotVerified);
    for (case, names, expired, bundle, expected) in [
        ("of the authority that is given", "localhost", false, true, Ok(200)),
        ("that nobody signed", "localhost", false, false, refused.clone()),
        ("of another name", "other.example", false, true, refused.clone()),
        ("that has expired", "localhost", true, true, refused),
    ] {
        let (url, pem) = tls_server(&[names], expired);
        let ca_pem = bundle.then_some(pem.as_bytes());
        let web = Web::new(&url, ca_pem, &allowed(&url)).unwrap();
        assert_eq!(ask(&web).await, expected, "{case}");
    }
    // One certificate of many is enough.
    let (url, pem) = tls_server(&["localhost"], false);
    let (_, other) = tls_server(&["other.example"], false);
    let bundle = format!("# ours\n{other}\n{pem}");
    let with_many = Web::new(&url, Some(bundle.as_bytes()), &allowed(&url)).unwrap();
    assert_eq!(ask(&with_many).await, Ok(200));
    // A server that is silent in the handshake looks like none.
    let plain = Loopback::with(vec![ok("{}")]).await;
    let url = plain.url().replace("http:", "https:");
    assert_eq!(ask(&web(&url)).await, Err(ServerError::Unreachable));
}

#[test]
fn a_bundle_without_certificates_is_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n";
    for (case, pem) in [("empty", ""), ("words", "no certificate"), ("nothing in it", broken)] {
        let made = Web::new("https://sentry.io", Some(pem.as_bytes()), &AllowedBackends::default());
        assert_eq!(made.err(), Some(ServerError::BadCertificates), "{case}");
    }
}
