//! A runner and its binding, as manifests: how it gets its DSN, and which generation it is.

use serde_json::{Value, json};

/// The error that a runner reports begins so, and ends with the runner's name: without digits, so that each has an
/// error of its own.
pub const FAILURE: &str = "Job failed (system failure): no pod for runner";

/// In every config.toml, for nobody to repeat.
pub const TOKEN: &str = "glrt-not-a-token";

/// The grace of runners without jobs, in seconds, and the least that their bindings ask for.
pub const GRACE: u32 = 30;

/// Releases of the runner, by the library with which they report their failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    Raven,
    Eighteen,
    NineteenTwo,
    NineteenThree,
}

impl Generation {
    pub const ALL: [Self; 4] = [Self::Raven, Self::Eighteen, Self::NineteenTwo, Self::NineteenThree];

    fn word(self) -> &'static str {
        match self {
            Self::Raven => "raven",
            Self::Eighteen => "eighteen",
            Self::NineteenTwo => "nineteen-two",
            Self::NineteenThree => "nineteen-three",
        }
    }

    pub fn program(self) -> &'static str {
        match self {
            Self::Raven => "/runner-raven",
            Self::Eighteen => "/runner-0.13",
            Self::NineteenTwo => "/runner-0.45",
            Self::NineteenThree => "/runner-0.48",
        }
    }

    pub fn image(self) -> &'static str {
        match self {
            Self::Raven => "localhost/gitlab-runner:v14.6.1",
            Self::Eighteen => "localhost/gitlab-runner:v18.8.0",
            Self::NineteenTwo => "localhost/gitlab-runner:v19.2.0",
            Self::NineteenThree => "localhost/gitlab-runner:v19.3.0",
        }
    }

    pub fn of_image(image: &str) -> Self {
        Self::ALL.into_iter().find(|generation| generation.image() == image).unwrap()
    }
}

/// How a runner gets its DSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `SENTRY_DSN` from the Secret of the key.
    Environment,
    /// A config.toml in a Secret that is mounted whole: the runner reads it anew.
    Mounted,
    /// A config.toml in a Secret, mounted by `subPath`: it is read when a pod begins.
    SubPath,
    /// A config.toml in a `ConfigMap`, of which the pod makes a copy when it begins, as GitLab's chart does.
    Copied,
    /// `spec.sentryDsn` of a Runner of the GitLab Runner Operator.
    RunnerRef,
}

impl Way {
    pub const ALL: [Self; 5] = [Self::Environment, Self::Mounted, Self::SubPath, Self::Copied, Self::RunnerRef];

    fn word(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Mounted => "mounted",
            Self::SubPath => "sub-path",
            Self::Copied => "copied",
            Self::RunnerRef => "runner-ref",
        }
    }

    /// The variable is read since 19.2, and `sentryDsn` is newer than raven.
    fn has(self, generation: Generation) -> bool {
        match self {
            Self::Environment => matches!(generation, Generation::NineteenTwo | Generation::NineteenThree),
            Self::RunnerRef => generation != Generation::Raven,
            Self::Mounted | Self::SubPath | Self::Copied => true,
        }
    }
}

/// A runner with a key and a binding of its own, all of one name.
#[derive(Clone, Debug)]
pub struct Runner {
    pub name: String,
    pub way: Way,
    pub generation: Generation,
    pub replicas: u32,
    /// Whether the binding restarts it.
    pub rolling: bool,
    /// How long the job takes that each of its pods begins with, in seconds.
    pub job: Option<u32>,
}

impl Runner {
    pub fn new(way: Way, generation: Generation) -> Self {
        Self {
            name: format!("{}-{}", way.word(), generation.word()),
            way,
            generation,
            replicas: replicas(generation),
            rolling: way != Way::Mounted,
            job: None,
        }
    }

    /// Every way for each generation that has it.
    pub fn combinations() -> Vec<Self> {
        let each = |way: Way| Generation::ALL.into_iter().filter(move |generation| way.has(*generation));
        Way::ALL.into_iter().flat_map(|way| each(way).map(move |generation| Self::new(way, generation))).collect()
    }

