//! Regular expressions among the errors to ignore: what one of them may take, and what all of them may.

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

use super::fit::{self, Fit};

/// What an entry of `ignoreErrors` begins with when the rest is a regular expression.
const PREFIX: &str = "re:";

/// Most bytes of one compiled expression. A class of all letters of the world (`\w`) takes about 50 KB.
const MAX_BYTES: usize = 512 << 10;

/// What all expressions of one list may take in memory: a pattern must not cost more than the events it stops.
const MAX_BYTES_TOGETHER: usize = 2 << 20;

/// The regular expression of an entry of `ignoreErrors`; `None`: it is a pattern.
pub(super) fn expression(entry: &str) -> Option<Result<Regex, regex::Error>> {
    let expression = entry.strip_prefix(PREFIX)?;
    Some(RegexBuilder::new(expression).size_limit(MAX_BYTES).build())
}

/// One set that fits a text if any of the expressions is found in it.
pub(super) fn any_of(expressions: &[&Regex]) -> Fit<RegexSet> {
    fit::most(expressions.len(), |count| {
        let expressions = expressions[..count].iter().map(|expression| expression.as_str());
        RegexSetBuilder::new(expressions).size_limit(MAX_BYTES_TOGETHER).build()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_marked_and_must_compile_within_its_size() {
        let compiles = |entry| expression(entry).map(|compiled| compiled.is_ok());
        for (entry, expected) in [
            ("AbortError*", None),
            ("not re:", None),
            ("re:^AbortError", Some(true)),
            (r"re:^\w+Error: \w+ failed in \w+ of \w+ for \w+$", Some(true)),
            ("re:", Some(true)),
            ("re:(", Some(false)),
            ("re:(?<=a)b", Some(false)),
            ("re:(((a{100}){100}){100}){100}", Some(false)),
        ] {
            assert_eq!(compiles(entry), expected, "{entry}");
        }
    }
}
