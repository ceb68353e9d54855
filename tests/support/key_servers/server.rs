//! What the doubles have in common: a port, faults, hooks, and the list of calls.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, thread::JoinHandle, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Response;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::super::authority::{Authority, Certificate};
use super::{
    control,
    faults::{Fault, Rule, When, matches_call},
    quota::{Quota, Quotas, RateLimit},
    wire::{Content, Reply, Request, http_date},
};

/// Longest body that is read.
const MAX_BODY: usize = 1 << 20;

/// What a server knows, and how it answers.
pub trait Api: Send + 'static {
    /// How the server behaves, beside what it holds.
    type Switches: Serialize + DeserializeOwned;

    /// With a project and a token that may do everything. DSNs and links begin with `origin`, as `http://127.0.0.1:80`.
    fn new(origin: String) -> Self;

    fn set_origin(&mut self, origin: &str);

    fn switches(&mut self) -> &mut Self::Switches;

    fn rate_limit(&self) -> Option<RateLimit>;

    /// The name of the token of a request, if it is known.
    fn token_name(&self, request: &Request) -> Option<String>;

    fn answer(&mut self, request: &Request) -> Reply;

    /// The answer to a call too many.
    fn refuse(quota: &Quota) -> Reply;

    /// Headers that tell how many calls are left.
    fn quota_headers(quota: &Quota, now: Timestamp) -> Vec<(&'static str, String)>;

    /// Somebody else makes a key in the project of the path.
    fn stranger(&mut self, request: &Request);

    /// Another key in the place of this one.
    fn mistake_key(key: &mut serde_json::Map<String, serde_json::Value>);

    /// The parameter that asks for a page.
    const PAGE: &'static str;

    /// Makes a first page say that another page is next: `page`, counted from 0, of what the request asked for.
    fn announce_page(request: &Request, reply: &mut Reply, page: u64, origin: &str);

    /// Which page a value of the parameter asks for, from 0.
    fn page_number(parameter: &str) -> u64;
}

/// One request. A token has a name here, never its value.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    pub at: Timestamp,
    pub method: String,
    pub path: String,
    pub query: String,
    /// `None`: there was none, or it is not known.
    pub token: Option<String>,
    /// `None`: there was no answer.
    pub status: Option<u16>,
    /// The server did what it was asked, or refused it by its own rules.
    pub acted: bool,
    pub faults: Vec<Fault>,
}

struct Hook<A> {
    when: When,
    method: String,
    path: String,
    /// Matching calls until it runs.
    left: u32,
    action: Box<dyn FnOnce(&mut A) + Send>,
}

pub(super) struct Desk<A> {
    pub api: A,
    pub rules: Vec<Rule>,
    pub calls: Vec<Call>,
    hooks: Vec<Hook<A>>,
    quotas: Quotas,
    origin: String,
}

/// How a reply goes out.
#[derive(Clone, Copy)]
enum Delivery {
    Whole,
    Half,
    Drip(Duration),
    Padded(usize),
    Endless,
    Never,
    Closed,
}

/// What becomes of a request.
struct Outcome {
    reply: Reply,
    wait: Duration,
    delivery: Delivery,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A running double.
pub struct Double<A> {
    desk: Arc<Mutex<Desk<A>>>,
    address: SocketAddr,
    secured: Arc<Mutex<Option<TlsAcceptor>>>,
    authority: Option<String>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl<A: Api> Double<A> {
    /// Names of the certificates of `start_secured`.
    pub const NAMES: &'static str = "DNS:localhost,IP:127.0.0.1";

    /// Over plain HTTP, on a free port.
    pub fn start() -> Self {
        Self::listen(([127, 0, 0, 1], 0).into(), None)
    }

    /// Over TLS, with a certificate of `authority` for this machine.
    pub fn start_secured(authority: &Authority) -> Self {
        let mut double = Self::listen(([127, 0, 0, 1], 0).into(), Some(&authority.issue(Self::NAMES)));
        double.authority = Some(authority.certificate());
        double
    }

    pub fn listen(address: SocketAddr, certificate: Option<&Certificate>) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let origin = format!("{scheme}://{address}");
        let desk = Arc::new(Mutex::new(Desk {
            api: A::new(origin.clone()),
            rules: Vec::new(),
            calls: Vec::new(),
            hooks: Vec::new(),
            quotas: Quotas::default(),
            origin,
        }));
        let secured = Arc::new(Mutex::new(certificate.map(acceptor)));
        let (stop, stopped) = oneshot::channel();
        let served = (Arc::clone(&desk), Arc::clone(&secured));
        // On a thread of its own: a test that waits must not hold it up.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, served.0, served.1) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { desk, address, secured, authority: None, running: Some((stop, thread)) }
    }

    /// Connections from now on see another certificate; the double must have had one.
    pub fn show(&self, certificate: &Certificate) {
        assert!(self.secured.lock().replace(acceptor(certificate)).is_some(), "the double speaks plain HTTP");
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        self.desk.lock().origin.clone()
    }

