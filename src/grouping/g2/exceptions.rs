//! What of an event's exceptions counts: those of the chain, and of a group what its members have in common.

use super::{
    frames::{Keys, frame_keys, named},
    messages::{code, parametrised, without_paths},
    notes::Notes,
};
use crate::protocol::event::{Event, Exception};

/// Only the exceptions nearest to the outermost count of a longer chain; of a group so many different members.
pub(super) const MAX_EXCEPTIONS: usize = 10;

/// The components of all exceptions, oldest cause first.
pub(super) fn components(event: &Event, notes: &mut Notes) -> Vec<String> {
    let exceptions = &event.exceptions;
    if !(0..exceptions.len()).any(|group| event.members_of(group).next().is_some()) {
        let outermost = exceptions.len().saturating_sub(MAX_EXCEPTIONS);
        return exceptions[outermost..].iter().flat_map(|exception| own(exception, event, notes)).collect();
    }
    let mut seen = vec![false; exceptions.len()];
    let family =
        exceptions.len().checked_sub(1).map(|main| resolved(main, event, &mut seen, notes)).unwrap_or_default();
    // Who does not say whose they are.
    let orphans = (0..exceptions.len()).filter(|position| !seen[*position]).collect::<Vec<_>>();
    let orphans = orphans.into_iter().filter(|position| exceptions[*position].lineage.parent.is_none());
    let mut components: Vec<String> = orphans.flat_map(|position| own(&exceptions[position], event, notes)).collect();
    components.extend(family);
    components
}

/// An exception with its causes. A group whose members are all the same error is that error.
fn resolved(position: usize, event: &Event, seen: &mut [bool], notes: &mut Notes) -> Vec<String> {
    if std::mem::replace(&mut seen[position], true) {
        return Vec::new();
    }
    let mut components = Vec::new();
    for cause in event.causes_of(position).collect::<Vec<_>>() {
        components.extend(resolved(cause, event, seen, notes));
    }
    let members: Vec<usize> = event.members_of(position).collect();
    let mut different: Vec<Vec<String>> = members
        .into_iter()
        .map(|member| resolved(member, event, seen, notes))
        .filter(|member| !member.is_empty())
        .collect();
    // Tasks end in any order.
    different.sort();
    different.dedup();
    let group = &event.exceptions[position];
    if let [only] = &mut different[..] {
        notes.left_out(|| format!("group {}", group.r#type.as_deref().unwrap_or("?")), "all its members are one error");
        components.append(only);
        return components;
    }
    components.extend(own(group, event, notes));
    components.extend(different.into_iter().take(MAX_EXCEPTIONS).flatten());
    components
}

/// The type and the frames; the value only where there are no frames, as it names the one occurrence.
fn own(exception: &Exception, event: &Event, notes: &mut Notes) -> Vec<String> {
    let mut components = Vec::new();
    let mut add = |component: String, why: &str, notes: &mut Notes| {
        if components.is_empty() {
            components.push("exception".to_owned());
        }
        notes.counted(&component, why);
        components.push(component);
    };
    match exception.r#type.as_deref() {
        Some(name) if exception.synthetic => {
            notes.left_out(|| format!("type {name}"), "the SDK made the exception up");
        }
        Some(name) => {
            let name = named(name, &event.platform, notes);
            add(format!("type:{name}"), "names the error", notes);
        }
        None => {}
    }
    let value = exception.value.as_deref();
    if let Some(code) = value.and_then(code) {
        add(format!("code:{code}"), "stands for a message that the build left out", notes);
    }
    let overflows = overflows(exception);
    let keys = match value {
        Some(_) if exception.is_bare_text() => Keys::Nothing,
        _ => frame_keys(&exception.frames, &event.platform, overflows, notes),
    };
    match keys {
        Keys::Of(keys) if !keys.is_empty() => {
            for key in keys {
                if components.is_empty() {
                    components.push("exception".to_owned());
                }
                components.push(format!("frame:{key}"));
            }
            notes.left_out(|| format!("value {}", value.unwrap_or("-")), "the frames tell more");
        }
        _ => {
            let value = value.map(without_paths).map(|value| parametrised(&value)).filter(|value| !value.is_empty());
            if let Some(value) = value {
                add(format!("value:{value}"), "no frame tells where", notes);
            }
        }
    }
    components
}

/// Whether the exception says that functions called each other until the stack was full.
fn overflows(exception: &Exception) -> bool {
    let name = exception.r#type.as_deref().unwrap_or_default();
    let name = name.rsplit(['.', ':', '\\']).next().unwrap_or(name);
    let says = |text: &str| exception.value.as_deref().is_some_and(|value| value.contains(text));
    matches!(
        name,
        "RecursionError"
            | "StackOverflowError"
            | "StackOverflowException"
            | "InsufficientExecutionStackException"
            | "SystemStackError"
            | "InternalError"
    ) && (name != "InternalError" || says("too much recursion"))
        || name == "RangeError" && says("call stack")
        || says("stack overflow")
        || says("stack exceeds")
        || says("stack level too deep")
        || says("maximum recursion depth")
        || says("Maximum function nesting level")
}
