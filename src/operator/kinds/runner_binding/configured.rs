//! Whether a runner is configured with the key that it should have, and what keeps it from that. Pure.

use std::fmt::Write as _;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::owner::Owner;
use crate::{
    crd::{self, Reason},
    dsn::hex,
    kubernetes::names::{DEPRECATED_DSN_ENTRY, DSN_ENTRY},
    runner::{
        Config, ConfigError, DsnForm, DsnSource, Environment, Generation, ObjectKind, Reload, RunnerPod, SecretKey,
        Version, advice, config_toml, dsn_rules,
    },
};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configured {
    /// It has the key; the sentence says how.
    Yes(String),
    /// It is to be written.
    Due,
    /// Something is not there yet, and may come.
    Awaited(Reason, String),
    /// A person must act.
    Stalled(Reason, String),
}

/// The DSN that a runner should have, from the Secret of its `ClientKey`.
#[derive(Clone)]
pub struct Wanted {
    /// Name of the Secret.
    pub secret: String,
    /// Key of the Secret.
    pub entry: &'static str,
    pub dsn: SecretString,
}

impl Wanted {
    /// "key `SENTRY_DSN` of Secret runners-dsn"
    fn shown(&self) -> String {
        format!("key {} of Secret {}", self.entry, self.secret)
    }
}

/// What tells a DSN from others without being of use to anybody: 16 characters.
#[must_use]
pub fn digest(dsn: &str) -> String {
    hex(&Sha256::digest(dsn)[..8])
}

/// The form that the spec and the version of the runner ask for. Where nobody knows the version, it is taken for one of
/// the last five years.
#[must_use]
pub fn form(asked: crd::DsnForm, version: Option<Version>) -> DsnForm {
    match asked {
        crd::DsnForm::Auto => version.map_or(DsnForm::Modern, Version::dsn_form),
        crd::DsnForm::Modern => DsnForm::Modern,
        crd::DsnForm::Deprecated => DsnForm::Deprecated,
    }
}

/// Whether the runner's library takes the DSN.
pub fn check(wanted: &Wanted, form: DsnForm, version: Option<Version>) -> Result<(), Configured> {
    let of_form = if form == DsnForm::Deprecated { Generation::Raven } else { Generation::SentryGo };
    let generation = version.map_or(of_form, Version::generation);
    dsn_rules::check(wanted.dsn.expose_secret(), generation).map_err(|fault| {
        let message = format!("The runner does not take {}: {fault}.", wanted.shown());
        Configured::Stalled(Reason::DsnInvalid, message)
    })
}

/// What is said where the Secret lacks the DSN in its deprecated form.
#[must_use]
pub fn no_deprecated(key: &str, secret: &str, version: Option<Version>) -> Configured {
    let who = version.map_or_else(|| "spec.dsnForm".to_owned(), |version| format!("A runner {version}"));
    let message = format!(
        "{who} needs a DSN with a secret key, or it would log `raven: dsn missing private key`: set \
         extraKeys.deprecatedDSN: true in the spec of ClientKey {key}, and Secret {secret} gets {DEPRECATED_DSN_ENTRY}."
    );
    Configured::Stalled(Reason::DeprecatedDsnMissing, message)
}

/// A container of a workload.
pub struct Container<'a> {
    /// "Deployment gitlab-runner"
    pub workload: &'a str,
    pub pod: &'a RunnerPod,
}

impl Container<'_> {
    fn shown(&self) -> String {
        format!("container {} of {}", self.pod.container(), self.workload)
    }
}

/// A config.toml that the runner may read.
pub struct SeenConfig {
    /// "`ConfigMap` fleet-gitlab-runner"
    pub object: String,
    pub is_helms: bool,
    /// The global `sentry_dsn` and its line; `None`: there is none.
    pub sentry_dsn: Result<Option<(String, usize)>, ConfigError>,
}

impl SeenConfig {
    #[must_use]
    pub fn read(object: String, is_helms: bool, text: &str) -> Self {
        let found = |config: Config<'_>| config.sentry_dsn().map(|dsn| (dsn.to_owned(), config.line().unwrap_or(1)));
        Self { object, is_helms, sentry_dsn: config_toml::read(text).map(found) }
    }
}

