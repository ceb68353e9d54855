//! How an event is called in a list: its title, and the place that is to blame.

use super::{
    Event, Exception, Frame,
    text::{cut, shortened},
};

const MAX_TITLE_CHARS: usize = 256;
const MAX_CULPRIT_CHARS: usize = 200;

/// Title of an event that says nothing about itself; it never replaces a real one.
pub const UNLABELED: &str = "<unlabeled event>";

impl Event {
    /// The exception that was not caught: the outermost.
    #[must_use]
    pub fn main_exception(&self) -> Option<&Exception> {
        self.exceptions.last()
    }

    /// `error` for exceptions, `csp` for browsers' reports, `default` for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (&*self.exceptions, &self.csp) {
            ([], None) => "default",
            ([], Some(_)) => "csp",
            _ => "error",
        }
    }

    /// `KeyError: 'a'`, or the first line of the message; never empty, at most 256 characters, `…` for what is cut off.
    #[must_use]
    pub fn title(&self) -> String {
        let title = if let Some(exception) = self.naming_exception() {
            exception.title()
        } else if let Some(csp) = &self.csp {
            format!("Blocked '{}' from '{}'", csp.directive, csp.blocked)
        } else {
            let message = self.log_entry.as_ref().map(|entry| first_line(&entry.formatted));
            message.unwrap_or_default().to_owned()
        };
        // A type, a function or a blocked address may have line breaks as well.
        let title = title.replace(['\n', '\r'], " ");
        let title = shortened(title.trim(), MAX_TITLE_CHARS);
        if title.is_empty() { UNLABELED.to_owned() } else { title.into_owned() }
    }

    /// The transaction, else the application's innermost function, else the URL; may be empty, at most
    /// 200 characters, `…` for what is cut off.
    #[must_use]
    pub fn culprit(&self) -> String {
        self.located(|| shown_place(self.naming_frame()?, &self.platform))
    }

    /// As [`culprit`](Self::culprit), as the first version had it. Hashes of groups are made of it, so it stays as it is.
    #[must_use]
    pub fn grouped_culprit(&self) -> String {
        self.located(|| place(self.crash_frame()?, &self.platform))
    }

    fn located(&self, place: impl FnOnce() -> Option<String>) -> String {
        let named = self.transaction.clone().filter(|transaction| !transaction.trim().is_empty());
        let culprit = named.or_else(place).or_else(|| self.request_url.clone()).unwrap_or_default();
        shortened(&culprit, MAX_CULPRIT_CHARS).into_owned()
    }

    /// The frame to blame: the application's innermost one, of the main exception or else of the event's
    /// own stack trace; where none is known to be the application's, the innermost of all.
    #[must_use]
    pub fn crash_frame(&self) -> Option<&Frame> {
        self.blamed_of(self.main_exception())
    }

    /// As [`crash_frame`](Self::crash_frame), of the exception that names the event.
    #[must_use]
    pub fn naming_frame(&self) -> Option<&Frame> {
        self.blamed_of(self.naming_exception())
    }

    fn blamed_of<'e>(&'e self, exception: Option<&'e Exception>) -> Option<&'e Frame> {
        let frames = exception.map(|exception| &*exception.frames);
        blamed(frames.filter(|frames| !frames.is_empty()).unwrap_or(&self.stacktrace))
    }
}

impl Exception {
    /// Go's type for every error that is a text and nothing else. It tells no two of them apart, and where
    /// a logging hook reports them, as in GitLab Runner, neither does the stack trace.
    #[must_use]
    pub fn is_bare_text(&self) -> bool {
        self.r#type.as_deref() == Some("*errors.errorString") && self.value.is_some()
    }

    fn title(&self) -> String {
        let value = without_count(first_line(self.value.as_deref().unwrap_or_default()));
        let function = || blamed(&self.frames).and_then(|frame| frame.function.as_deref());
        match self.r#type.as_deref().filter(|name| !name.trim().is_empty()) {
            // A message that JavaScript's SDK sends with its stack trace.
            None if !value.is_empty() => cut(value, 1024).to_owned(),
            _ if self.synthetic => function().unwrap_or("<unknown>").to_owned(),
            None => function().unwrap_or("<unknown>").to_owned(),
            Some(_) if self.is_bare_text() && !value.is_empty() => cut(value, 1024).to_owned(),
            Some(name) if value.is_empty() => shortened(name, 128).into_owned(),
            Some(name) => format!("{}: {}", shortened(name, 128), cut(value, 1024)),
        }
    }
}

/// What Python writes behind the message of a group: how many exceptions it holds names no error.
fn without_count(value: &str) -> &str {
    let counted = value.strip_suffix(" sub-exceptions)").or_else(|| value.strip_suffix(" sub-exception)"));
    let text = counted.and_then(|counted| counted.rsplit_once('(')).filter(|(_, count)| count.parse::<u32>().is_ok());
    text.map_or(value, |(text, _)| text.trim_end())
}

/// The first line with something in it.
fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

fn blamed(frames: &[Frame]) -> Option<&Frame> {
    frames.iter().rev().find(|frame| frame.in_app == Some(true)).or_else(|| frames.last())
}

/// A frame in the words of its platform, as people read it.
fn shown_place(frame: &Frame, platform: &str) -> Option<String> {
    match (platform, frame.function.as_deref(), frame.filename.as_deref().or(frame.module.as_deref())) {
        ("javascript" | "node", None, Some(file)) if !file.starts_with(['<', '[']) => Some(format!("?({file})")),
        _ => place(frame, platform),
    }
}

