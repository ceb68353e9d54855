//! The global key `sentry_dsn` of a runner's config.toml, read, and set with every other byte left as it is.
//!
//! The text is parsed to find the key, then cut there: an editor that writes the whole document again would turn CRLF
//! into LF and drop a BOM. The file holds tokens of runners, so no error and no `Debug` repeats any of it.

use std::{borrow::Cow, fmt, ops::Range};

use toml_edit::{Array, Document, InlineTable, Item, Key, Table, TableLike, Value};

/// The key, as the runner's own `common/config.go` names it.
const KEY: &str = "sentry_dsn";

/// Largest file that is read, in bytes: what a Secret or a `ConfigMap` can hold.
pub const MAX_BYTES: usize = 1 << 20;

const BOM: char = '\u{feff}';

/// Tables of a config.toml whose keys are the user's own: labels, annotations and the like. `sentry_dsn` in them is no
/// mistake.
const FREE_TABLES: [&str; 10] = [
    "feature_flags",
    "node_selector",
    "node_tolerations",
    "pod_annotations",
    "pod_labels",
    "service_annotations",
    "service_labels",
    "sysctls",
    "tmpfs",
    "volume_driver_ops",
];

/// Names of tables that an error may repeat. Any other name could be a token in the wrong place.
const KNOWN_TABLES: [&str; 20] = [
    "autoscaler",
    "azure",
    "cache",
    "custom",
    "custom_build_dir",
    "docker",
    "gcs",
    "global",
    "instance",
    "kubernetes",
    "machine",
    "monitoring",
    "parallels",
    "referees",
    "runners",
    "s3",
    "sentry",
    "session_server",
    "ssh",
    "virtualbox",
];

/// What a config.toml says of `sentry_dsn`. `Debug` shows no value.
pub struct Config<'a> {
    dsn: Option<Cow<'a, str>>,
    line: Option<usize>,
}

impl Config<'_> {
    /// The value of the global key; `None` without the key. An empty one is not the same as none, see
    /// [`super::DsnSource::of`].
    #[must_use]
    pub fn sentry_dsn(&self) -> Option<&str> {
        self.dsn.as_deref()
    }

    /// The line of the key, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Debug for Config<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dsn = self.dsn.as_ref().map(|_| "…");
        formatter.debug_struct("Config").field("sentry_dsn", &dsn).field("line", &self.line).finish()
    }
}

/// Why a config.toml is left alone. The sentences are for people, and repeat nothing of the file but names of tables
/// that the runner's documentation has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("config.toml is not valid TOML: the error is in line {line}. The runner cannot load it either; correct it")]
    NotToml { line: usize },
    #[error("config.toml has sentry_dsn twice: the second one is in line {line}. Remove one of them")]
    Twice { line: usize },
    #[error(
        "config.toml has sentry_dsn inside the table {table}, in line {line}. The runner reads only the global key: move \
         it above the first table, or remove it"
    )]
    InTable { table: String, line: usize },
    /// The runner's TOML library falls back to comparing names without regard to case.
    #[error(
        "config.toml has sentry_dsn in other letters, in line {line}, and the runner reads that key too. Write it in \
         small letters"
    )]
    OtherCase { line: usize },
    #[error("sentry_dsn in line {line} of config.toml is not a string. Put the DSN in quotes, or remove the line")]
    NotAString { line: usize },
    #[error("config.toml is larger than 1 MiB and is not read")]
    TooLarge,
    /// Never seen: the last check before a file is written.
    #[error("config.toml would mean something else with another sentry_dsn, so it is left as it is")]
    WouldChangeMore,
}

/// Reads the global key. `text` is at most [`MAX_BYTES`] long and may begin with a BOM.
pub fn read(text: &str) -> Result<Config<'_>, ConfigError> {
    let document = parse(text)?;
    refuse_misplaced(text, document.as_table())?;
    let entry = global(text, document.as_table())?;
    let line = entry.as_ref().map(|entry| line_at(text, entry.key.start));
    Ok(Config { dsn: entry.map(|entry| Cow::Owned(entry.dsn)), line })
}

/// The value of the global key alone, whatever is in the tables.
pub fn value(text: &str) -> Result<Option<String>, ConfigError> {
    let document = parse(text)?;
    Ok(global(text, document.as_table())?.map(|entry| entry.dsn))
}

