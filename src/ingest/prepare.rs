//! The last pure step: an event's JSON becomes the row that is stored.

use std::{borrow::Cow, cell::RefCell};

use sha2::{Digest, Sha256};

use super::{groupings::Groupings, refusal::Refusal, rules::Rules};
use crate::{
    dsn::ProjectId,
    filters::FilterReason,
    grouping,
    protocol::event::{self, Event, EventError, EventId, EventType, Receipt},
    store::ingest::{EventKind, Row, UserKey},
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

/// What became of an event.
#[derive(Debug)]
pub enum Prepared {
    Row(Box<Row>),
    /// The project does not want it. It is answered like one that is stored: nobody needs to send it again.
    Filtered(FilterReason, EventId),
    /// A performance measurement under the name of an event.
    Transaction(EventId),
}

/// Cleans, reads, filters, groups and compresses one event: nothing but the cleaned JSON is looked at.
/// `receipt.received_at` stays with it over every retry.
pub fn event(
    payload: &[u8],
    receipt: &Receipt,
    rules: &Rules,
    groupings: &Groupings,
    project: ProjectId,
) -> Result<Prepared, Refusal> {
    if payload.len() > event::MAX_BYTES {
        return Err(EventError::TooLarge(event::MAX_BYTES).into());
    }
    let payload = rules.scrubber.clean(payload, receipt.client_ip)?.payload;
    let mut event = event::parse_core(&payload, receipt)?;
    if event.r#type == EventType::Transaction {
        return Ok(Prepared::Transaction(event.event_id));
    }
    if let Some(reason) = rules.filters.check(&event, receipt.user_agent.as_deref()) {
        return Ok(Prepared::Filtered(reason, event.event_id));
    }
    let payload = match event.inferred.take() {
        Some(inferred) => Cow::Owned(inferred.into_payload(&payload)),
        None => payload,
    };
    let grouping = grouping::g2(&event);
    let older_grouping = (!groupings.is_known(&grouping.hash)).then(|| {
        let older = grouping::g1(&event);
        (older.version, older.hash)
    });
    let named = event.naming_position();
    let (kind, title, culprit) = (EventKind::of(&event), event.title(), event.culprit());
    let user_hash = event.user.identity().map(|identity| user_hash(project, rules.user_key.as_ref(), &identity));
    let Event { event_id, timestamp, level, platform, release, environment, tags, mut exceptions, .. } = event;
    let named = named.map(|position| exceptions.swap_remove(position));
    let (exception_type, exception_value) = named.map_or((None, None), |named| (named.r#type, named.value));
    Ok(Prepared::Row(Box::new(Row {
        event_id,
        received_at: receipt.received_at,
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
        grouping_version: grouping.version,
        grouping_hash: grouping.hash,
        older_grouping,
        payload: compress(&payload),
    })))
}

/// Bytes that `row` counts for, in the queue and in a batch.
pub fn size(row: &Row) -> usize {
    let optional = [&row.exception_type, &row.exception_value, &row.release, &row.environment];
    let texts = [&row.title, &row.culprit].into_iter().chain(optional.into_iter().flatten());
    let tags = row.tags.iter().map(|(key, value)| key.len() + value.len() + TAG_OVERHEAD);
    row.payload.len() + texts.map(String::len).chain(tags).sum::<usize>() + ROW_OVERHEAD
}

/// 64 bits that stand for a user in counts: users of different projects cannot be compared. Without a key, as projects of
/// before there were any have it, who knows the number of the project can test a guess.
pub fn user_hash(project: ProjectId, key: Option<&UserKey>, identity: &str) -> i64 {
    let digest: [u8; 32] = match key {
        Some(key) => key.mac(identity.as_bytes()),
        None => Sha256::new()
            .chain_update(b"errortracking user\0")
            .chain_update(project.get().to_be_bytes())
            .chain_update(identity)
            .finalize()
            .into(),
    };
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
pub mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::settings::Settings;

    fn project(id: u64) -> ProjectId {
        ProjectId::new(id).unwrap()
    }

    fn prepared(payload: &[u8], settings: &Settings) -> Result<Prepared, Refusal> {
        let receipt = Receipt::at(Timestamp::from_second(1_795_000_000).unwrap(), EventId([7; 16]));
        event(payload, &receipt, &Rules::new(settings.clone(), None), &Groupings::default(), project(1))
    }

    /// The row of a good event.
    pub fn row(payload: &[u8]) -> Row {
        match prepared(payload, &Settings::default()).unwrap() {
            Prepared::Row(row) => *row,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_becomes_a_row_whose_payload_is_what_was_sent() {
        let payload = br#"{"message":"hello","level":"warning","user":{"id":5}}"#;
        let row = row(payload);
        assert_eq!((row.event_id, row.received_at.as_second()), (EventId([7; 16]), 1_795_000_000));
        assert_eq!((row.grouping_version, row.older_grouping.map(|(version, _)| version)), (2, Some(1)));
        assert_eq!(zstd::decode_all(row.payload.as_slice()).unwrap(), payload);
        assert!(size(&row) > row.payload.len());
    }

    #[test]
    fn nothing_is_made_of_what_was_not_cleaned() {
        let payload = br#"{"message":"card 4111 1111 1111 1111","tags":{"link":"https://u:hunter2@h/"},
            "extra":{"password":"hunter2"},"user":{"email":"ann@shop.example"}}"#;
        let row = row(payload);
        let stored = String::from_utf8(zstd::decode_all(row.payload.as_slice()).unwrap()).unwrap();
        for text in [&stored, &row.title, &format!("{:?}", row.tags)] {
            assert!(!text.contains("hunter2") && !text.contains("4111"), "{text}");
        }
        assert!(stored.contains("ann@shop.example") && row.title == "card [creditcard]", "{stored} {}", row.title);
    }

    #[test]
    fn what_a_project_ignores_is_no_row() {
        let mut settings = Settings::default();
        settings.filters.ignore_environments = vec!["staging".into()];
        let filtered = prepared(br#"{"message":"m","environment":"staging"}"#, &settings).unwrap();
        assert!(matches!(filtered, Prepared::Filtered(_, EventId([7, ..]))), "{filtered:?}");
        let transaction = prepared(br#"{"type":"transaction","transaction":"/"}"#, &settings).unwrap();
        assert!(matches!(transaction, Prepared::Transaction(_)), "{transaction:?}");
    }

    #[test]
    fn long_texts_count_although_their_payload_is_small() {
        let value = "x".repeat(30_000);
        let tags: Vec<String> =
            (0..50).map(|n| format!(r#"["{}{n}","{}"]"#, "k".repeat(150), "v".repeat(190))).collect();
        let exception = format!(r#"{{"type":"E","value":"{value}"}}"#);
        let row = row(format!(r#"{{"exception":[{exception}],"tags":[{}]}}"#, tags.join(",")).as_bytes());
        let tags: usize = row.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(tags > 10_000 && row.payload.len() < 5_000, "{tags} {}", row.payload.len());
        let value = row.exception_value.as_ref().unwrap().len();
        assert!(value > 5_000 && size(&row) > value + tags, "{value} {}", size(&row));
    }

    #[test]
    fn users_are_told_apart_within_a_project_and_not_across() {
        let (one, another) = (UserKey::new([1; 32]), UserKey::new([2; 32]));
        let cases = [
            (1, None, "id:5"),
            (1, None, "id:6"),
            (2, None, "id:5"),
            (1, Some(&one), "id:5"),
            (1, Some(&one), "id:6"),
            (1, Some(&another), "id:5"),
        ];
        for (n, (number, key, identity)) in cases.into_iter().enumerate() {
            let hash = user_hash(project(number), key, identity);
            assert_eq!(hash, user_hash(project(number), key, identity));
            for (number, key, other) in &cases[n + 1..] {
                assert_ne!(hash, user_hash(project(*number), *key, other), "{identity} and {other}");
            }
        }
    }

    /// Other values would count every user that is stored a second time. By Python's hashlib and hmac.
    #[test]
    fn what_stands_for_a_user_never_changes() {
        let key = UserKey::new([1; 32]);
        assert_eq!(user_hash(project(1), None, "id:5"), 1_517_027_091_300_691_319);
        assert_eq!(user_hash(project(1), Some(&key), "id:5"), -8_019_361_580_609_019_731);
        assert_eq!(user_hash(project(2), Some(&key), "id:5"), -8_019_361_580_609_019_731, "the key alone counts");
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(event::MAX_BYTES));
        for payload in [&b"["[..], b"[]", b"", large.as_bytes()] {
            assert!(prepared(payload, &Settings::default()).is_err());
        }
    }
}