    /// The CA that `start_secured` was given.
    pub fn authority(&self) -> Option<String> {
        self.authority.clone()
    }

    /// Another scheme, host and port in DSNs, links and `url`: those by which clients reach it.
    pub fn set_origin(&self, origin: &str) {
        let mut desk = self.desk.lock();
        desk.api.set_origin(origin);
        origin.clone_into(&mut desk.origin);
    }

    /// Looks at what the server holds, or changes it. No call is answered meanwhile.
    pub fn with<R>(&self, action: impl FnOnce(&mut A) -> R) -> R {
        action(&mut self.desk.lock().api)
    }

    pub fn fault(&self, rule: Rule) {
        self.desk.lock().rules.push(rule);
    }

    pub fn clear_faults(&self) {
        self.desk.lock().rules.clear();
    }

    /// Ends the faults whose path names this project.
    pub fn clear_faults_of(&self, project: &str) {
        let names = |rule: &Rule| rule.path.split('/').any(|part| part == project);
        self.desk.lock().rules.retain(|rule| !names(rule));
    }

    /// Runs once, before the `nth` call from now on (the next is 1) of a method and path has an effect.
    pub fn before_call(&self, method: &str, path: &str, nth: u32, action: impl FnOnce(&mut A) + Send + 'static) {
        self.hook(When::Before, method, path, nth, Box::new(action));
    }

    /// Runs once, after that call had its effect and before it is answered.
    pub fn after_call(&self, method: &str, path: &str, nth: u32, action: impl FnOnce(&mut A) + Send + 'static) {
        self.hook(When::After, method, path, nth, Box::new(action));
    }

    fn hook(&self, when: When, method: &str, path: &str, nth: u32, action: Box<dyn FnOnce(&mut A) + Send>) {
        let (method, path) = (method.to_owned(), path.to_owned());
        self.desk.lock().hooks.push(Hook { when, method, path, left: nth, action });
    }

    /// All calls so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        self.desk.lock().calls.clone()
    }

    /// How many calls of a method and path have come.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let desk = self.desk.lock();
        desk.calls.iter().filter(|call| matches_call(method, path, &call.method, &call.path)).count()
    }

    pub fn forget_calls(&self) {
        self.desk.lock().calls.clear();
    }
}

impl<A> Drop for Double<A> {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ended = stop.send(());
            let _ended = thread.join();
        }
    }
}

fn acceptor(certificate: &Certificate) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn accept<A: Api>(listener: TcpListener, desk: Arc<Mutex<Desk<A>>>, secured: Arc<Mutex<Option<TlsAcceptor>>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ignored = stream.set_nodelay(true);
        let (desk, secured) = (Arc::clone(&desk), secured.lock().clone());
        connections.spawn(async move {
            match secured {
                None => serve(stream, desk).await,
                // A client that does not trust the certificate ends here.
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, desk).await;
                    }
                }
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<A: Api>(stream: impl AsyncRead + AsyncWrite + Unpin, desk: Arc<Mutex<Desk<A>>>) {
    let answering = service_fn(|request| respond(request, &desk));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    // A connection that ends early is what some faults are for.
    let _ended = builder.serve_connection(TokioIo::new(stream), answering).await;
}

async fn respond<A: Api>(request: http::Request<Incoming>, desk: &Mutex<Desk<A>>) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
    let query = head.uri.query().unwrap_or_default();
    let mut request = Request {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: head.headers,
        body,
        now: Timestamp::now(),
    };
    let Outcome { reply, wait, delivery } = match control::answer(&request, desk) {
        Some(reply) => Outcome { reply, wait: Duration::ZERO, delivery: Delivery::Whole },
        None => desk.lock().handle(&mut request, query),
    };
    tokio::time::sleep(wait).await;
    deliver(&reply, delivery, request.now).await
}

