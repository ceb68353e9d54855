//! How a runner's pods get their config.toml and `SENTRY_DSN`, from the pod template of their workload.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{
    pod_template::{Container, EnvFrom, EnvVarSource, File, KeyRef, PodSpec, PodTemplate, VolumeMount, normal},
    version::{self, Version},
};

/// The variable that runners since 19.2 read.
const VARIABLE: &str = "SENTRY_DSN";

/// What Kubernetes takes when a pod does not say.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Where a runner looks for its config.toml when nobody says: as root, and as the user of GitLab's images.
const DEFAULT_CONFIGS: [&str; 2] = ["/etc/gitlab-runner/config.toml", "/home/gitlab-runner/.gitlab-runner/config.toml"];

/// Name of the file, and the key under which an object has it where nothing else is said.
const CONFIG: &str = "config.toml";

/// Programs with which scripts copy a file.
const COPIES: [&str; 9] = ["cat", "cp", "dd", "envsubst", "install", "mv", "rsync", "sed", "tee"];

/// Kind of an object that holds a config.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Secret,
    ConfigMap,
}

impl ObjectKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The object that holds a config.toml, in the namespace of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigSource<'a> {
    pub kind: ObjectKind,
    pub name: &'a str,
    /// Of its `data`, as `config.toml`.
    pub key: &'a str,
}

/// A key of a Secret, as `SENTRY_DSN` of a `ClientKey`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretKey<'a> {
    pub name: &'a str,
    pub key: &'a str,
}

/// What becomes of a change of the object that holds config.toml, in pods that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reload {
    /// The kubelet renews the file within a minute or two, and the runner looks at it every 3 s.
    Hot,
    /// It is mounted by `subPath` or `subPathExpr`, which the kubelet does not renew.
    SubPath,
    /// The object cannot be changed at all.
    Immutable,
    /// The runner reads a copy that is made when the pod starts: by an init container, by a command, or, as in GitLab's
    /// chart, by a script. Also said when the file is mounted where the runner does not look.
    CopiedAtStart,
    /// No container mounts it.
    NotMounted,
}

/// Where the variable `SENTRY_DSN` of a container comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Environment {
    FromOurSecret,
    /// `what` is for people: `key dsn of Secret other`.
    FromOther {
        what: String,
    },
    /// The value stands in the pod template, perhaps an empty one.
    Literal,
    /// No entry names it, and our Secret is in no `envFrom`.
    Missing,
}

/// Why nothing can be said of a pod template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodSpecError {
    #[error("the pod template has no containers")]
    NoContainers,
    #[error("the pod template has no container {name}; it has {has}")]
    NoSuchContainer { name: String, has: String },
    /// The API server lets no such object in. The source is left out, because it repeats values.
    #[error("the pod template is not as Kubernetes has it")]
    Unreadable,
}

/// A pod template and the container in it that is the runner.
#[derive(Debug)]
pub struct RunnerPod {
    spec: PodSpec,
    container: Container,
}

impl RunnerPod {
    /// Reads `spec.template` of a workload, as JSON. The runner is the container of the given name; with none given,
    /// the first whose image is a runner's by its name, else the first.
    pub fn read(template: &Value, container: Option<&str>) -> Result<Self, PodSpecError> {
        let template = PodTemplate::deserialize(template).map_err(|_| PodSpecError::Unreadable)?;
        let mut spec = template.spec.unwrap_or_default();
        let containers = &mut spec.containers;
        if containers.is_empty() {
            return Err(PodSpecError::NoContainers);
        }
        let at = match container {
            Some(name) => containers.iter().position(|container| container.name == name).ok_or_else(|| {
                let has = containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(", ");
                PodSpecError::NoSuchContainer { name: name.to_owned(), has }
            })?,
            None => containers.iter().position(|container| version::is_runner(container.image())).unwrap_or(0),
        };
        let container = containers.swap_remove(at);
        Ok(Self { spec, container })
    }