/// Of a runner that takes the variable `SENTRY_DSN`. `configs`: what it may read as its config.toml, which comes first.
#[must_use]
pub fn environment(container: &Container<'_>, wanted: &Wanted, configs: &[SeenConfig]) -> Configured {
    let (pod, shown) = (container.pod, container.shown());
    let ours = SecretKey { name: &wanted.secret, key: wanted.entry };
    let lines = advice::chart_environment(&ours);
    let missing = |found: String| {
        let message = format!(
            "The {shown} {found}: have it from {}. With GitLab's chart these are the values: {lines}",
            wanted.shown()
        );
        Configured::Stalled(Reason::EnvMissing, message)
    };
    match pod.environment(&ours) {
        Environment::FromOurSecret => {}
        Environment::Missing => return missing("has no SENTRY_DSN".to_owned()),
        Environment::FromOther { what } => return missing(format!("has SENTRY_DSN from {what}")),
        Environment::Literal => return missing("has SENTRY_DSN as a value in its pod template".to_owned()),
    }
    let version = pod.version();
    for config in configs {
        let Ok(Some((dsn, line))) = &config.sentry_dsn else { continue };
        let falls_back = dsn.is_empty() && version.is_none_or(|version| version.generation() == Generation::SentryGo);
        if falls_back {
            continue;
        }
        let cure = if config.is_helms { "leave the value sentryDsn of the chart empty" } else { "take the line out" };
        let message = format!(
            "config.toml in {} has sentry_dsn in line {line}, and that wins over SENTRY_DSN: {cure}.",
            config.object
        );
        return Configured::Stalled(Reason::ConfigTomlWins, message);
    }
    let fallback = configs.iter().find_map(|config| config.sentry_dsn.as_ref().ok()?.as_ref());
    let file = fallback.map(|(dsn, _)| dsn.as_str());
    if let Some(version) = version.filter(|version| DsnSource::of(*version, file, true) != DsnSource::Environment) {
        let message = format!(
            "The {shown} is a runner {version}, and only runners since 19.2 read SENTRY_DSN: use a newer one, or \
             runner.configToml."
        );
        return Configured::Stalled(Reason::RunnerTooOld, message);
    }
    let mut message = format!("The {shown} has SENTRY_DSN from Secret {}.", wanted.secret);
    if version.is_none() {
        let image = shortened(pod.image());
        _ = write!(message, " The image {image:?} does not tell its version; runners before 19.2 do not read it.");
    }
    let others = pod.unknown_sources(&ours);
    if !others.is_empty() {
        _ = write!(message, " It would be another one if {} held SENTRY_DSN, too.", others.join(" or "));
    }
    if let Some(config) = configs.iter().find(|config| config.sentry_dsn.is_err()) {
        _ = write!(message, " config.toml in {} cannot be read, so a sentry_dsn in it goes unseen.", config.object);
    }
    if pod.keeps_config() {
        message.push_str(
            " Its config.toml is on a volume that is kept: `gitlab-runner register` writes the DSN into it, and that wins \
             from then on. Look for sentry_dsn there.",
        );
    }
    Configured::Yes(message)
}

/// Of what was done before, as far as it says whether something may be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    /// It was configured with this very key, and is not any more.
    pub had_it: bool,
    /// It was given up.
    pub drifted: bool,
}

/// A config.toml in an object, and who reads it.
pub struct ConfigObject<'a> {
    pub kind: ObjectKind,
    pub name: &'a str,
    pub key: &'a str,
    pub text: &'a str,
    pub owner: Option<Owner>,
    pub immutable: bool,
    pub reload: Reload,
}

