//! Secrets that are known by their look, wherever they stand.

use std::{borrow::Cow, net::Ipv6Addr, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD};
use regex::{Captures, Regex, Replacer};

use super::{
    Rule,
    assigned::without_assigned,
    cards::without_cards,
    place::Style,
    rules::{FILTERED, Rules},
    signals::Signals,
    texts::percent_decoded,
};

/// A look and what is written instead.
struct Pattern {
    rule: Rule,
    /// A text without any of these has nothing of the kind.
    signals: Signals,
    regex: Regex,
    /// In text that people must be able to read; `None`: stays there.
    inline: Option<&'static str>,
    whole: Option<&'static str>,
}

/// In the order in which they are applied. `\b` is between ASCII characters: it keeps the search fast.
///
/// Cards, accounts and what is assigned to a name have checks of their own behind them.
#[expect(clippy::expect_used, reason = "the patterns are constants, and a test tries each of them")]
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    [
        (
            Rule::PemKey,
            Signals::PEM,
            r"(?s)(-----BEGIN [A-Z0-9 ]*KEY(?: BLOCK)?-----\s*).+?(\s*(?:-----END|\z))",
            Some("${1}[Filtered]${2}"),
            Some("${1}[Filtered]${2}"),
        ),
        (
            Rule::UrlPassword,
            Signals::AT,
            r#"(//[^\s/?#:@"'<>\[\]]*:)[^\s/?#"'<>]+@"#,
            Some("${1}[Filtered]@"),
            Some("${1}[Filtered]@"),
        ),
        // A password with a slash in it, which should be escaped. What has digits only is a port.
        (
            Rule::UrlPassword,
            Signals::AT,
            r#"(//[^\s/?#:@"'<>\[\]]*:)[^\s/?#"'<>@]*[^\s/?#"'<>@0-9][^\s/?#"'<>@]*[/?#][^\s"'<>@]*@"#,
            Some("${1}[Filtered]@"),
            Some("${1}[Filtered]@"),
        ),
        (
            Rule::BearerToken,
            Signals::BEARER,
            r#"(?i)(\bBearer\s+)[^\s"'`,;<>]+"#,
            Some("${1}[token]"),
            Some("${1}[Filtered]"),
        ),
        (
            Rule::Token,
            Signals::LOOK,
            concat!(
                r"\b(?:eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?|(?:AKIA|ASIA)[A-Z0-9]{16}\b",
                r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_.-]{16,}",
                r"|xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}",
                r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}",
                r"|shpat_[0-9a-fA-F]{32}|dop_v1_[0-9a-f]{64}|hvs\.[A-Za-z0-9_-]{20,}|sntry[su]_[A-Za-z0-9+/=_-]{16,})",
            ),
            Some("[token]"),
            Some(FILTERED),
        ),
        (
            Rule::UserPath,
            Signals::HOME,
            r#"(^|[^\w.-])(/home/|/Users/)[^\s/\\:"'`<>|?*,;)]+"#,
            None,
            Some("${1}${2}[Filtered]"),
        ),
        // A name with blanks is known by the backslash behind it.
        (
            Rule::UserPath,
            Signals::HOME,
            r#"(?i)(\b[a-z]:[/\\]+Users[/\\]+)(?:[^/\\\r\n:"'`<>|?*]+([/\\])|[^\s/\\:"'`<>|?*,;)]+)"#,
            None,
            Some("${1}[Filtered]${2}"),
        ),
        (
            Rule::EmailAddress,
            Signals::AT,
            r#"[^\s@"'`<>()\[\]{},;:/\\=?&|#]+@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*\.[a-zA-Z]{2,}\b"#,
            Some("[email]"),
            None,
        ),
        (
            Rule::UsSocialSecurityNumber,
            Signals::NUMBER,
            r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b",
            Some("[usssn]"),
            Some(FILTERED),
        ),
    ]
    .into_iter()
    .map(|(rule, signals, pattern, inline, whole)| {
        let regex = ascii_boundaries(pattern).expect("the pattern is valid");
        Pattern { rule, signals, regex, inline, whole }
    })
    .collect()
});

