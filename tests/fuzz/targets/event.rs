//! Events: whatever JSON they are, what is understood of them fits the store.

use error_tracking_operator::protocol::event::{
    Event, EventError, EventId, MAX_BYTES, MAX_FRAMES, MAX_NOTES, MAX_TAG_CHARS, MAX_TAGS, notes, parse, repaired,
};

use super::receipt;

pub fn check(input: &[u8]) {
    assert!(notes(input).len() <= MAX_NOTES);
    let repaired = repaired(input);
    if let Some(repaired) = &repaired {
        assert!(std::str::from_utf8(repaired).is_ok(), "repaired and not UTF-8");
        let again = error_tracking_operator::protocol::event::repaired(repaired);
        assert!(again.is_none(), "repaired twice: {:?}", again.map(|again| again.escape_ascii().to_string()));
    }
    match parse(input, &receipt()) {
        Ok(event) => check_event(&event),
        Err(EventError::TooLarge(_)) => assert!(input.len() > MAX_BYTES),
        Err(EventError::NotAnObject) => {}
        // What a strict parser takes is never refused.
        Err(EventError::InvalidJson(error)) => {
            assert!(
                serde_json::from_slice::<serde::de::IgnoredAny>(repaired.as_deref().unwrap_or(input)).is_err()
                    || error.to_string().contains("recursion limit"),
                "{error}"
            );
        }
    }
}

/// What the store and the pages rely on.
#[track_caller]
pub fn check_event(event: &Event) {
    for text in texts(event) {
        assert!(!text.contains('\0'), "NUL in {text:?}");
    }
    assert_ne!(event.event_id, EventId([0; 16]));
    assert!(event.tags.len() <= MAX_TAGS);
    for (key, value) in &event.tags {
        assert!((1..=MAX_TAG_CHARS).contains(&key.chars().count()), "{key:?}");
        assert!((1..=MAX_TAG_CHARS).contains(&value.chars().count()), "{value:?}");
    }
    let stacks = event.exceptions.iter().map(|exception| &exception.frames).chain([&event.stacktrace]);
    assert!(stacks.into_iter().all(|frames| frames.len() <= MAX_FRAMES));
    let age = receipt().received_at.duration_since(event.timestamp).as_hours();
    assert!((-1..=90 * 24).contains(&age), "{}", event.timestamp);
    let title = event.title();
    assert!((1..=256).contains(&title.chars().count()) && !title.contains('\n'), "{title:?}");
    assert!(event.culprit().chars().count() <= 200);
    assert!(["default", "csp", "error"].contains(&event.kind()));
}

fn texts(event: &Event) -> impl Iterator<Item = &str> {
    let exceptions = event.exceptions.iter();
    let of_exceptions = exceptions
        .clone()
        .flat_map(|exception| [&exception.r#type, &exception.value, &exception.module, &exception.mechanism]);
    let frames = exceptions.flat_map(|exception| &exception.frames).chain(&event.stacktrace);
    let of_frames = frames.clone().flat_map(|frame| {
        [&frame.function, &frame.module, &frame.filename, &frame.abs_path, &frame.package, &frame.context_line]
    });
    let lines = frames.flat_map(|frame| frame.pre_context.iter().chain(&frame.post_context));
    let own = [
        &event.release,
        &event.dist,
        &event.environment,
        &event.transaction,
        &event.logger,
        &event.server_name,
        &event.request_url,
        &event.user_agent,
        &event.user.id,
        &event.user.username,
        &event.user.email,
        &event.user.ip_address,
    ];
    let message = event.log_entry.iter().flat_map(|entry| entry.message.iter().chain([&entry.formatted]));
    let tags = event.tags.iter().flat_map(|(key, value)| [key, value]);
    let csp = event.csp.iter().flat_map(|csp| [&csp.directive, &csp.blocked]);
    of_exceptions
        .chain(of_frames)
        .chain(own)
        .flatten()
        .chain(lines)
        .chain(message)
        .chain(tags)
        .chain(csp)
        .chain(&event.fingerprint)
        .map(String::as_str)
}
