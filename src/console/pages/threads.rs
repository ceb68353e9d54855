//! What the threads of an application did when an event happened. Pure.

use serde_json::Value;

use super::{attributes::scalar, format::in_raw_json, untrusted::visible};

const MAX_THREADS: usize = 10;
const MAX_FRAMES: usize = 20;
const MAX_NAME_CHARS: usize = 200;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Threads {
    pub rows: Vec<Thread>,
    pub omitted: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Thread {
    /// `main`, or its number.
    pub name: String,
    /// `crashed`, `current`, what the SDK says it was doing.
    pub states: Vec<String>,
    /// `pay in shop/cart.py:18`, newest call first.
    pub frames: Vec<String>,
    pub omitted: Option<String>,
}

/// Of the JSON of an event.
#[must_use]
pub fn of_event(json: &Value) -> Threads {
    let found = json.get("threads");
    let all = found.and_then(|found| found.get("values").unwrap_or(found).as_array());
    let all: Vec<_> = all.into_iter().flatten().filter(|thread| thread.is_object()).collect();
    let omitted = in_raw_json(all.len().saturating_sub(MAX_THREADS), "more thread");
    Threads { rows: all.into_iter().take(MAX_THREADS).map(thread).collect(), omitted }
}

fn thread(thread: &Value) -> Thread {
    let text =
        |name: &str| thread.get(name).and_then(scalar).filter(|text| !text.trim().is_empty()).map(|text| cut(&text));
    let is = |name: &str| thread.get(name).and_then(Value::as_bool).unwrap_or_default();
    let named = ["crashed", "current"].into_iter().filter(|name| is(name)).map(str::to_owned);
    let number = || format!("thread {}", text("id").unwrap_or_default()).trim_end().to_owned();
    let frames = thread.get("stacktrace").and_then(|stack| stack.get("frames")).and_then(Value::as_array);
    let frames = frames.map(Vec::as_slice).unwrap_or_default();
    Thread {
        name: text("name").unwrap_or_else(number),
        states: named.chain(text("state")).collect(),
        // SDKs send the oldest call first.
        frames: frames.iter().rev().take(MAX_FRAMES).map(frame).collect(),
        omitted: in_raw_json(frames.len().saturating_sub(MAX_FRAMES), "older frame"),
    }
}

fn frame(frame: &Value) -> String {
    let text = |names: &[&str]| {
        let found =
            names.iter().find_map(|name| frame.get(name).and_then(scalar).filter(|text| !text.trim().is_empty()));
        found.map(|text| cut(&text))
    };
    let function = text(&["function", "instruction_addr"]).unwrap_or_else(|| "<unknown>".to_owned());
    let Some(file) = text(&["filename", "module", "package", "abs_path"]) else { return function };
    let line = text(&["lineno"]).map(|line| format!(":{line}")).unwrap_or_default();
    format!("{function} in {file}{line}")
}

fn cut(text: &str) -> String {
    visible(&text.chars().take(MAX_NAME_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn threads_say_what_they_did() {
        let json = json!({"threads": {"values": [
            {"id": 1, "name": "main", "crashed": true, "current": true, "stacktrace": {"frames": [
                {"function": "run", "module": "app"}, {"function": "pay", "filename": "shop/cart.py", "lineno": 18},
            ]}},
            {"id": "0x7", "state": "WAITING", "crashed": "yes"},
            {"stacktrace": {"frames": [{}]}},
            7,
        ]}});
        let seen: Vec<_> = of_event(&json)
            .rows
            .into_iter()
            .map(|thread| (thread.name, thread.states.join(" "), thread.frames.join(", ")))
            .collect();
        let expected = [
            ("main", "crashed current", "pay in shop/cart.py:18, run in app"),
            ("thread 0x7", "WAITING", ""),
            ("thread", "", "<unknown>"),
        ];
        assert_eq!(
            seen,
            expected.map(|(name, states, frames)| (name.to_owned(), states.to_owned(), frames.to_owned()))
        );
        assert_eq!(of_event(&json!({"threads": 5})), Threads::default());
    }

    #[test]
    fn many_threads_are_counted() {
        let frames = vec![json!({"function": "f"}); 300];
        let threads = vec![json!({"name": "\u{202e}x", "stacktrace": {"frames": frames}}); 100];
        let shown = of_event(&json!({ "threads": threads }));
        assert_eq!((shown.rows.len(), shown.rows[0].frames.len(), &*shown.rows[0].name), (10, 20, "\u{fffd}x"));
        assert_eq!(shown.omitted.as_deref(), Some("90 more threads are in the raw JSON."));
        assert_eq!(shown.rows[0].omitted.as_deref(), Some("280 older frames are in the raw JSON."));
    }
}
