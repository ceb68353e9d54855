//! Text without what changes from one occurrence to the next: `user 5 not found` and `user 7 not found` are
//! `user <int> not found`.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexBuilder};

use super::names::compiled;

/// Longer lines are cut: what tells errors apart stands in front.
const MAX_BYTES: usize = 2048;

/// What is replaced, in the order in which it is tried: the first that fits at a place wins. Behind the pattern stands
/// what is written instead; `$` is the group `keep` of the same name, which stays in front.
///
/// `regex` knows no look-behind, so what must stand in front is taken along.
const PATTERNS: [(&str, &str); 23] = [
    ("email", r"\b[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+\b"),
    ("url", r#"\b(?:[a-z][a-z0-9+.-]*)://[^\s'"<>]+"#),
    (
        "hostname",
        r"\b(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?\.)+(?:com|org|net|edu|gov|io|dev|app|cloud|info|biz|eu|de|fr|uk|us|nl|ch|at|it|es|pl|jp|cn|in|br|ru|au|ca|local|localdomain|lan|corp|internal|svc|example|test)\b|\b(?:DESKTOP|LAPTOP|WIN|EC2AMAZ)-[A-Z0-9]{7,11}\b|\bip-[0-9]{1,3}(?:-[0-9]{1,3}){3}\b",
    ),
    // What Kubernetes appends: letters and digits without vowels, so that they form no words.
    ("pod", r"-(?:[bcdfghjklmnpqrstvwxz2456789]{6,10}|[0-9]{7,10})-[bcdfghjklmnpqrstvwxz2456789]{5}\b"),
    (
        "ip",
        r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|\b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b|\b(?:[0-9a-fA-F]{1,4}:){2,6}(?::[0-9a-fA-F]{1,4}){1,5}\b|\b(?:[fF][eE]80|[fF][cCdD][0-9]{2}|[23][0-9a-fA-F]{3}):(?::[0-9a-fA-F]{1,4}){1,6}\b",
    ),
    ("mac", r"\b[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}\b"),
    ("uuid", r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b"),
    // A `traceparent`, and the trace and span that others write.
    ("trace", r"\b[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}(?:-[0-9a-f]{2})?\b"),
    ("sha256", r"\b[0-9a-fA-F]{64}\b"),
    ("sha1", r"\b[0-9a-fA-F]{40}\b"),
    (
        "id",
        r"\b(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{24}|[0-9a-fA-F]{16})\b|\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b|#?(?:PID|Reference|Port|Function)?<[0-9]+(?:\.[0-9]+){1,3}(?:/[0-9]+)?[^<>]{0,80}>",
    ),
    // Java's and Ruby's names of an object that has none.
    ("object", r"@[0-9a-f]{5,8}\b|@[0-9A-F]{7,16}\b"),
    (
        "date",
        r"\b[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:Z|[ ]?[+-][0-9]{2}:?[0-9]{2}\b)?)?|\b[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?\b|\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:[0-9]{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{1,2}),? [0-9]{4}\b",
    ),
    (
        "duration",
        r"\bP(?:[0-9]+D)?T(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9.]+S)?\b|\b[0-9]+(?:\.[0-9]+)?[ ]?(?:milliseconds?|microseconds?|nanoseconds?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|msecs?)\b|\b(?:[0-9]+(?:\.[0-9]+)?(?:d|h|ms|m|us|µs|ns|s))+\b|\b[0-9]+(?:\.[0-9]+)? (?:ms|us|µs|ns|s|h)\b",
    ),
    ("size", r"\b[0-9]+(?:\.[0-9]+)?[ ]?(?:[KMGT]i?B|kB|bytes?)\b"),
    ("hex", r"\b0[xX][0-9a-fA-F]+\b"),
    (
        "host",
        r"\b(?i:host|hostname|node|server|container|instance|worker)[ =:]+[a-zA-Z][a-zA-Z0-9.-]*[0-9][a-zA-Z0-9.-]*\b",
    ),
    ("float", r"-?\b[0-9]+\.[0-9]+\b"),
    ("int", r"-?\b[0-9]+(?:,[0-9]{3})*\b"),
    ("random", r"\b[a-zA-Z]*(?:[0-9]+[a-zA-Z]+){3,}[0-9]*\b"),
    ("number_after", r"_[0-9]{3,}\b"),
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
    let text = without_quoted_values(&text[..text.floor_char_boundary(MAX_BYTES)]);
    // Every pattern needs one of these characters, but for a hash without a single digit.
    let may_match = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'@' | b':' | b'.' | b'=');
    match &*COMBINED {
        Some(combined) if text.bytes().any(may_match) => combined.replace_all(&text, name_of).into_owned(),
        _ => text.into_owned(),
    }
}

fn name_of(captures: &Captures<'_>) -> String {
    let matched = PATTERNS.iter().find(|(name, _)| captures.name(name).is_some());
    match matched.map_or("", |(name, _)| name) {
        name @ ("quoted_str" | "bool") => format!("=<{name}>"),
        name @ "pod" => format!("-<{name}>"),
        name @ "object" => format!("@<{name}>"),
        "number_after" => "_<int>".to_owned(),
        // Two of a kind: whoever writes one of them means the same.
        "sha256" | "sha1" | "trace" | "random" => "<id>".to_owned(),
        "host" => {
            let keep = captures[0].find([' ', '=', ':']).unwrap_or_default();
            format!("{} <hostname>", &captures[0][..keep])
        }
        name => format!("<{name}>"),
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

/// Words that stand beside the name of a part of a program, which tells errors apart: `reading 'total'`.
const BEFORE_NAMES: [&str; 48] = [
    "reading",
    "setting",
    "property",
    "properties",
    "module",
    "modules",
    "named",
    "attribute",
    "function",
    "method",
    "class",
    "column",
    "table",
    "relation",
    "parameter",
    "argument",
    "field",
    "variable",
    "key",
    "import",
    "type",
    "constant",
    "package",
    "symbol",
    "identifier",
    "operator",
    "token",
    "constraint",
    "index",
    "database",
    "schema",
    "role",
    "command",
    "option",
    "flag",
    "header",
    "member",
    "execute",
    "on",
    "interface",
    "trait",
    "struct",
    "enum",
    "extension",
    "template",
    "view",
    "component",
    "action",
];
const AFTER_NAMES: [&str; 12] = [
    "object",
    "objects",
    "is not defined",
    "is not a function",
    "is undefined",
    "is null",
    "of undefined",
    "of null",
    "does not exist",
    "doesn't exist",
    "not found in module",
    "on",
];

/// Quoted values as `<quoted>`. A text that is one whole quote says nothing else, and stays; so does the name of a part of a
/// program, as the word in front or behind says.
fn without_quoted_values(text: &str) -> Cow<'_, str> {
    let mut output = String::new();
    let mut kept = 0;
    let mut position = 0;
    while let Some(found) = text[position..].find(['\'', '"', '`', '“', '‘', '«']) {
        let start = position + found;
        let Some(open) = text[start..].chars().next() else { break };
        position = start + open.len_utf8();
        // An apostrophe stands behind a letter; a value that is assigned has a rule of its own.
        let before = text[..start].chars().next_back();
        if before.is_some_and(|before| before.is_alphanumeric() || before == '=') {
            continue;
        }
        let close = match open {
            '“' => '”',
            '‘' => '’',
            '«' => '»',
            same => same,
        };
        let Some(end) = closing_quote(&text[position..], close).map(|length| position + length) else { continue };
        let behind = end + close.len_utf8();
        if start == 0 && text[behind..].trim().is_empty() {
            break;
        }
        let is_name = is_name(&text[..start], &text[behind..]);
        if end > position && !is_name {
            output.push_str(&text[kept..start]);
            output.push_str("<quoted>");
            kept = behind;
        }
        position = behind;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    output.push_str(&text[kept..]);
    Cow::Owned(output)
}

/// Where the quote ends: in the same line, and no letter follows.
fn closing_quote(text: &str, close: char) -> Option<usize> {
    let line = &text[..text.find('\n').unwrap_or(text.len())];
    line.match_indices(close)
        .find(|(at, _)| !line[at + close.len_utf8()..].starts_with(char::is_alphanumeric))
        .map(|(at, _)| at)
}

fn is_name(before: &str, behind: &str) -> bool {
    let word = before.trim_end().trim_end_matches([':', '(']).trim_end();
    let word = word.rsplit(|character: char| !character.is_alphanumeric()).next().unwrap_or_default();
    let behind = behind.trim_start();
    BEFORE_NAMES.iter().any(|name| name.eq_ignore_ascii_case(word))
        || AFTER_NAMES.iter().any(|name| {
            behind.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
        })
}

/// What a template has where a value goes: `%s`, `%(name)s`, `{}`, `{0}`, `{OrderId}`, `${name}`.
static PLACEHOLDER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    compiled(
        r"%(?:\d+\$)?[-+#0]*(?:\d+|\*)?(?:\.\d+)?(?:ll?|hh?|z)?[sdifxXcvTpuoeEgGqr@]\b|%@|%[({]\w|\{[@$]?(?:\w[\w.]*)?(?:[,:][^{}\x22]*)?\}",
    )
});

pub(super) fn has_placeholder(template: &str) -> bool {
    template.contains(['%', '{']) && PLACEHOLDER.as_ref().is_some_and(|pattern| pattern.is_match(template))
}

/// Numbers and words that stand for a message which a build left out.
static CODES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"(?i)\bminified (\w+) (?:error|exception|warning|invariant)[ #:]*([0-9]+)",
        r"\breact\.dev/errors/([0-9]+)|\berror-decoder\.html\?invariant=([0-9]+)",
        r"\bvuejs\.org/error-reference/#([\w-]+)",
        r"\bsvelte\.dev/e/(\w+)",
        r"\bgo\.apollo\.dev/c/err#\S*?(?:message%22%3A|message.:)([0-9]+)",
        r"\b(NG0?[0-9]{3,5})\b",
        r"^\[(\$?\w+:\w+)\]",
        r"\bFirebase:.*\((\w+/[\w-]+)\)",
        r"(?i)\binvariant (?:violation|error|failed)?[ #:]*([0-9]+)\b",
    ]
    .into_iter()
    .filter_map(compiled)
    .collect()
});

