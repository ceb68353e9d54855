//! What becomes of one text: it stays or loses its secret pieces. One with a structure of
//! its own, as JSON, a form, a query or cookies, is gone through name by name.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    Rule, patterns,
    place::{Pairs, Place, Style},
    rules::FILTERED,
    signals::Signals,
    walk::{Outcome, Walk},
};

/// JSON wrapped in more strings than this is not unwrapped but goes whole. Each wrap doubles the backslashes
/// of the one inside.
const MAX_WRAPS: usize = 8;

/// What going through the structure of a text came to.
enum Structure {
    None,
    Unchanged,
    Changed(String),
}

impl From<Option<String>> for Structure {
    fn from(changed: Option<String>) -> Self {
        changed.map_or(Self::Unchanged, Self::Changed)
    }
}

impl Walk<'_, '_, '_> {
    /// The text as it may be stored; `None` if that is how it is.
    pub(super) fn without_secrets(&mut self, text: &str, signals: Signals, style: Style) -> Option<Cow<'static, str>> {
        match self.structure(text, style) {
            Structure::None => {}
            Structure::Unchanged => return None,
            Structure::Changed(cleaned) => return Some(Cow::Owned(cleaned)),
        }
        let rules = self.rules;
        let mut applied = Vec::new();
        let cleaned = patterns::without_secrets(text, signals, style, rules, &mut applied);
        let Cow::Owned(cleaned) = cleaned else { return None };
        self.scrubbed += 1;
        for rule in applied {
            self.note(rule);
        }
        // The blanks in a card number may be all that kept a form from being one.
        match self.structure(&cleaned, style) {
            Structure::Changed(cleaned) => Some(Cow::Owned(cleaned)),
            Structure::None | Structure::Unchanged => Some(Cow::Owned(cleaned)),
        }
    }

    fn structure(&mut self, text: &str, style: Style) -> Structure {
        if !self.rules.scrubs_data() {
            return Structure::None;
        }
        if let Some(root) = json_root(style)
            && text.trim_ascii_start().starts_with(['{', '[', '"'])
        {
            let structure = self.json(text, root);
            if !matches!(structure, Structure::None) {
                return structure;
            }
        }
        match style {
            Style::Form(pairs) if is_form(text, pairs) => self.form(text, pairs).into(),
            _ => Structure::None,
        }
    }

    fn json(&mut self, text: &str, root: Place) -> Structure {
        if self.wraps == MAX_WRAPS || text.len() > self.budget {
            self.note_scrubbed(Rule::SecretText);
            return Structure::Changed(FILTERED.to_owned());
        }
        let path = if self.notes.is_some() { self.path() } else { String::new() };
        let checkpoint = self.checkpoint();
        let mut walk = Walk::new(self.rules, text, self.client_ip, self.notes.as_deref_mut(), path, self.wraps + 1);
        walk.budget = self.budget - text.len();
        let (outcome, budget) = walk.run(root);
        self.budget = budget;
        let Ok(Outcome { edited, scrubbed, repaired }) = outcome else {
            self.rewind(&checkpoint);
            return Structure::None;
        };
        self.scrubbed += scrubbed;
        self.repaired += repaired;
        edited.map(|edited| String::from_utf8_lossy(&edited).into_owned()).into()
    }

    /// Names and values with the encoding of those that stay.
    fn form(&mut self, text: &str, pairs: Pairs) -> Option<String> {
        let separator = if pairs == Pairs::Cookies { ';' } else { '&' };
        let mut output = String::new();
        let mut is_changed = false;
        for (index, pair) in text.split(separator).enumerate() {
            if index > 0 {
                output.push(separator);
            }
            let cleaned = self.pair(pair, pairs);
            is_changed |= cleaned.is_some();
            output.push_str(cleaned.as_deref().unwrap_or(pair));
        }
        is_changed.then_some(output)
    }

    fn pair(&mut self, pair: &str, pairs: Pairs) -> Option<String> {
        let Some((name, value)) = pair.split_once('=') else { return self.form_value(pair) };
        let decoded = percent_decoded(name.trim_ascii());
        let rules = self.rules;
        match Place::Pairs(pairs).member(&decoded, rules, || rules.words.signals(&decoded)) {
            Place::Secret | Place::Counted if value == FILTERED => None,
            Place::Counted if value.bytes().all(|byte| byte.is_ascii_digit()) => None,
            Place::Secret | Place::Counted => {
                self.note_scrubbed(Rule::SecretName);
                Some(format!("{name}={FILTERED}"))
            }
            Place::Kept => None,
            _ => self.form_value(value).map(|value| format!("{name}={value}")),
        }
    }

    fn form_value(&mut self, value: &str) -> Option<String> {
        let decoded = percent_decoded(value);
        let signals = self.rules.words.signals(&decoded);
        if signals == Signals::NONE {
            return None;
        }
        self.without_secrets(&decoded, signals, Style::Whole).map(|cleaned| percent_encoded(&cleaned))
    }
}

/// Place of the JSON that a text of this style may hold.
fn json_root(style: Style) -> Option<Place> {
    match style {
        Style::Whole | Style::Form(Pairs::Cookies | Pairs::Query) => Some(Place::Whole),
        Style::Form(pairs) => Some(Place::Pairs(pairs)),
        Style::Inline => Some(Place::Inline),
        Style::Code | Style::Name | Style::Url => None,
    }
}

/// A body may be any text: one with characters that a form encodes is prose or markup, and not looked at
/// name by name.
fn is_form(text: &str, pairs: Pairs) -> bool {
    let is_foreign = |character: char| character.is_ascii_whitespace() || "<>\"{}".contains(character);
    text.contains('=') && (pairs != Pairs::Data || !text.contains(is_foreign))
}

/// `%41` and `+` as the characters they stand for; what is not encoded well stays.
pub(super) fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return percent_decode_str(text).decode_utf8_lossy();
    }
    Cow::Owned(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned())
}

/// What a form encodes. Brackets stay, for people to read `[Filtered]`.
const IN_FORMS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'[').remove(b']');

/// The value of a form again.
fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, IN_FORMS).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_leniently() {
        for (encoded, decoded) in [
            ("plain", "plain"),
            ("a+b%20c%3D%c3%BC", "a b c=ü"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(percent_decoded(encoded), decoded, "{encoded}");
        }
        assert_eq!(percent_decoded(&percent_encoded("a&b=ü +[x]")), "a&b=ü +[x]");
        assert_eq!(percent_encoded(FILTERED), FILTERED);
    }
}
