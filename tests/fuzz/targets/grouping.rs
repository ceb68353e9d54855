//! Groups: the same whatever the order of names, the lines and the fields that nobody knows. And filters, which look at
//! the same event.

use std::sync::LazyLock;

use error_tracking_operator::{
    filters::Compiled,
    grouping::g2,
    protocol::event::{self, MAX_BYTES, attributes::Interface},
    settings::Filters,
};
use serde_json::Value;

use super::receipt;

pub fn check(input: &[u8]) {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(input) else { return };
    // Of several names of one thing the later one counts.
    for attribute in Interface::Event.attributes() {
        let mut names = attribute.names.iter().filter_map(|name| std::str::from_utf8(name).ok());
        if names.next().is_some_and(|name| object.contains_key(name)) {
            names.for_each(|old_name| drop(object.remove(old_name)));
        }
    }
    let mut value = Value::Object(object);
    let payload = written(&value, false);
    if payload.len() > MAX_BYTES - 1000 {
        return;
    }
    let first = group(&payload);
    assert!(!first.components.is_empty());
    assert!(first.components.iter().all(|component| !component.contains('\0')));
    assert_eq!(group(&written(&value, false)), first, "not stable");
    assert_eq!(group(&written(&value, true)), first, "another order of names");
    if let Value::Object(object) = &mut value {
        object.insert("zzz".to_owned(), serde_json::json!({"a": [1, {"type": "x"}]}));
    }
    for pointer in ["/exception/values", "/exception"] {
        let exceptions = value.pointer_mut(pointer).and_then(Value::as_array_mut);
        exceptions.into_iter().flatten().for_each(move_lines);
    }
    assert_eq!(group(&written(&value, false)), first, "other lines and unknown fields");
}

/// As a few lines more at the top of a file do.
fn move_lines(exception: &mut Value) {
    let frames = exception.pointer_mut("/stacktrace/frames").and_then(Value::as_array_mut);
    for frame in frames.into_iter().flatten() {
        if let Some(line) = frame.get_mut("lineno").filter(|line| line.is_u64()) {
            *line = 4711.into();
        }
    }
}

fn group(payload: &[u8]) -> error_tracking_operator::grouping::Grouping {
    match event::parse(payload, &receipt()) {
        Ok(event) => g2(&event),
        Err(error) => panic!("{error}"),
    }
}

/// JSON with the names of every object in order, or in the reverse of it.
fn written(value: &Value, reversed: bool) -> Vec<u8> {
    let mut output = Vec::new();
    write(value, reversed, &mut output);
    output
}

fn write(value: &Value, reversed: bool, output: &mut Vec<u8>) {
    match value {
        Value::Object(object) => {
            output.push(b'{');
            let mut members: Vec<_> = object.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            if reversed {
                members.reverse();
            }
            for (position, (name, value)) in members.into_iter().enumerate() {
                output.extend_from_slice(if position > 0 { b"," } else { b"" });
                output.extend(Value::from(name.as_str()).to_string().bytes());
                output.push(b':');
                write(value, reversed, output);
            }
            output.push(b'}');
        }
        Value::Array(list) => {
            output.push(b'[');
            for (position, value) in list.iter().enumerate() {
                output.extend_from_slice(if position > 0 { b"," } else { b"" });
                write(value, reversed, output);
            }
            output.push(b']');
        }
        scalar => output.extend(scalar.to_string().bytes()),
    }
}

pub fn check_filters(input: &[u8]) {
    static FILTERS: LazyLock<Compiled> = LazyLock::new(|| {
        let list = |entries: [&str; 3]| entries.map(str::to_owned).to_vec();
        let (compiled, errors) = Compiled::new(&Filters {
            ignore_errors: list(["*Abort*", "re:^Key(Error)?: .*a+$", "*a*b*c*d*e*"]),
            ignore_releases: list(["1.*", "shop@?.*", "**"]),
            ignore_environments: list(["dev*", "*a*b*c*d*", "?"]),
            allowed_origins: list(["*.example.com", "https://*", "localhost:3000"]),
            ignore_localhost: true,
            ignore_crawlers: true,
        });
        assert!(errors.is_empty());
        compiled
    });
    let Ok(event) = event::parse(input, &receipt()) else { return };
    let text = String::from_utf8_lossy(input.get(..200).unwrap_or(input));
    let reason = FILTERS.check(&event, Some(&text));
    assert_eq!(FILTERS.check(&event, Some(&text)), reason);
    let _ = FILTERS.allows_origin(event.request_url.as_deref());
    let _ = FILTERS.allows_origin(Some(&text));
    assert_eq!(Compiled::default().check(&event, Some(&text)), None, "nothing is filtered that nobody asked for");
}
