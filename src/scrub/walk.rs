//! The one walk over the bytes of a payload: which value stands where, and whether it is JSON at all.

use std::{borrow::Cow, net::IpAddr, ops::Range};

use super::{
    CleanError, Cleaned, Note,
    edits::Edits,
    place::{Pairs, Place},
    rules::Rules,
    scalars::Quoted,
    signals::{Lookahead, Signals},
};
use crate::protocol::json::{after_blanks, container_end, string_end, unescape, value_end};

/// Deeper lists and objects become null. `serde_json` gives up at 128.
const MAX_DEPTH: usize = 100;

/// All strings of a payload that hold JSON again may be this many times its length together, however often one is
/// looked into: a text that is JSON but for its end is walked through twice, and so is each inside it.
const NESTED: usize = 4;

/// A member with a longer name is dropped: no application means it.
const MAX_NAME_BYTES: usize = 1000;

pub(super) struct Walk<'a, 'r, 'n> {
    pub(super) rules: &'r Rules,
    pub(super) client_ip: Option<IpAddr>,
    /// The payload, or the text of a string in it that holds JSON again.
    pub(super) text: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
    pub(super) stack: Vec<Container>,
    pub(super) edits: Edits<'a>,
    /// `None` if no text is looked at.
    pub(super) lookahead: Option<Lookahead<'r, 'a>>,
    pub(super) scratch: String,
    pub(super) scrubbed: u32,
    pub(super) repaired: u32,
    pub(super) notes: Option<&'n mut Vec<Note>>,
    /// Path of the string that `text` is of.
    pub(super) path: String,
    /// How many strings `text` is wrapped in.
    pub(super) wraps: usize,
    /// Bytes of strings that may still be walked through as JSON of their own.
    pub(super) budget: usize,
    refusal: CleanError,
}

/// The walk ends; it remembers why. Results without the reason fit into registers, which is felt.
pub(super) struct Refused;

/// A list or object that is not closed yet.
pub(super) struct Container {
    place: Place,
    pub(super) is_object: bool,
    /// Whether a member was kept already.
    has_members: bool,
    /// The comma in front of the current member.
    comma: usize,
    /// Number of the current element.
    pub(super) index: usize,
    /// Name of the current member.
    pub(super) name: Range<usize>,
    /// Place of the elements of a list; of the value of a pair or entry.
    value: Place,
    /// The element before was a flag that a secret follows.
    pub(super) secret_follows: bool,
}

pub(super) struct Outcome {
    /// `None` if nothing was changed.
    pub(super) edited: Option<Vec<u8>>,
    pub(super) scrubbed: u32,
    pub(super) repaired: u32,
}

