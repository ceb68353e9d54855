//! Patterns as people write them: `*` stands for anything, the rest for itself, in any case.

use regex::{Regex, RegexBuilder};

/// Bounds what a list takes in memory; a CRD's limits on number and length stay far below it.
const MAX_BYTES: usize = 16 << 20;

/// One expression that fits a text if any of the globs fits all of it; none without globs. Blank entries,
/// which would fit every text that says nothing, are left out.
pub(super) fn any_of<'a>(globs: impl Iterator<Item = &'a str>) -> Option<Regex> {
    let alternatives: Vec<String> = globs.filter(|glob| !glob.trim().is_empty()).map(expression).collect();
    if alternatives.is_empty() {
        return None;
    }
    let pattern = format!("^(?:{})$", alternatives.join("|"));
    RegexBuilder::new(&pattern).case_insensitive(true).dot_matches_new_line(true).size_limit(MAX_BYTES).build().ok()
}

fn expression(glob: &str) -> String {
    glob.split('*').map(regex::escape).collect::<Vec<_>>().join(".*")
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
            let glob_of = any_of([glob].into_iter()).unwrap();
            assert_eq!(glob_of.is_match(text), fits, "{glob} {text:?}");
        }
    }

    #[test]
    fn blank_entries_fit_nothing() {
        assert!(any_of(["", " "].into_iter()).is_none());
        let some = any_of(["", "a", "b*"].into_iter()).unwrap();
        assert_eq!(["", "a", "bc", "c"].map(|text| some.is_match(text)), [false, true, true, false]);
    }
}
