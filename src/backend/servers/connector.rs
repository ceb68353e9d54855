//! Connections to a server: the addresses of its name are checked, and the checked ones are connected to.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
    vec,
};

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::net::TcpStream;
use tower::Service;

use super::{ServerError, addresses::Reach};

/// For the name's addresses, the connection and the TLS handshake together. Shorter than the deadline of an answer: a
/// port that is silent must look as one that is closed.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Started<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Looks names up, and keeps the addresses to which they may lead.
#[derive(Clone, Copy)]
pub(super) struct Resolver {
    reach: Reach,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Started<Self::Response, io::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        Box::pin(async move {
            // The connector puts the port of the URL in.
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let permitted: Vec<_> = found.iter().copied().filter(|address| reach.permits(address.ip())).collect();
            if permitted.len() < found.len() {
                // For the platform team alone: who wrote the URL learns that the server cannot be reached.
                tracing::warn!(host = %name, "The name of a server leads to addresses that are not connected to.");
            }
            if permitted.is_empty() {
                return Err(io::Error::other("no address that may be connected to"));
            }
            Ok(permitted.into_iter())
        })
    }
}

/// Connects in time, or not at all.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector<Resolver>>,
}

impl Connector {
    pub(super) fn new(reach: Reach, tls: ClientConfig) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver { reach });
        http.enforce_http(false);
        http.set_nodelay(true);
        Self { https: HttpsConnector::from((http, tls)) }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Failure;
    type Future = Started<Self::Response, Failure>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.https.call(uri);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_DEADLINE, connecting).await {
                Ok(connected) => connected,
                Err(late) => Err(late.into()),
            }
        })
    }
}

/// What is trusted: the public authorities; where a bundle is given, its certificates alone, as `caBundle` means in
/// Kubernetes' own kinds. Who names a private authority wants nobody else to vouch for the server.
pub fn tls(ca_pem: Option<&[u8]>) -> Result<ClientConfig, ServerError> {
    static PUBLIC: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = match ca_pem {
        Some(pem) => Arc::new(bundle(pem)?),
        None => {
            PUBLIC.get_or_init(|| Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })).clone()
        }
    };
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| ServerError::BadCertificates)?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn bundle(pem: &[u8]) -> Result<RootCertStore, ServerError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| ServerError::BadCertificates)?;
        roots.add(certificate).map_err(|_| ServerError::BadCertificates)?;
    }
    if roots.is_empty() { Err(ServerError::BadCertificates) } else { Ok(roots) }
}
