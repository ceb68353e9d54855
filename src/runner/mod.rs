//! What is known of GitLab Runner's `sentry_dsn`. Pure.
//!
//! In comes what a caller has read: the text of a config.toml, the pod template of a workload, the reference of an
//! image, a DSN. Out goes what it means for the runner, the same text with another DSN, and the lines that people paste.
//! The operator calls it for what it reconciles, and the plugin for runners outside Kubernetes.
//!
//! The source of each rule is GitLab Runner 19.4, its Helm chart 0.86, and the client libraries that its releases pin.

pub mod advice;
pub mod config_toml;
pub mod dsn_rules;
pub mod pod_spec;
mod pod_template;
pub mod version;

pub use config_toml::{Config, ConfigError};
pub use dsn_rules::DsnFault;
pub use pod_spec::{ConfigSource, Environment, ObjectKind, PodSpecError, Reload, RunnerPod, SecretKey};
pub use version::{DsnForm, DsnSource, Generation, Version};