    pub fn secret(&self) -> String {
        format!("{}-dsn", self.name)
    }

    pub fn grace(&self) -> u32 {
        self.job.map_or(GRACE, |seconds| 2 * seconds)
    }

    /// The object with its config.toml, if there is one.
    pub fn config_object(&self) -> Option<&'static str> {
        match self.way {
            Way::Mounted | Way::SubPath => Some("secret"),
            Way::Copied => Some("configmap"),
            Way::Environment | Way::RunnerRef => None,
        }
    }

    pub fn key(&self) -> Value {
        let mut spec = json!({
            "projectRef": {"name": "shop"},
            "rotation": {"overlap": {"minimum": "5s", "silence": "5s"}},
        });
        if self.generation == Generation::Raven {
            spec["extraKeys"] = json!({"deprecatedDSN": true});
        }
        object("errortracking.dev/v1alpha1", "ClientKey", &self.name, &json!({"spec": spec}))
    }

    pub fn binding(&self) -> Value {
        let workload = json!({"name": self.name});
        let config = |reference: &str| {
            let object = json!({"name": self.name});
            json!({"configToml": {reference: object, "workloadRef": workload, "container": "runner"}})
        };
        let runner = match self.way {
            Way::Environment => json!({"environment": {"workloadRef": workload}}),
            Way::Mounted | Way::SubPath => config("secretRef"),
            Way::Copied => config("configMapRef"),
            Way::RunnerRef => json!({"runnerRef": {"name": self.name}}),
        };
        let mut spec = json!({"clientKeyRef": {"name": self.name}, "runner": runner});
        if self.rolling {
            spec["restart"] = "Rolling".into();
            spec["minimumGracePeriod"] = format!("{}s", self.grace()).into();
        }
        binding(&self.name, &spec)
    }

    /// What somebody has before there is a binding.
    pub fn objects(&self) -> Vec<Value> {
        let name = &self.name;
        if self.way == Way::RunnerRef {
            return vec![runner_object(name, self.generation)];
        }
        let mut pod = Pod::failing(self.generation, name);
        pod.grace = self.grace();
        if let Some(seconds) = self.job {
            pod.environment.push(json!({"name": "JOB", "value": format!("{seconds}s")}));
        }
        let mut objects = Vec::new();
        match self.way {
            Way::Environment => pod.takes_dsn(&self.secret()),
            Way::Mounted => pod.mounts("secret", name),
            Way::SubPath => pod.mounts_by_sub_path("secret", name),
            Way::Copied => pod.copies(name),
            Way::RunnerRef => {}
        }
        if let Some(kind) = self.config_object() {
            objects.push(config_object(kind, name, &config_toml(name)));
        }
        objects.push(pod.deployment(name, self.replicas));
        objects
    }
}

/// A rotation is over when the last of several pods has the key.
pub fn replicas(generation: Generation) -> u32 {
    if generation == Generation::NineteenThree { 2 } else { 1 }
}

/// Runner of the GitLab Runner Operator.
pub fn runner_object(name: &str, generation: Generation) -> Value {
    let spec = json!({
        "gitlabUrl": "https://gitlab.example.com", "token": "runner-token", "concurrent": 4,
        "runnerImage": generation.image(),
    });
    object("apps.gitlab.com/v1beta2", "Runner", name, &json!({"spec": spec}))
}

/// A file as people write it, without a DSN.
pub fn config_toml(name: &str) -> String {
    format!(
        r#"# The runners of the build team.
concurrent = 4
check_interval = 3  # seconds

[session_server]
  session_timeout = 1800

[[runners]]
  name = "{name}"
  url = "https://gitlab.example.com"
  token = "{TOKEN}"
  executor = "kubernetes"
"#
    )
}

