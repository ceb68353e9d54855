//! Numbers, words and strings: mended where strict parsers refuse them, and gone where they are secret.

use std::ops::Range;

use super::{
    Rule,
    place::{Pairs, Place, Style},
    record::Checkpoint,
    rules::FILTERED,
    signals::Signals,
    walk::{Refused, Walk},
};
use crate::protocol::json::{Piece, escape, escape_byte, is_finite, number_length, piece, plain_length, unescape};

/// Numbers with fewer characters are no card.
const MIN_CARD_DIGITS: usize = 15;

/// The text between two quotes.
pub(super) struct Quoted {
    pub(super) range: Range<usize>,
    /// It differs from the text it stands for.
    pub(super) is_escaped: bool,
    /// Escapes may hide a word, here or in JSON inside the text.
    pub(super) hides_words: bool,
}

impl<'a> Walk<'a, '_, '_> {
    pub(super) fn number(&mut self, place: Place) -> Result<(), Refused> {
        let start = self.position;
        if self.bytes[start..].starts_with(b"-Infinity") {
            return self.word(place);
        }
        let Some(length) = number_length(&self.bytes[start..]) else { return Err(self.error("invalid number")) };
        let range = start..start + length;
        self.position = range.end;
        match place {
            Place::Secret | Place::Removed => self.nullify(range, place),
            _ if !is_finite(&self.bytes[range.clone()]) => self.mend(range, b"null"),
            _ if length >= MIN_CARD_DIGITS
                && place.style().is_some()
                && self.rules.is_card(&self.text[range.clone()]) =>
            {
                self.edits.replace(range, b"null");
                self.note_scrubbed(Rule::CreditCard);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn word(&mut self, place: Place) -> Result<(), Refused> {
        let rest = &self.bytes[self.position..];
        let Some(word) = ["true", "false", "null", "NaN", "Infinity", "-Infinity"]
            .into_iter()
            .find(|word| rest.starts_with(word.as_bytes()))
        else {
            return Err(self.error("expected a value"));
        };
        let range = self.position..self.position + word.len();
        self.position = range.end;
        match (word, place) {
            ("true" | "false", Place::Secret | Place::Removed) => self.nullify(range, place),
            ("true" | "false" | "null", _) => {}
            _ => self.mend(range, b"null"),
        }
        Ok(())
    }

    /// Reads the string that stands at `place`.
    pub(super) fn string(&mut self, place: Place) -> Result<(), Refused> {
        let checkpoint = self.checkpoint();
        let quoted = self.quoted()?;
        match place {
            Place::Secret | Place::Counted => self.filter(&quoted, &checkpoint),
            Place::Removed => {
                self.rewind(&checkpoint);
                self.nullify(quoted.range.start - 1..quoted.range.end + 1, place);
            }
            Place::UserAddress => self.fill_in_address(&quoted),
            place => {
                if let Place::PairName(pairs) = place {
                    self.name_of_pair(&quoted, pairs);
                }
                if let Some(style) = place.style().filter(|_| self.rules.look_at_texts()) {
                    self.scrub(&quoted, &checkpoint, style);
                }
            }
        }
        Ok(())
    }

    fn filter(&mut self, quoted: &Quoted, checkpoint: &Checkpoint) {
        let mut buffer = String::new();
        if self.text_of(quoted, &mut buffer) != FILTERED {
            self.rewind(checkpoint);
            self.edit(quoted.range.clone(), |output| output.extend_from_slice(FILTERED.as_bytes()));
            self.note_scrubbed(Rule::SecretName);
        }
    }

    fn fill_in_address(&mut self, quoted: &Quoted) {
        let mut buffer = String::new();
        if self.text_of(quoted, &mut buffer).trim() == "{{auto}}"
            && let Some(client_ip) = self.client_ip
        {
            self.edit(quoted.range.clone(), |output| output.extend_from_slice(client_ip.to_string().as_bytes()));
        }
    }

    fn name_of_pair(&mut self, quoted: &Quoted, pairs: Pairs) {
        let mut buffer = String::new();
        let name = self.text_of(quoted, &mut buffer);
        self.name_pair(pairs, name);
    }

    fn scrub(&mut self, quoted: &Quoted, checkpoint: &Checkpoint, style: Style) {
        // Names of cookies and percent-encoded names give no hint.
        let is_always_read = matches!(style, Style::Form(_) | Style::Url);
        let mut signals = Signals::NONE;
        if let Some(lookahead) = self.lookahead.as_mut().filter(|_| !quoted.hides_words) {
            signals = lookahead.signals(quoted.range.clone());
            if signals == Signals::NONE && !is_always_read {
                return;
            }
        }
        let mut buffer = std::mem::take(&mut self.scratch);
        let text = self.text_of(quoted, &mut buffer);
        if quoted.hides_words {
            signals = self.rules.words.signals(text);
        }
        if signals.any(Signals::NAMES)
            && self.announces_secret(text)
            && let Some(container) = self.stack.last_mut()
        {
            container.secret_follows = true;
        }
        if (signals != Signals::NONE || is_always_read)
            && let Some(cleaned) = self.without_secrets(text, signals, style)
        {
            // What was mended in the text is mended in `cleaned` too, and stays counted.
            self.rewind_edits(checkpoint);
            self.edit(quoted.range.clone(), |output| escape(&cleaned, output));
        }
        self.scratch = buffer;
    }

    /// `--password` in a list of arguments: what follows is the password.
    fn announces_secret(&self, text: &str) -> bool {
        let is_list = self.stack.last().is_some_and(|container| !container.is_object);
        let flag = text.strip_prefix('-').filter(|_| is_list && text.len() < 80 && self.rules.scrubs_data());
        flag.is_some_and(|flag| {
            let name = flag.trim_start_matches('-');
            !name.contains(['=', ' ']) && self.rules.is_secret_value(name, "")
        })
    }

    /// Reads a string, mending what no strict parser takes.
    #[expect(clippy::inline_always, reason = "the walk spends most of its time here: a tenth faster")]
    #[inline(always)]
    pub(super) fn quoted(&mut self) -> Result<Quoted, Refused> {
        let start = self.position + 1;
        let end = start + plain_length(&self.bytes[start..]);
        if self.bytes.get(end) == Some(&b'"') {
            self.position = end + 1;
            return Ok(Quoted { range: start..end, is_escaped: false, hides_words: false });
        }
        self.escaped(start, end)
    }

    /// The same for a string whose first special byte, at `position`, is not its end.
    fn escaped(&mut self, start: usize, mut position: usize) -> Result<Quoted, Refused> {
        let mut hides_words = false;
        loop {
            let rest = &self.bytes[position..];
            self.position = position;
            position += match piece(rest) {
                Piece::End => {
                    self.position = position + 1;
                    return Ok(Quoted { range: start..position, is_escaped: true, hides_words });
                }
                Piece::Character { length, character } => {
                    let is_spelled_out = length > 2 && (character.is_ascii() || self.rules.has_own_words());
                    hides_words |= is_spelled_out || rest.starts_with(br"\\u");
                    length
                }
                Piece::LoneSurrogate { length } => {
                    self.mend(position..position + length, br"\ufffd");
                    length
                }
                Piece::Nul { length } => {
                    hides_words = true;
                    self.mend(position..position + length, b"");
                    length
                }
                Piece::Control { character } => {
                    let mut escape = Vec::new();
                    escape_byte(character, &mut escape);
                    self.mend(position..position + 1, &escape);
                    1
                }
                Piece::Invalid => return Err(self.error("invalid string")),
            };
            position += plain_length(&self.bytes[position..]);
        }
    }

    /// The text that `quoted` stands for, in `buffer` if it has to be made.
    pub(super) fn text_of<'t>(&self, quoted: &Quoted, buffer: &'t mut String) -> &'t str
    where
        'a: 't,
    {
        let raw = &self.text[quoted.range.clone()];
        if !quoted.is_escaped {
            return raw;
        }
        buffer.clear();
        unescape(raw, buffer);
        buffer
    }
}
