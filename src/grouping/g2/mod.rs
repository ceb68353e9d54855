//! `g2`, the second version: names count without what a compiler, a framework or a build tool made up.
//!
//! `table.rs` has those names; the other files say whose frames count, and what of a text.

mod bundles;
mod exceptions;
mod frames;
mod libraries;
mod messages;
mod names;
mod native;
mod notes;
mod table;

pub use self::notes::Part;
use self::{
    frames::{Keys, frame_keys},
    messages::{has_placeholder, parametrised},
    notes::Notes,
};
use super::{Grouping, GroupingKind, fingerprint, hash};
use crate::protocol::event::{Event, LogEntry, UNLABELED};

/// Number of this version, kept beside each hash.
pub const VERSION: i16 = 2;

/// The group of `event` by the second version: by its fingerprint, else by its exceptions, stack trace, report or
/// message, whichever it has first.
#[must_use]
pub fn g2(event: &Event) -> Grouping {
    grouped(event, &mut Notes::default())
}

/// As [`g2`], and says which parts counted and why.
#[must_use]
pub fn explain(event: &Event) -> (Grouping, Vec<Part>) {
    let mut notes = Notes::asked();
    let grouping = grouped(event, &mut notes);
    (grouping, notes.into_parts())
}

fn grouped(event: &Event, notes: &mut Notes) -> Grouping {
    let (main, frame) = (event.naming_exception(), event.naming_frame());
    let default = || default_components(event, notes).1;
    let (kind, components) = match fingerprint::components(event, main, frame, default) {
        Some(components) => {
            for component in components.iter().filter(|component| component.starts_with("fingerprint:")) {
                notes.counted(component, "the application set it");
            }
            (GroupingKind::Custom, components)
        }
        None => default_components(event, notes),
    };
    Grouping { version: VERSION, hash: hash(VERSION, &components), kind, components }
}

/// The components of an event that brings no fingerprint of its own.
fn default_components(event: &Event, notes: &mut Notes) -> (GroupingKind, Vec<String>) {
    let components = exceptions::components(event, notes);
    if !components.is_empty() {
        return (GroupingKind::Exception, components);
    }
    if let Keys::Of(keys) = frame_keys(&event.stacktrace, &event.platform, false, notes)
        && !keys.is_empty()
    {
        return (GroupingKind::Stacktrace, keys.into_iter().map(|key| format!("frame:{key}")).collect());
    }
    let (kind, components, why) = if let Some(csp) = &event.csp {
        let components = vec![format!("csp:{}", csp.directive), format!("blocked:{}", csp.blocked)];
        (GroupingKind::Csp, components, "what the browser reports")
    } else if let Some(message) = event.log_entry.as_ref().map(message).filter(|message| !message.is_empty()) {
        (GroupingKind::Message, vec![format!("message:{message}")], "the event has nothing but its message")
    } else {
        let components = vec![UNLABELED.to_owned(), format!("platform:{}", event.platform), event.grouped_culprit()];
        (GroupingKind::Unlabeled, components, "the event says nothing else")
    };
    for component in &components {
        notes.counted(component, why);
    }
    (kind, components)
}

/// The template where there is one, else the text, without what changes from one occurrence to the next.
fn message(entry: &LogEntry) -> String {
    let template = entry.message.as_deref().map(str::trim).filter(|template| !template.is_empty());
    let text = match template {
        Some(template) if entry.has_params || has_placeholder(template) => template,
        _ => &entry.formatted,
    };
    match messages::code(text) {
        Some(code) => format!("{} code:{code}", parametrised(text)),
        None => parametrised(text),
    }
}

#[cfg(test)]
mod pairs_tests;
#[cfg(test)]
mod tests;