/// A Secret or a `ConfigMap` with a config.toml.
pub fn config_object(kind: &str, name: &str, text: &str) -> Value {
    match kind {
        "secret" => object("v1", "Secret", name, &json!({"stringData": {"config.toml": text}})),
        _ => object("v1", "ConfigMap", name, &json!({"data": {"config.toml": text}})),
    }
}

pub fn binding(name: &str, spec: &Value) -> Value {
    object("errortracking.dev/v1alpha1", "RunnerBinding", name, &json!({"spec": spec}))
}

pub fn object(version: &str, kind: &str, name: &str, more: &Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

pub fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// The pods of a runner.
pub struct Pod {
    generation: Generation,
    pub image: String,
    /// Whether its log is read.
    followed: Option<String>,
    command: Vec<String>,
    pub environment: Vec<Value>,
    mounts: Vec<Value>,
    volumes: Vec<Value>,
    pub grace: u32,
}

impl Pod {
    /// One that logs no errors.
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            image: generation.image().to_owned(),
            followed: None,
            command: vec![generation.program().into(), "run".into()],
            environment: Vec::new(),
            mounts: Vec::new(),
            volumes: Vec::new(),
            grace: GRACE,
        }
    }

    /// One that logs an error each second.
    pub fn failing(generation: Generation, name: &str) -> Self {
        let mut pod = Self::new(generation);
        pod.followed = Some(name.to_owned());
        pod.environment.push(json!({"name": "FAIL", "value": "1"}));
        pod.environment.push(json!({"name": "FAIL_MESSAGE", "value": format!("{FAILURE} {name}")}));
        pod
    }

    pub fn takes_dsn(&mut self, secret: &str) {
        let key = json!({"secretKeyRef": {"name": secret, "key": "SENTRY_DSN"}});
        self.environment.push(json!({"name": "SENTRY_DSN", "valueFrom": key}));
    }

    fn volume(&mut self, kind: &str, name: &str) {
        self.volumes.push(match kind {
            "secret" => json!({"name": "config", "secret": {"secretName": name}}),
            _ => json!({"name": "config", "configMap": {"name": name}}),
        });
    }

    pub fn mounts(&mut self, kind: &str, name: &str) {
        self.volume(kind, name);
        self.mounts.push(json!({"name": "config", "mountPath": "/etc/gitlab-runner"}));
    }

    pub fn mounts_by_sub_path(&mut self, kind: &str, name: &str) {
        self.volume(kind, name);
        let path = "/etc/gitlab-runner/config.toml";
        self.mounts.push(json!({"name": "config", "mountPath": path, "subPath": "config.toml"}));
    }

    /// In the order in which GitLab's chart starts a runner.
    pub fn copies(&mut self, config_map: &str) {
        self.volume("configmap", config_map);
        self.volumes.push(json!({"name": "home", "emptyDir": {}}));
        self.mounts.push(json!({"name": "config", "mountPath": "/configmaps"}));
        self.mounts.push(json!({"name": "home", "mountPath": "/home/gitlab-runner"}));
        self.command = vec!["/chart-entrypoint.sh".into(), self.generation.program().into()];
    }

    pub fn deployment(&self, name: &str, replicas: u32) -> Value {
        // Only the logs of pods with this label are read.
        let (label, value) = self.followed.as_deref().map_or(("silent", name), |name| ("runner", name));
        let user = json!({"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}});
        let template = json!({
            "metadata": {"labels": {label: value}},
            "spec": {
                "terminationGracePeriodSeconds": self.grace,
                "automountServiceAccountToken": false,
                "securityContext": user,
                "containers": [{
                    "name": "runner",
                    "image": self.image,
                    "imagePullPolicy": "Never",
                    "command": self.command,
                    "env": self.environment,
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": self.mounts,
                }],
                "volumes": self.volumes,
            },
        });
        let spec = json!({"replicas": replicas, "selector": {"matchLabels": {label: value}}, "template": template});
        let mut deployment = object("apps/v1", "Deployment", name, &json!({"spec": spec}));
        deployment["metadata"]["labels"] = json!({label: value});
        deployment
    }
}
