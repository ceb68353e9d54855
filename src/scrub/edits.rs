//! A changed copy of some bytes, made only once something in them changes.

use std::ops::Range;

/// Replacements in ascending order; what lies between them is copied as it is.
pub(super) struct Edits<'a> {
    original: &'a [u8],
    output: Vec<u8>,
    copied_to: usize,
}

/// How far the copy was at some time, to take back what was replaced since.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    length: usize,
    copied_to: usize,
}

impl<'a> Edits<'a> {
    pub(super) fn new(original: &'a [u8]) -> Self {
        Self { original, output: Vec::new(), copied_to: 0 }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { length: self.output.len(), copied_to: self.copied_to }
    }

    pub(super) fn rewind(&mut self, mark: Mark) {
        self.output.truncate(mark.length);
        self.copied_to = mark.copied_to;
    }

    /// `range` must not reach in front of what is replaced already.
    pub(super) fn replace(&mut self, range: Range<usize>, replacement: &[u8]) {
        self.replace_with(range, |output| output.extend_from_slice(replacement));
    }

    pub(super) fn replace_with(&mut self, range: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.output.capacity() == 0 {
            self.output.reserve(self.original.len() + 64);
        }
        self.output.extend_from_slice(&self.original[self.copied_to..range.start]);
        write(&mut self.output);
        self.copied_to = range.end;
    }

    /// `None` if nothing was replaced.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if self.copied_to == 0 {
            return None;
        }
        self.output.extend_from_slice(&self.original[self.copied_to..]);
        Some(self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_is_copied() {
        let mut edits = Edits::new(b"one two three");
        edits.replace(0..3, b"1");
        let mark = edits.mark();
        edits.replace(4..7, b"2");
        edits.rewind(mark);
        edits.replace(8..13, b"3");
        assert_eq!(edits.finish().unwrap(), b"1 two 3");
        assert_eq!(Edits::new(b"one").finish(), None);
    }
}
