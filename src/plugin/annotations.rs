//! The annotations that ask for something. Each holds one value, so a new one takes the place of one that the operator
//! has not obeyed yet, or is still obeying: that is asked about first.

use std::io::{IsTerminal as _, Write as _, stderr, stdin};

use kube::{ResourceExt as _, api::DynamicObject};

use super::{
    PluginError,
    cluster::{Cluster, FoundKey},
    output::note,
    plan::obstacles,
};
use crate::crd::ClientKey;

/// How often an annotation is tried again when the object changed between reading and writing it.
const TRIES: usize = 5;

/// What is going to be written, and what must be asked before.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub value: String,
    /// A question that somebody answers with yes first.
    pub question: Option<String>,
}

/// Sets an annotation to what `decide` makes of the key as it is now, and tells what keeps the operator from obeying it.
/// Nothing changes between its decision and the write.
pub async fn request(
    cluster: &Cluster,
    name: &str,
    annotation: &str,
    yes: bool,
    decide: impl Fn(&ClientKey) -> Result<Request, String>,
) -> Result<(String, DynamicObject), PluginError> {
    let mut answered = None;
    let mut tries = 0;
    loop {
        let FoundKey { key, .. } = cluster.key(name).await?;
        let Request { value, question } = decide(&key).map_err(PluginError::Refused)?;
        if question.is_some() && answered != question && !yes {
            confirm(question.as_deref().unwrap_or_default())?;
            answered = question;
        }
        tries += 1;
        match cluster.annotate(name, annotation, &value, key.resource_version().as_deref()).await {
            Err(error) if error.is_conflict() && tries < TRIES => {}
            Err(error) => return Err(error),
            Ok(object) => {
                for obstacle in object.clone().try_parse::<ClientKey>().iter().flat_map(obstacles) {
                    note(&obstacle);
                }
                return Ok((value, object));
            }
        }
    }
}

/// Asks on the terminal.
fn confirm(question: &str) -> Result<(), PluginError> {
    if !stdin().is_terminal() {
        return Err(PluginError::Refused(format!("{question} Say so with --yes.")));
    }
    let mut terminal = stderr().lock();
    let question: String = question.chars().filter(|character| !character.is_control()).collect();
    write!(terminal, "{question} Type yes to go on: ")?;
    terminal.flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(PluginError::Refused("nothing was changed".to_owned())) }
}

/// The active and the retiring key.
pub fn keys_of(key: &ClientKey) -> (Option<&str>, Option<&str>) {
    let status = key.status.as_ref();
    let active = status.and_then(|status| status.active.as_ref()).map(|active| active.key_id.as_str());
    let retiring = status.and_then(|status| status.retiring.as_ref()).map(|retiring| retiring.key_id.as_str());
    (active, retiring)
}
