//! A double of an OpenID provider, for what no real one answers: it forges, mistakes and delays as it is told.
//! `real_provider` asks a real one.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    future::pending,
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, LazyLock},
};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use parking_lot::Mutex;
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::PublicKeyComponents,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::support::authority::{Authority, Certificate};

pub const CLIENT_ID: &str = "the console";
/// An obvious fake.
pub const CLIENT_SECRET: &str = "not+a:secret";

/// Where it tells of itself, has its keys, and takes codes.
pub const DESCRIPTION: &str = "/.well-known/openid-configuration";
pub const KEYS: &str = "/keys";
pub const TOKEN: &str = "/token";

pub struct Provider {
    pub issuer: String,
    state: Arc<Mutex<State>>,
}

/// How it behaves from now on.
#[derive(Default)]
pub struct Faults {
    /// Fields that it says something else of, or null for nothing, in its description of itself.
    pub description: Value,
    /// The same in an id token.
    pub claims: Value,
    pub token: Forgery,
    /// It takes a code any number of times.
    pub takes_codes_again: bool,
    /// What becomes of a request for a path.
    pub answers: HashMap<&'static str, Fault>,
}

#[derive(Clone, Copy)]
pub enum Fault {
    Never,
    Status(u16),
    Large,
    NoJson,
}

/// How an id token is signed.
#[derive(Clone, Copy, Default)]
pub enum Forgery {
    #[default]
    No,
    Rsa,
    /// Not signed, and says so.
    None,
    /// By HMAC, where the key is what everybody knows of the provider's.
    ByPublicKey,
    /// By another key under the name of the provider's.
    ByAnother,
    NoKeyNamed,
    UnknownKey,
}

struct State {
    issuer: String,
    faults: Faults,
    elliptic: Elliptic,
    codes: HashMap<String, Grant>,
    /// Paths, in order.
    asked: Vec<String>,
}

/// What a code is for.
#[derive(Clone)]
struct Grant {
    challenge: String,
    nonce: String,
    redirect_uri: String,
}

struct Elliptic {
    name: String,
    pair: EcdsaKeyPair,
}

