//! What counted and what did not, for people who ask why.

use crate::protocol::event::Frame;

/// A part of an event, and whether it tells the event's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `frame shop.cart|pay`
    pub what: String,
    pub counts: bool,
    pub why: String,
}

/// Empty and without cost where nobody asks.
#[derive(Default)]
pub(super) struct Notes(Option<Vec<Part>>);

impl Notes {
    pub(super) fn asked() -> Self {
        Self(Some(Vec::new()))
    }

    pub(super) fn into_parts(self) -> Vec<Part> {
        self.0.unwrap_or_default()
    }

    fn add(&mut self, counts: bool, what: impl FnOnce() -> String, why: &str) {
        if let Some(parts) = &mut self.0 {
            parts.push(Part { what: what(), counts, why: why.to_owned() });
        }
    }

    pub(super) fn counted(&mut self, component: &str, why: &str) {
        self.add(true, || component.to_owned(), why);
    }

    pub(super) fn left_out(&mut self, what: impl FnOnce() -> String, why: &str) {
        self.add(false, what, why);
    }

    pub(super) fn frame(&mut self, frame: &Frame, why: &str) {
        self.add(false, || format!("frame {}", name_of(frame)), why);
    }

    pub(super) fn counted_frame(&mut self, key: &str, frame: &Frame) {
        let why = if frame.in_app == Some(true) { "of the application" } else { "no frame is known to be nearer" };
        self.add(true, || format!("frame {key}"), why);
    }

    pub(super) fn made_up(&mut self, name: &str, source: &str) {
        if self.0.is_some() {
            self.add(false, || format!("part of {name}"), &format!("made up: {source}"));
        }
    }
}

fn name_of(frame: &Frame) -> String {
    let place = [&frame.module, &frame.filename, &frame.package].into_iter().find_map(Option::as_deref);
    format!("{}|{}", place.unwrap_or_default(), frame.function.as_deref().unwrap_or_default())
}
