//! What somebody types to find errors: `is:unresolved !level:info timesSeen:>100 "connection refused"`. Text goes in,
//! with who reads and when; typed terms come out, or a mistake with its place. Pure; `handlers::issues` calls it.
//!
//! ```text
//! query = term …                      all of them hold
//! term  = ["!"] (key ":" [">" | ">=" | "<" | "<="] value | text)
//! value = word | "quoted" | [value, value]
//! ```
//!
//! `*` in a word stands for any text, in quotes for itself.

mod complete;
mod scan;
mod terms;

pub use self::{
    complete::{Typed, typed},
    terms::{KEYS, NEW, begins, earlier, is_tag, keys, usual_values},
};
use jiff::Timestamp;

use crate::store::console::{Criterion, Search, Term};

/// Longest query, in bytes.
pub const MAX_BYTES: usize = 1024;
const MAX_TERMS: usize = 20;
/// Values of all terms.
const MAX_VALUES: usize = 50;

/// Whose query it is.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'r> {
    /// The name that errors are assigned to. `None`: nobody is signed in.
    pub me: Option<&'r str>,
    pub now: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub parts: Vec<Part>,
}

/// A term, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub term: Term,
    /// As it was typed.
    pub text: String,
    /// Of its first character, from 1.
    pub column: usize,
}

/// Why a query means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The character it is about, from 1.
    pub column: usize,
    /// What is wrong, and the cure.
    pub sentence: String,
}

impl Mistake {
    pub fn new(column: usize, sentence: impl Into<String>) -> Self {
        Self { column, sentence: sentence.into() }
    }
}

/// Typed terms of a query; none for one of blanks.
pub fn parse(text: &str, reader: Reader<'_>) -> Result<Query, Mistake> {
    if text.len() > MAX_BYTES {
        return Err(Mistake::new(1, format!("A query has at most {MAX_BYTES} bytes, and this one {}.", text.len())));
    }
    let scanned = scan::scan(text)?;
    if let Some(beyond) = scanned.get(MAX_TERMS) {
        return Err(Mistake::new(beyond.column, format!("A query has at most {MAX_TERMS} terms.")));
    }
    let mut values = 0;
    let mut parts = Vec::new();
    for found in scanned {
        values += found.values.len();
        if values > MAX_VALUES {
            return Err(Mistake::new(found.column, format!("A query has at most {MAX_VALUES} values.")));
        }
        let criterion = terms::criterion(&found, reader)?;
        let term = Term { is_negated: found.is_negated, criterion };
        parts.push(Part { term, text: found.text, column: found.column });
    }
    Ok(Query { parts })
}

impl Query {
    #[must_use]
    pub fn search(&self) -> Search {
        Search { terms: self.parts.iter().map(|part| part.term.clone()).collect() }
    }

    /// Keys that are those of tags, with their terms.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &Part)> {
        self.parts.iter().filter_map(|part| match &part.term.criterion {
            Criterion::Tag { key, .. } => Some((key.as_str(), part)),
            _ => None,
        })
    }
}

/// A term for one value, quoted where it needs that.
#[must_use]
pub fn term(key: &str, value: &str) -> String {
    format!("{key}:{}", quoted(value))
}

/// The value of a term, in quotes where it needs them.
#[must_use]
pub fn quoted(value: &str) -> String {
    let is_plain = |character: char| !character.is_whitespace() && !r#""()[],*<>!\"#.contains(character);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!(r#""{}""#, value.replace('\\', r"\\").replace('"', r#"\""#))
}

#[cfg(test)]
mod tests;
