//! What stands before the caret in a query that is not whole yet.

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// `None`: a key, or text to look for.
    pub key: Option<String>,
    /// As far as it is there, without the quote that opens it.
    pub text: String,
    /// Byte of the query at which a completion begins.
    pub from: usize,
    /// Another value may follow right behind.
    pub is_in_list: bool,
}

/// The end of the text is the caret. `None`: nothing can be completed there.
#[must_use]
pub fn typed(before: &str) -> Option<Typed> {
    let mut scanned = Scanned::default();
    for (at, character) in before.char_indices() {
        scanned.take(at, character);
    }
    let Scanned { start, colon, from, is_closed, is_in_list, .. } = scanned;
    if is_closed {
        return None;
    }
    let Some(colon) = colon else {
        let from = start + usize::from(before[start..].starts_with('!'));
        let text = &before[from..];
        // Text in quotes is no key.
        return (!text.starts_with('"')).then(|| Typed { key: None, text: text.to_owned(), from, is_in_list });
    };
    let key = before[start..colon].trim_start_matches('!');
    let text = before[from..].trim_start_matches('"');
    (!key.is_empty()).then(|| Typed { key: Some(key.to_owned()), text: text.to_owned(), from, is_in_list })
}

#[derive(Default)]
struct Scanned {
    /// Of the last term.
    start: usize,
    /// The first of the term that is not in quotes.
    colon: Option<usize>,
    /// Of its last value.
    from: usize,
    is_quoted: bool,
    is_escaped: bool,
    is_in_list: bool,
    /// Nothing belongs behind but a blank.
    is_closed: bool,
}

impl Scanned {
    fn take(&mut self, at: usize, character: char) {
        let next = at + character.len_utf8();
        if self.is_quoted {
            match character {
                _ if self.is_escaped => self.is_escaped = false,
                '\\' => self.is_escaped = true,
                '"' => (self.is_quoted, self.is_closed) = (false, true),
                _ => {}
            }
            return;
        }
        match character {
            '"' => self.is_quoted = true,
            ':' if self.colon.is_none() => (self.colon, self.from) = (Some(at), next),
            '[' if self.colon.is_some() && self.from == at => (self.is_in_list, self.from) = (true, next),
            ',' if self.is_in_list => (self.from, self.is_closed) = (next, false),
            ']' if self.is_in_list => (self.is_in_list, self.is_closed) = (false, true),
            _ if character.is_whitespace() && self.is_in_list => {
                if self.from == at {
                    self.from = next;
                }
            }
            _ if character.is_whitespace() => *self = Self { start: next, ..Self::default() },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_key_or_value_is_completed() {
        for (before, expected) in [
            ("", Some((None, "", 0, false))),
            ("is:unresolved ", Some((None, "", 14, false))),
            ("rel", Some((None, "rel", 0, false))),
            ("größe !rel", Some((None, "rel", 9, false))),
            ("release:", Some((Some("release"), "", 8, false))),
            ("!release:shop@1", Some((Some("release"), "shop@1", 9, false))),
            ("timesSeen:>1", Some((Some("timesSeen"), ">1", 10, false))),
            (r#"environment:"two wo"#, Some((Some("environment"), "two wo", 12, false))),
            (r#"environment:"a\" b"#, Some((Some("environment"), r#"a\" b"#, 12, false))),
            ("url:http://a", Some((Some("url"), "http://a", 4, false))),
            ("level:[", Some((Some("level"), "", 7, true))),
            ("level:[error, fa", Some((Some("level"), "fa", 14, true))),
            (r#"level:["error", "fa"#, Some((Some("level"), "fa", 16, true))),
            ("level:[error] is:", Some((Some("is"), "", 17, false))),
            // Nothing to complete.
            (r#""some te"#, None),
            (r#"environment:"two words""#, None),
            ("level:[error]", None),
            (":x", None),
        ] {
            let found = typed(before).map(|typed| (typed.key, typed.text, typed.from, typed.is_in_list));
            let expected = expected
                .map(|(key, text, from, is_in_list)| (key.map(str::to_owned), text.to_owned(), from, is_in_list));
            assert_eq!(found, expected, "{before}");
        }
    }
}
