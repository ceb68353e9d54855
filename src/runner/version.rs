//! Which release of GitLab Runner an image holds, and what follows from it.

use std::fmt;

/// A release of GitLab Runner. Whatever differs, differs between minor versions, so the patch is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// The library with which a runner sends its failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// raven-go of 2016, in runners up to 14.6.
    Raven,
    /// sentry-go, since 14.7.
    SentryGo,
}

/// How the DSN is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DsnForm {
    /// `<scheme>://<public key>@<host>/<project id>`.
    Modern,
    /// `<scheme>://<public key>:<secret>@<host>/<project id>`. Every runner takes it, and runners up to 14.6 nothing
    /// else.
    Deprecated,
}

/// Where a runner takes its DSN from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DsnSource {
    /// `sentry_dsn` of config.toml.
    File,
    /// `SENTRY_DSN`, as it was when the process started.
    Environment,
    /// It reports nothing.
    Nowhere,
}

impl Version {
    /// The first release with sentry-go.
    const SENTRY_GO: Self = Self { major: 14, minor: 7 };
    /// The first release that reads `SENTRY_DSN` when config.toml has no `sentry_dsn`.
    const ENVIRONMENT: Self = Self { major: 19, minor: 2 };

    /// The release in an image, from its reference as a container names it: `gitlab/gitlab-runner:alpine-v18.9.0`,
    /// `registry.example:5000/ci/gitlab-runner:v17.11.1@sha256:…`. `None` where the reference does not tell: `latest`,
    /// `bleeding`, `alpine`, a digest alone, and images whose name is not a runner's, since their tag counts something
    /// else.
    #[must_use]
    pub fn of_image(image: &str) -> Option<Self> {
        let tag = Reference::of(image).runner()?.tag?;
        let mut pieces = tag.split(['-', '_', '+']);
        let marked = pieces.clone().find_map(|piece| Self::numbers(piece.strip_prefix('v')?, 2));
        // Mirrors write `17.11.1-debian-12-r0`. Two numbers at the front could be those of a distribution.
        marked.or_else(|| Self::numbers(pieces.next()?, 3))
    }

    /// At least `least` and at most three decimal numbers with dots between them.
    fn numbers(text: &str, least: usize) -> Option<Self> {
        let digits = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let numbers: Vec<&str> = text.split('.').collect();
        if !(least..=3).contains(&numbers.len()) || !numbers.iter().all(|number| digits(number)) {
            return None;
        }
        Some(Self { major: numbers[0].parse().ok()?, minor: numbers[1].parse().ok()? })
    }

    #[must_use]
    pub fn generation(self) -> Generation {
        if self < Self::SENTRY_GO { Generation::Raven } else { Generation::SentryGo }
    }

    /// The form that this release needs.
    #[must_use]
    pub fn dsn_form(self) -> DsnForm {
        match self.generation() {
            Generation::Raven => DsnForm::Deprecated,
            Generation::SentryGo => DsnForm::Modern,
        }
    }

    /// Whether it reads `SENTRY_DSN` of its environment when config.toml has no `sentry_dsn`: since 19.2.
    #[must_use]
    pub fn reads_environment(self) -> bool {
        self >= Self::ENVIRONMENT
    }
}

impl DsnSource {
    /// Where a runner of `version` takes its DSN from, when config.toml has `file` as its global `sentry_dsn` and
    /// `SENTRY_DSN` is in the environment or not.
    ///
    /// The file wins. With an empty value in it, sentry-go itself looks at the environment, in every release that has
    /// sentry-go, and raven-go reports nothing.
    #[must_use]
    pub fn of(version: Version, file: Option<&str>, in_environment: bool) -> Self {
        let falls_back = match file {
            Some("") => version.generation() == Generation::SentryGo,
            Some(_) => return Self::File,
            None => version.reads_environment(),
        };
        if falls_back && in_environment { Self::Environment } else { Self::Nowhere }
    }
}

/// Whether an image is a GitLab Runner by its name, and neither its helper nor the Runner Operator.
#[must_use]
pub fn is_runner(image: &str) -> bool {
    Reference::of(image).runner().is_some()
}

