//! Cheap hints that a text may have something to hide. A text without any is left alone; one with some is
//! looked at with the rules that the hints stand for.

use std::ops::{BitOr, BitOrAssign, Range};

use aho_corasick::{AhoCorasick, BuildError, Input, MatchKind};

/// Fewer digits are no card, no account and no social security number.
const MIN_DIGITS: usize = 9;

/// A set of hints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signals(u16);

impl Signals {
    pub(super) const NONE: Self = Self(0);
    /// A word that tells of a secret: `password`.
    pub(super) const SECRET: Self = Self(1);
    /// `token`: as a name always, in a text only if something is assigned to it.
    pub(super) const TOKEN: Self = Self(1 << 1);
    /// A name that tells of a secret only when it is the whole name: `otp`.
    pub(super) const WHOLE_NAME: Self = Self(1 << 2);
    /// One of the user's own words; they count in names only.
    pub(super) const OWN_WORD: Self = Self(1 << 3);
    /// All that decide about a name.
    pub(super) const NAMES: Self = Self(0b1111 | 1 << 14);
    pub(super) const COOKIE: Self = Self(1 << 4);
    pub(super) const BEARER: Self = Self(1 << 5);
    pub(super) const HOME: Self = Self(1 << 6);
    pub(super) const PEM: Self = Self(1 << 7);
    /// An `@`, which every password in a URL and every email address has.
    pub(super) const AT: Self = Self(1 << 8);
    /// Digits that may be a card number.
    pub(super) const NUMBER: Self = Self(1 << 9);
    /// Digits with dots or colons, as far as addresses are looked for.
    pub(super) const ADDRESS: Self = Self(1 << 10);
    /// How a token of a well-known kind begins, or what credentials follow.
    pub(super) const LOOK: Self = Self(1 << 13);
    /// A word that tells of a secret as a part of a name of its own: `pass` of `db_pass`, not of `passed`.
    pub(super) const PART: Self = Self(1 << 14);
    /// Letters and digits that an account number may begin with.
    pub(super) const ACCOUNT: Self = Self(1 << 12);
    /// An escape within the text, which may hide a word in JSON that the text holds.
    pub(super) const ESCAPE: Self = Self(1 << 11);

    /// Whether any of `others` is among these.
    pub(super) fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl BitOr for Signals {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Signals {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// All in lower case, as they are searched for in text that was lowered as a whole: one exact search is
/// many times faster than one that looks for every spelling. A default word that begins like another must
/// stand behind it: of words with the same start the first is found.
///
/// Each has four letters or more: by so many the search tells nearly all places where no word begins, and by three it
/// stops at one byte in twenty.
const WORDS: [(&str, Signals); 25] = [
    ("access_key", Signals::SECRET),
    ("access-key", Signals::SECRET),
    ("accesskey", Signals::SECRET),
    ("password", Signals::SECRET),
    ("passwd", Signals::SECRET),
    ("secret", Signals::SECRET),
    ("api-key", Signals::SECRET),
    ("api_key", Signals::SECRET),
    ("apikey", Signals::SECRET),
    ("auth", Signals::SECRET),
    ("credentials", Signals::SECRET),
    ("mysql_pwd", Signals::SECRET),
    ("privatekey", Signals::SECRET),
    ("private-key", Signals::SECRET),
    ("private_key", Signals::SECRET),
    ("token", Signals::TOKEN),
    ("pass", Signals::PART),
    ("basic", Signals::LOOK),
    ("two-factor", Signals::WHOLE_NAME),
    ("two_factor", Signals::WHOLE_NAME),
    ("cookie", Signals::COOKIE),
    ("bearer", Signals::BEARER),
    ("-----begin", Signals::PEM),
    ("users", Signals::HOME),
    ("home", Signals::HOME),
];

/// Shorter ones, few enough to be searched for apart.
const SHORT_WORDS: [(&str, Signals); 5] = [
    ("pwd", Signals::PART),
    ("cvv", Signals::PART),
    ("cvc", Signals::PART),
    ("jwt", Signals::PART),
    ("otp", Signals::WHOLE_NAME),
];

/// How tokens of a well-known look begin. Each is long and has a digit, so that few strings are searched for them.
const LOOKS: [&str; 29] = [
    "eyJ",
    "AKIA",
    "ASIA",
    "AIza",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "glrt-",
    "glcbt-",
    "glptt-",
    "glsoat-",
    "xox",
    "xapp-",
    "k_live_",
    "k_test_",
    "whsec_",
    "ya29.",
    "npm_",
    "pypi-",
    "shpat_",
    "dop_v1_",
    "hvs.",
    "sntrys_",
    "sntryu_",
];
const SHORTEST_LOOK: usize = 16;

/// Searches for some words at once.
struct Search {
    automaton: AhoCorasick,
    signals: Vec<Signals>,
}

impl Search {
    #[expect(clippy::expect_used, reason = "fails only beyond two billion states")]
    fn new<'w>(words: impl Iterator<Item = (&'w str, Signals)>) -> Self {
        let (words, signals): (Vec<_>, Vec<_>) = words.unzip();
        Self { automaton: leftmost(words).expect("the words of one project fit"), signals }
    }

    fn next(&self, lowered: &[u8], from: usize) -> Option<Found> {
        let found = self.automaton.find(Input::new(lowered).range(from..))?;
        Some(Found { start: found.start(), end: found.end(), signals: self.signals[found.pattern()] })
    }
}

/// Of this kind only are searches that look at many bytes at a time.
fn leftmost<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<AhoCorasick, BuildError> {
    AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(words)
}

/// Searches for all words.
pub(super) struct Words {
    searches: [Search; 2],
    looks: AhoCorasick,
    addresses: bool,
}

impl Words {
    /// `own` are the user's words in lower case.
    #[expect(clippy::expect_used, reason = "a constant")]
    pub(super) fn new<'o>(own: impl Iterator<Item = &'o str>, addresses: bool) -> Self {
        let own = own.map(|word| (word, Signals::OWN_WORD));
        let searches = [Search::new(WORDS.into_iter().chain(own)), Search::new(SHORT_WORDS.into_iter())];
        Self { searches, looks: leftmost(LOOKS).expect("a constant"), addresses }
    }

