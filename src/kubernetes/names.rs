//! Names that we write into objects of the Kubernetes API: labels, entries of a Secret, and who owns a field.

/// Name under which the API server records the fields that we own.
pub const FIELD_MANAGER: &str = "error-tracking-operator";

/// Label that marks what we made; watches select by it.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
pub const MANAGED_BY: &str = "error-tracking-operator";
/// Name of the project or of the key that a child belongs to.
pub const PROJECT_LABEL: &str = "errortracking.dev/project";
pub const CLIENT_KEY_LABEL: &str = "errortracking.dev/client-key";
pub const RUNNER_BINDING_LABEL: &str = "errortracking.dev/runner-binding";

/// Entries of a key's Secret: the DSN, and the same with a secret key in it.
pub const DSN_ENTRY: &str = "SENTRY_DSN";
pub const DEPRECATED_DSN_ENTRY: &str = "SENTRY_DSN_DEPRECATED";

/// Owns `sentry_dsn` of a runner's configuration, in objects of others, and nothing else.
pub const RUNNER_MANAGER: &str = "error-tracking-runners";
