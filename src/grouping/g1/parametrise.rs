//! Text without what changes from one occurrence to the next: `user 5 not found` and `user 7 not found`
//! are `user <int> not found`.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexBuilder};

/// Longer lines are cut: what tells errors apart stands in front.
const MAX_BYTES: usize = 2048;

/// What is replaced, in the order in which it is tried: the first that fits at a place wins.
///
/// `regex` knows no look-behind, so quoted text and booleans take their `=` along.
const PATTERNS: [(&str, &str); 14] = [
    ("email", r"\b[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+\b"),
    ("url", r#"\b(?:[a-z][a-z0-9+.-]*)://[^\s'"<>]+"#),
    (
        "hostname",
        r"\b(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)+(?:com|org|net|edu|gov|io|dev|app|cloud|info|biz|eu|de|fr|uk|us|nl|ch|at|it|es|pl|jp|cn|in|br|ru|au|ca|local|localdomain|internal|svc|example|test)\b",
    ),
    (
        "ip",
        r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|\b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b|\b(?:[0-9a-fA-F]{1,4}:){2,6}(?::[0-9a-fA-F]{1,4}){1,5}\b|\b(?:[fF][eE]80|[fF][cCdD][0-9]{2}|[23][0-9a-fA-F]{3}):(?::[0-9a-fA-F]{1,4}){1,6}\b",
    ),
    ("uuid", r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"),
    ("sha1", r"\b[0-9a-fA-F]{40}\b"),
    ("md5", r"\b[0-9a-fA-F]{32}\b"),
    (
        "date",
        r"\b[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[ ]?[+-][0-9]{2}:?[0-9]{2}\b)?)?|\b[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?\b|\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:[0-9]{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{1,2}),? [0-9]{4}\b",
    ),
    ("duration", r"\b(?:[0-9]+h)?(?:[0-9]+m)?[0-9]+(?:\.[0-9]+)?(?:ms|us|ns|s)\b"),
    ("hex", r"\b0[xX][0-9a-fA-F]+\b"),
    ("float", r"-?\b[0-9]+\.[0-9]+\b"),
    ("int", r"-?\b[0-9]+\b"),
    ("quoted_str", r#"='[^']*'|="[^"]*""#),
    ("bool", r"=(?:true|false|True|False)\b"),
];

/// What a thread keeps of all patterns together: texts could be made that need four times as much to be fast.
const MAX_AUTOMATON_BYTES: usize = 512 << 10;

/// All patterns as one expression with a group each; ASCII word boundaries keep it off the slow path.
static COMBINED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let groups: Vec<String> = PATTERNS.iter().map(|(name, pattern)| format!("(?P<{name}>{pattern})")).collect();
    let pattern = groups.join("|").replace(r"\b", r"(?-u:\b)");
    RegexBuilder::new(&pattern).dfa_size_limit(MAX_AUTOMATON_BYTES).build().ok()
});

/// The first two lines with something in them, each replaced part as `<its name>`.
pub(super) fn parametrised(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(2);
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    // Every pattern needs one of these characters, but for a hash without a single digit.
    let may_match = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'@' | b':' | b'.' | b'=');
    match &*COMBINED {
        Some(combined) if text.bytes().any(may_match) => combined.replace_all(text, name_of).into_owned(),
        _ => text.to_owned(),
    }
}

/// Absolute paths of two parts and more. In front of one stands a blank or a sign, never a word: `a/b/c` stays.
static PATHS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(^|[\s'"=(:])/[^\s/'"(),:;]+(?:/[^\s/'"(),:;]+)+/?"#).ok());

/// For errors that are grouped by their text alone: a path in it names one build directory of many.
pub(super) fn without_paths(text: &str) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(2 * MAX_BYTES)];
    PATHS.as_ref().map_or(Cow::Borrowed(text), |paths| paths.replace_all(text, "${1}<path>"))
}

fn name_of(captures: &Captures<'_>) -> String {
    let matched = PATTERNS.iter().find(|(name, _)| captures.name(name).is_some());
    match matched.map_or("", |(name, _)| name) {
        name @ ("quoted_str" | "bool") => format!("=<{name}>"),
        name => format!("<{name}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_named() {
        for (text, expected) in [
            ("nothing to see", "nothing to see"),
            ("mail to a.b+c@shop.example failed", "mail to <email> failed"),
            ("GET https://h.example/a?b=1 failed", "GET <url> failed"),
            ("lookup pg.web.svc: no such host", "lookup <hostname>: no such host"),
            ("dial db-1.example.com:5432", "dial <hostname>:<int>"),
            ("cannot open app.py", "cannot open app.py"),
            ("dial 10.0.0.7:5432", "dial <ip>:<int>"),
            ("dial fe80::1 and 2001:db8::ff00:42:8329", "dial <ip> and <ip>"),
            ("std::vec::Vec and face::feed", "std::vec::Vec and face::feed"),
            ("id 9ec79c33-ec99-42ab-8353-589fcb2e04dc", "id <uuid>"),
            ("commit da39a3ee5e6b4b0d3255bfef95601890afd80709", "commit <sha1>"),
            ("sum d41d8cd98f00b204e9800998ecf8427e", "sum <md5>"),
            ("at 2026-11-22T10:00:00.123Z", "at <date>"),
            ("at 2026-11-22 10:00:00 or 10:20:30", "at <date> or <date>"),
            ("on Mon, 23 Nov 2026", "on <date>"),
            ("after 30s, 1.5s, 250ms, 1m30s", "after <duration>, <duration>, <duration>, <duration>"),
            ("address 0x7fFF12", "address <hex>"),
            ("load 1.25 of -3", "load <float> of <int>"),
            ("user 5 of 17", "user <int> of <int>"),
            ("utf8 and x86_64 stay", "utf8 and x86_64 stay"),
            ("name='Ann' ok=true kind=\"a b\" on=falsey", "name=<quoted_str> ok=<bool> kind=<quoted_str> on=falsey"),
            ("said 'Ann'", "said 'Ann'"),
            ("größe 5 für ü7", "größe <int> für ü<int>"),
        ] {
            assert_eq!(parametrised(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_named_where_the_text_is_all_there_is() {
        for (text, expected) in [
            ("open /builds/ann/shop/.git: no such file", "open <path>: no such file"),
            ("/a/b failed, '/c/d/' too (/e/f)", "<path> failed, '<path>' too (<path>)"),
            ("GET /cart of either/or and 1/2/3", "GET /cart of either/or and 1/2/3"),
            ("https://h.example/a/b", "https://h.example/a/b"),
        ] {
            assert_eq!(without_paths(text), expected, "{text}");
        }
    }

    #[test]
    fn the_first_two_lines_with_text_count() {
        assert_eq!(parametrised("\n a \n\n b 1\nc"), "a\nb <int>");
        assert_eq!(parametrised(" \n"), "");
        assert_eq!(parametrised(&"ä".repeat(5000)).len(), MAX_BYTES);
    }

    #[test]
    fn all_patterns_compile_and_have_their_own_name() {
        let names = COMBINED.as_ref().unwrap().capture_names().flatten().count();
        assert_eq!(names, PATTERNS.len());
    }
}
