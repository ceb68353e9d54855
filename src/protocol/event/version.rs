//! Names of releases and environments: what cannot be one is dropped, the event is kept.

const MAX_RELEASE_CHARS: usize = 200;
const MAX_ENVIRONMENT_CHARS: usize = 64;

/// The release without blanks around it; none if its name is not fit for a path or means "whichever".
pub(in crate::protocol) fn release(name: Option<String>) -> Option<String> {
    fit(name, MAX_RELEASE_CHARS, "latest")
}

/// The same for an environment, where `none` means there is none.
pub(in crate::protocol) fn environment(name: Option<String>) -> Option<String> {
    fit(name, MAX_ENVIRONMENT_CHARS, "none")
}

fn fit(name: Option<String>, max: usize, reserved: &str) -> Option<String> {
    let name = name?;
    let name = name.trim_matches(' ');
    let unfit = |character: char| character == '/' || character == '\\' || character.is_control();
    let meaningless = name.is_empty() || name == "." || name == ".." || name.eq_ignore_ascii_case(reserved);
    (!meaningless && name.chars().count() <= max && !name.contains(unfit)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfit_names_are_dropped() {
        for (name, expected) in [
            (" a ", Some("a")),
            ("shop@1.2.3+4", Some("shop@1.2.3+4")),
            ("a/b", None),
            ("a\\b", None),
            ("..", None),
            (".", None),
            ("", None),
            (" ", None),
            ("latest", None),
            ("a\tb", None),
            ("a\nb", None),
            ("a\u{c}", None),
            ("none", Some("none")),
        ] {
            assert_eq!(release(Some(name.to_owned())).as_deref(), expected, "{name:?}");
        }
        assert_eq!(environment(Some("none".into())), None);
        assert_eq!(environment(Some("latest".into())).as_deref(), Some("latest"));
    }

    #[test]
    fn length_is_counted_in_characters() {
        for (length, fits) in [(MAX_RELEASE_CHARS, true), (MAX_RELEASE_CHARS + 1, false)] {
            assert_eq!(release(Some("ä".repeat(length))).is_some(), fits, "{length}");
        }
        for (length, fits) in [(MAX_ENVIRONMENT_CHARS, true), (MAX_ENVIRONMENT_CHARS + 1, false)] {
            assert_eq!(environment(Some("ä".repeat(length))).is_some(), fits, "{length}");
        }
    }
}