impl<'a, 'r, 'n> Walk<'a, 'r, 'n> {
    pub(super) fn clean<'p>(
        rules: &'r Rules,
        payload: &'p [u8],
        client_ip: Option<IpAddr>,
        notes: Option<&'n mut Vec<Note>>,
    ) -> Result<Cleaned<'p>, CleanError> {
        let (text, replaced) = as_text(payload);
        let mut walk = Walk::new(rules, &text, client_ip, notes, String::new(), 0);
        walk.skip_byte_order_mark();
        let Outcome { edited, scrubbed, repaired } = walk.run(Place::EVENT).0?;
        let payload = match (edited, text) {
            (Some(edited), _) => Cow::Owned(edited),
            (None, Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
            (None, Cow::Borrowed(_)) => Cow::Borrowed(payload),
        };
        Ok(Cleaned { payload, scrubbed, repaired: repaired + replaced })
    }

    pub(super) fn new(
        rules: &'r Rules,
        text: &'a str,
        client_ip: Option<IpAddr>,
        notes: Option<&'n mut Vec<Note>>,
        path: String,
        wraps: usize,
    ) -> Self {
        let bytes = text.as_bytes();
        Self {
            rules,
            client_ip,
            text,
            bytes,
            position: 0,
            stack: Vec::with_capacity(16),
            edits: Edits::new(bytes),
            lookahead: rules.look_at_texts().then(|| Lookahead::new(&rules.words, bytes)),
            scratch: String::new(),
            scrubbed: 0,
            repaired: 0,
            notes,
            path,
            wraps,
            budget: bytes.len().saturating_mul(NESTED),
            refusal: CleanError::NotAnObject,
        }
    }

    fn skip_byte_order_mark(&mut self) {
        if self.bytes.starts_with(b"\xef\xbb\xbf") {
            self.position = 3;
            self.mend(0..3, b"");
        }
    }

    /// Walks over the whole text, which stands at `root`; what is left of the budget.
    pub(super) fn run(mut self, root: Place) -> (Result<Outcome, CleanError>, usize) {
        let walked = self.walk(root);
        let Self { edits, scrubbed, repaired, budget, refusal, .. } = self;
        let outcome = match walked {
            Ok(()) => Ok(Outcome { edited: edits.finish(), scrubbed, repaired }),
            Err(Refused) => Err(refusal),
        };
        (outcome, budget)
    }

    fn walk(&mut self, root: Place) -> Result<(), Refused> {
        let mut place = root;
        self.skip_blanks();
        match (self.peek(), root) {
            (Some(b'{'), _) => {}
            // A string may hold JSON once more.
            (Some(b'[' | b'"'), root) if root != Place::EVENT => {}
            (Some(b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' | b'N' | b'I'), _) => {
                return Err(Refused);
            }
            _ => return Err(self.error("expected an object")),
        }
        loop {
            let opened = self.value(place)?;
            if opened
                && !self.closes()
                && let Some(next) = self.next()?
            {
                place = next;
                continue;
            }
            match self.after_value()? {
                Some(next) => place = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Whether the container that was just opened is empty.
    fn closes(&mut self) -> bool {
        self.skip_blanks();
        self.stack.last().is_some_and(|container| self.peek() == Some(container.closing_bracket()))
    }

    /// Goes on behind a value to the next one of the same container or of one around it; `None` at the end.
    fn after_value(&mut self) -> Result<Option<Place>, Refused> {
        loop {
            self.skip_blanks();
            let next = self.peek();
            let Some(container) = self.stack.last_mut() else {
                return if next.is_none() { Ok(None) } else { Err(self.error("expected the end")) };
            };
            match next {
                Some(b',') => {
                    container.comma = self.position;
                    container.index += 1;
                    self.position += 1;
                    if let Some(place) = self.next()? {
                        return Ok(Some(place));
                    }
                }
                Some(bracket) if bracket == container.closing_bracket() => {
                    self.position += 1;
                    self.stack.pop();
                }
                _ => return Err(self.error("expected a comma or the end of a list or object")),
            }
        }
    }

    /// Goes to the value of the next member or element. `None` if the member was dropped and none follows
    /// at once.
    fn next(&mut self) -> Result<Option<Place>, Refused> {
        self.skip_blanks();
        if let Some(container) = self.stack.last_mut().filter(|container| container.secret_follows) {
            container.secret_follows = false;
            return Ok(Some(Place::Secret));
        }
        match self.stack.last() {
            Some(Container { is_object: true, .. }) => self.member(),
            Some(Container { place: Place::Pair(pairs), index: 0, .. }) => Ok(Some(Place::PairName(*pairs))),
            Some(Container { value, .. }) => Ok(Some(*value)),
            None => Ok(None),
        }
    }

    fn member(&mut self) -> Result<Option<Place>, Refused> {
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a name"));
            }
            let (start, checkpoint) = (self.position, self.checkpoint());
            if let Some(container) = self.stack.last_mut() {
                container.name = 0..0;
            }
            let name = self.quoted()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.error("expected a colon"));
            }
            self.position += 1;
            self.skip_blanks();
            if name.range.len() <= MAX_NAME_BYTES {
                return Ok(Some(self.member_place(&name)));
            }
            self.rewind(&checkpoint);
            if !self.drop_member(start)? {
                return Ok(None);
            }
        }
    }

    /// Drops the member whose name began at `start`, up to its value here, and one comma. Whether the next
    /// name has to follow.
    fn drop_member(&mut self, start: usize) -> Result<bool, Refused> {
        self.position = self.end_of(value_end)?;
        if let Some(Container { has_members: true, comma, .. }) = self.stack.last() {
            self.mend(*comma..self.position, b"");
            return Ok(false);
        }
        self.skip_blanks();
        let is_followed = self.peek() == Some(b',');
        self.position += usize::from(is_followed);
        self.mend(start..self.position, b"");
        self.skip_blanks();
        Ok(is_followed)
    }

    fn member_place(&mut self, name: &Quoted) -> Place {
        let Some(container) = self.stack.last_mut() else { return Place::Whole };
        container.has_members = true;
        container.name = name.range.clone();
        let (place, value) = (container.place, container.value);
        if place == Place::Kept {
            return place;
        }
        let mut unescaped = String::new();
        let text = if name.is_escaped {
            unescape(&self.text[name.range.clone()], &mut unescaped);
            &unescaped
        } else {
            &self.text[name.range.clone()]
        };
        let (rules, lookahead) = (self.rules, &mut self.lookahead);
        let place = match (place, text) {
            (Place::Entry(_), "key" | "name") => return Place::EntryName,
            (Place::Entry(_), "value") => return value,
            (Place::Entry(_), _) => Place::Whole,
            (place, _) => place,
        };
        place.member(text, rules, || match lookahead {
            Some(lookahead) if !name.is_escaped => lookahead.name(name.range.clone()),
            Some(_) => rules.words.signals(text),
            None => Signals::NONE,
        })
    }

    /// Reads the value that stands at `place`. Whether that was the start of a list or object.
    fn value(&mut self, place: Place) -> Result<bool, Refused> {
        match self.peek() {
            Some(bracket @ (b'{' | b'[')) => return self.open(place, bracket == b'{'),
            Some(b'"') => self.string(place)?,
            Some(b'-' | b'0'..=b'9') => self.number(place)?,
            Some(_) => self.word(place)?,
            None => return Err(self.error("unexpected end")),
        }
        Ok(false)
    }

    fn open(&mut self, place: Place, is_object: bool) -> Result<bool, Refused> {
        let is_secret = matches!(place, Place::Secret | Place::Counted | Place::Removed);
        if is_secret || self.stack.len() >= MAX_DEPTH {
            let range = self.position..self.end_of(container_end)?;
            self.position = range.end;
            if is_secret {
                self.nullify(range, place);
            } else {
                self.mend(range, b"null");
            }
            return Ok(false);
        }
        self.position += 1;
        let place = if is_object { place.object() } else { place.list() };
        let value = match place {
            Place::Pair(pairs) => self.named_value(pairs, ""),
            Place::Entry(pairs) => self.entry_value(pairs),
            place => place.element(),
        };
        let (comma, index, name) = (0, 0, 0..0);
        self.stack.push(Container {
            place,
            is_object,
            has_members: false,
            comma,
            index,
            name,
            value,
            secret_follows: false,
        });
        Ok(true)
    }

    /// Place of what `name` is the name of.
    fn named_value(&self, pairs: Pairs, name: &str) -> Place {
        Place::Pairs(pairs).member(name, self.rules, || self.rules.words.signals(name))
    }

    /// The first text of a pair was read: it decides about what follows.
    pub(super) fn name_pair(&mut self, pairs: Pairs, name: &str) {
        let value = self.named_value(pairs, name);
        if let Some(container) = self.stack.last_mut() {
            container.value = value;
        }
    }

    /// Looks ahead for the name of an entry, which may stand behind its value. A secret name wins over others.
    fn entry_value(&self, pairs: Pairs) -> Place {
        let mut place = self.named_value(pairs, "");
        let mut position = self.position;
        let mut member = || {
            let start = after_blanks(self.bytes, position);
            let end =
                self.bytes.get(start).filter(|byte| **byte == b'"').and_then(|_| string_end(self.bytes, start))?;
            let value = after_blanks(self.bytes, after_blanks(self.bytes, end) + 1);
            let value_end = value_end(self.bytes, value)?;
            position = after_blanks(self.bytes, value_end);
            let is_last = self.bytes.get(position) != Some(&b',');
            position = if is_last { self.bytes.len() } else { position + 1 };
            let (mut name, mut text) = (String::new(), String::new());
            unescape(&self.text[start + 1..end - 1], &mut name);
            if matches!(name.as_str(), "key" | "name") && self.bytes[value] == b'"' {
                unescape(&self.text[value + 1..value_end - 1], &mut text);
                Some(Some(text))
            } else {
                Some(None)
            }
        };
        while let Some(name) = member() {
            if let Some(name) = name
                && place != Place::Secret
            {
                place = self.named_value(pairs, &name);
            }
        }
        place
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn skip_blanks(&mut self) {
        self.position = after_blanks(self.bytes, self.position);
    }

    fn end_of(&mut self, end: impl Fn(&[u8], usize) -> Option<usize>) -> Result<usize, Refused> {
        end(self.bytes, self.position).ok_or_else(|| self.error("unexpected end"))
    }

    #[cold]
    pub(super) fn error(&mut self, reason: &'static str) -> Refused {
        self.refusal = CleanError::InvalidJson { offset: self.position, reason };
        Refused
    }
}

impl Container {
    fn closing_bracket(&self) -> u8 {
        if self.is_object { b'}' } else { b']' }
    }
}

/// The payload as text, and how often something in it was not UTF-8.
fn as_text(payload: &[u8]) -> (Cow<'_, str>, u32) {
    if let Ok(text) = std::str::from_utf8(payload) {
        return (Cow::Borrowed(text), 0);
    }
    let (mut text, mut replaced) = (String::with_capacity(payload.len() + 16), 0);
    for chunk in payload.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            replaced += 1;
        }
    }
    (Cow::Owned(text), replaced)
}
