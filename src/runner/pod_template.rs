//! A pod template as far as it says how a runner gets its configuration.

use std::fmt;

use serde::{Deserialize, de::IgnoredAny};

use super::{ConfigSource, ObjectKind};

#[derive(Deserialize)]
pub(super) struct PodTemplate {
    pub(super) spec: Option<PodSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    /// After reading, those beside the runner.
    #[serde(default)]
    pub(super) containers: Vec<Container>,
    pub(super) init_containers: Option<Vec<Container>>,
    pub(super) volumes: Option<Vec<Volume>>,
    pub(super) termination_grace_period_seconds: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: Option<String>,
    pub(super) command: Option<Vec<String>>,
    pub(super) args: Option<Vec<String>>,
    pub(super) env: Option<Vec<EnvVar>>,
    pub(super) env_from: Option<Vec<EnvFrom>>,
    pub(super) volume_mounts: Option<Vec<VolumeMount>>,
}

/// `value` can be a secret, so there is no `Debug` of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnvVar {
    pub(super) name: String,
    pub(super) value: Option<String>,
    pub(super) value_from: Option<EnvVarSource>,
}

impl fmt::Debug for EnvVar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EnvVar").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names that Kubernetes gives them")]
pub(super) struct EnvVarSource {
    pub(super) secret_key_ref: Option<KeyRef>,
    pub(super) config_map_key_ref: Option<KeyRef>,
    pub(super) field_ref: Option<FieldRef>,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyRef {
    #[serde(default)]
    pub(super) name: String,
    pub(super) key: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FieldRef {
    pub(super) field_path: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EnvFrom {
    #[serde(default)]
    pub(super) prefix: Option<String>,
    pub(super) secret_ref: Option<Named>,
    pub(super) config_map_ref: Option<Named>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VolumeMount {
    pub(super) name: String,
    pub(super) mount_path: String,
    pub(super) sub_path: Option<String>,
    pub(super) sub_path_expr: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) secret: Option<SecretVolume>,
    pub(super) config_map: Option<Projection>,
    pub(super) projected: Option<Projected>,
    pub(super) persistent_volume_claim: Option<IgnoredAny>,
    pub(super) host_path: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretVolume {
    pub(super) secret_name: Option<String>,
    pub(super) items: Option<Vec<KeyToPath>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Projected {
    pub(super) sources: Option<Vec<ProjectedSource>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProjectedSource {
    pub(super) secret: Option<Projection>,
    pub(super) config_map: Option<Projection>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Projection {
    #[serde(default)]
    pub(super) name: String,
    pub(super) items: Option<Vec<KeyToPath>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyToPath {
    pub(super) key: String,
    pub(super) path: String,
}

/// A mounted config.toml.
pub(super) struct File {
    /// Without double slashes.
    pub(super) path: String,
    pub(super) by_sub_path: bool,
}

impl Volume {
    /// The path within the volume that the config.toml of `source` has; `None` where it is not in the volume.
    pub(super) fn path_of(&self, source: &ConfigSource<'_>) -> Option<String> {
        let found = |kind: ObjectKind, name: &str, items: &Option<Vec<KeyToPath>>| {
            if kind != source.kind || name != source.name {
                return None;
            }
            match items {
                None => Some(source.key.to_owned()),
                Some(items) => items.iter().find(|item| item.key == source.key).map(|item| item.path.clone()),
            }
        };
        let part = |kind: ObjectKind, part: &Option<Projection>| {
            part.as_ref().and_then(|part| found(kind, &part.name, &part.items))
        };
        let secret = self.secret.as_ref();
        let whole = secret.and_then(|secret| found(ObjectKind::Secret, secret.secret_name.as_deref()?, &secret.items));
        let mut sources = self.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        whole.or_else(|| part(ObjectKind::ConfigMap, &self.config_map)).or_else(|| {
            sources.find_map(|source| {
                part(ObjectKind::Secret, &source.secret).or_else(|| part(ObjectKind::ConfigMap, &source.config_map))
            })
        })
    }
}

impl Volume {
    /// What it survives is more than the pod.
    pub(super) fn is_kept(&self) -> bool {
        self.persistent_volume_claim.is_some() || self.host_path.is_some()
    }

    /// The objects in it, each with the keys that it names with their paths; `None`: all keys, each under its own name.
    pub(super) fn objects(&self) -> Vec<(ObjectKind, &str, Option<&[KeyToPath]>)> {
        fn part(kind: ObjectKind, part: Option<&Projection>) -> Option<(ObjectKind, &str, Option<&[KeyToPath]>)> {
            part.map(|part| (kind, part.name.as_str(), part.items.as_deref()))
        }
        let whole = self
            .secret
            .as_ref()
            .and_then(|secret| Some((ObjectKind::Secret, secret.secret_name.as_deref()?, secret.items.as_deref())));
        let sources = self.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let parts = sources.flat_map(|source| {
            [part(ObjectKind::Secret, source.secret.as_ref()), part(ObjectKind::ConfigMap, source.config_map.as_ref())]
        });
        [whole, part(ObjectKind::ConfigMap, self.config_map.as_ref())].into_iter().chain(parts).flatten().collect()
    }
}

impl VolumeMount {
    /// The file that `path` of the volume becomes; `None` where another part of the volume is mounted.
    pub(super) fn file(&self, path: &str) -> Option<File> {
        let sub_path = self.sub_path.as_deref().filter(|path| !path.is_empty());
        if self.sub_path_expr.as_deref().is_some_and(|path| !path.is_empty()) {
            // What the expression becomes is known in the pod only: as if it named the file.
            return Some(File { path: normal(&self.mount_path), by_sub_path: true });
        }
        let Some(sub_path) = sub_path else {
            return Some(File { path: normal(&format!("{}/{path}", self.mount_path)), by_sub_path: false });
        };
        let (path, sub_path) = (normal(path), normal(sub_path));
        let rest = path.strip_prefix(&sub_path).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(File { path: normal(&format!("{}{rest}", self.mount_path)), by_sub_path: true })
    }
}

/// An absolute path without double slashes, dots and a slash at the end.
pub(super) fn normal(path: &str) -> String {
    let pieces = path.split('/').filter(|piece| !piece.is_empty() && *piece != ".");
    pieces.fold(String::new(), |path, piece| path + "/" + piece)
}
