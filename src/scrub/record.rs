//! What the walk changes, counts and, if somebody asks why, notes.

use std::ops::Range;

use super::{Note, Rule, edits::Mark, place::Place, walk::Walk};
use crate::protocol::json::unescape;

/// The state to go back to when what was mended since is replaced as a whole.
pub(super) struct Checkpoint {
    edits: Mark,
    repaired: u32,
    notes: usize,
}

impl Walk<'_, '_, '_> {
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let notes = self.notes.as_ref().map_or(0, |notes| notes.len());
        Checkpoint { edits: self.edits.mark(), repaired: self.repaired, notes }
    }

    /// Takes back what was mended since.
    pub(super) fn rewind(&mut self, checkpoint: &Checkpoint) {
        self.edits.rewind(checkpoint.edits);
        self.repaired = checkpoint.repaired;
        if let Some(notes) = &mut self.notes {
            notes.truncate(checkpoint.notes);
        }
    }

    /// Takes back the edits alone: what replaces them is mended as well.
    pub(super) fn rewind_edits(&mut self, checkpoint: &Checkpoint) {
        self.edits.rewind(checkpoint.edits);
    }

    pub(super) fn edit(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        self.edits.replace_with(range, write);
    }

    pub(super) fn mend(&mut self, range: Range<usize>, replacement: &[u8]) {
        self.edits.replace(range, replacement);
        self.repaired += 1;
        self.note(Rule::Repair);
    }

    /// What is no text cannot read `[Filtered]`.
    pub(super) fn nullify(&mut self, range: Range<usize>, place: Place) {
        self.edits.replace(range, b"null");
        self.note_scrubbed(if place == Place::Removed { Rule::IpAddress } else { Rule::SecretName });
    }

    pub(super) fn note_scrubbed(&mut self, rule: Rule) {
        self.scrubbed += 1;
        self.note(rule);
    }

    pub(super) fn note(&mut self, rule: Rule) {
        if self.notes.is_some() {
            let path = self.path();
            if let Some(notes) = &mut self.notes {
                notes.push(Note { path, rule });
            }
        }
    }

    /// `exception.values.0.value`; of a name that is mended the object it is in.
    pub(super) fn path(&self) -> String {
        let mut path = self.path.clone();
        for container in &self.stack {
            let mut part = String::new();
            if container.is_object {
                unescape(&self.text[container.name.clone()], &mut part);
            } else {
                part = container.index.to_string();
            }
            if !path.is_empty() && !part.is_empty() {
                path.push('.');
            }
            path.push_str(&part);
        }
        path
    }
}
