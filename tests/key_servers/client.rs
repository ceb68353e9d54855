//! A client that asks one thing on a connection of its own and shows everything that came.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::support::key_servers::KeyServer;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body came to its end.
    pub whole: bool,
}

/// More than this is not read of a body.
const ENOUGH: usize = 4 << 20;

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn list(&self) -> Vec<Value> {
        self.json().as_array().unwrap().clone()
    }
}

/// With the server's own token, or another.
pub async fn ask(server: &impl KeyServer, method: &str, path: &str, body: Option<Value>) -> Answer {
    try_ask(server, &server.token(), method, path, body).await.unwrap()
}

pub async fn ask_as(server: &impl KeyServer, token: &str, method: &str, path: &str) -> Answer {
    try_ask(server, token, method, path, None).await.unwrap()
}

pub async fn try_ask(
    server: &impl KeyServer,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<Answer, String> {
    let url = server.url();
    let (scheme, host) = url.split_once("://").unwrap();
    let stream = TcpStream::connect(host).await.map_err(|error| error.to_string())?;
    let mut request = Request::builder().method(method).uri(path).header("host", host);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    if scheme == "http" {
        return exchange(stream, request).await;
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(server.authority().unwrap().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    exchange(stream.map_err(|error| error.to_string())?, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let (head, mut body) = response.into_parts();
    let (mut read, mut whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) if read.len() < ENOUGH => read.extend(frame.into_data().unwrap_or_default()),
            _ => {
                whole = false;
                break;
            }
        }
    }
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: read.into(), whole })
}
