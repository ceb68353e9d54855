//! An API server as `kubectl errors` needs it: it lists pods, forwards their ports, makes tokens, and has the objects
//! that it was given. A real one, with nodes that run pods, is in `tests/operator`.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

#[derive(Clone, Default)]
pub struct ApiServer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    address: Option<SocketAddr>,
    /// By path.
    objects: HashMap<String, Value>,
    /// Pods with their labels as a selector has them, and where their port leads.
    pods: Vec<Pod>,
    /// `VERB PATH` of what is refused.
    forbidden: Vec<String>,
    /// `METHOD PATH?QUERY` of every request, in order.
    asked: Vec<String>,
}

#[derive(Clone)]
pub struct Pod {
    pub namespace: &'static str,
    pub name: &'static str,
    /// As `app.kubernetes.io/name=error-tracking-console`.
    pub labels: &'static str,
    pub port: &'static str,
    pub hosts: &'static [&'static str],
    pub leads_to: SocketAddr,
}

impl ApiServer {
    pub async fn start(pods: &[Pod]) -> Self {
        let server = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        {
            let mut state = server.0.lock().unwrap();
            state.address = Some(listener.local_addr().unwrap());
            state.pods = pods.to_vec();
        }
        let answering = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answering = answering.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let answering = answering.clone();
                        async move { answering.answer(request).await }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
                });
            }
        });
        server
    }

    pub fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    pub fn forbid(&self, request: &str) {
        self.0.lock().unwrap().forbidden.push(request.to_owned());
    }

    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    /// A kubeconfig that leads here, with the namespace `web`.
    pub fn kubeconfig(&self) -> Kubeconfig {
        let address = self.0.lock().unwrap().address.unwrap();
        let path = std::env::temp_dir().join(format!("kubeconfig-{}-{}", std::process::id(), address.port()));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://{address}")}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "web"}}],
            "users": [{"name": "test", "user": {}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        Kubeconfig(path)
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let asked = format!("{} {path}", request.method());
        let forbidden = {
            let mut state = self.0.lock().unwrap();
            state.asked.push(format!("{asked}?{query}").trim_end_matches('?').to_owned());
            state.forbidden.contains(&asked)
        };
        if forbidden {
            return Ok(status(403, "User \"eve\" cannot do that"));
        }
        if path.ends_with("/portforward") {
            return Ok(self.forward(request));
        }
        if path.ends_with("/pods") {
            return Ok(answer(200, &self.pods(&path, &query)));
        }
        if path.ends_with("/token") {
            return Ok(token(request).await);
        }
        let found = self.0.lock().unwrap().objects.get(&path).cloned();
        Ok(found.map_or_else(|| status(404, "not found"), |object| answer(200, &object)))
    }

    fn pods(&self, path: &str, query: &str) -> Value {
        let namespace = path.strip_prefix("/api/v1/namespaces/").and_then(|rest| rest.strip_suffix("/pods"));
        let selector = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "labelSelector").unwrap().1;
        let state = self.0.lock().unwrap();
        let fits = |pod: &&Pod| pod.labels == selector && namespace.is_none_or(|namespace| namespace == pod.namespace);
        let pods = state.pods.iter().filter(fits).map(|pod| {
            let arguments: Vec<_> = pod.hosts.iter().map(|host| format!("--host={host}")).collect();
            json!({
                "metadata": {"name": pod.name, "namespace": pod.namespace},
                "spec": {"containers": [{
                    "name": "main", "args": arguments,
                    "ports": [{"name": pod.port, "containerPort": pod.leads_to.port()}],
                }]},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            })
        });
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods.collect::<Vec<_>>()})
    }

    /// Two channels for the port, of which the second is for a failure; each begins with the port.
    fn forward(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let port: u16 = request.uri().query().unwrap().rsplit_once("ports=").unwrap().1.parse().unwrap();
        let pods = self.0.lock().unwrap().pods.clone();
        let Some(pod) = pods.into_iter().find(|pod| {
            pod.leads_to.port() == port
                && request.uri().path() == format!("/api/v1/namespaces/{}/pods/{}/portforward", pod.namespace, pod.name)
        }) else {
            return status(404, "there is no such pod");
        };
        let accept = derive_accept_key(request.headers()[header::SEC_WEBSOCKET_KEY].as_bytes());
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            let (mut to_client, mut from_client) = socket.split();
            let [low, high] = port.to_le_bytes();
            for channel in [0, 1] {
                to_client.send(Message::binary(vec![channel, low, high])).await.unwrap();
            }
            let Ok(stream) = TcpStream::connect(pod.leads_to).await else {
                let _ = to_client.send(Message::binary([[1].as_slice(), b"connection refused"].concat())).await;
                let _ = to_client.close().await;
                return;
            };
            let (mut from_pod, mut to_pod) = stream.into_split();
            let out = async {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(read @ 1..) = from_pod.read(&mut buffer).await {
                    let _ = to_client.send(Message::binary([[0].as_slice(), &buffer[..read]].concat())).await;
                }
                let _ = to_client.close().await;
            };
            let into = async {
                while let Some(Ok(message)) = from_client.next().await {
                    if let Message::Binary(bytes) = message
                        && bytes[0] == 0
                    {
                        let _ = to_pod.write_all(&bytes[1..]).await;
                    }
                }
                let _ = to_pod.shutdown().await;
            };
            tokio::join!(out, into);
        });
        Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, accept)
            .header(header::SEC_WEBSOCKET_PROTOCOL, "v4.channel.k8s.io")
            .body(Full::default())
            .unwrap()
    }
}

/// A token that the reviews of this test know: the name of the `ServiceAccount`.
async fn token(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let name = request.uri().path().split('/').nth_back(1).unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(asked["spec"]["audiences"], json!(["errortracking"]));
    let seconds = asked["spec"]["expirationSeconds"].as_u64().unwrap();
    assert!([600, 8 * 3600].contains(&seconds), "{seconds}");
    asked["status"] = json!({"token": name, "expirationTimestamp": "2030-01-01T00:00:00Z"});
    answer(201, &asked)
}

/// The Secret of a `ClientKey`.
pub fn secret(key: &str, dsn: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": format!("{key}-dsn"), "namespace": "web", "labels": {"errortracking.dev/client-key": key}},
        "data": {"SENTRY_DSN": BASE64_STANDARD.encode(dsn)},
    })
}

fn status(code: u16, message: &str) -> Response<Full<Bytes>> {
    let reason = if code == 403 { "Forbidden" } else { "NotFound" };
    let details = if code == 404 { json!({"name": "it"}) } else { json!({}) };
    answer(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message,
            "reason": reason, "details": details}),
    )
}

fn answer(code: u16, body: &Value) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::from(body.to_string()));
    Response::builder().status(code).header(header::CONTENT_TYPE, "application/json").body(body).unwrap()
}

pub struct Kubeconfig(PathBuf);

impl Kubeconfig {
    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Kubeconfig {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
