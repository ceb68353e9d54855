//! The last pure step: an event's JSON becomes the row that is stored.

use std::cell::RefCell;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::refusal::Refusal;
use crate::{
    dsn::ProjectId,
    grouping,
    protocol::event::{self, Event, EventId},
    store::ingest::Row,
};

/// Level 3 of zstd: a quarter of the size at a tenth of the time of the levels that do better.
const ZSTD_LEVEL: i32 = 3;

/// What a row takes in memory and on the wire besides its payload and texts, roughly.
const ROW_OVERHEAD: usize = 1 << 10;

/// What a tag takes besides its texts: their lengths, its row and its hash.
const TAG_OVERHEAD: usize = 64;

thread_local! {
    /// A context of zstd is some hundred kilobytes to set up; one for each thread is enough.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
}

/// Reads, groups and compresses one event. `received_at` stays with it over every retry.
pub fn row(
    payload: &[u8],
    received_at: Timestamp,
    envelope_id: Option<EventId>,
    generated_id: EventId,
    project: ProjectId,
) -> Result<Row, Refusal> {
    let event = event::parse(payload, received_at, envelope_id, generated_id)?;
    let grouping = grouping::g1(&event);
    let (kind, title, culprit) = (event.kind().to_owned(), event.title(), event.culprit());
    let main_exception = event.main_exception().cloned();
    let (exception_type, exception_value) =
        main_exception.map_or((None, None), |exception| (exception.r#type, exception.value));
    let user_hash = event.user.identity().map(|identity| user_hash(project, &identity));
    let Event { event_id, timestamp, level, platform, release, environment, tags, .. } = event;
    Ok(Row {
        event_id,
        received_at,
        timestamp,
        level,
        kind,
        title,
        culprit,
        exception_type,
        exception_value,
        platform,
        release,
        environment,
        user_hash,
        tags,
        grouping_version: grouping::VERSION,
        grouping_hash: grouping.hash,
        payload: compress(payload),
    })
}

/// Bytes that `row` counts for, in the queue and in a batch.
pub fn size(row: &Row) -> usize {
    let optional = [&row.exception_type, &row.exception_value, &row.release, &row.environment];
    let texts = [&row.title, &row.culprit].into_iter().chain(optional.into_iter().flatten());
    let tags = row.tags.iter().map(|(key, value)| key.len() + value.len() + TAG_OVERHEAD);
    row.payload.len() + texts.map(String::len).chain(tags).sum::<usize>() + ROW_OVERHEAD
}

/// 64 bits that stand for a user in counts. The key is the project's id: users of different projects
/// cannot be compared, but who knows the algorithm can test a guess. A secret key for each project comes
/// with the settings that the operator publishes.
fn user_hash(project: ProjectId, identity: &str) -> i64 {
    let digest = Sha256::new()
        .chain_update(b"errortracking user\0")
        .chain_update(project.get().to_be_bytes())
        .chain_update(identity)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

fn compress(payload: &[u8]) -> Vec<u8> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        if compressor.is_none() {
            *compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        let compressed = compressor.as_mut().and_then(|compressor| compressor.compress(payload).ok());
        // Only without memory for a context; a frame without compression is still the format's.
        compressed.unwrap_or_else(|| zstd::bulk::compress(payload, 1).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(id: u64) -> ProjectId {
        ProjectId::new(id).unwrap()
    }

    #[test]
    fn an_event_becomes_a_row_whose_payload_is_what_was_sent() {
        let payload = br#"{"message":"hello","level":"warning","user":{"id":5}}"#;
        let received_at = Timestamp::from_second(1_795_000_000).unwrap();
        let row = row(payload, received_at, None, EventId([7; 16]), project(1)).unwrap();
        assert_eq!((row.event_id, row.received_at), (EventId([7; 16]), received_at));
        assert_eq!(row.grouping_version, grouping::VERSION);
        assert_eq!(zstd::decode_all(row.payload.as_slice()).unwrap(), payload);
        assert!(size(&row) > row.payload.len());
    }

    #[test]
    fn long_texts_count_although_their_payload_is_small() {
        let value = "x".repeat(30_000);
        let tags: Vec<String> =
            (0..50).map(|n| format!(r#"["{}{n}","{}"]"#, "k".repeat(150), "v".repeat(190))).collect();
        let exception = format!(r#"{{"type":"E","value":"{value}"}}"#);
        let payload = format!(r#"{{"exception":[{exception}],"tags":[{}]}}"#, tags.join(","));
        let row = row(payload.as_bytes(), Timestamp::UNIX_EPOCH, None, EventId([7; 16]), project(1)).unwrap();
        let tags: usize = row.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(tags > 10_000 && row.payload.len() < 5_000, "{tags} {}", row.payload.len());
        let value = row.exception_value.as_ref().unwrap().len();
        assert!(value > 5_000 && size(&row) > value + tags, "{value} {}", size(&row));
    }

    #[test]
    fn users_are_told_apart_within_a_project_and_not_across() {
        assert_eq!(user_hash(project(1), "id:5"), user_hash(project(1), "id:5"));
        assert_ne!(user_hash(project(1), "id:5"), user_hash(project(1), "id:6"));
        assert_ne!(user_hash(project(1), "id:5"), user_hash(project(2), "id:5"));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let row = row(b"[", Timestamp::UNIX_EPOCH, None, EventId([7; 16]), project(1));
        assert!(matches!(row, Err(Refusal::Event(_))), "{row:?}");
    }
}
