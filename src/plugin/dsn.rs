//! Prints the DSN of a key, alone or as the line of a program's configuration.

use clap::ValueEnum;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use super::{
    PluginError,
    cluster::{Cluster, name},
    keys::{condition, conditions},
    output::{note, print},
};
use crate::{
    crd::{ClientKey, ConditionType, Endpoint, Holders},
    kubernetes::names::{CLIENT_KEY_LABEL, DEPRECATED_DSN_ENTRY, DSN_ENTRY},
    runner::{DsnForm, Generation, Version, config_toml, dsn_rules},
};

/// Print the DSN of a key. Whoever has it can send events to the project, and read none: keep it out of logs and tickets.
///
/// It is read from the Secret that the operator wrote, so it needs the right to get Secrets of the namespace.
#[derive(Clone, Debug, clap::Args)]
pub struct Dsn {
    /// Name of the key, as `kubectl get clientkeys` has it.
    #[arg(value_parser = name)]
    key: String,
    /// Print the line of this program's configuration instead of the DSN alone: for a program that the operator cannot see.
    #[arg(long = "for", value_enum, value_name = "PROGRAM")]
    program: Option<Program>,
    /// Version of the runner, as 14.6; one since 14.7 when absent.
    #[arg(long, requires = "program", value_name = "VERSION", value_parser = runner_version)]
    runner_version: Option<Version>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    /// GitLab Runner, in its config.toml.
    Runner,
}

/// As `gitlab-runner --version` has it: 14.6.1, or 14.6.
fn runner_version(text: &str) -> Result<Version, String> {
    let numbers = text.strip_prefix('v').unwrap_or(text);
    let plain = numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // Images of the runner have the version as their tag.
    let version = plain.then(|| Version::of_image(&format!("gitlab-runner:v{numbers}"))).flatten();
    version.ok_or_else(|| "it is no version of GitLab Runner, as 18.9 or 14.6.1".to_owned())
}

pub async fn dsn(command: &Dsn, cluster: &Cluster) -> Result<(), PluginError> {
    let key = cluster.key(&command.key).await?.key;
    let secret_name = secret_of(&key).map_err(PluginError::Refused)?;
    let object = cluster.object::<Secret>(secret_name).await?;
    let unreadable = |_| PluginError::Refused(format!("Secret {secret_name} cannot be read"));
    let secret: Secret = object.try_parse().map_err(unreadable)?;
    match command.program {
        None => {
            let dsn = dsn_in(&secret, &command.key, DSN_ENTRY).map_err(PluginError::Refused)?;
            print(&format!("{dsn}\n"))
        }
        Some(Program::Runner) => {
            let line = runner_line(&secret, &command.key, command.runner_version).map_err(PluginError::Refused)?;
            print(&line)?;
            let elsewhere = cluster.server_of(&key).await?.is_some();
            for said in runner_notes(&key, elsewhere) {
                note(&said);
            }
            Ok(())
        }
    }
}

/// The line of a config.toml, in the form that the runner needs.
fn runner_line(secret: &Secret, key: &str, version: Option<Version>) -> Result<String, String> {
    let form = version.map_or(DsnForm::Modern, Version::dsn_form);
    let dsn = match (form, version) {
        (DsnForm::Deprecated, Some(version)) => dsn_in(secret, key, DEPRECATED_DSN_ENTRY).map_err(|missing| {
            format!(
                "{missing}: a runner {version} needs it, and would log `raven: dsn missing private key` without it. Set \
                 extraKeys.deprecatedDSN: true in the spec of ClientKey {key}"
            )
        })?,
        _ => dsn_in(secret, key, DSN_ENTRY)?,
    };
    let generation = version.map_or(Generation::SentryGo, Version::generation);
    dsn_rules::check(&dsn, generation).map_err(|fault| format!("the runner would not take it: {fault}"))?;
    config_toml::set("", Some(&dsn)).map_err(|error| error.to_string())
}

/// What to know of a runner that nobody can see. `elsewhere`: another server keeps the key.
fn runner_notes(key: &ClientKey, elsewhere: bool) -> Vec<String> {
    let name = key.name_any();
    let mut notes = vec![format!(
        "Put it above the first table of config.toml, the first line that begins with a bracket. The runner reads it within \
         seconds; nothing restarts. Do it again after each rotation of ClientKey {name}."
    )];
    if key.spec.endpoint == Endpoint::Internal && !elsewhere {
        notes.push(format!(
            "The DSN leads to a Service of this cluster. For a runner outside, set endpoint: External in the spec of ClientKey \
             {name}, and take the line anew."
        ));
    }
    if key.holders(elsewhere) == Holders::Visible {
        notes.push(format!(
            "Nobody can see such a runner, so a rotation would not wait for it: set rotation.overlap.holders: Unknown in the \
             spec of ClientKey {name}, and a maximum that leaves you the time."
        ));
    }
    notes
}

/// Name of the Secret that was written for the key.
pub fn secret_of(key: &ClientKey) -> Result<&str, String> {
    let written = key.status.as_ref().and_then(|status| status.secret_name.as_deref());
    written.ok_or_else(|| {
        let name = key.name_any();
        let why = condition(conditions(key), ConditionType::Ready).map(|ready| ready.message.as_str());
        format!("ClientKey {name} has no Secret yet: {}", why.unwrap_or("the operator has not seen it"))
    })
}