const IBAN_COUNTRIES: &str = "AD|AE|AL|AO|AT|AZ|BA|BE|BF|BG|BH|BI|BJ|BR|BY|CF|CG|CH|CI|CM|CR|CV|CY|CZ|DE|DJ|DK|DO|DZ|\
    EE|EG|ES|FI|FK|FO|FR|GA|GB|GE|GI|GL|GQ|GR|GT|GW|HN|HR|HU|IE|IL|IQ|IR|IS|IT|JO|KM|KW|KZ|LB|LC|LI|LT|LU|LV|LY|MA|MC|\
    MD|ME|MG|MK|ML|MN|MR|MT|MU|MZ|NE|NI|NL|NO|OM|PK|PL|PS|PT|QA|RO|RS|RU|SA|SC|SD|SE|SI|SK|SM|SN|SO|ST|SV|TD|TG|TL|TN|\
    TR|UA|VA|VG|XK|YE";

fn ascii_boundaries(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&pattern.replace(r"\b", r"(?-u:\b)"))
}

/// An account number, in one or in groups of four as people write it. The check digits count: what only looks like one
/// is also found in prose and in ids.
#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static ACCOUNT: LazyLock<Regex> = LazyLock::new(|| {
    let grouped = "(?:[ -][A-Z0-9]{4}){2,7}(?:[ -][A-Z0-9]{1,3})?";
    let pattern = format!(r"\b(?:{IBAN_COUNTRIES})[0-9]{{2}}(?:{grouped}|[a-zA-Z0-9]{{11,30}})\b");
    ascii_boundaries(&pattern).expect("the pattern is valid")
});

/// A parameter in the query or fragment of a URL.
#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static PARAMETER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"([?&;#])([^=?&;#\s"'<>]+)=([^&;#\s"'<>]+)"#).expect("the pattern is valid"));

#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static IPV4: LazyLock<Regex> = LazyLock::new(|| {
    let number = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    ascii_boundaries(&format!(r"\b(?:{number}\.){{3}}{number}\b")).expect("the pattern is valid")
});

/// What may be an address of version 6: the standard library says whether it is.
#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static IPV6: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*[0-9a-fA-F:]").expect("the pattern is valid")
});

/// What is written instead of one secret may complete or cut off another.
const MAX_ROUNDS: usize = 4;

/// `text` with its secrets replaced; borrowed if it has none. Pushes the rules that found some.
pub(super) fn without_secrets<'t>(
    text: &'t str,
    signals: Signals,
    style: Style,
    rules: &Rules,
    applied: &mut Vec<Rule>,
) -> Cow<'t, str> {
    let mut cleaning = Cleaning { text: Cow::Borrowed(text), is_changed: false, applied };
    for _ in 0..MAX_ROUNDS {
        cleaning.is_changed = false;
        if rules.scrubs_data() {
            cleaning.replace_secrets(signals, style, rules);
        }
        if signals.any(Signals::ADDRESS) {
            cleaning.replace(Rule::IpAddress, &IPV4, "[ip]");
            cleaning.replace(Rule::IpAddress, &IPV6, without_address);
        }
        if !cleaning.is_changed {
            break;
        }
    }
    cleaning.text
}

struct Cleaning<'t, 'r> {
    text: Cow<'t, str>,
    is_changed: bool,
    applied: &'r mut Vec<Rule>,
}