/// The text with the global key set to `dsn`, or without its line for `None`. Every other byte is as before: line ends,
/// comments, a BOM, and a last line without an end. A key that has the value already, in whatever quotes, stays.
///
/// A new key goes behind the last global one, or above the first table and the comment that belongs to it. To take the
/// key out, only the global one is looked at: one in a table does not matter then.
pub fn set(text: &str, dsn: Option<&str>) -> Result<String, ConfigError> {
    let document = parse(text)?;
    let root = document.as_table();
    if dsn.is_some() {
        refuse_misplaced(text, root)?;
    }
    let entry = global(text, root)?;
    let (cut, put) = match (&entry, dsn) {
        (None, None) => return Ok(text.to_owned()),
        (Some(entry), Some(dsn)) if entry.dsn == dsn => return Ok(text.to_owned()),
        (Some(entry), Some(dsn)) => (entry.value.clone(), quoted(dsn)),
        (Some(entry), None) => (line_of(text, entry.key.start..entry.value.end), String::new()),
        (None, Some(dsn)) => new_line(text, root, dsn),
    };
    let edited = [&text[..cut.start], put.as_str(), &text[cut.end..]].concat();
    let after = parse(&edited)?;
    let written = global(&edited, after.as_table())?.map(|entry| entry.dsn);
    if written.as_deref() == dsn && same_but_for_key(root, after.as_table()) {
        Ok(edited)
    } else {
        Err(ConfigError::WouldChangeMore)
    }
}

fn parse(text: &str) -> Result<Document<&str>, ConfigError> {
    if text.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge);
    }
    Document::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let line = line_at(text, span.start);
        let word = text.get(span).unwrap_or_default().trim_matches(['"', '\'']);
        // The words of toml_edit; a test holds them.
        let twice = error.message().starts_with("duplicate key") && word == KEY;
        if twice { ConfigError::Twice { line } } else { ConfigError::NotToml { line } }
    })
}

/// The global key, where it is.
struct Entry {
    key: Range<usize>,
    value: Range<usize>,
    dsn: String,
}

fn global(text: &str, root: &Table) -> Result<Option<Entry>, ConfigError> {
    let Some((key, item)) = root.get_key_value(KEY) else {
        return Ok(None);
    };
    let key = place(key, item);
    match item {
        Item::Value(Value::String(value)) => {
            let dsn = value.value().clone();
            Ok(Some(Entry { key, value: value.span().unwrap_or_default(), dsn }))
        }
        _ => Err(ConfigError::NotAString { line: line_at(text, key.start) }),
    }
}

/// Where a key stands, as far as the parser says: that of a header has the place of its table.
fn place(key: &Key, item: &Item) -> Range<usize> {
    key.span().or_else(|| item.span()).unwrap_or_default()
}

fn refuse_misplaced(text: &str, root: &Table) -> Result<(), ConfigError> {
    for (name, item) in root {
        if name != KEY && name.eq_ignore_ascii_case(KEY) {
            let start = root.key(name).map_or(0, |key| place(key, item).start);
            return Err(ConfigError::OtherCase { line: line_at(text, start) });
        }
    }
    root.iter().filter(|(name, _)| *name != KEY).try_for_each(|(name, item)| search(text, &mut vec![name], item))
}

/// Looks for the key in everything below `item`, which is at `path`.
fn search<'a>(text: &str, path: &mut Vec<&'a str>, item: &'a Item) -> Result<(), ConfigError> {
    if path.last().is_some_and(|name| FREE_TABLES.contains(name)) {
        return Ok(());
    }
    let tables: Vec<&'a dyn TableLike> = match item {
        Item::Table(table) => vec![table],
        Item::ArrayOfTables(tables) => tables.iter().map(|table| table as &dyn TableLike).collect(),
        Item::Value(Value::InlineTable(table)) => vec![table],
        Item::Value(Value::Array(values)) => {
            values.iter().filter_map(Value::as_inline_table).map(|table| table as &dyn TableLike).collect()
        }
        _ => return Ok(()),
    };
    for table in tables {
        if let Some((key, item)) = table.get_key_value(KEY) {
            let line = line_at(text, place(key, item).start);
            return Err(ConfigError::InTable { table: shown(path), line });
        }
        for (name, item) in table.iter() {
            path.push(name);
            search(text, path, item)?;
            path.pop();
        }
    }
    Ok(())
}

fn shown(path: &[&str]) -> String {
    let known = |name: &&str| if KNOWN_TABLES.contains(name) { (*name).to_owned() } else { "…".to_owned() };
    path.iter().map(known).collect::<Vec<_>>().join(".")
}

/// The line of a byte, counted from 1.
fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// A basic string of TOML.
fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            control if control.is_control() => text.extend(escaped(control)),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// `\u` and four hex digits; no control character needs more.
fn escaped(control: char) -> impl Iterator<Item = char> {
    let digit = move |shift: u32| char::from_digit(u32::from(control) >> shift & 0xf, 16).unwrap_or('0');
    ['\\', 'u'].into_iter().chain([12, 8, 4, 0].map(digit))
}

