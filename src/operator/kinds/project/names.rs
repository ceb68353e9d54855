//! Names and addresses of a project's ingest, and what the installation decides about its pods. Pure.

use std::str::FromStr;

/// Port of the Service, so that a DSN needs none.
pub const SERVICE_PORT: u16 = 80;

/// The image of the ingest pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestImage {
    pub image: String,
    pub pull_policy: String,
}

/// What the installation decides about the ingest pods of every project beside their image.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct IngestPods {
    /// Secret for the registry of the ingest image. It is taken from the namespace of each project, where there is one
    /// of the name; those that the project names come first.
    #[arg(long = "ingest-image-pull-secret", env = "ERROR_TRACKING_INGEST_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub pull_secrets: Vec<String>,
    /// User and group that the ingest pods run as; "none": the platform chooses them by namespace.
    #[arg(
        long = "ingest-user-id",
        env = "ERROR_TRACKING_INGEST_USER_ID",
        value_name = "ID|none",
        default_value = "65532"
    )]
    pub user: UserId,
}

/// User and group of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserId {
    Number(i64),
    /// Whatever the platform chooses.
    Platform,
}

impl Default for UserId {
    /// That of the image.
    fn default() -> Self {
        Self::Number(65532)
    }
}

/// No user that an ingest pod can run as.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a number of a user from 1 to 2147483647 nor \"none\"; root is refused")]
pub struct InvalidUserId(String);

impl FromStr for UserId {
    type Err = InvalidUserId;

    fn from_str(text: &str) -> Result<Self, InvalidUserId> {
        match text {
            "none" => Ok(Self::Platform),
            number => match number.parse::<i32>() {
                Ok(id) if id > 0 => Ok(Self::Number(id.into())),
                _ => Err(InvalidUserId(text.to_owned())),
            },
        }
    }
}

/// Name of everything that receives a project's events.
#[must_use]
pub fn ingest_name(project: &str) -> String {
    format!("{project}-ingest")
}

/// Name of the Secret that holds the login of the ingest pods.
#[must_use]
pub fn database_secret_name(project: &str) -> String {
    format!("{project}-database")
}

/// Where pods of the cluster send events, without a trailing slash.
#[must_use]
pub fn internal_url(namespace: &str, project: &str) -> String {
    format!("http://{}.{namespace}.svc", ingest_name(project))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_other_than_roots_or_the_platforms_choice() {
        assert_eq!("none".parse(), Ok(UserId::Platform));
        assert_eq!("1000".parse(), Ok(UserId::Number(1000)));
        assert_eq!("2147483647".parse(), Ok(UserId::Number(2_147_483_647)));
        for text in ["0", "-1", "2147483648", "root", "None", ""] {
            assert!(text.parse::<UserId>().is_err(), "{text}");
        }
    }
}
