//! Takes out of a name what a compiler, a framework or a build tool made up.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{LazyLock, OnceLock},
};

use regex::Regex;

use super::table::TABLE;

/// What of a frame a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Function,
    Module,
    File,
    /// Functions and modules.
    Name,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Made {
    /// As events name them; none: all.
    pub(super) platforms: &'static [&'static str],
    pub(super) part: Part,
    /// A name without this has nothing of the kind.
    pub(super) sign: &'static str,
    pub(super) looks_like: &'static str,
    pub(super) remains: &'static str,
    pub(super) source: &'static str,
    /// A name, and what is left of it after this row alone.
    #[cfg_attr(not(test), expect(dead_code, reason = "the table is its own test"))]
    pub(super) example: (&'static str, &'static str),
}

struct Rule {
    made: &'static Made,
    /// Characters that a name must have, each as one bit; see [`characters`].
    needs: u128,
    /// Most rows are never needed in one process: a pattern is compiled when a name has its sign.
    regex: OnceLock<Option<Regex>>,
}

/// Which rules are tried, in their order, on functions, modules and files.
type OfPlatform = [Vec<&'static Rule>; 3];

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |made: &'static Made| {
        let digit = if made.looks_like.contains("[0-9") { DIGIT } else { 0 };
        Rule { made, needs: characters(made.sign) | digit, regex: OnceLock::new() }
    };
    TABLE.iter().flat_map(|rows| rows.iter()).map(rule).collect()
});

static PLATFORMS: LazyLock<HashMap<&'static str, OfPlatform>> = LazyLock::new(|| {
    let named = TABLE.iter().flat_map(|rows| rows.iter()).flat_map(|made| made.platforms.iter().copied());
    named.chain([OTHER]).map(|platform| (platform, of_platform(platform))).collect()
});

/// A platform that has no rows of its own: any of them may be what it is.
const OTHER: &str = "other";

fn of_platform(platform: &str) -> OfPlatform {
    let fits = |made: &Made| platform == OTHER || made.platforms.is_empty() || made.platforms.contains(&platform);
    [Part::Function, Part::Module, Part::File].map(|part| {
        let is_of = |made: &Made| made.part == part || made.part == Part::Name && part != Part::File;
        RULES.iter().filter(|rule| is_of(rule.made) && fits(rule.made)).collect()
    })
}

/// The digits, as one.
const DIGIT: u128 = 1;

/// The ASCII characters of a text, each a bit; all digits are one.
fn characters(text: &str) -> u128 {
    let bit = |byte: u8| match byte {
        b'0'..=b'9' => DIGIT,
        0x80.. => 0,
        byte => 1 << byte,
    };
    text.bytes().fold(0, |bits, byte| bits | bit(byte))
}

impl Rule {
    fn apply(&self, name: &str) -> Option<String> {
        if !name.contains(self.made.sign) {
            return None;
        }
        let regex = self.regex.get_or_init(|| compiled(self.made.looks_like)).as_ref()?;
        match regex.replace_all(name, self.made.remains) {
            Cow::Owned(replaced) if replaced != name => Some(replaced),
            _ => None,
        }
    }
}

/// A pattern of the table, whose classes are ASCII: they keep the search fast and the automaton small. The patterns are
/// constants; should one not compile, names are left as they are.
pub(super) fn compiled(pattern: &str) -> Option<Regex> {
    let pattern = pattern.replace(r"\b", r"(?-u:\b)").replace(r"\w", "[0-9A-Za-z_]").replace(r"\d", "[0-9]");
    Regex::new(&pattern).ok()
}

/// `name` without what was made up; `because` is told of where that came from.
pub(super) fn without_made_up<'n>(
    name: &'n str,
    part: Part,
    platform: &str,
    mut because: impl FnMut(&'static str),
) -> Cow<'n, str> {
    let Some(rules) = PLATFORMS.get(platform).or_else(|| PLATFORMS.get(OTHER)) else { return Cow::Borrowed(name) };
    let rules = match part {
        Part::Function | Part::Name => &rules[0],
        Part::Module => &rules[1],
        Part::File => &rules[2],
    };
    let mut name = Cow::Borrowed(name);
    let mut has = characters(&name);
    for rule in rules {
        if rule.needs & !has == 0
            && let Some(replaced) = rule.apply(&name)
        {
            because(rule.made.source);
            has = characters(&replaced);
            name = Cow::Owned(replaced);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_does_what_it_says() {
        let mut wrong = Vec::new();
        for rule in RULES.iter() {
            let (name, becomes) = rule.made.example;
            assert!(compiled(rule.made.looks_like).is_some(), "{}", rule.made.looks_like);
            assert_eq!(rule.needs & !characters(name), 0, "{name} lacks what the row asks for");
            let left = rule.apply(name);
            if left.as_deref() != Some(becomes) {
                wrong.push(format!("{name}: {left:?} instead of {becomes}"));
            }
            assert!(!rule.made.source.is_empty());
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// What is left of a name must not change again when another build sends it.
    #[test]
    fn what_remains_is_left_alone() {
        let mut wrong = Vec::new();
        for rule in RULES.iter() {
            let platform = rule.made.platforms.first().copied().unwrap_or("go");
            let part = if rule.made.part == Part::Name { Part::Function } else { rule.made.part };
            let once = without_made_up(rule.made.example.0, part, platform, |_| {}).into_owned();
            let twice = without_made_up(&once, part, platform, |_| {}).into_owned();
            if once != twice {
                wrong.push(format!("{once} becomes {twice}: {}", rule.made.source));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn every_platform_that_has_an_sdk_has_rows_or_those_of_all() {
        let own = ["java", "kotlin", "groovy", "cfml", "csharp", "unity", "powershell", "javascript", "node", "native"];
        let own = own.iter().chain(&["c", "cocoa", "objc", "swift", "rust", "unreal", "go", "python", "ruby", "php"]);
        for platform in own.chain(&["elixir", "perl", "lua", "dart", "flutter", "haskell", "as3", "other"]) {
            assert!(PLATFORMS.contains_key(platform), "{platform}");
        }
    }
}
