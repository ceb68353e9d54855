//! An event's exceptions as the details page shows them: outermost exception first, newest call first unless somebody
//! reads them the other way, the application's own frames open. Pure.

use super::{
    format::{full, in_raw_json},
    untrusted::visible,
};
use crate::protocol::event::{Event, Exception, Frame, MAX_VALUE_CHARS};

/// Frames of one exception that are put on the page; endless recursion sends thousands.
pub const MAX_FRAMES: usize = 200;

/// One exception, or the bare stack trace of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackView {
    /// Id of its heading.
    pub anchor: String,
    pub title: String,
    pub value: Option<String>,
    /// What is said of a value too long to be kept.
    pub value_cut: Option<String>,
    /// How it belongs to the others, as `Caused by`; `None` for the outermost.
    pub relation: Option<String>,
    pub handled: Option<bool>,
    pub frames: Vec<FrameView>,
    /// Which of them comes first.
    pub order: &'static str,
    /// What is said of older frames that are left out.
    pub omitted: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameView {
    pub function: String,
    pub file: String,
    pub line: Option<u32>,
    pub in_app: bool,
    pub open: bool,
    /// Empty when the SDK sent no source.
    pub lines: Vec<SourceLine>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// Empty when the SDK sent source without a line number.
    pub number: String,
    pub text: String,
    pub failing: bool,
}

/// How somebody reads frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether all that have source are open, as on paper.
    pub all_open: bool,
    pub oldest_first: bool,
}

impl Reading {
    fn arrange(self, stack: &mut StackView) {
        if self.all_open {
            for frame in &mut stack.frames {
                frame.open = !frame.lines.is_empty();
            }
        }
        if self.oldest_first {
            stack.frames.reverse();
            stack.order = "oldest call first";
        }
    }
}

const NEWEST_FIRST: &str = "newest call first";

/// What to show of `event`, empty when it came with neither exception nor stack trace.
#[must_use]
pub fn stacks(event: &Event, reading: Reading) -> Vec<StackView> {
    let outermost_first: Vec<_> = event.exceptions.iter().rev().collect();
    let mut stacks: Vec<_> = (0..outermost_first.len()).map(|index| of_exception(index, &outermost_first)).collect();
    if !event.stacktrace.is_empty() {
        let (frames, omitted) = frames(&event.stacktrace, event.dropped_frames);
        let anchor = "stack-trace".to_owned();
        stacks.push(StackView {
            anchor,
            title: "Stack trace".to_owned(),
            value: None,
            value_cut: None,
            relation: None,
            handled: None,
            frames,
            order: NEWEST_FIRST,
            omitted,
        });
    }
    for stack in &mut stacks {
        reading.arrange(stack);
    }
    stacks
}

fn of_exception(index: usize, outermost_first: &[&Exception]) -> StackView {
    let exception = outermost_first[index];
    let (frames, omitted) = frames(&exception.frames, exception.dropped_frames);
    let (title, value) = headline(exception);
    StackView {
        anchor: format!("exception-{index}"),
        title,
        value,
        value_cut: full(exception.value.as_deref(), MAX_VALUE_CHARS),
        relation: relation(index, outermost_first),
        handled: exception.handled,
        frames,
        order: NEWEST_FIRST,
        omitted,
    }
}

