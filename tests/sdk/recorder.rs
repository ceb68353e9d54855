//! Stands between the SDKs and the ingest server, passes every byte on and remembers what was asked and answered.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use regex::bytes::Regex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub struct Recorder {
    pub address: SocketAddr,
    connections: Arc<Mutex<Vec<Connection>>>,
}

/// Both directions of one connection.
#[derive(Clone, Default)]
struct Connection {
    asked: Arc<Mutex<Vec<u8>>>,
    answered: Arc<Mutex<Vec<u8>>>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// `/envelope/`: what follows the project in the path.
    pub endpoint: String,
    /// The Content-Encoding; empty when there is none.
    pub encoding: String,
    /// As the client names itself.
    pub client: String,
    /// `None`: no answer came.
    pub status: Option<u16>,
}

impl Recorder {
    /// Forwards to `server` until the test's runtime ends.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let connection = Connection::default();
                made.lock().unwrap().push(connection.clone());
                tokio::spawn(async move {
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = TcpStream::connect(server).await.unwrap().into_split();
                    tokio::join!(
                        forward(from_client, to_server, &connection.asked),
                        forward(from_server, to_client, &connection.answered),
                    );
                });
            }
        });
        Self { address, connections }
    }

    /// All requests so far, connection by connection.
    pub fn requests(&self) -> Vec<Request> {
        let connections = self.connections.lock().unwrap();
        let requests = |connection: &Connection| {
            requests_in(&connection.asked.lock().unwrap(), &connection.answered.lock().unwrap())
        };
        connections.iter().flat_map(requests).collect()
    }
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, copy: &Mutex<Vec<u8>>) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        copy.lock().unwrap().extend(&bytes[..length]);
        if to.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
    // The other side is told that nothing more comes.
    let _closed = to.shutdown().await;
}

/// Heads are found by how they look: no body has a request line of HTTP in it, least of all a compressed one.
fn requests_in(asked: &[u8], answered: &[u8]) -> Vec<Request> {
    let heads = Regex::new(r"(?s-u)([A-Z]+) (/[^ \r\n]*) HTTP/1\.[01]\r\n(.*?\r\n)\r\n").unwrap();
    // An interim answer (1xx) is followed by the real one.
    let statuses = Regex::new(r"(?-u)HTTP/1\.[01] ([2-5][0-9][0-9]) ").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut statuses = statuses.captures_iter(answered).map(|found| text(&found[1]).parse().unwrap());
    let request = |found: regex::bytes::Captures| {
        let (path, head) = (text(&found[2]), text(&found[3]));
        Request {
            method: text(&found[1]),
            endpoint: endpoint(&path),
            encoding: header(&head, "content-encoding").unwrap_or_default(),
            client: client(&path, &head).unwrap_or_default(),
            status: statuses.next(),
        }
    };
    heads.captures_iter(asked).map(request).collect()
}

fn endpoint(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let after_project = path.split_once("/api/").and_then(|(_, rest)| rest.split_once('/'));
    after_project.map_or_else(|| path.to_owned(), |(_, endpoint)| format!("/{endpoint}"))
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// `sentry_client` of the header or of the query, else the user agent.
fn client(path: &str, head: &str) -> Option<String> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let in_query = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "sentry_client");
    let in_header = || {
        let auth = header(head, "x-sentry-auth")?;
        auth.split([',', ' ']).find_map(|pair| pair.strip_prefix("sentry_client=")).map(str::to_owned)
    };
    in_query.map(|(_, client)| client.into_owned()).or_else(in_header).or_else(|| header(head, "user-agent"))
}

#[test]
fn requests_are_found_among_bodies_and_answers() {
    let asked = b"OPTIONS /api/7/envelope/?sentry_key=k&sentry_client=js%2F1 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST /p/api/7/store/ HTTP/1.1\r\ncontent-encoding: gzip\r\nX-Sentry-Auth: Sentry sentry_key=k, sentry_client=go/2\r\n\r\n\x1f\x8b\xff\
        POST /api/7/envelope/ HTTP/1.1\r\nUser-Agent: curl/3\r\n\r\n{}";
    let answered = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many Requests\r\n\r\n";
    let request = |method: &str, endpoint: &str, encoding: &str, client: &str, status| Request {
        method: method.into(),
        endpoint: endpoint.into(),
        encoding: encoding.into(),
        client: client.into(),
        status,
    };
    let expected = [
        request("OPTIONS", "/envelope/", "", "js/1", Some(200)),
        request("POST", "/store/", "gzip", "go/2", Some(429)),
        request("POST", "/envelope/", "", "curl/3", None),
    ];
    assert_eq!(requests_in(asked, answered), expected);
}
