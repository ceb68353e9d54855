//! Stack traces: frames oldest call first, with the source lines an SDK could read, and threads.

use serde::de::{MapAccess, SeqAccess};

use super::{
    Frame,
    attributes::{FrameAttribute, StacktraceAttribute, ThreadAttribute},
    lenient::{Any, Attributes, Collect, Ends, Kept, Lenient, Values, assign, skip, value},
    text::{Flag, Number, Strict, cleaned, shortened},
};

/// Frames kept of one stack trace: the first 50 and, nearest to the failure, the last 200.
pub const MAX_FRAMES: usize = FIRST_FRAMES + LAST_FRAMES;
const FIRST_FRAMES: usize = 50;
const LAST_FRAMES: usize = 200;

const MAX_NAME_CHARS: usize = 256;
const MAX_PATH_CHARS: usize = 512;
const MAX_LINE_CHARS: usize = 256;
/// Source lines kept on each side of the failing one; SDKs send five.
const MAX_CONTEXT_LINES: usize = 20;

/// A `stacktrace` attribute: `{"frames": […]}`, or the frames alone. `LINES`: with the source lines, which take most of
/// the time and which only people look at.
#[derive(Default)]
pub(super) struct Stacktrace<const LINES: bool>(pub(super) Kept<Frame>);

impl<const LINES: bool> Lenient for Stacktrace<LINES> {
    fn from_list<'de, A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Values::<Frames<LINES>>::from_list(list).map(|frames| Self(frames.0.0.into_kept()))
    }

    fn from_object<'de, A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        let mut frames = Kept::default();
        while let Some(name) = object.next_key::<super::lenient::Name<'_>>()? {
            match StacktraceAttribute::named(name.as_str().as_bytes()) {
                Some(StacktraceAttribute::Frames) => {
                    frames = value::<Values<Frames<LINES>>, A>(&mut object)?.0.0.into_kept();
                }
                _ => skip(&mut object)?,
            }
        }
        Ok(Self(frames))
    }
}

#[derive(Default)]
struct Frames<const LINES: bool>(Ends<Frame, FIRST_FRAMES, LAST_FRAMES>);

impl<const LINES: bool> Collect for Frames<LINES> {
    type Item = FrameDraft<LINES>;

    fn push(&mut self, FrameDraft(frame): FrameDraft<LINES>) {
        let frame = normalised(frame);
        let Frame { function, module, filename, package, lineno, .. } = &frame;
        let named = [function, module, filename, package].into_iter().any(Option::is_some);
        if named || lineno.is_some() {
            self.0.push(frame);
        }
    }
}

#[derive(Default)]
struct FrameDraft<const LINES: bool>(Frame);

impl<const LINES: bool> Attributes for FrameDraft<LINES> {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        let Self(frame) = self;
        match FrameAttribute::named(name.as_bytes()) {
            Some(FrameAttribute::Function) => {
                assign(&mut frame.function, value::<Strict<MAX_NAME_CHARS>, A>(object)?.0);
            }
            Some(FrameAttribute::Module) => assign(&mut frame.module, value::<Strict<MAX_NAME_CHARS>, A>(object)?.0),
            Some(FrameAttribute::Filename) => {
                assign(&mut frame.filename, value::<Strict<MAX_PATH_CHARS>, A>(object)?.0);
            }
            Some(FrameAttribute::AbsPath) => assign(&mut frame.abs_path, value::<Strict<MAX_PATH_CHARS>, A>(object)?.0),
            Some(FrameAttribute::Package) => assign(&mut frame.package, value::<Strict<MAX_PATH_CHARS>, A>(object)?.0),
            Some(FrameAttribute::Lineno) => assign(&mut frame.lineno, value::<Number, A>(object)?.0),
            Some(FrameAttribute::Colno) => assign(&mut frame.colno, value::<Number, A>(object)?.0),
            Some(FrameAttribute::InApp) => assign(&mut frame.in_app, value::<Flag, A>(object)?.0),
            Some(FrameAttribute::ContextLine) if LINES => assign(&mut frame.context_line, value::<Line, A>(object)?.0),
            Some(FrameAttribute::PreContext) if LINES => frame.pre_context = value::<Lines, A>(object)?.0,
            Some(FrameAttribute::PostContext) if LINES => frame.post_context = value::<Lines, A>(object)?.0,
            _ => skip(object)?,
        }
        Ok(())
    }
}

/// A path that only one of the two attributes names stands in both; a URL alone is no file name, its path is.
fn normalised(mut frame: Frame) -> Frame {
    if frame.function.as_deref() == Some("?") {
        frame.function = None;
    }
    if frame.abs_path.is_none() {
        frame.abs_path.clone_from(&frame.filename);
    } else if frame.filename.is_none() {
        frame.filename.clone_from(&frame.abs_path);
    }
    if frame.filename == frame.abs_path
        && let Some(path) = frame.filename.as_deref().and_then(path_of_url)
    {
        frame.filename = Some(path.to_owned());
    }
    frame
}

/// `/static/app.js` of `https://shop.example/static/app.js?v=1`.
fn path_of_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
    let path = &rest[rest.find('/')?..];
    Some(path.split(['?', '#']).next().unwrap_or(path))
}

/// A source line, which may be empty. `…` stands for what is cut off: only people read it.
#[derive(Default)]
struct Line(Option<String>);

impl Lenient for Line {
    fn from_text(text: &str) -> Self {
        Self(Some(cleaned(&shortened(text, MAX_LINE_CHARS), MAX_LINE_CHARS).unwrap_or_default()))
    }
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Lenient for Lines {
    fn from_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut lines = Vec::new();
        while let Some(Any(Line(line))) = list.next_element()? {
            if lines.len() < MAX_CONTEXT_LINES {
                // What is no string leaves an empty line, so that the numbers beside them stay right.
                lines.push(line.unwrap_or_default());
            }
        }
        Ok(Self(lines))
    }
}