/// One for all, as making it takes a moment.
static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| {
    let mut command = Command::new("openssl");
    command.args(["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    RsaKeyPair::from_pkcs8(PrivatePkcs8KeyDer::from_pem_slice(&output.stdout).unwrap().secret_pkcs8_der()).unwrap()
});

impl Elliptic {
    fn new(name: &str) -> Self {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { name: name.to_owned(), pair: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap() }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

impl Provider {
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// With a certificate of that authority.
    pub async fn start_secured(authority: &Authority) -> Self {
        Self::listen(Some(&authority.issue("DNS:localhost,IP:127.0.0.1"))).await
    }

    async fn listen(certificate: Option<&Certificate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let issuer = format!("{scheme}://{}/team", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            issuer: issuer.clone(),
            faults: Faults::default(),
            elliptic: Elliptic::new("first"),
            codes: HashMap::new(),
            asked: Vec::new(),
        }));
        let (answering, acceptor) = (Arc::clone(&state), certificate.map(acceptor));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, acceptor) = (Arc::clone(&answering), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => converse(stream, state).await,
                        Some(acceptor) => {
                            // Who does not trust it hangs up.
                            if let Ok(stream) = acceptor.accept(stream).await {
                                converse(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        Self { issuer, state }
    }

    /// Somebody signs in here, as the browser was told to ask: the code that it goes back with.
    pub fn authorize(&self, asked: &BTreeMap<String, String>) -> String {
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("scope", "openid groups"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(asked[name], value, "{name}");
        }
        let of = |name: &str| asked[name].clone();
        let grant = Grant { challenge: of("code_challenge"), nonce: of("nonce"), redirect_uri: of("redirect_uri") };
        let code = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        self.state.lock().codes.insert(code.clone(), grant);
        code
    }

    pub fn behave(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Signs with a new key, and knows the old one no more.
    pub fn change_key(&self) {
        self.state.lock().elliptic = Elliptic::new("second");
    }

    /// What was asked since this was called last.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().asked)
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

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let state = Arc::clone(&state);
        async move {
            let (head, body) = request.into_parts();
            let path = head.uri.path().strip_prefix("/team").unwrap_or("elsewhere").to_owned();
            let body = body.collect().await.unwrap().to_bytes();
            let fault = {
                let mut state = state.lock();
                state.asked.push(path.clone());
                state.faults.answers.get(path.as_str()).copied()
            };
            let (status, answer) = match fault {
                Some(Fault::Never) => pending().await,
                Some(Fault::Status(status)) => (status, String::new()),
                Some(Fault::Large) => (200, format!("{{\"a\":\"{}\"}}", "x".repeat(300_000))),
                Some(Fault::NoJson) => (200, "<html>".to_owned()),
                None => state.lock().answer(&path, &head.headers, &body),
            };
            let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            // Of a redirect, which nobody follows.
            let response = response.header("location", "/team/elsewhere");
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(answer))).unwrap())
        }
    });
    // Who hangs up early is in no trouble.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl State {
    fn answer(&mut self, path: &str, headers: &HeaderMap, body: &[u8]) -> (u16, String) {
        match path {
            DESCRIPTION => {
                let issuer = &self.issuer;
                let mut description = json!({
                    "issuer": issuer,
                    "authorization_endpoint": format!("{issuer}/authorize?theme=dark"),
                    "token_endpoint": format!("{issuer}{TOKEN}"),
                    "jwks_uri": format!("{issuer}{KEYS}"),
                });
                change(&mut description, &self.faults.description);
                (200, description.to_string())
            }
            KEYS => (200, self.keys().to_string()),
            TOKEN => match self.exchange(headers, body) {
                Ok(token) => {
                    (200, json!({"access_token": "opaque", "token_type": "Bearer", "id_token": token}).to_string())
                }
                Err((status, error)) => (status, json!({"error": error}).to_string()),
            },
            other => panic!("{other} was asked"),
        }
    }

    fn keys(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let point = self.elliptic.pair.public_key().as_ref();
        let PublicKeyComponents::<Vec<u8>> { n, e } = RSA.public().into();
        json!({"keys": [
            {
                "kty": "EC", "crv": "P-256", "kid": self.elliptic.name,
                "x": encode(&point[1..33]), "y": encode(&point[33..]),
            },
            {
                "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256",
                "n": encode(&n), "e": encode(&e),
            },
        ]})
    }

    fn exchange(&mut self, headers: &HeaderMap, body: &[u8]) -> Result<String, (u16, &'static str)> {
        let form: HashMap<_, _> = form_urlencoded::parse(body).into_owned().collect();
        let shown = match headers.get("authorization") {
            Some(header) => {
                let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap();
                String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
            }
            None => format!(
                "{}:{}",
                form["client_id"].replace(' ', "+"),
                form["client_secret"].replace('+', "%2B").replace(':', "%3A")
            ),
        };
        if shown != "the+console:not%2Ba%3Asecret" {
            return Err((401, "invalid_client"));
        }
        let grant = self.codes.get(&form["code"]).cloned().ok_or((400, "invalid_grant"))?;
        if !self.faults.takes_codes_again {
            self.codes.remove(&form["code"]);
        }
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"]));
        if challenge != grant.challenge || form["redirect_uri"] != grant.redirect_uri {
            return Err((400, "invalid_grant"));
        }
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT_ID, "sub": "ada", "groups": ["web"], "nonce": grant.nonce,
            "iat": now, "exp": now + 60,
        });
        change(&mut claims, &self.faults.claims);
        Ok(self.sign(&claims))
    }

    fn sign(&self, claims: &Value) -> String {
        let name = self.elliptic.name.as_str();
        let elliptic = |message: &[u8]| self.elliptic.sign(message);
        let rsa = |message: &[u8]| {
            let mut signature = vec![0; RSA.public().modulus_len()];
            RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        match self.faults.token {
            Forgery::No => jwt(&json!({"alg": "ES256", "kid": name}), claims, elliptic),
            Forgery::Rsa => jwt(&json!({"alg": "RS256", "kid": "rsa", "typ": "JWT"}), claims, rsa),
            Forgery::None => jwt(&json!({"alg": "none"}), claims, |_| Vec::new()),
            Forgery::ByPublicKey => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, RSA.public().as_ref());
                let sign = |message: &[u8]| hmac::sign(&key, message).as_ref().to_vec();
                jwt(&json!({"alg": "HS256", "kid": "rsa"}), claims, sign)
            }
            Forgery::ByAnother => {
                let other = Elliptic::new("other");
                jwt(&json!({"alg": "ES256", "kid": name}), claims, |message| other.sign(message))
            }
            Forgery::NoKeyNamed => jwt(&json!({"alg": "ES256"}), claims, elliptic),
            Forgery::UnknownKey => jwt(&json!({"alg": "ES256", "kid": "unknown"}), claims, elliptic),
        }
    }
}

fn jwt(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn change(object: &mut Value, changes: &Value) {
    let object = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().into_iter().flatten() {
        object.insert(name.clone(), value.clone());
    }
}

/// The Secret that the console has mounted for its provider.
pub struct ClientSecret(pub std::path::PathBuf);

impl ClientSecret {
    pub fn new(secret: &str, authority: Option<&Authority>) -> Self {
        let folder = std::env::temp_dir().join(format!("oidc-secret-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        // As an editor leaves it.
        writeln!(std::fs::File::create(folder.join("client-secret")).unwrap(), "{secret}").unwrap();
        if let Some(authority) = authority {
            std::fs::write(folder.join("ca.crt"), authority.certificate()).unwrap();
        }
        Self(folder)
    }
}

impl Drop for ClientSecret {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
