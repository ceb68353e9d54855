//! What is assigned to the name of a secret within a text: `password=hunter2`, `"password": "hunter2"`, `--password hunter2`,
//! `<password>hunter2</password>`. A text that only speaks of a password stays.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexBuilder};

use super::{
    place::Style,
    rules::{FILTERED, Rules},
};

/// What a thread keeps of the one below: texts could be made that need four times as much to be fast.
const MAX_AUTOMATON_BYTES: usize = 512 << 10;

/// A name, what stands between, and a value: in quotes, or up to a blank or a sign that ends it.
#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| {
    let scheme = r"(?:(?i:Bearer|Basic|Token|Digest|ApiKey)\s+)?";
    let value = format!(r#"\\*"[^"\\]*|\\*'[^'\\]*|{scheme}[^\s"'\\,;&<>()\[\]{{}}]+(?:\[[a-z]+\])?"#);
    let pattern = format!(r#"([A-Za-z_][A-Za-z0-9_.-]{{0,80}})(\\*["']?\s?(?:=>|:=|[:=])\s?)({value})"#);
    RegexBuilder::new(&pattern).dfa_size_limit(MAX_AUTOMATON_BYTES).build().expect("the pattern is valid")
});

#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static FLAG: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(--[A-Za-z][A-Za-z0-9_-]{0,80})(\s+)([^\s"'-][^\s"']*)"#).expect("the pattern is valid")
});

#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static ELEMENT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(<([A-Za-z_][A-Za-z0-9_.:-]{0,80})(?:\s[^<>]*)?>)([^<>]+)(</)").expect("the pattern is valid")
});

/// The word behind `password`, where nothing stands between: it is one if nobody would write it in a sentence.
#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static SAID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"((?i:password|passwd|passphrase|pwd)(?: is)? )([^\s\x22',;:.()\[\]<>]+)")
        .expect("the pattern is valid")
});

/// What is said of a secret, and is none.
const STATES: [&str; 34] = [
    "incorrect",
    "invalid",
    "wrong",
    "required",
    "missing",
    "expired",
    "null",
    "none",
    "nil",
    "empty",
    "true",
    "false",
    "undefined",
    "not",
    "must",
    "is",
    "too",
    "cannot",
    "failed",
    "denied",
    "bad",
    "unknown",
    "ok",
    "no",
    "yes",
    "error",
    "string",
    "str",
    "number",
    "int",
    "bool",
    "boolean",
    "object",
    "unset",
];

/// `text` without what is assigned; `None` if there is nothing.
pub(super) fn without_assigned(text: &str, style: Style, rules: &Rules) -> Option<String> {
    let mut is_changed = false;
    let mut cleaned = Cow::Borrowed(text);
    if text.contains([':', '=']) {
        let replaced = ASSIGNED.replace_all(&cleaned, |found: &Captures<'_>| {
            let behind = found.get(0).map_or("", |found| &text[found.end()..]);
            let (name, value) = (&found[1], &found[3]);
            let quotes = value.len() - value.trim_start_matches(['\\', '"', '\'']).len();
            let is_secret = (style != Style::Code || quotes > 0)
                && is_value(&value[quotes..], &found[2], behind, quotes > 0)
                && rules.is_secret_value(name, &value[quotes..])
                && !is_syntax(name, &text[..found.get(0).map_or(0, |found| found.start())]);
            if !is_secret {
                return found[0].to_owned();
            }
            is_changed = true;
            format!("{name}{}{}{FILTERED}", &found[2], &value[..quotes])
        });
        cleaned = Cow::Owned(replaced.into_owned());
    }
    if style == Style::Code {
        return is_changed.then(|| cleaned.into_owned());
    }
    let mut each =
        |pattern: &Regex, is_secret: &dyn Fn(&Captures<'_>) -> bool, write: &dyn Fn(&Captures<'_>) -> String| {
            let replaced = pattern.replace_all(&cleaned, |found: &Captures<'_>| {
                if !is_secret(found) {
                    return found[0].to_owned();
                }
                is_changed = true;
                write(found)
            });
            cleaned = Cow::Owned(replaced.into_owned());
        };
    if text.contains("--") {
        let is_secret = |found: &Captures<'_>| {
            !found[3].starts_with('[') && rules.is_secret_value(found[1].trim_start_matches('-'), &found[3])
        };
        each(&FLAG, &is_secret, &|found| format!("{}{}{FILTERED}", &found[1], &found[2]));
    }
    if text.contains("</") {
        let is_secret = |found: &Captures<'_>| &found[3] != FILTERED && rules.is_secret_value(&found[2], &found[3]);
        each(&ELEMENT, &is_secret, &|found| format!("{}{FILTERED}{}", &found[1], &found[4]));
    }
    each(&SAID, &|found| is_no_word(&found[2]), &|found| format!("{}{FILTERED}", &found[1]));
    is_changed.then(|| cleaned.into_owned())
}

/// Whether what stands behind a name is a value, and no word of a sentence nor a placeholder.
fn is_value(value: &str, between: &str, behind: &str, is_quoted: bool) -> bool {
    if value.is_empty() || value.starts_with(['[', '%', '$', '?', '*']) || value.starts_with("-----") {
        return false;
    }
    let is_state = STATES.iter().any(|state| value.eq_ignore_ascii_case(state));
    if is_state || is_quoted || between.contains('=') {
        return !is_state;
    }
    // `password: must be set` is a sentence.
    let is_plain = value.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_followed = behind.strip_prefix(' ').is_some_and(|next| next.starts_with(|next: char| next.is_alphabetic()));
    !(is_plain && is_followed)
}

/// `Unexpected token: x` is what a parser says.
fn is_syntax(name: &str, before: &str) -> bool {
    let before = before.trim_end();
    name.eq_ignore_ascii_case("token")
        && ["nexpected", "nvalid", "llegal", "issing", "xpected"].iter().any(|word| before.ends_with(word))
}

/// Digits or signs among letters: `hunter2`, `s3cr3t!`.
fn is_no_word(text: &str) -> bool {
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = text.bytes().any(|byte| byte.is_ascii_alphabetic());
    has_digit && has_letter && !text.starts_with('%')
}