/// Frames of the one thread that says what happened: the crashed one, else the only one.
#[derive(Default)]
pub(super) struct Threads<const LINES: bool> {
    count: usize,
    crashed: Kept<Frame>,
    first: Kept<Frame>,
}

impl<const LINES: bool> Threads<LINES> {
    pub(super) fn into_frames(self) -> Kept<Frame> {
        match self.count {
            _ if !self.crashed.is_empty() => self.crashed,
            1 => self.first,
            _ => Kept::default(),
        }
    }
}

impl<const LINES: bool> Collect for Threads<LINES> {
    type Item = Thread<LINES>;

    fn push(&mut self, thread: Thread<LINES>) {
        self.count += 1;
        if thread.crashed && self.crashed.is_empty() {
            self.crashed = thread.frames;
        } else if self.count == 1 {
            self.first = thread.frames;
        }
    }
}

#[derive(Default)]
pub(super) struct Thread<const LINES: bool> {
    crashed: bool,
    frames: Kept<Frame>,
}

impl<const LINES: bool> Attributes for Thread<LINES> {
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match ThreadAttribute::named(name.as_bytes()) {
            Some(ThreadAttribute::Crashed) => self.crashed = value::<Flag, A>(object)?.0 == Some(true),
            Some(ThreadAttribute::Stacktrace) => self.frames = value::<Stacktrace<LINES>, A>(object)?.0,
            _ => skip(object)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(json: &str) -> Vec<Frame> {
        serde_json::from_str::<Any<Stacktrace<true>>>(json).unwrap().0.0.items
    }

    #[test]
    fn file_name_and_path_fill_each_other() {
        for (json, filename, abs_path) in [
            (r#"{"filename":"a.py"}"#, "a.py", "a.py"),
            (r#"{"abs_path":"/srv/a.py"}"#, "/srv/a.py", "/srv/a.py"),
            (r#"{"filename":"a.py","abs_path":"/srv/a.py"}"#, "a.py", "/srv/a.py"),
            (r#"{"abs_path":"https://h/static/a.js?v=1"}"#, "/static/a.js", "https://h/static/a.js?v=1"),
            (r#"{"filename":"https://h/a.js"}"#, "/a.js", "https://h/a.js"),
            (r#"{"filename":"https://h"}"#, "https://h", "https://h"),
        ] {
            let found = &frames(&format!("[{json}]"))[0];
            assert_eq!((found.filename.as_deref(), found.abs_path.as_deref()), (Some(filename), Some(abs_path)));
        }
    }

    #[test]
    fn odd_frames_keep_what_is_usable() {
        let json = r#"{"frames":[null,5,{},{"vars":{"a":1}},{"function":"?","lineno":"7","in_app":"yes","colno":[]},
            {"function":"f","function":5,"context_line":"","pre_context":["a",null,3],"post_context":"x"}]}"#;
        let expected = [
            Frame { lineno: Some(7), ..Frame::default() },
            Frame {
                function: Some("f".into()),
                context_line: Some(String::new()),
                pre_context: vec!["a".into(), String::new(), String::new()],
                ..Frame::default()
            },
        ];
        assert_eq!(frames(json), expected);
        for none in ["null", "[]", "{}", r#"{"frames":null}"#, r#"{"frames":"x"}"#, "5", r#""x""#] {
            assert_eq!(frames(none), [], "{none}");
        }
    }

    #[test]
    fn a_long_source_line_ends_with_a_mark() {
        let line = |length: usize| {
            let json = format!(r#"[{{"function":"f","context_line":"{}"}}]"#, "x".repeat(length));
            frames(&json)[0].context_line.clone().unwrap()
        };
        assert_eq!(line(MAX_LINE_CHARS), "x".repeat(MAX_LINE_CHARS));
        assert_eq!(line(5000), format!("{}…", "x".repeat(MAX_LINE_CHARS - 1)));
    }

    #[test]
    fn the_ends_of_a_deep_stack_are_kept() {
        let list: Vec<String> = (0..1000).map(|number| format!(r#"{{"function":"f{number}"}}"#)).collect();
        let read: Any<Stacktrace<true>> = serde_json::from_str(&format!("[{}]", list.join(","))).unwrap();
        assert_eq!(read.0.0.dropped, 750);
        let names: Vec<String> = read.0.0.items.into_iter().filter_map(|f| f.function).collect();
        let expected: Vec<String> = (0..50).chain(800..1000).map(|number| format!("f{number}")).collect();
        assert_eq!(names, expected);
        assert_eq!(names.len(), MAX_FRAMES);
    }

    #[test]
    fn the_crashed_or_the_only_thread_counts() {
        let thread = |name: &str, crashed: &str| {
            format!(r#"{{"crashed":{crashed},"stacktrace":{{"frames":[{{"function":"{name}"}}]}}}}"#)
        };
        for (threads, expected) in [
            (format!("[{}]", thread("a", "false")), Some("a")),
            (format!(r#"{{"values":[{}]}}"#, thread("a", "null")), Some("a")),
            (thread("a", "false"), Some("a")),
            (format!("[{},{}]", thread("a", "false"), thread("b", "true")), Some("b")),
            (format!("[{},{}]", thread("a", "false"), thread("b", "false")), None),
            ("[null]".into(), None),
        ] {
            let found = serde_json::from_str::<Any<Values<Threads<true>>>>(&threads).unwrap().0.0.into_frames().items;
            assert_eq!(found.first().and_then(|frame| frame.function.as_deref()), expected, "{threads}");
        }
    }
}