impl<A: Api> Desk<A> {
    fn handle(&mut self, request: &mut Request, query: &str) -> Outcome {
        let (method, path) = (request.method.clone(), request.path.clone());
        let matching = self.rules.iter_mut().filter_map(|rule| rule.takes(&method, &path).then(|| rule.clone()));
        let rules: Vec<Rule> = matching.collect();
        for rule in &rules {
            if let Fault::ClockOffset { seconds } = rule.fault {
                request.now = request.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            }
        }
        let asked_page = forget_page::<A>(request, &rules);
        let token = self.api.token_name(request);

        self.run_hooks(When::Before, request, &rules);
        let prevented = rules.iter().find(|rule| rule.when == When::Before && rule.fault.prevents());
        let mut reply = match prevented {
            None => self.act(request, token.as_deref()),
            Some(rule) => rule.fault.reply().unwrap_or_else(|| Reply::json(200, serde_json::json!({ "id": "0" }))),
        };
        self.run_hooks(When::After, request, &rules);

        let mut wait = Duration::ZERO;
        let mut delivery = Delivery::Whole;
        for rule in &rules {
            match &rule.fault {
                Fault::EchoOtherKey => mistake_keys::<A>(&mut reply.content),
                Fault::ContentType { content_type } => reply.content_type = Some(content_type.clone()),
                // The same cursor each time: that of the second page.
                Fault::SamePage => A::announce_page(request, &mut reply, 1, &self.origin),
                Fault::PagesForever => A::announce_page(request, &mut reply, asked_page + 1, &self.origin),
                Fault::Slow { milliseconds } => wait += Duration::from_millis(*milliseconds),
                Fault::Drip { milliseconds } => delivery = Delivery::Drip(Duration::from_millis(*milliseconds)),
                Fault::Padded { bytes } => delivery = Delivery::Padded(*bytes),
                Fault::HalfBody => delivery = Delivery::Half,
                Fault::Endless => delivery = Delivery::Endless,
                Fault::NeverAnswers => delivery = Delivery::Never,
                Fault::ConnectionClosed => delivery = Delivery::Closed,
                fault if rule.when == When::After => reply = fault.reply().unwrap_or(reply),
                _ => {}
            }
        }
        let answered = !matches!(delivery, Delivery::Never | Delivery::Closed);
        self.calls.push(Call {
            at: Timestamp::now(),
            method,
            path,
            query: query.to_owned(),
            token,
            status: answered.then_some(reply.status),
            acted: prevented.is_none(),
            faults: rules.iter().map(|rule| rule.fault.clone()).collect(),
        });
        Outcome { reply, wait, delivery }
    }

    fn act(&mut self, request: &Request, token: Option<&str>) -> Reply {
        let (Some(token), Some(limit)) = (token, self.api.rate_limit()) else { return self.api.answer(request) };
        let quota = self.quotas.count(token, limit);
        let mut reply = if quota.exceeded() { A::refuse(&quota) } else { self.api.answer(request) };
        reply.headers.extend(A::quota_headers(&quota, request.now));
        reply
    }

    fn run_hooks(&mut self, when: When, request: &Request, rules: &[Rule]) {
        for rule in rules.iter().filter(|rule| rule.when == when) {
            if rule.fault == Fault::StrangerMakesKey {
                self.api.stranger(request);
            }
        }
        let mut waiting = Vec::new();
        for mut hook in std::mem::take(&mut self.hooks) {
            if hook.when == when && matches_call(&hook.method, &hook.path, &request.method, &request.path) {
                hook.left = hook.left.saturating_sub(1);
                if hook.left == 0 {
                    (hook.action)(&mut self.api);
                    continue;
                }
            }
            waiting.push(hook);
        }
        self.hooks = waiting;
    }
}

/// Makes the request one for the first page, if a fault asks for that; which one it was for.
fn forget_page<A: Api>(request: &mut Request, rules: &[Rule]) -> u64 {
    let page = request.parameter(A::PAGE).map_or(0, A::page_number);
    if rules.iter().any(|rule| matches!(rule.fault, Fault::SamePage | Fault::PagesForever)) {
        request.query.retain(|(name, _)| name != A::PAGE);
    }
    page
}

fn mistake_keys<A: Api>(content: &mut Content) {
    match content {
        Content::Json(serde_json::Value::Object(key)) => A::mistake_key(key),
        Content::Json(serde_json::Value::Array(keys)) => {
            keys.iter_mut().filter_map(serde_json::Value::as_object_mut).for_each(A::mistake_key);
        }
        _ => {}
    }
}

async fn deliver(reply: &Reply, delivery: Delivery, now: Timestamp) -> io::Result<Response<Body>> {
    let bytes = reply.bytes();
    let mut response = Response::builder().status(reply.status).header("date", http_date(now));
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    if let Some(content_type) = reply.content_type() {
        response = response.header("content-type", content_type);
    }
    let body = match delivery {
        Delivery::Whole => Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync(),
        Delivery::Padded(length) => {
            let mut padded = bytes.to_vec();
            padded.resize(length.max(bytes.len()), b' ');
            Full::new(padded.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
        }
        Delivery::Half => {
            // A body too short to be halved is as good as no answer.
            response = response.header("content-length", bytes.len());
            let half = bytes.slice(..bytes.len() / 2);
            let frames = stream::iter([Ok(half)]).chain(stream::once(async {
                // What was written goes out while this waits.
                tokio::task::yield_now().await;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            }));
            streamed(frames)
        }
        Delivery::Drip(pause) => {
            response = response.header("content-length", bytes.len());
            streamed(stream::iter(0..bytes.len()).then(move |at| {
                let byte = bytes.slice(at..=at);
                async move {
                    tokio::time::sleep(pause).await;
                    Ok(byte)
                }
            }))
        }
        Delivery::Endless => {
            let beginning = stream::iter([Ok(Bytes::from_static(b"[{\"id\": \""))]);
            streamed(beginning.chain(stream::repeat_with(|| Ok(Bytes::from_static(&[b'a'; 1 << 14])))))
        }
        Delivery::Never => std::future::pending().await,
        Delivery::Closed => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    response.body(body).map_err(io::Error::other)
}

fn streamed(frames: impl stream::Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(frames.map(|bytes| bytes.map(Frame::data))).boxed_unsync()
}
