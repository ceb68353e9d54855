//! The console, as the plugin asks it: by the JSON that it has for programs. It is found by itself, and reached through
//! the API server; or it has an address. What it answers is hostile as far as it is text of events: `output` and the
//! tables make it fit for a terminal.

mod entrance;
mod url;
mod who;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    rt::{Read, Write},
};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tower::{Service as _, ServiceExt as _};

use self::{
    url::ConsoleUrl,
    who::{OF_COMMAND, TOKEN_VARIABLE, Who},
};
use super::{
    PluginError,
    cluster::{self, Cluster, name},
    error::chain,
    forward::{Anywhere, Target},
};
use crate::console_api::{AUDIENCE, Problem};

/// Labels of the console's pods, and their port.
const LABELS: &str = "app.kubernetes.io/name=error-tracking-console";
const PORT: &str = "http";

/// Where the documentation installs it.
const USUAL_NAMESPACE: &str = "error-tracking";

/// How long an answer may take, with the connection that it needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer. The longest that a console gives has a few megabytes.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Where the help lists these options.
const CONSOLE: &str = "Console";

/// Which console is asked, and who asks it.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Address of the console; it is found in the cluster when absent.
    #[arg(long, help_heading = CONSOLE, env = "ERRORTRACKING_CONSOLE", value_name = "URL")]
    console: Option<ConsoleUrl>,
    /// Namespace that error-tracking-operator is installed in; looked for when absent.
    #[arg(long, help_heading = CONSOLE, env = "ERRORTRACKING_CONSOLE_NAMESPACE", value_name = "NAME", value_parser = name)]
    console_namespace: Option<String>,
    /// File with a token for the console; `ERRORTRACKING_TOKEN` in the environment is the token itself.
    #[arg(long, help_heading = CONSOLE, value_name = "FILE", conflicts_with = "service_account")]
    token_file: Option<PathBuf>,
    /// Service account of the namespace to ask as: a token of it is made, for ten minutes.
    #[arg(long, help_heading = CONSOLE, value_name = "NAME", value_parser = name)]
    service_account: Option<String>,
}

/// A console that can be asked.
pub struct Console {
    /// Namespace that a command is about.
    pub namespace: String,
    way: Way,
    who: Who,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// What keeps the connections going.
    connections: JoinSet<()>,
}

enum Way {
    Address(ConsoleUrl),
    Pod(Cluster, Target),
}

impl Options {
    /// The console, and who asks. Nothing is sent to it yet.
    pub async fn find(&self, options: &cluster::Options) -> Result<Console, PluginError> {
        self.find_for(OF_COMMAND, options).await
    }

    /// The same, with a token that lasts so long where one is made.
    pub async fn find_for(&self, lasts: Duration, options: &cluster::Options) -> Result<Console, PluginError> {
        let who = match (&self.token_file, &self.service_account) {
            (Some(path), _) => Who::of_file(path)?,
            (None, Some(name)) => Who::of_service_account(name.clone(), options.connect().await?, lasts),
            (None, None) => Who::of_environment().unwrap_or(Who::Nobody),
        };
        let way = if let Some(url) = &self.console {
            Way::Address(url.clone())
        } else {
            let cluster = options.connect().await?;
            let target = self.pod(&cluster).await?;
            Way::Pod(cluster, target)
        };
        let namespace = options.namespace().await?;
        Ok(Console { namespace, way, who, connection: None, connections: JoinSet::new() })
    }

