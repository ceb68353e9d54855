//! Patterns as people write them: `*` stands for anything, the rest for itself, in any case.

use regex::bytes::{Regex, RegexBuilder};

use super::fit::{self, Fit};

/// Bounds what a list takes in memory. A list that the custom resource allows stays below it, whatever is in it.
const MAX_BYTES: usize = 16 << 20;

/// One expression that fits a text if any of the globs fits all of it; none without globs. Blank entries,
/// which would fit every text that says nothing, are left out.
pub(super) fn any_of(globs: &[&str]) -> Fit<Option<Regex>> {
    fit::most(globs.len(), |count| {
        let globs = globs[..count].iter().filter(|glob| !glob.trim().is_empty());
        let alternatives: Vec<String> = globs.map(|glob| expression(glob)).collect();
        if alternatives.is_empty() {
            return Ok(None);
        }
        let pattern = format!("^(?:{})$", alternatives.join("|"));
        let mut builder = RegexBuilder::new(&pattern);
        builder.case_insensitive(true).size_limit(MAX_BYTES).build().map(Some)
    })
}

/// A star is any bytes: any characters would take twenty times the memory, and no character begins within another.
fn expression(glob: &str) -> String {
    glob.split('*').map(regex::escape).collect::<Vec<_>>().join("(?s-u:.)*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (glob, text, fits) in [
            ("KeyError", "KeyError", true),
            ("keyerror", "KeyError", true),
            ("KeyError", "KeyError: x", false),
            ("KeyError*", "KeyError: x\nand more", true),
            ("*timeout*", "read Timeout after 5s", true),
            ("*", "", true),
            ("a.c", "abc", false),
            ("[a](b)+", "[a](b)+", true),
            ("1.*.0", "1.22.0", true),
            ("1.*.0", "1.22.1", false),
            ("GRÖSSE*", "größe", false),
            ("GRÖßE*", "größe 5", true),
        ] {
            let glob_of = any_of(&[glob]).compiled.unwrap();
            assert_eq!(glob_of.is_match(text.as_bytes()), fits, "{glob} {text:?}");
        }
    }

    #[test]
    fn blank_entries_fit_nothing() {
        assert!(any_of(&["", " "]).compiled.is_none());
        let some = any_of(&["", "a", "b*"]).compiled.unwrap();
        assert_eq!(["", "a", "bc", "c"].map(|text| some.is_match(text.as_bytes())), [false, true, true, false]);
    }

    /// A hundred entries of 512 characters: the letters that have most spellings, with and without stars.
    #[test]
    fn every_list_that_the_custom_resource_allows_fits() {
        for glob in
            ["\u{3b8}".repeat(512), "*\u{3b8}".repeat(256), "\u{1e9e}".repeat(512), "*".repeat(512), "k".repeat(512)]
        {
            let fit = any_of(&[glob.as_str(); 100]);
            assert!(fit.refusal.is_none(), "{} of {glob:.8}: {:?}", fit.count, fit.refusal);
        }
    }
}
