//! Crash uploads: the first line is the media type, the rest is the body.

use bytes::Bytes;
use error_tracking_operator::protocol::{event, event::EventError, minidump::parse};

use super::{is_slice_of, receipt};

pub fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let media_type = String::from_utf8_lossy(&input[..end]);
    let body = Bytes::copy_from_slice(input.get(end + 1..).unwrap_or_default());
    let Ok(upload) = parse(Some(&media_type), &body) else { return };
    assert!(is_slice_of(&upload.dump, &body), "the dump was copied");
    assert!(!upload.dump.is_empty());
    assert!(upload.other_parts + upload.unreadable_parts <= 100);
    match event::parse(&upload.event, &receipt()) {
        Ok(event) => super::event::check_event(&event),
        Err(EventError::TooLarge(_)) => {}
        Err(error) => panic!("{error}: {}", upload.event.escape_ascii()),
    }
}