/// A frame in the words of its platform.
fn place(frame: &Frame, platform: &str) -> Option<String> {
    let function = frame.function.as_deref();
    let file = frame.filename.as_deref();
    match platform {
        "javascript" | "node" => match (function, file.or(frame.module.as_deref())) {
            (Some(function), Some(file)) => Some(format!("{function}({file})")),
            (function, file) => function.or(file).map(str::to_owned),
        },
        "native" | "c" | "cocoa" | "objc" | "swift" | "rust" => function.or(file).map(str::to_owned),
        _ => match (frame.module.as_deref().or(file), function) {
            (Some(module), function) => Some(format!("{module} in {}", function.unwrap_or("?"))),
            (None, function) => function.map(str::to_owned),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{EventId, Receipt, parse},
        *,
    };

    fn event(json: &str) -> Event {
        parse(json.as_bytes(), &Receipt::at(jiff::Timestamp::UNIX_EPOCH, EventId([1; 16]))).unwrap()
    }

    #[test]
    fn titles_name_the_error() {
        for (json, title) in [
            (r#"{"exception":[{"type":"KeyError","value":"'a'\nmore"}]}"#, "KeyError: 'a'"),
            (r#"{"exception":[{"type":"KeyError","value":" "}]}"#, "KeyError"),
            (r#"{"exception":[{"type":"KeyError"}]}"#, "KeyError"),
            (
                r#"{"exception":[{"type":"ExceptionGroup","value":"tasks failed (2 sub-exceptions)"}]}"#,
                "ExceptionGroup: tasks failed",
            ),
            (r#"{"exception":[{"value":"only a value"}]}"#, "only a value"),
            (r#"{"exception":[{"type":"Cause"},{"type":"Outer","value":"x"}],"message":"m"}"#, "Outer: x"),
            (r#"{"exception":[{"type":"SIGSEGV","mechanism":{"synthetic":true}}]}"#, "<unknown>"),
            (
                r#"{"message":"slow","exception":[{"value":"slow","mechanism":{"synthetic":true},
                    "stacktrace":{"frames":[{"function":"main"}]}}]}"#,
                "slow",
            ),
            (
                r#"{"exception":[{"type":"SIGSEGV","mechanism":{"synthetic":true},
                    "stacktrace":{"frames":[{"function":"crash"}]}}]}"#,
                "crash",
            ),
            (r#"{"exception":[{"type":"*errors.errorString","value":"Job failed"}]}"#, "Job failed"),
            (r#"{"exception":[{"type":"*errors.errorString","value":" "}]}"#, "*errors.errorString"),
            (r#"{"message":"\n hello \nworld"}"#, "hello"),
            (r#"{"csp":{"effective_directive":"img-src","blocked_uri":"inline"}}"#, "Blocked 'img-src' from 'inline'"),
            ("{}", UNLABELED),
            (r#"{"message":" "}"#, UNLABELED),
            (r#"{"exception":[{"type":"\n","value":"a"}]}"#, "a"),
            (r#"{"exception":[{"type":"\n"}]}"#, "<unknown>"),
            (r#"{"exception":[{"type":"\n","stacktrace":{"frames":[{"function":"\n"}]}}]}"#, UNLABELED),
            (r#"{"exception":[{"type":"A\nB","value":"c"}]}"#, "A B: c"),
            (r#"{"csp":{"effective_directive":"img-src","blocked_uri":"a\nb"}}"#, "Blocked 'img-src' from 'a b'"),
        ] {
            assert_eq!(event(json).title(), title, "{json}");
        }
        let long = event(&format!(r#"{{"exception":[{{"type":"{0}","value":"{0}"}}]}}"#, "ü".repeat(1000))).title();
        assert_eq!((long.chars().count(), long.find(':')), (MAX_TITLE_CHARS, Some(127 * 2 + "…".len())));
        assert!(long.contains("ü…: ü") && long.ends_with("ü…"), "both cuts are marked: {long}");
        let fits = "t".repeat(MAX_TITLE_CHARS);
        assert_eq!(event(&format!(r#"{{"message":"{fits}"}}"#)).title(), fits);
    }

    #[test]
    fn culprits_name_the_place() {
        let frames = r#""stacktrace":{"frames":[
            {"filename":"app.py","module":"app","function":"view","in_app":true},
            {"filename":"lib.py","function":"call","in_app":false}]}"#;
        for (json, culprit) in [
            (format!(r#"{{"transaction":"GET /cart",{frames}}}"#), "GET /cart"),
            (format!(r#"{{"culprit":"GET /cart",{frames}}}"#), "GET /cart"),
            (format!(r#"{{"platform":"python",{frames}}}"#), "app in view"),
            (format!(r#"{{"platform":"node",{frames}}}"#), "view(app.py)"),
            (format!(r#"{{"platform":"native",{frames}}}"#), "view"),
            (
                r#"{"platform":"javascript","stacktrace":{"frames":[{"filename":"/dist/bundle.js"}]}}"#.into(),
                "?(/dist/bundle.js)",
            ),
            (format!(r#"{{"exception":[{{"type":"E"}},{{"type":"E",{frames}}}]}}"#), "app in view"),
            (r#"{"stacktrace":{"frames":[{"filename":"a.py"},{"filename":"b.py"}]}}"#.into(), "b.py in ?"),
            (r#"{"request":{"url":"https://h/cart?x=1"}}"#.into(), "https://h/cart"),
            ("{}".into(), ""),
        ] {
            assert_eq!(event(&json).culprit(), culprit, "{json}");
        }
    }

    #[test]
    fn what_it_has_first_makes_the_kind() {
        for (json, kind) in [
            ("{}", "default"),
            (r#"{"message":"m"}"#, "default"),
            (r#"{"exception":{"type":"E"}}"#, "error"),
            (r#"{"csp":{"effective_directive":"img-src"}}"#, "csp"),
        ] {
            assert_eq!(event(json).kind(), kind, "{json}");
        }
    }
}