impl ConfigObject<'_> {
    fn shown(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

/// Of a runner with its DSN in a config.toml.
#[must_use]
pub fn config_toml(
    container: &Container<'_>,
    wanted: &Wanted,
    object: &ConfigObject<'_>,
    before: Before,
) -> Configured {
    let shown = object.shown();
    let config = match config_toml::read(object.text) {
        Ok(config) => config,
        Err(error) => {
            let message = format!("{shown}, key {}: {error}.", object.key);
            return Configured::Stalled(Reason::ConfigInvalid, message);
        }
    };
    if object.reload == Reload::NotMounted {
        let message = format!(
            "No container of {} mounts key {} of {shown}: correct configToml, or mount it.",
            container.workload, object.key
        );
        return Configured::Stalled(Reason::ConfigNotFound, message);
    }
    let value = wanted.shown();
    if config.sentry_dsn() == Some(wanted.dsn.expose_secret()) {
        let mut message = format!("config.toml in {shown} has the DSN of {value}.");
        if let Some(why) = unrenewed(object.reload) {
            _ = write!(message, " {why}, so it is read when a pod begins.");
        }
        if object.kind == ObjectKind::ConfigMap {
            message.push_str(" Whoever may view the namespace can read it there: a Secret is better.");
        }
        return Configured::Yes(message);
    }
    if let Some(owner) = &object.owner {
        return Configured::Stalled(Reason::Drifted, kept_by(owner, &shown, wanted));
    }
    if object.immutable {
        let message = format!(
            "{shown} is immutable: make another one with sentry_dsn as {value} holds it, or one that can be changed."
        );
        return Configured::Stalled(Reason::ConfigImmutable, message);
    }
    if before.had_it || before.drifted {
        return Configured::Stalled(Reason::Drifted, undone(&format!("sentry_dsn in {shown}"), &value));
    }
    Configured::Due
}

fn kept_by(owner: &Owner, shown: &str, wanted: &Wanted) -> String {
    let (name, value) = (&owner.name, wanted.shown());
    if owner.is_helm {
        return format!(
            "{shown} is kept by Helm, which would undo an edit: set the value sentryDsn of GitLab's chart to what {value} \
             holds, after each rotation. Better, with runner 19.2 or newer: leave it empty, use runner.environment here, and \
             these values: {}",
            advice::chart_environment(&SecretKey { name: &wanted.secret, key: DSN_ENTRY })
        );
    }
    format!(
        "{shown} is kept by {name}, which would undo an edit: set sentry_dsn there to what {value} holds, after each \
         rotation. Better, with runner 19.2 or newer: use runner.environment."
    )
}

fn undone(what: &str, value: &str) -> String {
    format!(
        "{what} was written and is another one now, so it is left alone: set it to what {value} holds. For the operator to \
         write it again, let whoever changes it leave it alone, and apply this RunnerBinding anew."
    )
}

/// Why the runner does not see that its config.toml has changed.
fn unrenewed(reload: Reload) -> Option<&'static str> {
    match reload {
        Reload::Hot | Reload::NotMounted => None,
        Reload::SubPath => Some("It is mounted by subPath, which is not renewed"),
        Reload::Immutable => Some("It is immutable"),
        Reload::CopiedAtStart => Some("The runner reads a copy, or looks elsewhere"),
    }
}

/// A Runner of the GitLab Runner Operator.
pub struct RunnerObject<'a> {
    pub name: &'a str,
    pub sentry_dsn: Option<&'a str>,
    pub owner: Option<Owner>,
    /// Pods that it has now.
    pub pods: usize,
    /// What the operator's restarts would have to respect.
    pub restarts: Restarts,
}

/// Whether pods may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restarts {
    Never,
    Allowed,
    GraceTooShort { seconds: i64, least: u32 },
}

/// Of a runner whose DSN the GitLab Runner Operator writes.
#[must_use]
pub fn runner(wanted: &Wanted, object: &RunnerObject<'_>, before: Before) -> Configured {
    let (name, value) = (object.name, wanted.shown());
    if object.sentry_dsn == Some(wanted.dsn.expose_secret()) {
        let message = format!(
            "spec.sentryDsn of Runner {name} is the DSN of {value}. Whoever may read Runners can read it there."
        );
        return Configured::Yes(message);
    }
    if let Some(owner) = &object.owner {
        let message = format!(
            "spec.sentryDsn of Runner {name} is kept by {}: set it there to what {value} holds, after each rotation, or take \
             it out there and it is written here.",
            owner.name
        );
        return Configured::Stalled(Reason::Drifted, message);
    }
    if before.had_it || before.drifted {
        return Configured::Stalled(Reason::Drifted, undone(&format!("spec.sentryDsn of Runner {name}"), &value));
    }
    match object.restarts {
        _ if object.pods == 0 => Configured::Due,
        Restarts::Allowed => Configured::Due,
        Restarts::Never => {
            let message = format!(
                "spec.sentryDsn of Runner {name} is not written: the GitLab Runner Operator would replace its pods ({}), \
                 whatever jobs they have. Set restart: Rolling, or set it yourself to what {value} holds when no job runs.",
                object.pods
            );
            Configured::Stalled(Reason::RestartNotAllowed, message)
        }
        Restarts::GraceTooShort { seconds, least } => {
            Configured::Stalled(Reason::GraceTooShort, grace_too_short(&format!("Runner {name}"), seconds, least))
        }
    }
}

/// What is said of pods that would not be given the time that jobs need.
#[must_use]
pub fn grace_too_short(whose: &str, seconds: i64, least: u32) -> String {
    format!(
        "The pods of {whose} are given {seconds} s to end (terminationGracePeriodSeconds), and jobs may need {least} s: make \
         that longer, or say with minimumGracePeriod that less is enough."
    )
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
#[path = "configured_tests.rs"]
mod tests;