/// The whole lines of `entry`. A last one without an end takes the end of the line before with it, so that the file goes
/// on ending without one.
fn line_of(text: &str, entry: Range<usize>) -> Range<usize> {
    let first = if text.starts_with(BOM) { BOM.len_utf8() } else { 0 };
    let start = text[..entry.start].rfind('\n').map_or(first, |before| before + 1);
    if let Some(end) = text[entry.end..].find('\n') {
        return start..entry.end + end + 1;
    }
    let before = text[..start].strip_suffix('\n').map_or(start, |before| before.trim_end_matches('\r').len());
    before.max(first)..text.len()
}

/// Where a new key goes, as an empty range, and its line.
fn new_line(text: &str, root: &Table, dsn: &str) -> (Range<usize>, String) {
    let end = if text.find('\n').is_some_and(|at| text[..at].ends_with('\r')) { "\r\n" } else { "\n" };
    let at = match end_of_values(root) {
        Some(last) => text[last..].find('\n').map_or(text.len(), |more| last + more + 1),
        None => above_first_table(text),
    };
    let before = &text[..at];
    let alone = before.is_empty() || before.ends_with(['\n', BOM]);
    let line = format!("{KEY} = {}", quoted(dsn));
    (at..at, if alone { line + end } else { end.to_owned() + &line })
}

/// Where the last value ends that is in no table.
fn end_of_values(table: &Table) -> Option<usize> {
    let end = |item: &Item| match item {
        Item::Value(value) => value.span().map(|span| span.end),
        Item::Table(table) if table.is_dotted() => end_of_values(table),
        _ => None,
    };
    table.iter().filter_map(|(_, item)| end(item)).max()
}

/// Where the comment begins that stands right above the first header, of a text without values before that header; its
/// end, if it has no header.
fn above_first_table(text: &str) -> usize {
    let mut at = 0;
    let mut comment = None;
    for line in text.split_inclusive('\n') {
        let bom = if at == 0 && line.starts_with(BOM) { BOM.len_utf8() } else { 0 };
        let start = at + bom;
        match line[bom..].trim_start().chars().next() {
            Some('[') => return comment.unwrap_or(start),
            Some('#') => comment = comment.or(Some(start)),
            _ => comment = None,
        }
        at += line.len();
    }
    text.len()
}

fn same_but_for_key(before: &Table, after: &Table) -> bool {
    fn others(table: &Table) -> impl Iterator<Item = (&str, &Item)> {
        table.iter().filter(|(name, _)| *name != KEY)
    }
    others(before).eq_by_pair(others(after))
}

/// Pairs of name and item in the same order, with the same meaning.
trait EqByPair<'a>: Iterator<Item = (&'a str, &'a Item)> + Sized {
    fn eq_by_pair(self, mut other: impl Iterator<Item = (&'a str, &'a Item)>) -> bool {
        for (name, item) in self {
            if !other.next().is_some_and(|(same, also)| name == same && same_item(item, also)) {
                return false;
            }
        }
        other.next().is_none()
    }
}

impl<'a, I: Iterator<Item = (&'a str, &'a Item)>> EqByPair<'a> for I {}

fn same_item(before: &Item, after: &Item) -> bool {
    match (before, after) {
        (Item::None, Item::None) => true,
        (Item::Value(before), Item::Value(after)) => same_value(before, after),
        (Item::Table(before), Item::Table(after)) => before.iter().eq_by_pair(after.iter()),
        (Item::ArrayOfTables(before), Item::ArrayOfTables(after)) => {
            let mut pairs = before.iter().zip(after.iter());
            before.len() == after.len() && pairs.all(|(before, after)| before.iter().eq_by_pair(after.iter()))
        }
        _ => false,
    }
}

fn same_value(before: &Value, after: &Value) -> bool {
    let same_array = |before: &Array, after: &Array| {
        before.len() == after.len() && before.iter().zip(after.iter()).all(|(before, after)| same_value(before, after))
    };
    let same_table = |before: &InlineTable, after: &InlineTable| {
        let mut pairs = before.iter().zip(after.iter());
        before.len() == after.len()
            && pairs.all(|((name, before), (same, after))| name == same && same_value(before, after))
    };
    match (before, after) {
        (Value::String(before), Value::String(after)) => before.value() == after.value(),
        (Value::Integer(before), Value::Integer(after)) => before.value() == after.value(),
        // By bits: nan is a value of TOML.
        (Value::Float(before), Value::Float(after)) => before.value().to_bits() == after.value().to_bits(),
        (Value::Boolean(before), Value::Boolean(after)) => before.value() == after.value(),
        (Value::Datetime(before), Value::Datetime(after)) => before.value() == after.value(),
        (Value::Array(before), Value::Array(after)) => same_array(before, after),
        (Value::InlineTable(before), Value::InlineTable(after)) => same_table(before, after),
        _ => false,
    }
}

#[cfg(test)]
#[path = "config_toml_tests.rs"]
mod tests;