impl Cleaning<'_, '_> {
    fn replace_secrets(&mut self, signals: Signals, style: Style, rules: &Rules) {
        let is_inline = style.is_inline();
        let told_of = || PATTERNS.iter().filter(|pattern| signals.any(pattern.signals));
        let is_key = |pattern: &&Pattern| pattern.rule == Rule::PemKey;
        // A key has lines of its own, and what is assigned goes as a whole before pieces of it do.
        self.replace_patterns(told_of().filter(is_key), style);
        self.replace_assigned(signals, style, rules);
        self.replace_patterns(told_of().filter(|pattern| !is_key(pattern)), style);
        if signals.any(Signals::NUMBER)
            && let Some(replaced) = without_cards(&self.text, if is_inline { "[creditcard]" } else { FILTERED })
        {
            self.put(Rule::CreditCard, replaced);
        }
        if signals.any(Signals::ACCOUNT) {
            let replacement = if is_inline { "[iban]" } else { FILTERED };
            self.replace(Rule::Iban, &ACCOUNT, |found: &Captures<'_>| {
                if has_check_digits(&found[0]) { replacement.to_owned() } else { found[0].to_owned() }
            });
        }
        if signals.any(Signals::LOOK) {
            self.replace(Rule::BasicCredentials, &BASIC, |found: &Captures<'_>| {
                if is_basic(&found[2]) { format!("{}{FILTERED}", &found[1]) } else { found[0].to_owned() }
            });
        }
        if style == Style::Url || style != Style::Name && signals.any(Signals::NAMES) {
            self.replace(Rule::Parameter, &PARAMETER, |found: &Captures<'_>| {
                let is_secret = rules.is_secret_parameter(&percent_decoded(&found[2]), &found[3]);
                format!("{}{}={}", &found[1], &found[2], if is_secret { FILTERED } else { &found[3] })
            });
        }
    }

    fn replace_patterns<'p>(&mut self, patterns: impl Iterator<Item = &'p Pattern>, style: Style) {
        for pattern in patterns.filter(|pattern| style != Style::Code || pattern.rule != Rule::EmailAddress) {
            let replacement = if style.is_inline() { pattern.inline } else { pattern.whole };
            if let Some(replacement) = replacement {
                self.replace(pattern.rule, &pattern.regex, replacement);
            }
        }
    }

    /// What stands behind the name of a secret.
    fn replace_assigned(&mut self, signals: Signals, style: Style, rules: &Rules) {
        if !signals.any(Signals::NAMES) || matches!(style, Style::Name | Style::Url) {
            return;
        }
        if let Some(replaced) = without_assigned(&self.text, style, rules) {
            self.put(Rule::SecretText, replaced);
        }
    }

    fn replace(&mut self, rule: Rule, regex: &Regex, replacement: impl Replacer) {
        if let Cow::Owned(replaced) = regex.replace_all(&self.text, replacement)
            && replaced != self.text
        {
            self.put(rule, replaced);
        }
    }

    fn put(&mut self, rule: Rule, replaced: String) {
        self.text = Cow::Owned(replaced);
        self.is_changed = true;
        if !self.applied.contains(&rule) {
            self.applied.push(rule);
        }
    }
}

/// What `Basic` stands before.
#[expect(clippy::expect_used, reason = "a constant, and a test tries it")]
static BASIC: LazyLock<Regex> =
    LazyLock::new(|| ascii_boundaries(r"((?i:\bBasic)\s+)([A-Za-z0-9+/]{4,}={0,2})").expect("the pattern is valid"));

/// Whether a word is base64 of a name and a password: `Basic authentication` is none.
fn is_basic(word: &str) -> bool {
    let decoded = STANDARD_NO_PAD.decode(word.trim_end_matches('='));
    decoded.is_ok_and(|bytes| bytes.contains(&b':') && bytes.iter().all(|byte| !byte.is_ascii_control()))
}

/// ISO 7064: the number with its first four characters last, letters as 10 to 35, is 1 modulo 97.
fn has_check_digits(account: &str) -> bool {
    let digits: Vec<u32> = account.chars().filter_map(|character| character.to_digit(36)).collect();
    let rotated = digits.iter().cycle().skip(4).take(digits.len());
    rotated.fold(0, |rest, digit| (rest * if *digit < 10 { 10 } else { 100 } + digit) % 97) == 1
}

/// What stands for something that may be an address. `a::b` is one to the letter, but most likely a path.
fn without_address(found: &Captures<'_>) -> String {
    let text = &found[0];
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    if has_digit && text.parse::<Ipv6Addr>().is_ok() { "[ip]".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_valid_and_finds_nothing_in_plain_text() {
        for pattern in PATTERNS.iter() {
            assert!(!pattern.regex.is_match("nothing to see here 12345"), "{}", pattern.regex);
        }
    }

    #[test]
    fn account_numbers_in_groups_must_have_their_check_digits() {
        assert!(has_check_digits("DE89 3704 0044 0532 0130 00"));
        assert!(has_check_digits("GB82 WEST 1234 5698 7654 32"));
        assert!(!has_check_digits("DE88 3704 0044 0532 0130 00"));
    }
}