/// The title, and the value if that is not the title.
fn headline(exception: &Exception) -> (String, Option<String>) {
    let present = |text: &Option<String>| text.as_deref().map(visible).filter(|text| !text.trim().is_empty());
    // A synthetic exception's type is made up by the SDK; its value is what happened.
    let named = if exception.synthetic { None } else { present(&exception.r#type) };
    let value = present(&exception.value);
    let (title, value) = match (named, value) {
        (Some(named), value) => (named, value),
        (None, Some(value)) => (value, None),
        (None, None) => (present(&exception.r#type).unwrap_or_else(|| "Exception".to_owned()), None),
    };
    let title = match present(&exception.module) {
        Some(module) if !exception.synthetic && !title.starts_with(&module) => format!("{module}.{title}"),
        _ => title,
    };
    (title, value)
}

/// In a chain each exception led to the one above it. Newer SDKs name the parent, which may stand further up, and may be
/// a group that the exception is one of.
pub(super) fn relation(index: usize, outermost_first: &[&Exception]) -> Option<String> {
    let above = outermost_first[..index].last()?;
    let lineage = &outermost_first[index].lineage;
    let is_parent = |candidate: &&&Exception| lineage.parent.is_some() && candidate.lineage.id == lineage.parent;
    let Some(parent) = outermost_first.iter().find(is_parent) else { return Some("Caused by".to_owned()) };
    // Members stand in a list of the group, as `exceptions[0]`; its cause has a name of its own, as `__cause__`.
    let in_list = lineage.source.as_deref().is_none_or(|source| source.ends_with(']'));
    Some(if parent.lineage.is_group && in_list {
        format!("In the group {}", headline(parent).0)
    } else if std::ptr::eq(*parent, *above) {
        "Caused by".to_owned()
    } else {
        format!("Cause of {}", headline(parent).0)
    })
}

/// Newest first. Where no frame is known to be the application's own, the one that raised is open.
/// `dropped`: how many more the event had.
fn frames(oldest_first: &[Frame], dropped: usize) -> (Vec<FrameView>, Option<String>) {
    let mut views: Vec<_> = oldest_first.iter().rev().take(MAX_FRAMES).map(of_frame).collect();
    if !views.iter().any(|view| view.open)
        && let Some(view) = views.iter_mut().find(|view| !view.lines.is_empty())
    {
        view.open = true;
    }
    let omitted = oldest_first.len().saturating_sub(MAX_FRAMES) + dropped;
    (views, in_raw_json(omitted, "older frame"))
}

fn of_frame(frame: &Frame) -> FrameView {
    let first = |candidates: &[&Option<String>]| {
        candidates.iter().copied().flatten().map(|text| visible(text)).find(|text| !text.trim().is_empty())
    };
    let file = first(&[&frame.filename, &frame.module, &frame.package, &frame.abs_path]);
    let in_app = frame.in_app == Some(true);
    let lines = source(frame);
    FrameView {
        function: first(&[&frame.function]).unwrap_or_else(|| "<unknown>".to_owned()),
        file: file.unwrap_or_else(|| "unknown file".to_owned()),
        line: frame.lineno,
        in_app,
        open: in_app && !lines.is_empty(),
        lines,
    }
}

fn source(frame: &Frame) -> Vec<SourceLine> {
    let Some(failing) = &frame.context_line else { return Vec::new() };
    let before = frame.pre_context.len();
    let texts = frame.pre_context.iter().chain([failing]).chain(&frame.post_context);
    let number = |offset: usize| {
        let lineno = frame.lineno? as usize;
        lineno.checked_add(offset)?.checked_sub(before).filter(|number| (1..=u32::MAX as usize).contains(number))
    };
    texts
        .enumerate()
        .map(|(offset, text)| SourceLine {
            number: number(offset).map_or_else(String::new, |number| number.to_string()),
            text: visible(text.trim_end_matches(['\r', '\n'])),
            failing: offset == before,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, in_app: Option<bool>, source: bool) -> Frame {
        Frame {
            function: Some(function.to_owned()),
            filename: Some("shop/cart.py".to_owned()),
            lineno: Some(2),
            in_app,
            pre_context: if source { vec!["def total(cart):".to_owned()] } else { vec![] },
            context_line: source.then(|| "    return 1 / 0\r".to_owned()),
            post_context: vec![],
            ..Frame::default()
        }
    }

    #[test]
    fn newest_calls_come_first_and_own_frames_are_open() {
        let (views, omitted) = frames(&[frame("main", Some(true), true), frame("library", Some(false), true)], 0);
        assert_eq!(omitted, None);
        let seen: Vec<_> = views.iter().map(|view| (view.function.as_str(), view.in_app, view.open)).collect();
        assert_eq!(seen, [("library", false, false), ("main", true, true)]);
    }

    #[test]
    fn without_own_frames_the_one_that_raised_is_open() {
        let (views, _) =
            frames(&[frame("main", None, true), frame("raised", None, true), frame("native", None, false)], 0);
        assert_eq!(views.iter().map(|view| view.open).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn source_lines_are_numbered_round_the_failing_one() {
        let lines = source(&frame("total", None, true));
        let seen: Vec<_> = lines.iter().map(|line| (line.number.as_str(), line.text.as_str(), line.failing)).collect();
        assert_eq!(seen, [("1", "def total(cart):", false), ("2", "    return 1 / 0", true)]);
    }

    #[test]
    fn line_numbers_that_cannot_be_are_left_out() {
        let mut odd = frame("total", None, true);
        odd.lineno = Some(0);
        odd.pre_context = vec![String::new(); 3];
        assert_eq!(source(&odd)[0].number, "");
        odd.lineno = Some(u32::MAX);
        odd.post_context = vec![String::new(); 3];
        assert_eq!(source(&odd)[6].number, "");
    }

    #[test]
    fn a_recursion_without_end_is_cut_at_its_old_end() {
        let (views, omitted) = frames(&vec![frame("again", None, false); MAX_FRAMES + 5], 7);
        assert_eq!((views.len(), omitted.as_deref()), (MAX_FRAMES, Some("12 older frames are in the raw JSON.")));
    }

    #[test]
    fn synthetic_types_are_not_shown() {
        let exception = Exception {
            r#type: Some("Error".into()),
            value: Some("no route".into()),
            synthetic: true,
            ..Exception::default()
        };
        let view = of_exception(0, &[&exception]);
        assert_eq!((view.title.as_str(), view.value), ("no route", None));
    }
}