    /// A pod of the console. Who may see pods of one namespace only finds it where it is usually, or where they say.
    async fn pod(&self, cluster: &Cluster) -> Result<Target, PluginError> {
        if let Some(namespace) = &self.console_namespace {
            let none = || PluginError::Refused(format!("no pod of the console is ready in namespace {namespace}"));
            return cluster.ready_pod(namespace, LABELS, PORT).await?.ok_or_else(none);
        }
        // It may be elsewhere, or they may not look there.
        if let Ok(Some(target)) = cluster.ready_pod(USUAL_NAMESPACE, LABELS, PORT).await {
            return Ok(target);
        }
        match cluster.ready_pod_anywhere(LABELS, PORT).await {
            Ok(Anywhere::In(target)) => Ok(target),
            Ok(Anywhere::Nowhere) => {
                Err(PluginError::Refused("no pod of the console is ready in any namespace".to_owned()))
            }
            Ok(Anywhere::InSeveral(namespaces)) => Err(PluginError::Refused(format!(
                "pods of a console are in several namespaces ({}): say by --console-namespace which one to trust",
                namespaces.join(", ")
            ))),
            Err(error) if error.is_missing_right() => Err(PluginError::Refused(format!(
                "the console cannot be found: it is not in namespace {USUAL_NAMESPACE} as far as you may see, and {error}. Say \
                 by --console-namespace where it is installed, or by --console what its address is"
            ))),
            Err(error) => Err(error),
        }
    }
}

impl Console {
    /// What is at that path, which begins with a slash; where an error was merged into another, that one.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, PluginError> {
        let mut answer = self.ask(&Method::GET, path, "").await?;
        if let Some(place) = elsewhere(&answer) {
            answer = self.ask(&Method::GET, &place, "").await?;
        }
        self.read(answer).await
    }

    /// What comes of a form that is sent to that path.
    pub async fn post<T: DeserializeOwned>(&mut self, path: &str, form: &str) -> Result<T, PluginError> {
        let answer = self.ask(&Method::POST, path, form).await?;
        self.read(answer).await
    }

    async fn ask(&mut self, method: &Method, path: &str, form: &str) -> Result<Response<Incoming>, PluginError> {
        let late = |_| PluginError::Unreachable(format!("the console did not answer within {} s", PATIENCE.as_secs()));
        timeout(PATIENCE, self.send(method, path, form)).await.map_err(late)?
    }

    async fn send(&mut self, method: &Method, path: &str, form: &str) -> Result<Response<Incoming>, PluginError> {
        let token = self.who.token().await?;
        let (base, host) = match &self.way {
            Way::Address(url) => (url.path(), url.authority()),
            // A name that every console answers to.
            Way::Pod(..) => ("", "localhost"),
        };
        let mut request = Request::builder().method(method).uri(format!("{base}{path}")).header(HOST, host);
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
                .map_err(|_| PluginError::Refused("the token cannot be sent".to_owned()))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if *method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::from(Bytes::copy_from_slice(form.as_bytes())));
        let request = request.map_err(|error| PluginError::Refused(format!("{path} cannot be asked for: {error}")))?;
        let mut sender = match self.kept().await {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let answered = sender.send_request(request).await;
        self.connection = Some(sender);
        answered.map_err(|error| self.unreachable(&error))
    }

    /// The connection of the request before, if it is not over by now: who waits for it to be ready learns that before
    /// anything is sent.
    async fn kept(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut sender = self.connection.take()?;
        sender.ready().await.ok()?;
        Some(sender)
    }

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, PluginError> {
        match &self.way {
            Way::Pod(cluster, target) => {
                let stream = cluster.forward(target).await?;
                self.begin(TokioIo::new(stream)).await
            }
            Way::Address(url) => {
                if let Some(address) = url.without_tls() {
                    match TcpStream::connect(address).await {
                        Ok(stream) => self.begin(TokioIo::new(stream)).await,
                        Err(error) => Err(self.unreachable(&error)),
                    }
                } else {
                    let trusting = HttpsConnectorBuilder::new().with_native_roots();
                    let trusting = trusting.map_err(|error| {
                        PluginError::Refused(format!("this machine's certificate authorities cannot be read: {error}"))
                    })?;
                    let mut connector = trusting.https_only().enable_http1().build();
                    let connected = async { connector.ready().await?.call(url.uri()).await };
                    match connected.await {
                        Ok(stream) => self.begin(stream).await,
                        Err(error) => Err(self.unreachable(error.as_ref())),
                    }
                }
            }
        }
    }

    async fn begin<IO>(&mut self, stream: IO) -> Result<SendRequest<Full<Bytes>>, PluginError>
    where
        IO: Read + Write + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(stream).await.map_err(|error| self.unreachable(&error))?;
        self.connections.spawn(async move {
            // Who sends learns of it as well.
            let _ = connection.await;
        });
        Ok(sender)
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> PluginError {
        let place = match &self.way {
            Way::Address(url) => format!("the console at {url}"),
            Way::Pod(_, target) => format!("the console in pod {}/{}", target.namespace, target.pod),
        };
        PluginError::Unreachable(format!("{place} cannot be reached: {}", chain(error)))
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response<Incoming>) -> Result<T, PluginError> {
        let (head, body) = answer.into_parts();
        let status = head.status;
        let collected = timeout(PATIENCE, Limited::new(body, MAX_ANSWER_BYTES).collect()).await;
        let bytes = match collected {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(self.unreachable(error.as_ref())),
            Err(late) => return Err(self.unreachable(&late)),
        };
        if status == StatusCode::UNAUTHORIZED && matches!(self.who, Who::Nobody) {
            return Err(PluginError::Refused(self.nobody()));
        }
        if status != StatusCode::OK {
            return Err(refusal(status, &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            PluginError::Refused(format!(
                "the console does not answer as one of this version does ({error}): update kubectl-errors or the installation"
            ))
        })
    }

    fn nobody(&self) -> String {
        let namespace = &self.namespace;
        format!(
            "the console asks who you are. Name a ServiceAccount that may see errors with --service-account, and a token \
             of it is made for this command; or set {TOKEN_VARIABLE} to what this prints: kubectl create token NAME \
             --namespace {namespace} --audience {AUDIENCE}"
        )
    }
}

