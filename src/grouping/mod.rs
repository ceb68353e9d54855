//! Which events are the same error: `g1`, the first version of the grouping algorithm. Pure: an event
//! comes in, the components that tell it from others and their hash go out.
//!
//! A hash, once stored, must mean the same for ever: whatever changes an outcome here is a new version.

mod fingerprint;
mod frames;
mod parametrise;

use sha2::{Digest, Sha256};

use self::{
    frames::frame_keys,
    parametrise::{parametrised, without_paths},
};
use crate::protocol::event::{Event, Exception, LogEntry, UNLABELED};

/// Version of the algorithm that [`g1`] is; kept beside each hash.
pub const VERSION: i16 = 1;

/// Only the exceptions nearest to the outermost count of a longer chain.
const MAX_EXCEPTIONS: usize = 10;

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
    pub hash: [u8; 32],
    pub kind: GroupingKind,
    /// What the hash was made of, for people who ask why: `type:KeyError`, `frame:app|view`.
    pub components: Vec<String>,
}

/// The group of `event`: by its fingerprint, else by its exceptions, stack trace, report or message,
/// whichever it has first.
#[must_use]
pub fn g1(event: &Event) -> Grouping {
    let (kind, components) = match fingerprint::components(event, || default_components(event).1) {
        Some(components) => (GroupingKind::Custom, components),
        None => default_components(event),
    };
    Grouping { hash: hash(&components), kind, components }
}

/// The components of an event that brings no fingerprint of its own.
fn default_components(event: &Event) -> (GroupingKind, Vec<String>) {
    let mut components = Vec::new();
    let outermost = event.exceptions.len().saturating_sub(MAX_EXCEPTIONS);
    for exception in &event.exceptions[outermost..] {
        add_exception(&mut components, exception, &event.platform);
    }
    if !components.is_empty() {
        return (GroupingKind::Exception, components);
    }
    add_frames(&mut components, frame_keys(&event.stacktrace, &event.platform));
    if !components.is_empty() {
        return (GroupingKind::Stacktrace, components);
    }
    if let Some(csp) = &event.csp {
        return (GroupingKind::Csp, vec![format!("csp:{}", csp.directive), format!("blocked:{}", csp.blocked)]);
    }
    if let Some(message) = event.log_entry.as_ref().map(message).filter(|message| !message.is_empty()) {
        return (GroupingKind::Message, vec![format!("message:{message}")]);
    }
    let components = vec![UNLABELED.to_owned(), format!("platform:{}", event.platform), event.culprit()];
    (GroupingKind::Unlabeled, components)
}

/// The type and the frames; the value only where there are no frames, as it names the one occurrence.
fn add_exception(components: &mut Vec<String>, exception: &Exception, platform: &str) {
    let start = components.len();
    if let Some(name) = exception.r#type.as_deref().filter(|_| !exception.synthetic) {
        components.push(format!("type:{name}"));
    }
    let by_value = if exception.is_bare_text() { exception.value.as_deref().map(without_paths) } else { None };
    let frames = if by_value.is_some() { Vec::new() } else { frame_keys(&exception.frames, platform) };
    if frames.is_empty() {
        let value = by_value.as_deref().or(exception.value.as_deref());
        let value = value.map(parametrised).filter(|value| !value.is_empty());
        components.extend(value.map(|value| format!("value:{value}")));
    }
    add_frames(components, frames);
    if components.len() > start {
        components.insert(start, "exception".to_owned());
    }
}

fn add_frames(components: &mut Vec<String>, frames: Vec<String>) {
    components.extend(frames.into_iter().map(|frame| format!("frame:{frame}")));
}

/// The template where there is one, else the text without what changes from one occurrence to the next.
fn message(entry: &LogEntry) -> String {
    let has_placeholder = |template: &str| ["%s", "%d", "%(", "{}", "{0}"].iter().any(|sign| template.contains(sign));
    match entry.message.as_deref().map(str::trim).filter(|template| !template.is_empty()) {
        Some(template) if entry.has_params || has_placeholder(template) => template.to_owned(),
        _ => parametrised(&entry.formatted),
    }
}

/// SHA-256 of the version and the components, each with its length in front: no two lists look the same.
fn hash(components: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(VERSION.to_be_bytes());
    for component in components {
        hash.update(u64::try_from(component.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(component);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