pub fn dsn_in(secret: &Secret, key: &str, entry: &str) -> Result<String, String> {
    let name = secret.name_any();
    if secret.labels().get(CLIENT_KEY_LABEL).is_none_or(|owner| owner != key) {
        return Err(format!("Secret {name} is not that of ClientKey {key}: look at `kubectl errors status`"));
    }
    let dsn = secret.data.as_ref().and_then(|data| data.get(entry));
    let dsn = dsn.and_then(|value| String::from_utf8(value.0.clone()).ok());
    let back = if entry == DSN_ENTRY { "; the operator puts it back within seconds" } else { "" };
    dsn.ok_or_else(|| format!("Secret {name} holds no {entry}{back}"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    fn secret(owner: &str, entries: &[(&str, &str)]) -> Secret {
        let entry = |(name, value): &(&str, &str)| ((*name).to_owned(), ByteString(value.as_bytes().to_vec()));
        Secret {
            metadata: kube::api::ObjectMeta {
                name: Some("shop-dsn".into()),
                labels: Some([(CLIENT_KEY_LABEL.to_owned(), owner.to_owned())].into()),
                ..Default::default()
            },
            data: Some(entries.iter().map(entry).collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn only_the_secret_of_the_key_is_printed() {
        let dsn = [(DSN_ENTRY, "http://fa@shop/1")];
        assert_eq!(dsn_in(&secret("shop", &dsn), "shop", DSN_ENTRY).as_deref(), Ok("http://fa@shop/1"));
        assert!(dsn_in(&secret("other", &dsn), "shop", DSN_ENTRY).is_err());
        assert!(dsn_in(&secret("shop", &[("password", "x")]), "shop", DSN_ENTRY).is_err());
        assert!(dsn_in(&Secret::default(), "shop", DSN_ENTRY).is_err());
    }

    #[test]
    fn a_runner_gets_the_form_that_its_version_needs() {
        let modern = (DSN_ENTRY, "https://fa@errors.example.com/1");
        let deprecated = (DEPRECATED_DSN_ENTRY, "https://fa:5e@errors.example.com/1");
        let line = |entries: &[(&str, &str)], version: Option<&str>| {
            let version = version.map(|version| runner_version(version).unwrap());
            runner_line(&secret("shop", entries), "shop", version)
        };
        let (new, old) = (
            "sentry_dsn = \"https://fa@errors.example.com/1\"\n",
            "sentry_dsn = \"https://fa:5e@errors.example.com/1\"\n",
        );
        for (version, expected) in [
            (None, new),
            (Some("19.3"), new),
            (Some("v18.9.0"), new),
            (Some("14.7"), new),
            (Some("14.6"), old),
            (Some("13.12.0"), old),
        ] {
            assert_eq!(line(&[modern, deprecated], version).as_deref(), Ok(expected), "{version:?}");
        }
        let missing = line(&[modern], Some("14.6")).unwrap_err();
        assert!(
            missing.starts_with("Secret shop-dsn holds no SENTRY_DSN_DEPRECATED: a runner 14.6 needs it"),
            "{missing}"
        );
        assert!(missing.contains("extraKeys.deprecatedDSN: true in the spec of ClientKey shop"), "{missing}");
        let refused = line(&[(DSN_ENTRY, "https://fa@errors.example.com")], None).unwrap_err();
        assert!(refused.contains("DsnParseError: empty project id"), "{refused}");
        for version in ["", "latest", "14", "14.6-rc1", "1.2.3.4", "14..6"] {
            assert!(runner_version(version).is_err(), "{version}");
        }
    }

    #[test]
    fn a_runner_that_nobody_sees_is_told_of_where_it_matters() {
        let notes = |spec: Value, elsewhere| {
            let mut of_key = json!({"projectRef": {"name": "shop"}});
            of_key.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            let key = json!({"metadata": {"name": "shop"}, "spec": of_key});
            runner_notes(&serde_json::from_value(key).unwrap(), elsewhere)
        };
        let (endpoint, holders) = ("endpoint: External", "holders: Unknown");
        let visible = json!({"overlap": {"holders": "Visible", "maximum": "720h"}});
        let unknown = json!({"overlap": {"holders": "Unknown", "maximum": "720h"}});
        for (spec, elsewhere, says) in [
            (json!({}), false, vec![endpoint, holders]),
            (json!({"rotation": unknown}), false, vec![endpoint]),
            (json!({"endpoint": "External"}), false, vec![]),
            (json!({"endpoint": "External", "rotation": visible}), false, vec![holders]),
            (json!({}), true, vec![]),
            (json!({"rotation": visible}), true, vec![holders]),
        ] {
            let said = notes(spec.clone(), elsewhere);
            assert!(said[0].contains("above the first table of config.toml"), "{said:?}");
            assert_eq!(said.len(), says.len() + 1, "{spec}: {said:?}");
            assert!(said[1..].iter().zip(says).all(|(said, part)| said.contains(part)), "{spec}: {said:?}");
        }
    }

    #[test]
    fn a_key_without_a_secret_says_why() {
        let mut key: ClientKey = serde_json::from_value(json!({
            "metadata": {"name": "shop"}, "spec": {"projectRef": {"name": "shop"}},
            "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "SecretConflict",
                "message": "Secret shop-dsn is not ours", "lastTransitionTime": "2026-11-29T10:00:00Z"}]},
        }))
        .unwrap();
        let refused = secret_of(&key).unwrap_err();
        assert_eq!(refused, "ClientKey shop has no Secret yet: Secret shop-dsn is not ours");
        key.status = None;
        assert!(secret_of(&key).unwrap_err().contains("the operator has not seen it"));
        key.status = Some(crate::crd::ClientKeyStatus { secret_name: Some("shop-dsn".into()), ..Default::default() });
        assert_eq!(secret_of(&key), Ok("shop-dsn"));
    }
}