    /// The hints of a text of its own.
    pub(super) fn signals(&self, text: &str) -> Signals {
        let signals = Lookahead::new(self, text.as_bytes()).signals(0..text.len());
        if text.contains(r"\u") { signals | Signals::ESCAPE } else { signals }
    }

    fn in_digits(&self, bytes: &[u8]) -> Signals {
        let mut signals = Signals::NONE;
        if bytes.len() >= SHORTEST_LOOK && has_digits(bytes, 1) && self.looks.is_match(bytes) {
            signals |= Signals::LOOK;
        }
        if has_digits(bytes, MIN_DIGITS) {
            if has_number(bytes) {
                signals |= Signals::NUMBER;
            }
            if bytes.windows(4).any(|window| matches!(window, [b'A'..=b'Z', b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9'])) {
                signals |= Signals::ACCOUNT;
            }
        }
        let may_be_address = || bytes.contains(&b':') || memchr::memchr_iter(b'.', bytes).count() >= 3;
        if self.addresses && has_digits(bytes, 1) && may_be_address() {
            signals |= Signals::ADDRESS;
        }
        signals
    }
}

/// Counted in bytes that cannot overflow, which lets the compiler count many at a time.
#[inline]
fn has_digits(bytes: &[u8], number: usize) -> bool {
    if bytes.len() < number {
        return false;
    }
    let count = |bytes: &[u8]| bytes.iter().map(|byte| u8::from(byte.is_ascii_digit())).sum::<u8>();
    bytes.chunks(255).map(|bytes| usize::from(count(bytes))).sum::<usize>() >= number
}

/// Whether enough digits stand together, with nothing but blanks and hyphens in between. An escape may be
/// a blank.
fn has_number(bytes: &[u8]) -> bool {
    let mut digits = 0;
    bytes.iter().any(|byte| {
        digits = match byte {
            b'0'..=b'9' => digits + 1,
            b'-' | b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0x80.. => digits,
            b'\\' => MIN_DIGITS,
            _ => 0,
        };
        digits >= MIN_DIGITS
    })
}

struct Found {
    start: usize,
    end: usize,
    signals: Signals,
}

/// The hints of the parts of one text, asked for in ascending order: each byte is searched about once.
pub(super) struct Lookahead<'w, 'a> {
    words: &'w Words,
    bytes: &'a [u8],
    lowered: Vec<u8>,
    /// Where each search is.
    found: [Option<Found>; 2],
    at: usize,
}

impl<'w, 'a> Lookahead<'w, 'a> {
    pub(super) fn new(words: &'w Words, bytes: &'a [u8]) -> Self {
        let lowered = bytes.to_ascii_lowercase();
        let found = words.searches.each_ref().map(|search| search.next(&lowered, 0));
        let mut lookahead = Self { words, bytes, lowered, found, at: 0 };
        lookahead.at = lookahead.next_at(0);
        lookahead
    }

    pub(super) fn signals(&mut self, range: Range<usize>) -> Signals {
        let mut signals = self.name(range.clone());
        if self.at < range.start {
            self.at = self.next_at(range.start);
        }
        if self.at < range.end {
            signals |= Signals::AT;
        }
        signals | self.words.in_digits(&self.bytes[range])
    }

    /// Only the words.
    pub(super) fn name(&mut self, range: Range<usize>) -> Signals {
        let mut signals = Signals::NONE;
        for (search, found) in self.words.searches.iter().zip(&mut self.found) {
            while let Some(word) = found.as_ref().filter(|word| word.start < range.end) {
                if word.start >= range.start && word.end <= range.end {
                    signals |= word.signals;
                }
                *found = search.next(&self.lowered, range.start.max(word.start + 1));
            }
        }
        signals
    }

    fn next_at(&self, from: usize) -> usize {
        memchr::memchr(b'@', &self.bytes[from..]).map_or(self.bytes.len(), |offset| from + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_of_the_part_asked_for() {
        let words = Words::new(["pin", "tokenizer"].into_iter(), true);
        for (text, expected) in [
            ("", Signals::NONE),
            ("plain 1.2", Signals::NONE),
            ("PassWord", Signals::SECRET),
            ("xPRIVATE_keyx", Signals::SECRET),
            ("tokenizer", Signals::TOKEN),
            ("spinner", Signals::OWN_WORD),
            ("authome", Signals::SECRET | Signals::HOME),
            ("123-45-6789", Signals::NUMBER),
            ("10.0.0.1", Signals::ADDRESS),
            ("GB82WEST12345698", Signals::ACCOUNT),
            ("v1.2.3.4 of 0x7f3a1c2b4d5e6f", Signals::ADDRESS),
            ("ann@", Signals::AT),
        ] {
            assert_eq!(words.signals(text), expected, "{text}");
            let around = format!("secret@{text}@secret");
            let mut lookahead = Lookahead::new(&words, around.as_bytes());
            let part = 7..7 + text.len();
            assert_eq!(lookahead.signals(part.clone()), expected, "{around}");
            assert_eq!(lookahead.signals(part.end..around.len()), Signals::AT | Signals::SECRET);
        }
    }
}
