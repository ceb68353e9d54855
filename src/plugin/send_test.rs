//! Sends an event with the DSN of a key, to see that errors arrive.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use uuid::Uuid;

use super::{
    PluginError,
    cluster::{self, Cluster, name},
    dsn::{dsn_in, secret_of},
    error::chain,
    forward::Target,
    output::{note, print},
};
use crate::{
    crd::ClientKey,
    dsn::Dsn,
    kubernetes::names::{DSN_ENTRY, PROJECT_LABEL},
};

/// Label of every pod that receives events, and its port.
const LABEL: &str = "app.kubernetes.io/name=error-tracking-ingest";
const PORT: &str = "ingest";

const PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer of ingest: an id, or a sentence.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Send a test event with the DSN of a key, through a port of an ingest pod.
///
/// When it ends without an error, the event is stored. It is the error "Test event of kubectl errors" in the console.
#[derive(Clone, Debug, clap::Args)]
pub struct SendTest {
    /// Name of the key, as `kubectl get clientkeys` has it.
    #[arg(value_parser = name)]
    key: String,
}

pub async fn send_test(command: &SendTest, options: &cluster::Options) -> Result<(), PluginError> {
    let cluster = options.connect().await?;
    let key = cluster.key(&command.key).await?.key;
    if let Some(server) = cluster.server_of(&key).await? {
        return Err(PluginError::Refused(format!(
            "{server} keeps the errors of project {}: send it an event with `kubectl errors dsn {}`",
            key.spec.project_ref.name, command.key
        )));
    }
    let dsn = dsn_of(&cluster, &key).await?;
    let (namespace, project) = (key.project_namespace(), key.spec.project_ref.name.as_str());
    let labels = format!("{LABEL},{PROJECT_LABEL}={project}");
    let target = cluster.ready_pod(namespace, &labels, PORT).await?.ok_or_else(|| {
        PluginError::Refused(format!("no ingest pod of project {project} is ready in namespace {namespace}"))
    })?;
    let id = Uuid::new_v4().simple().to_string();
    let event = event(&id, &command.key);
    let sent = send(&cluster, &target, &dsn, &event);
    let late = |_| PluginError::Unreachable(format!("ingest did not answer within {} s", PATIENCE.as_secs()));
    timeout(PATIENCE, sent).await.map_err(late)??;
    print(&format!("event {id} stored\n"))?;
    note(&format!("To see it: kubectl errors issues {project} -n {namespace}"));
    Ok(())
}

async fn dsn_of(cluster: &Cluster, key: &ClientKey) -> Result<Dsn, PluginError> {
    let secret_name = secret_of(key).map_err(PluginError::Refused)?;
    let object = cluster.object::<Secret>(secret_name).await?;
    let unreadable = || PluginError::Refused(format!("Secret {secret_name} cannot be read"));
    let secret: Secret = object.try_parse().map_err(|_| unreadable())?;
    let dsn = dsn_in(&secret, &key.name_any(), DSN_ENTRY).map_err(PluginError::Refused)?;
    dsn.parse().map_err(|_| unreadable())
}

fn event(id: &str, key: &str) -> Value {
    json!({
        "event_id": id,
        "platform": "other",
        "level": "info",
        "message": "Test event of kubectl errors",
        "tags": {"client_key": key},
    })
}

/// As an SDK sends an event. 200 means that it is stored.
async fn send(cluster: &Cluster, target: &Target, dsn: &Dsn, event: &Value) -> Result<(), PluginError> {
    let unreachable = |error: &(dyn std::error::Error + 'static)| {
        PluginError::Unreachable(format!("ingest pod {} cannot be reached: {}", target.pod, chain(error)))
    };
    let client = concat!("kubectl-errors/", env!("CARGO_PKG_VERSION"));
    let credentials =
        format!("Sentry sentry_version=7, sentry_client={client}, sentry_key={}", dsn.public_key.as_str());
    let request = Request::post(format!("/api/{}/store/", dsn.project_id))
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .header("X-Sentry-Auth", credentials)
        .body(Full::new(Bytes::from(event.to_string())));
    let request = request.map_err(|error| PluginError::Refused(format!("the event cannot be sent: {error}")))?;
    let stream = cluster.forward(target).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| unreachable(error.as_ref()))?.to_bytes();
    if status == StatusCode::OK {
        return Ok(());
    }
    Err(PluginError::Refused(format!("ingest does not take the event: {status}: {}", String::from_utf8_lossy(&body))))
}
