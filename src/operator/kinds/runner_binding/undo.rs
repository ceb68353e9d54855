//! What the deletion of a binding takes out again: the DSN that was written, and only that. Nothing is restarted.

use kube::Client;
use secrecy::ExposeSecret as _;
use tracing::info;

use super::{configured::digest, owner, target};
use crate::{
    crd::{BindingDeletionPolicy, RestartPolicy, RunnerBinding},
    kubernetes::Refusal,
    operator::objects::ApplyError,
    runner::config_toml,
};

/// What a deleted binding had written.
pub struct Written {
    namespace: String,
    binding: Box<RunnerBinding>,
    /// Of the DSN.
    digest: String,
}

/// `None`: nothing, or it is to stay.
#[must_use]
pub fn written(namespace: &str, binding: &RunnerBinding, digest: Option<&str>) -> Option<Written> {
    let writes = binding.spec.runner.environment.is_none();
    let digest = digest.filter(|_| writes && binding.spec.deletion_policy == BindingDeletionPolicy::Remove)?;
    Some(Written { namespace: namespace.to_owned(), binding: Box::new(binding.clone()), digest: digest.to_owned() })
}

/// Takes the DSN out where it is still the one that was written. What the operator may not do, or cannot read, stays: a
/// deletion waits for nobody's permission.
pub async fn take_out(client: &Client, written: &Written) -> Result<(), ApplyError> {
    let taken = match &written.binding.spec.runner {
        runner if runner.runner_ref.is_some() => from_runner(client, written).await,
        _ => from_config(client, written).await,
    };
    match taken {
        Err(ApplyError::Kubernetes(refused))
            if matches!(refused.refusal(), Refusal::MissingRight | Refusal::Denied | Refusal::Invalid) =>
        {
            info!(error = %refused, "The DSN stays in a runner's configuration.");
            Ok(())
        }
        taken => taken,
    }
}

async fn from_config(client: &Client, written: &Written) -> Result<(), ApplyError> {
    let Written { namespace, binding, digest: ours } = written;
    let Some(config) = &binding.spec.runner.config_toml else { return Ok(()) };
    let Some((kind, reference)) = super::source(config) else { return Ok(()) };
    let found = target::read_config(client, kind, namespace, &reference.name).await?;
    let Some(object) = found else { return Ok(()) };
    let field = format!("f:{}", reference.key);
    if owner::of_config(&object.metadata, ["f:data", &field]).is_some() || target::is_immutable(&object) {
        return Ok(());
    }
    let Some(text) = target::text(kind, &object, &reference.key) else { return Ok(()) };
    let text = text.expose_secret();
    let is_ours = config_toml::value(text).is_ok_and(|dsn| dsn.is_some_and(|dsn| digest(&dsn) == *ours));
    let Some(edited) = config_toml::set(text, None).ok().filter(|_| is_ours) else { return Ok(()) };
    target::write_config(client, kind, namespace, &object, &reference.key, &edited.into()).await
}

async fn from_runner(client: &Client, written: &Written) -> Result<(), ApplyError> {
    let Written { namespace, binding, digest: ours } = written;
    let Some(reference) = &binding.spec.runner.runner_ref else { return Ok(()) };
    let found = target::read_runner(client, namespace, &reference.name).await?;
    let Some(runner) = found else { return Ok(()) };
    if runner.data["spec"]["sentryDsn"].as_str().is_none_or(|dsn| digest(dsn) != *ours) {
        return Ok(());
    }
    // The GitLab Runner Operator would replace its pods, whatever jobs they have.
    let uid = runner.metadata.uid.as_deref().unwrap_or_default();
    if binding.spec.restart == RestartPolicy::Never && target::has_pods(client, namespace, uid).await? {
        info!(namespace, runner = reference.name, "The DSN stays in a Runner that has pods, as with restart: Never.");
        return Ok(());
    }
    target::write_runner(client, namespace, &runner, None).await
}
