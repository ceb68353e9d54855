//! Which events are the same error. Pure: an event comes in, the components that tell it from others and their
//! hash go out. Ingest stores by [`g2`], and finds what was stored before by [`g1`].
//!
//! A hash, once stored, must mean the same for ever: whatever changes an outcome here is a new version.

mod fingerprint;
mod g1;
mod g2;

use sha2::{Digest, Sha256};

pub use self::{
    g1::g1,
    g2::{Part, explain, g2},
};

/// What decided the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupingKind {
    /// The fingerprint that the application set.
    Custom,
    Exception,
    Stacktrace,
    Csp,
    Message,
    /// Nothing that tells events apart but platform and culprit.
    Unlabeled,
}

impl GroupingKind {
    /// One lower-case word of a closed set.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Exception => "exception",
            Self::Stacktrace => "stacktrace",
            Self::Csp => "csp",
            Self::Message => "message",
            Self::Unlabeled => "unlabeled",
        }
    }
}

/// Events with the same hash are the same error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Of the algorithm; kept beside each hash.
    pub version: i16,
    pub hash: [u8; 32],
    pub kind: GroupingKind,
    /// What the hash was made of, for people who ask why: `type:KeyError`, `frame:app|view`.
    pub components: Vec<String>,
}

/// SHA-256 of the version and the components, each with its length in front: no two lists look the same.
fn hash(version: i16, components: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(version.to_be_bytes());
    for component in components {
        hash.update(u64::try_from(component.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(component);
    }
    hash.finalize().into()
}

/// Real events, which a checkout may have beside it or name in `ERROR_TRACKING_SAMPLES`.
#[cfg(test)]
fn samples() -> std::collections::BTreeMap<String, String> {
    let beside = || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/events");
    let directory = std::env::var_os("ERROR_TRACKING_SAMPLES").map_or_else(beside, std::path::PathBuf::from);
    let Ok(entries) = std::fs::read_dir(directory) else { return std::collections::BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let json = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap()))
        .collect()
}