/// `[<registry>[:<port>]/]<name>[:<tag>][@<digest>]`
struct Reference<'a> {
    /// The last segment of the name.
    name: &'a str,
    tag: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn of(image: &'a str) -> Self {
        let image = image.split_once('@').map_or(image, |(image, _)| image);
        // Before a slash, a colon belongs to the port of the registry.
        let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
        match last.split_once(':') {
            Some((name, tag)) => Self { name, tag: Some(tag) },
            None => Self { name: last, tag: None },
        }
    }

    fn runner(self) -> Option<Self> {
        let named = ["gitlab-runner", "gitlab-ci-multi-runner"].iter().any(|name| self.name.contains(name));
        let other = ["helper", "operator"].iter().any(|name| self.name.contains(name));
        (named && !other).then_some(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_version_is_read_from_the_tag_of_a_runner_image() {
        for (image, version) in [
            ("gitlab/gitlab-runner:alpine-v18.9.0", Some((18, 9))),
            ("gitlab/gitlab-runner:v17.11.1", Some((17, 11))),
            ("gitlab/gitlab-runner:ubuntu-v14.6.0", Some((14, 6))),
            ("gitlab/gitlab-runner:alpine3.19-v17.0.0", Some((17, 0))),
            ("gitlab-runner:v19.2.0-rc1", Some((19, 2))),
            ("gitlab-runner:v19.2", Some((19, 2))),
            ("registry.example/gitlab-org/gitlab-runner:alpine-v19.4.0", Some((19, 4))),
            ("registry.example:5000/gitlab-runner:v15.0.0", Some((15, 0))),
            ("registry.example:5000/gitlab-runner", None),
            ("gitlab/gitlab-runner:v17.11.1@sha256:0000000000000000", Some((17, 11))),
            ("registry.example/images/gitlab-runner-ocp:amd64-v15.3.0", Some((15, 3))),
            ("mirror.example/gitlab-runner:17.11.1-debian-12-r0", Some((17, 11))),
            ("gitlab/gitlab-ci-multi-runner:v1.11.5", Some((1, 11))),
            ("gitlab/gitlab-runner:latest", None),
            ("gitlab/gitlab-runner:bleeding", None),
            ("gitlab/gitlab-runner:alpine-bleeding", None),
            ("gitlab/gitlab-runner:alpine", None),
            ("gitlab/gitlab-runner:alpine3.19", None),
            ("gitlab/gitlab-runner:3.19", None),
            ("gitlab/gitlab-runner:alpine-4745a6f3", None),
            ("gitlab/gitlab-runner:v18", None),
            ("gitlab/gitlab-runner:v18.x.0", None),
            ("gitlab/gitlab-runner:v1.2.3.4", None),
            ("gitlab/gitlab-runner:v99999999999.1.0", None),
            ("gitlab/gitlab-runner:", None),
            ("gitlab/gitlab-runner@sha256:0000000000000000", None),
            ("gitlab/gitlab-runner", None),
            ("gitlab/gitlab-runner-helper:x86_64-v17.0.0", None),
            ("gitlab/gitlab-runner-operator:v1.46.0", None),
            ("team.example/build-tools:v3.1.0", None),
            ("", None),
        ] {
            let expected = version.map(|(major, minor)| Version { major, minor });
            assert_eq!(Version::of_image(image), expected, "{image}");
        }
    }

    #[test]
    fn what_a_runner_can_do_follows_from_its_version() {
        for (major, minor, generation, form, environment) in [
            (1, 11, Generation::Raven, DsnForm::Deprecated, false),
            (14, 6, Generation::Raven, DsnForm::Deprecated, false),
            (14, 7, Generation::SentryGo, DsnForm::Modern, false),
            (18, 9, Generation::SentryGo, DsnForm::Modern, false),
            (19, 1, Generation::SentryGo, DsnForm::Modern, false),
            (19, 2, Generation::SentryGo, DsnForm::Modern, true),
            (20, 0, Generation::SentryGo, DsnForm::Modern, true),
        ] {
            let version = Version { major, minor };
            let found = (version.generation(), version.dsn_form(), version.reads_environment());
            assert_eq!(found, (generation, form, environment), "{version}");
        }
    }

    #[test]
    fn the_file_wins_over_the_environment_unless_it_is_empty() {
        use DsnSource::{Environment, File, Nowhere};
        let dsn = Some("https://fake@errors.example/7");
        for (minor, file, in_environment, source) in [
            ((14, 6), dsn, true, File),
            ((14, 6), Some(""), true, Nowhere),
            ((14, 6), None, true, Nowhere),
            ((14, 7), Some(""), true, Environment),
            ((19, 1), Some(""), false, Nowhere),
            ((19, 1), None, true, Nowhere),
            ((19, 2), dsn, true, File),
            ((19, 2), Some(""), true, Environment),
            ((19, 2), None, true, Environment),
            ((19, 2), None, false, Nowhere),
        ] {
            let version = Version { major: minor.0, minor: minor.1 };
            assert_eq!(DsnSource::of(version, file, in_environment), source, "{version} {file:?} {in_environment}");
        }
    }

    proptest! {
        #[test]
        fn every_release_is_read_from_every_flavour(
            major in 1u32..40, minor in 0u32..20, patch in 0u32..20, port in 1u16..,
            flavour in "(|alpine-|ubuntu-|alpine3\\.[0-9]{2}-|x86_64-|ubi-fips-)", digest in "(|@sha256:[0-9a-f]{64})",
        ) {
            let image = format!("registry.example:{port}/a/gitlab-runner:{flavour}v{major}.{minor}.{patch}{digest}");
            prop_assert_eq!(Version::of_image(&image), Some(Version { major, minor }));
        }

        #[test]
        fn no_reference_is_too_strange(image in "\\PC*") {
            let _ = (Version::of_image(&image), is_runner(&image));
        }
    }
}
