//! The cluster of the user's kubeconfig, and what is asked of its API server.

use std::{fmt::Debug, path::PathBuf, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use kube::{
    Api, Client, Config, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{
    error::{Asked, PluginError},
    output,
};
use crate::{
    crd::{ClientKey, ErrorTrackingProject, whole_seconds},
    kubernetes::pages::{Contents, list_each},
};

/// Who wrote a field, as `kubectl get --show-managed-fields` shows it.
const FIELD_MANAGER: &str = "kubectl-errors";
/// An API server that does not accept a connection in this time is away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a part of an answer.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Where the help lists the options of every command.
const CLUSTER: &str = "Cluster";

/// Which cluster and namespace a command is about, as for kubectl.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Namespace; that of the context, or default, when absent.
    #[arg(short, long, global = true, help_heading = CLUSTER, value_parser = name)]
    namespace: Option<String>,
    /// Context of the kubeconfig; its current one when absent.
    #[arg(long, global = true, help_heading = CLUSTER)]
    context: Option<String>,
    /// Path of the kubeconfig; $KUBECONFIG or ~/.kube/config when absent.
    #[arg(long, global = true, help_heading = CLUSTER, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A name that objects and namespaces can have.
pub fn name(text: &str) -> Result<String, String> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_name =
        text.len() <= 253 && bytes.iter().all(|&byte| letter(byte)) && ends(bytes.first()) && ends(bytes.last());
    if is_name { Ok(text.to_owned()) } else { Err("it is no name of an object".to_owned()) }
}

/// The id of a key, as `status.active.keyID` has it.
pub fn key_id(text: &str) -> Result<String, String> {
    let is_id = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_id { Ok(text.to_owned()) } else { Err("it is no id of a key: `kubectl errors keys` has them".to_owned()) }
}

/// A connection to the API server.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// The one that a command is about, unless it is about all.
    pub namespace: String,
}

/// A `ClientKey`, and the object as it came.
pub struct FoundKey {
    pub key: ClientKey,
    pub object: DynamicObject,
}

impl Options {
    pub async fn connect(&self) -> Result<Cluster, PluginError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| PluginError::Config(error.into()))?;
        Ok(Cluster { client, namespace })
    }

    /// The namespace that a command is about. Where it is named, no cluster is needed to know it.
    pub async fn namespace(&self) -> Result<String, PluginError> {
        match &self.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => Ok(self.config().await?.default_namespace),
        }
    }

    async fn config(&self) -> Result<Config, PluginError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        if let Some(path) = &self.kubeconfig {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| PluginError::Config(error.into()))?;
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            return config.map_err(|error| PluginError::Config(error.into()));
        }
        if self.context.is_some() {
            let config = Config::from_kubeconfig(&options).await;
            return config.map_err(|error| PluginError::Config(error.into()));
        }
        // In a pod, where there is no kubeconfig, that of its service account.
        Config::infer().await.map_err(|error| PluginError::Config(error.into()))
    }
}

impl Cluster {
    pub async fn key(&self, name: &str) -> Result<FoundKey, PluginError> {
        let object = self.object::<ClientKey>(name).await?;
        let unreadable = |error| {
            PluginError::Refused(format!("ClientKey {name} cannot be read by this version of kubectl-errors: {error}"))
        };
        Ok(FoundKey { key: object.clone().try_parse().map_err(unreadable)?, object })
    }

    /// The other server that keeps the key, as "Sentry". `None` also for a project that is not there, may not be read, or is of a
    /// version that cannot be.
    pub async fn server_of(&self, key: &ClientKey) -> Result<Option<&'static str>, PluginError> {
        let cluster = Self { client: self.client.clone(), namespace: key.project_namespace().to_owned() };
        match cluster.object::<ErrorTrackingProject>(&key.spec.project_ref.name).await {
            Ok(object) => {
                let project: Option<ErrorTrackingProject> = object.try_parse().ok();
                Ok(project.and_then(|project| project.server().map(|server| server.kind().as_str())))
            }
            Err(error) if error.is_missing_right() || error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn object<K: Resource<DynamicType = ()>>(&self, name: &str) -> Result<DynamicObject, PluginError> {
        let api = self.api::<K>();
        api.get(name).await.map_err(PluginError::on(self.asked::<K>("get", name)))
    }

    /// Every object of a kind, in the namespace or in all.
    pub async fn objects<K: Resource<DynamicType = ()>>(&self, all: bool) -> Result<Vec<DynamicObject>, PluginError> {
        let mut objects = Vec::new();
        self.each::<K>(all, |object| objects.push(object)).await?;
        Ok(objects)
    }

    /// As [`objects`](Self::objects), one after the other, so that not all need to be kept.
    pub async fn each<K: Resource<DynamicType = ()>>(
        &self,
        all: bool,
        each: impl FnMut(DynamicObject),
    ) -> Result<(), PluginError> {
        let everywhere = || Api::all_with(self.client.clone(), &ApiResource::erase::<K>(&()));
        let api = if all { everywhere() } else { self.api::<K>() };
        let mut asked = self.asked::<K>("list", "");
        asked.namespace = asked.namespace.filter(|_| !all);
        list_each(&api, Contents::Whole, each).await.map_err(PluginError::on(asked))
    }

    /// Sets an annotation of a `ClientKey`; with the version of an object, only while it is that one.
    pub async fn annotate(
        &self,
        name: &str,
        annotation: &str,
        value: &str,
        version: Option<&str>,
    ) -> Result<DynamicObject, PluginError> {
        let mut patch = json!({"metadata": {"annotations": {annotation: value}}});
        if let Some(version) = version {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patched = self.api::<ClientKey>().patch(name, &parameters, &Patch::Merge(patch)).await;
        patched.map_err(PluginError::on(self.asked::<ClientKey>("patch", name)))
    }

    /// The API server's clock, in whole seconds: a request for a rotation counts by its time, and the clock of this
    /// machine may be wrong.
    pub async fn now(&self) -> Timestamp {
        whole_seconds(self.server_time().await.unwrap_or_else(Timestamp::now))
    }

    async fn server_time(&self) -> Option<Timestamp> {
        let request = http::Request::get("/version").body(Body::empty()).ok()?;
        let answer = self.client.send(request).await.ok()?;
        let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
        Some(rfc2822::parse(date).ok()?.timestamp())
    }

    fn api<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<K>(&()))
    }

    fn asked<K: Resource<DynamicType = ()>>(&self, verb: &'static str, name: &str) -> Asked {
        Asked {
            verb,
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            namespace: Some(self.namespace.clone()),
            name: name.to_owned(),
        }
    }
}

/// The objects as their type; of one that this version cannot read, its metadata alone, and a note.
pub fn typed<K>(objects: &[DynamicObject], unread: impl Fn(DynamicObject) -> K) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let read = |object: &DynamicObject| {
        object.clone().try_parse().unwrap_or_else(|error| {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            let kind = K::kind(&());
            output::note(&format!("{kind} {name} cannot be read by this version of kubectl-errors: {error}"));
            unread(object.clone())
        })
    };
    objects.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_cannot_lead_elsewhere() {
        let long = "x".repeat(254);
        for (text, is_name, is_id) in [
            ("shop", true, true),
            ("shop-2.web", true, false),
            ("42", true, true),
            ("Shop", false, true),
            ("", false, false),
            ("..", false, false),
            ("shop/status", false, false),
            ("shop?x", false, false),
            ("-n", false, true),
            (&long, false, false),
        ] {
            assert_eq!(name(text).is_ok(), is_name, "{text}");
            assert_eq!(key_id(text).is_ok(), is_id, "{text}");
        }
    }
}
