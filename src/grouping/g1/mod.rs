//! `g1`, the first version: module or file and function of each frame, almost as they were sent.
//!
//! Stored hashes of it must be found for as long as its issues are kept. Nothing here changes any more.

mod frames;
mod parametrise;

use self::{
    frames::frame_keys,
    parametrise::{parametrised, without_paths},
};
use super::{Grouping, GroupingKind, fingerprint, hash};
use crate::protocol::event::{Event, Exception, LogEntry, UNLABELED};

/// Number of this version, kept beside each hash.
pub const VERSION: i16 = 1;

/// Only the exceptions nearest to the outermost count of a longer chain.
const MAX_EXCEPTIONS: usize = 10;

/// The group of `event` by the first version.
#[must_use]
pub fn g1(event: &Event) -> Grouping {
    let (main, frame) = (event.main_exception(), event.crash_frame());
    let default = || default_components(event).1;
    let (kind, components) = match fingerprint::components(event, main, frame, default) {
        Some(components) => (GroupingKind::Custom, components),
        None => default_components(event),
    };
    Grouping { version: VERSION, hash: hash(VERSION, &components), kind, components }
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
    let components = vec![UNLABELED.to_owned(), format!("platform:{}", event.platform), event.grouped_culprit()];
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

#[cfg(test)]
mod tests;
