//! The fingerprint an application sets: literal parts, and variables that stand for parts of the event.

use crate::protocol::event::{Event, Exception, Frame};

/// `None` if the event has no fingerprint, or one that only asks for the default.
///
/// The default counts once however often it is asked for: a hundred copies of a long stack trace tell no more
/// than one. `exception` and `frame` are those that the variables of the same names stand for.
pub(super) fn components(
    event: &Event,
    exception: Option<&Exception>,
    frame: Option<&Frame>,
    default: impl FnOnce() -> Vec<String>,
) -> Option<Vec<String>> {
    let parts = &event.fingerprint;
    let only_default = matches!(&parts[..], [only] if variable(only) == Some("default"));
    if only_default || parts.iter().all(|part| part.trim().is_empty()) {
        return None;
    }
    let mut components = Vec::with_capacity(parts.len());
    let mut default = Some(default);
    for part in parts {
        match variable(part) {
            Some("default") => components.extend(default.take().into_iter().flat_map(|default| default())),
            Some(name) => {
                let value = expand(name, event, exception, frame);
                components.push(format!("fingerprint:{}", value.as_ref().unwrap_or(part)));
            }
            None => components.push(format!("fingerprint:{part}")),
        }
    }
    Some(components)
}

/// `name` of `{{ name }}` and of `{{name}}`.
fn variable(part: &str) -> Option<&str> {
    let name = part.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

/// The part of the event that a variable stands for, or a text that says it is missing; `None` for a
/// variable that does not exist, which is kept as it was written.
fn expand(name: &str, event: &Event, exception: Option<&Exception>, frame: Option<&Frame>) -> Option<String> {
    let (value, missing) = match name {
        "transaction" => (event.transaction.as_deref(), "<no-transaction>"),
        "type" | "error.type" => (exception.and_then(|exception| exception.r#type.as_deref()), "<no-type>"),
        "value" | "error.value" => (exception.and_then(|exception| exception.value.as_deref()), "<no-value>"),
        "function" | "stack.function" => (frame.and_then(|frame| frame.function.as_deref()), "<no-function>"),
        "module" | "stack.module" => (frame.and_then(|frame| frame.module.as_deref()), "<no-module>"),
        "package" | "stack.package" => (frame.and_then(|frame| frame.package.as_deref()), "<no-package>"),
        "abs_path" | "stack.abs_path" => (frame.and_then(|frame| frame.abs_path.as_deref()), "<no-abs-path>"),
        "level" => (Some(event.level.name()), "<no-level>"),
        "logger" => (event.logger.as_deref(), "<no-logger>"),
        _ => return name.strip_prefix("tags.").map(|tag| expand_tag(tag, event)),
    };
    Some(value.unwrap_or(missing).to_owned())
}

fn expand_tag(tag: &str, event: &Event) -> String {
    let own = match tag {
        "environment" => event.environment.as_ref(),
        "release" => event.release.as_ref(),
        _ => event.tags.iter().find(|(key, _)| key == tag).map(|(_, value)| value),
    };
    own.cloned().unwrap_or_else(|| format!("<no-value-for-tag-{tag}>"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(parts: &[&str]) -> Option<Vec<String>> {
        let frame = Frame { function: Some("view".into()), module: Some("app".into()), ..Frame::default() };
        let event = Event {
            fingerprint: parts.iter().map(|part| (*part).to_owned()).collect(),
            exceptions: vec![Exception { r#type: Some("E".into()), frames: vec![frame], ..Exception::default() }],
            tags: vec![("a".into(), "1".into())],
            environment: Some("staging".into()),
            ..Event::default()
        };
        components(&event, event.main_exception(), event.crash_frame(), || vec!["default:1".into(), "default:2".into()])
    }

    #[test]
    fn a_fingerprint_that_says_nothing_is_none() {
        for parts in [&[][..], &[""], &["", " "], &["{{ default }}"], &["{{default}}"], &[" {{ default }} "]] {
            assert_eq!(expanded(parts), None, "{parts:?}");
        }
    }

    #[test]
    fn variables_stand_for_parts_of_the_event() {
        for (part, expected) in [
            ("literal", "literal"),
            ("{{ type }}", "E"),
            ("{{error.type}}", "E"),
            ("{{ value }}", "<no-value>"),
            ("{{ function }}", "view"),
            ("{{ stack.module }}", "app"),
            ("{{ package }}", "<no-package>"),
            ("{{ abs_path }}", "<no-abs-path>"),
            ("{{ transaction }}", "<no-transaction>"),
            ("{{ level }}", "error"),
            ("{{ logger }}", "<no-logger>"),
            ("{{ tags.a }}", "1"),
            ("{{ tags.b }}", "<no-value-for-tag-b>"),
            ("{{ tags.environment }}", "staging"),
            ("{{ nonsense }}", "{{ nonsense }}"),
            ("{{ two words }}", "{{ two words }}"),
            ("{{}}", "{{}}"),
            ("{{ default", "{{ default"),
        ] {
            assert_eq!(expanded(&[part]), Some(vec![format!("fingerprint:{expected}")]), "{part}");
        }
    }

    #[test]
    fn the_default_can_be_refined() {
        let expected = ["default:1", "default:2", "fingerprint:x"].map(str::to_owned).to_vec();
        assert_eq!(expanded(&["{{ default }}", "x"]), Some(expected.clone()));
        assert_eq!(expanded(&["{{ default }}", "{{default}}", "x"]), Some(expected), "said twice is said once");
    }
}