/// What the console says of what it did not do.
fn refusal(status: StatusCode, bytes: &[u8]) -> PluginError {
    let message = match serde_json::from_slice::<Problem>(bytes) {
        Ok(Problem { error, command: Some(command), .. }) => format!("{error} {command}"),
        Ok(Problem { error, .. }) => error,
        Err(_) => format!(
            "the console answers {status} and not as one of this version does: update the installation, or look at \
             --console"
        ),
    };
    PluginError::Console { status: status.as_u16(), message }
}

/// The path that another path leads to: the console names its own pages from its root.
fn elsewhere(answer: &Response<Incoming>) -> Option<String> {
    if !answer.status().is_redirection() {
        return None;
    }
    place(answer.headers().get(LOCATION)?.to_str().ok()?)
}

fn place(location: &str) -> Option<String> {
    let place = location.trim_start_matches("../").trim_start_matches("./");
    let is_ours = place.strip_suffix(".json").is_some()
        && !place.starts_with('/')
        && !place.contains(':')
        && !place.contains("..");
    is_ours.then(|| format!("/{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_the_console_are_followed() {
        for (location, path) in [
            ("../../../web/shop/issues/1.json", Some("/web/shop/issues/1.json")),
            ("./web/shop/issues/1.json", Some("/web/shop/issues/1.json")),
            ("../../-/login?to=web", None),
            ("https://attacker.example/a.json", None),
            ("//attacker.example/a.json", None),
            ("../a/../../b.json", None),
        ] {
            assert_eq!(place(location).as_deref(), path, "{location}");
        }
    }

    #[test]
    fn a_refusal_is_said_with_the_command_that_explains_it() {
        let said = |status: u16, body: &str| {
            let PluginError::Console { status, message } = refusal(status.try_into().unwrap(), body.as_bytes()) else {
                panic!("another error")
            };
            (status, message)
        };
        assert_eq!(
            said(404, r#"{"status": 404, "error": "You may not:", "command": "kubectl auth can-i"}"#),
            (404, "You may not: kubectl auth can-i".to_owned())
        );
        assert_eq!(said(503, r#"{"status": 503, "error": "It is away."}"#), (503, "It is away.".to_owned()));
        assert!(said(404, "<html>").1.contains("update the installation"));
    }
}
