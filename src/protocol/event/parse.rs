use jiff::Timestamp;

use super::{Event, EventId, timestamp};

/// Longest event in bytes, after decompression.
pub const MAX_BYTES: usize = 1 << 20;

/// Why an event was refused.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// 413.
    #[error("envelope exceeded size limits for type 'event' (https://develop.sentry.dev/sdk/envelopes/#size-limits)")]
    TooLarge,
    /// 400.
    #[error("invalid JSON data")]
    InvalidJson(#[source] serde_json::Error),
    /// 400.
    #[error("an event must be a JSON object")]
    NotAnObject,
}

pub fn parse(
    payload: &[u8],
    received_at: Timestamp,
    envelope_id: Option<EventId>,
    generated_id: EventId,
) -> Result<Event, EventError> {
    if payload.len() > MAX_BYTES {
        return Err(EventError::TooLarge);
    }
    let event_id = envelope_id.unwrap_or(generated_id);
    Ok(Event { event_id, timestamp: timestamp::plausible(None, received_at), ..Event::default() })
}