    /// Name of the container that is the runner.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container.name
    }

    /// Reference of the image; empty where the template has none.
    #[must_use]
    pub fn image(&self) -> &str {
        self.container.image()
    }

    /// The runner's version, as far as [`Version::of_image`] can tell.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        Version::of_image(self.image())
    }

    /// How long a pod may go on with its jobs after it is told to end, in seconds.
    #[must_use]
    pub fn termination_grace_period_seconds(&self) -> i64 {
        self.spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS)
    }

    /// How the config.toml in `source` reaches the runner. `immutable` is the object's own field.
    ///
    /// `Hot` is said only when the file is mounted as a whole volume exactly where the runner looks, and no command of
    /// the container copies it; a restart too many costs less than a DSN that nobody reads.
    #[must_use]
    pub fn reload(&self, source: &ConfigSource<'_>, immutable: bool) -> Reload {
        let files = self.files(&self.container, source);
        let others = self.spec.init_containers.iter().flatten().chain(&self.spec.containers);
        if files.is_empty() && others.clone().all(|container| self.files(container, source).is_empty()) {
            return Reload::NotMounted;
        }
        if immutable {
            return Reload::Immutable;
        }
        let configs = self.container.configs();
        let Some(read) = files.iter().find(|file| configs.contains(&file.path)) else {
            return Reload::CopiedAtStart;
        };
        if read.by_sub_path {
            Reload::SubPath
        } else if self.container.copies(&read.path) {
            Reload::CopiedAtStart
        } else {
            Reload::Hot
        }
    }

    /// The objects from which the runner may get a config.toml, also by a copy that is made when the pod starts: kind, name
    /// and key of each.
    #[must_use]
    pub fn config_sources(&self) -> Vec<(ObjectKind, String, String)> {
        let volumes = self.spec.volumes.as_deref().unwrap_or_default();
        let containers = self.spec.init_containers.iter().flatten().chain([&self.container]);
        let mounts = containers.flat_map(|container| container.volume_mounts.iter().flatten());
        let mut found = Vec::new();
        for mount in mounts {
            let Some(volume) = volumes.iter().find(|volume| volume.name == mount.name) else { continue };
            for (kind, name, items) in volume.objects() {
                let named =
                    items.map(|items| items.iter().map(|item| (item.key.as_str(), item.path.as_str())).collect());
                let named: Vec<_> = named.unwrap_or_else(|| vec![(CONFIG, CONFIG)]);
                for (key, path) in named {
                    let is_config = mount.file(path).is_some_and(|file| file.path.ends_with(&format!("/{CONFIG}")));
                    let source = (kind, name.to_owned(), key.to_owned());
                    if is_config && !found.contains(&source) {
                        found.push(source);
                    }
                }
            }
        }
        found
    }

    /// Whether what the runner saves in its config.toml is there again after a restart of the pod.
    #[must_use]
    pub fn keeps_config(&self) -> bool {
        let volumes = self.spec.volumes.as_deref().unwrap_or_default();
        let is_kept = |name: &str| volumes.iter().any(|volume| volume.name == name && volume.is_kept());
        let configs = self.container.configs();
        let mounts = self.container.volume_mounts.iter().flatten();
        mounts.filter(|mount| is_kept(&mount.name)).any(|mount| {
            let folder = normal(&mount.mount_path);
            configs
                .iter()
                .any(|config| config.strip_prefix(&folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        })
    }

    /// Where `SENTRY_DSN` of the runner comes from, by the rules of Kubernetes: `env` goes before `envFrom`, and of two
    /// that give the same name the later one counts. What other Secrets and `ConfigMaps` of `envFrom` hold is not known
    /// here, see [`Self::unknown_sources`].
    #[must_use]
    pub fn environment(&self, ours: &SecretKey<'_>) -> Environment {
        let variables = self.container.env.as_deref().unwrap_or_default();
        let named = |name: &str, before: usize| variables[..before].iter().rposition(|entry| entry.name == name);
        let Some(at) = named(VARIABLE, variables.len()) else {
            let whole = |source: &EnvFrom| source.gives(ours);
            let found = self.container.env_from.iter().flatten().any(whole);
            return if found { Environment::FromOurSecret } else { Environment::Missing };
        };
        // `$(OTHER)` stands for a variable that is defined before.
        let other = variables[at].value.as_deref().and_then(|value| value.strip_prefix("$(")?.strip_suffix(')'));
        let entry = other.and_then(|name| named(name, at)).unwrap_or(at);
        match &variables[entry].value_from {
            Some(from) => from.environment(ours),
            None => Environment::Literal,
        }
    }

    /// The sources of `envFrom` that would win over our Secret if they held `SENTRY_DSN` too: those behind it, or all
    /// of them where it is in none. For people, as `Secret other`.
    #[must_use]
    pub fn unknown_sources(&self, ours: &SecretKey<'_>) -> Vec<String> {
        if self.container.env.iter().flatten().any(|entry| entry.name == VARIABLE) {
            return Vec::new();
        }
        let sources = self.container.env_from.as_deref().unwrap_or_default();
        let first = sources.iter().rposition(|source| source.gives(ours)).map_or(0, |at| at + 1);
        sources[first..].iter().filter(|source| source.may_give_variable()).filter_map(EnvFrom::shown).collect()
    }

    /// The files that `source` becomes in a container.
    fn files(&self, container: &Container, source: &ConfigSource<'_>) -> Vec<File> {
        let volumes = self.spec.volumes.as_deref().unwrap_or_default();
        let mounts = container.volume_mounts.iter().flatten();
        let of_mount = |mount: &VolumeMount| {
            let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
            mount.file(&volume.path_of(source)?)
        };
        mounts.filter_map(of_mount).collect()
    }
}

impl Container {
    fn image(&self) -> &str {
        self.image.as_deref().unwrap_or_default()
    }

    /// Command and arguments as simple commands, each of its words. What has blanks in it is taken for a script.
    fn commands(&self) -> Vec<Vec<&str>> {
        let mut commands = vec![Vec::new()];
        for word in self.command.iter().flatten().chain(self.args.iter().flatten()) {
            if !word.contains(char::is_whitespace) {
                commands.last_mut().into_iter().for_each(|command| command.push(word.as_str()));
                continue;
            }
            let simple = word.split([';', '&', '|', '\n', '(', ')', '{', '}', '`']);
            commands.extend(simple.map(words));
            commands.push(Vec::new());
        }
        commands
    }

    /// Where the runner looks for its config.toml, as far as the template says.
    fn configs(&self) -> Vec<String> {
        let mut said = Vec::new();
        for command in self.commands() {
            for (at, word) in command.iter().enumerate() {
                let value = match *word {
                    "--config" | "-config" | "-c" => command.get(at + 1).copied(),
                    word => word.strip_prefix("--config=").or_else(|| word.strip_prefix("-c=")),
                };
                // A shell has `-c` too, and then nothing is mounted where it points to. A relative path is one that
                // nothing can be compared with.
                said.extend(value.map(|value| if value.starts_with('/') { normal(value) } else { value.to_owned() }));
            }
        }
        let literal = |name: &str| {
            let entry = self.env.iter().flatten().rfind(|entry| entry.name == name)?;
            entry.value.as_deref().filter(|value| value.starts_with('/'))
        };
        if said.is_empty() {
            said.extend(literal("CONFIG_FILE").map(normal));
        }
        if said.is_empty() {
            said.extend(DEFAULT_CONFIGS.map(str::to_owned));
            said.extend(literal("HOME").map(|home| normal(&format!("{home}/.gitlab-runner/config.toml"))));
        }
        said
    }

    /// Whether a command of the container copies the file or something of its folder.
    fn copies(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let program = |word: &str| word.rsplit_once('/').map_or(word, |(_, name)| name).to_owned();
        self.commands().iter().any(|command| {
            command.iter().any(|word| COPIES.contains(&program(word).as_str()))
                && command.iter().any(|word| normal(word).starts_with(folder) || word.ends_with(name))
        })
    }
}

/// The words of a simple command of a shell, without quotes.
fn words(command: &str) -> Vec<&str> {
    let words = command.split(|letter: char| letter.is_whitespace() || "\"'<>".contains(letter));
    words.filter(|word| !word.is_empty()).collect()
}

impl EnvVarSource {
    fn environment(&self, ours: &SecretKey<'_>) -> Environment {
        let of_key = |kind: ObjectKind, from: &KeyRef| format!("key {} of {kind} {}", from.key, from.name);
        let what = match (&self.secret_key_ref, &self.config_map_key_ref, &self.field_ref) {
            (Some(secret), ..) if secret.name == ours.name && secret.key == ours.key => {
                return Environment::FromOurSecret;
            }
            (Some(secret), ..) => of_key(ObjectKind::Secret, secret),
            (_, Some(config_map), _) => of_key(ObjectKind::ConfigMap, config_map),
            (.., Some(field)) => format!("field {} of the pod", field.field_path),
            _ => "something else".to_owned(),
        };
        Environment::FromOther { what }
    }
}

impl EnvFrom {
    /// Whether it gives the variable, from our Secret.
    fn gives(&self, ours: &SecretKey<'_>) -> bool {
        let key = VARIABLE.strip_prefix(self.prefix.as_deref().unwrap_or_default());
        self.secret_ref.as_ref().is_some_and(|secret| secret.name == ours.name) && key == Some(ours.key)
    }

    /// Whether it could, if its object had the key.
    fn may_give_variable(&self) -> bool {
        let key = VARIABLE.strip_prefix(self.prefix.as_deref().unwrap_or_default());
        key.is_some_and(|key| !key.is_empty())
    }

    fn shown(&self) -> Option<String> {
        let secret = self.secret_ref.as_ref().map(|secret| (ObjectKind::Secret, &secret.name));
        let config_map = self.config_map_ref.as_ref().map(|config_map| (ObjectKind::ConfigMap, &config_map.name));
        secret.or(config_map).map(|(kind, name)| format!("{kind} {name}"))
    }
}

#[cfg(test)]
#[path = "pod_spec_tests.rs"]
mod tests;