/// The code that stands for the message: `React 418` of `Minified React error #418; visit …`.
pub(super) fn code(value: &str) -> Option<String> {
    const SIGNS: [&str; 10] = [
        "inified",
        "react.dev/",
        "invariant=",
        "vuejs.org/",
        "svelte.dev/",
        "apollo.dev/",
        "NG0",
        "[",
        "Firebase",
        "nvariant",
    ];
    let value = &value[..value.floor_char_boundary(MAX_BYTES)];
    if !SIGNS.iter().any(|sign| value.contains(sign)) {
        return None;
    }
    let captures = CODES.iter().find_map(|code| code.captures(value))?;
    let groups: Vec<&str> = captures.iter().skip(1).flatten().map(|group| group.as_str()).collect();
    Some(groups.join(" "))
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
            ("dial 10.0.0.7:5432", "dial <ip>:<int>"),
            ("dial fe80::1 and 2001:db8::ff00:42:8329", "dial <ip> and <ip>"),
            ("std::vec::Vec and face::feed", "std::vec::Vec and face::feed"),
            ("id 9ec79c33-ec99-42ab-8353-589fcb2e04dc", "id <uuid>"),
            ("commit da39a3ee5e6b4b0d3255bfef95601890afd80709", "commit <id>"),
            ("order 507f1f77bcf86cd799439011 is gone", "order <id> is gone"),
            ("trace 4bf92f3577b34da6a3ce929d0e0e4736, span 00f067aa0ba902b7", "trace <id>, span <id>"),
            ("in 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "in <id>"),
            ("order 01ARZ3NDEKTSV4RRFFQ69G5FAV", "order <id>"),
            ("com.shop.Cart@1b6d3586 is closed", "com.shop.Cart@<object> is closed"),
            ("#PID<0.123.0> died", "<id> died"),
            ("pod shop-7d9f8b6c5d-x2k4q was evicted", "pod shop-<pod> was evicted"),
            ("job shop-28765432-x2k4q failed", "job shop-<pod> failed"),
            ("pod shop-0 is gone", "pod shop<int> is gone"),
            ("no answer of DESKTOP-3F2A91B", "no answer of <hostname>"),
            ("no answer of ip-10-0-0-7", "no answer of <hostname>"),
            ("host web01 is down", "host <hostname> is down"),
            ("host is down, node too", "host is down, node too"),
            ("at 2026-11-22T10:00:00.123Z", "at <date>"),
            ("on Mon, 23 Nov 2026", "on <date>"),
            ("after 30s, 1.5s, 250ms, 1m30s, 2h", "after <duration>, <duration>, <duration>, <duration>, <duration>"),
            ("after 30 seconds or 5 minutes or 250 ms", "after <duration> or <duration> or <duration>"),
            ("after PT30S", "after <duration>"),
            ("12 MB of 1.5GiB", "<size> of <size>"),
            ("address 0x7fFF12", "address <hex>"),
            ("load 1.25 of -3", "load <float> of <int>"),
            ("user 5 of 1,700", "user <int> of <int>"),
            ("job_4711 and order-66", "job_<int> and order<int>"),
            ("utf8 and x86_64 and Order66 and sha256 stay", "utf8 and x86_64 and Order66 and sha256 stay"),
            ("token a1b2c3d4e5 is unknown", "token <id> is unknown"),
            ("name='Ann' ok=true kind=\"a b\" on=falsey", "name=<quoted_str> ok=<bool> kind=<quoted_str> on=falsey"),
            ("customer 'Ann' not found", "customer <quoted> not found"),
            ("customer \"Ann O'Neil\" not found", "customer <quoted> not found"),
            ("customer “Ann” can't pay", "customer <quoted> can't pay"),
            ("'total'", "'total'"),
            (
                "Cannot read properties of undefined (reading 'total')",
                "Cannot read properties of undefined (reading 'total')",
            ),
            ("No module named 'shop'", "No module named 'shop'"),
            ("'NoneType' object has no attribute 'pay'", "'NoneType' object has no attribute 'pay'"),
            ("column \"total\" does not exist", "column \"total\" does not exist"),
            ("größe 5 für ü7", "größe <int> für ü<int>"),
        ] {
            assert_eq!(parametrised(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_named_where_the_text_is_all_there_is() {
        for (text, expected) in [
            ("open /builds/ann/shop/.git: no such file", "open <path>: no such file"),
            ("GET /cart of either/or and 1/2/3", "GET /cart of either/or and 1/2/3"),
        ] {
            assert_eq!(without_paths(text), expected, "{text}");
        }
    }

    #[test]
    fn placeholders_are_told_from_signs() {
        for template in [
            "%s",
            "user %d",
            "%(name)s",
            "%{name}",
            "{}",
            "{0}",
            "{OrderId}",
            "{@Order}",
            "{Total:C2}",
            "%1$s",
            "%5.2f",
            "%@",
            "${name}",
        ] {
            assert!(has_placeholder(template), "{template}");
        }
        for text in ["100% done", "50%discount", "{\"a\":1}", "{ a }", "%", "{a b}"] {
            assert!(!has_placeholder(text), "{text}");
        }
    }

    #[test]
    fn codes_stand_for_messages() {
        for (value, expected) in [
            ("Minified React error #418; visit https://react.dev/errors/418 for the full message", Some("React 418")),
            ("Minified Redux error #3; visit https://redux.js.org/Errors?code=3", Some("Redux 3")),
            ("NG0100: ExpressionChanged", Some("NG0100")),
            ("https://svelte.dev/e/effect_orphan", Some("effect_orphan")),
            ("[$injector:modulerr] http://errors.angularjs.org/1.8", Some("$injector:modulerr")),
            ("Firebase: Error (auth/user-not-found).", Some("auth/user-not-found")),
            ("cannot pay order 418", None),
            ("[418] is odd", None),
        ] {
            assert_eq!(code(value).as_deref(), expected, "{value}");
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
