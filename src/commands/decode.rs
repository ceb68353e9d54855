//! Says how a captured request body is understood, cleaned, filtered and grouped, and why: the same functions as in
//! the ingest process, for people who wonder what became of an event.

use std::{
    fmt::{self, Write},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;

use serde::de::IgnoredAny;

use crate::{
    crd::ErrorTrackingProject,
    dsn::{ProjectId, hex},
    grouping,
    ingest::{Category, ItemOutcome, ItemResult, MAX_ENVELOPE_BYTES, Read, Reading, Refusal, Rules},
    protocol::{
        client_report::Discarded,
        encoding::{self, Encoding},
        envelope::{self, Envelope, Item, ItemKind},
        event::{self, Event, EventId, Receipt, clock_drift},
        session::{SessionCounts, Sessions},
    },
    settings::Settings,
    store::ingest::SessionRow,
};

/// Print how a captured envelope or event is understood, cleaned and grouped, and why.
#[derive(Args, Clone, Debug)]
pub struct Decode {
    /// The body of a request as it was sent: an envelope, or the event of a /store/ request. `-` is standard input.
    file: PathBuf,
    /// `Content-Encoding` of the request; without it, gzip, zlib and zstd are recognised.
    #[arg(long, value_name = "CODING")]
    content_encoding: Option<String>,
    /// Manifest of the `ErrorTrackingProject` whose privacy and filters count; without it, the defaults do.
    #[arg(long, value_name = "FILE")]
    project: Option<PathBuf>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("failed to read {}: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to read the project in {}: {source}", .path.display())]
    Project { path: PathBuf, source: Box<serde_yaml::Error> },
    #[error("ingest would answer {}: {}", .0.status().as_u16(), .0.explained())]
    Refused(Box<Refusal>),
}

impl From<Refusal> for DecodeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

/// Reads the file and prints what there is to say; `settings_of` is what the operator makes of a project.
pub fn decode(command: &Decode, settings_of: fn(&ErrorTrackingProject) -> Settings) -> Result<(), DecodeError> {
    let settings = match &command.project {
        Some(path) => settings_of(&project(path)?),
        None => Settings::default(),
    };
    let body = read(&command.file)?;
    print!("{}", explain(body.into(), command.content_encoding.as_deref(), &settings, Timestamp::now())?);
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, DecodeError> {
    let limit = MAX_ENVELOPE_BYTES as u64 + 1;
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut body))
    };
    read.map(|_| body).map_err(|source| DecodeError::Read { path: path.to_owned(), source })
}

fn project(path: &Path) -> Result<ErrorTrackingProject, DecodeError> {
    let manifest = String::from_utf8_lossy(&read(path)?).into_owned();
    serde_yaml::from_str(&manifest)
        .map_err(|error| DecodeError::Project { path: path.to_owned(), source: Box::new(error) })
}

/// What ingest would make of `body` if it came at `received_at`, as text for people.
pub fn explain(
    body: Bytes,
    content_encoding: Option<&str>,
    settings: &Settings,
    received_at: Timestamp,
) -> Result<String, DecodeError> {
    let mut lines = Lines::default();
    let encoding = match content_encoding {
        Some(coding) => Encoding::parse(Some(coding)).map_err(Refusal::from)?,
        None => recognised(&body),
    };
    let sent = body.len();
    let body = encoding::decode(encoding, body, MAX_ENVELOPE_BYTES).map_err(Refusal::from)?;
    lines
        .add("body", format!("{sent} bytes, {}, {} bytes decoded", format!("{encoding:?}").to_lowercase(), body.len()));
    let reading = Reading {
        // Only hashes of users depend on it, and none is shown.
        project: ProjectId::new(1).unwrap_or_else(|| unreachable!("1 is positive")),
        rules: Arc::new(Rules::new(settings.clone(), None)),
        groupings: Arc::default(),
        received_at,
        client_ip: None,
        user_agent: None,
        referer: None,
        exceeded: None,
    };
    match envelope::parse(&body) {
        Ok(envelope) if !envelope.items.is_empty() || has_only_a_header(&body) => {
            explain_envelope(&mut lines, envelope, &reading);
        }
        parsed => {
            // What looks like an envelope and is none should say what is wrong with it.
            if body.starts_with(b"{") && body.contains(&b'\n') && serde_json::from_slice::<IgnoredAny>(&body).is_err() {
                parsed.map_err(Refusal::from)?;
            }
            let event = encoding::store_body(body, event::MAX_BYTES).map_err(Refusal::from)?;
            lines.add("kind", "a bare event, as for /store/");
            let mut read = reading.event(&event);
            if let Some(refusal) = read.take_refusal() {
                return Err(refusal.into());
            }
            explain_event(&mut lines, &event, &receipt(&reading, None, None), &reading);
            read.items.iter().for_each(|item| explain_item(&mut lines, item, &read));
        }
    }
    Ok(lines.0)
}

/// A bare event on one line is the header of an envelope without items, too. That says nothing but who sends.
fn has_only_a_header(body: &[u8]) -> bool {
    let names = ["event_id", "dsn", "sdk", "sent_at", "trace"];
    let object = serde_json::from_slice::<serde_json::Map<_, _>>(body).unwrap_or_default();
    !object.is_empty() && object.keys().all(|name| names.contains(&&**name))
}

/// By the first bytes; brotli has none of its own.
fn recognised(body: &[u8]) -> Encoding {
    match body {
        [0x1f, 0x8b, ..] => Encoding::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
        [0x78, flags, ..] if (0x7800 + u16::from(*flags)).is_multiple_of(31) => Encoding::Deflate,
        _ => Encoding::Identity,
    }
}

fn receipt(reading: &Reading, envelope_id: Option<EventId>, sent_at: Option<Timestamp>) -> Receipt {
    let (received_at, retention_days) = (reading.received_at, reading.rules.retention_days);
    let generated_id = EventId([0; 16]);
    Receipt { envelope_id, sent_at, retention_days, ..Receipt::at(received_at, generated_id) }
}

fn explain_envelope(lines: &mut Lines, envelope: Envelope, reading: &Reading) {
    lines.add("kind", format!("an envelope of {} items", envelope.items.len()));
    lines.add("event id", optional(envelope.event_id.as_ref()));
    lines.add("sdk", optional(envelope.sdk.as_ref()));
    let drift = clock_drift(envelope.sent_at, reading.received_at);
    lines.add("sent at", optional(envelope.sent_at.as_ref()));
    if !drift.is_zero() {
        lines.add("clock", format!("wrong: all times are moved by {drift:#}"));
    }
    let receipt = receipt(reading, envelope.event_id, envelope.sent_at);
    let items = envelope.items.clone();
    let mut read = reading.envelope(envelope);
    for (number, Item { kind, payload }) in items.iter().enumerate() {
        lines.heading(format_args!("item {}: {}, {} bytes", number + 1, kind.name(), payload.len()));
        if matches!(kind, ItemKind::Event | ItemKind::Security) {
            explain_event(lines, payload, &receipt, reading);
        }
        read.items.iter().filter(|item| item.item == number).for_each(|item| explain_item(lines, item, &read));
    }
    if let Some(refusal) = read.take_refusal() {
        lines.heading(format_args!("{}", DecodeError::from(refusal)));
    }
}

/// What became of an item, in the words that `/metrics` and the store have for it.
fn explain_item(lines: &mut Lines, item: &ItemOutcome, read: &Read) {
    match &item.result {
        ItemResult::Kept(rows) => {
            if item.category == Category::Session {
                read.unit.sessions[rows.clone()].iter().for_each(|row| explain_session(lines, row));
            }
            lines.add("outcome", "accepted");
        }
        ItemResult::NotKept(reason, cause) => {
            let times = if item.quantity == 1 { String::new() } else { format!(", {} times", item.quantity) };
            let cause = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
            lines.add("outcome", format!("{}, {}{times}{cause}", reason.outcome().as_str(), reason.as_str()));
        }
        ItemResult::Discarded(Discarded { category, reason, quantity }) => {
            lines.add("discarded", format!("{quantity} of {category}: {reason}"));
        }
    }
}

fn explain_session(lines: &mut Lines, row: &SessionRow) {
    let what = match &row.sessions {
        Sessions::One { state, init, .. } => {
            format!("{}, {}", if *init { "begins" } else { "goes on" }, format!("{state:?}").to_lowercase())
        }
        Sessions::Many(SessionCounts { exited, errored, crashed, abnormal, unhandled }) => {
            format!("{exited} exited, {errored} errored, {crashed} crashed, {abnormal} abnormal, {unhandled} unhandled")
        }
    };
    lines.add("session", what);
    lines.add("  of", format!("{} in {}, started {}", row.release, optional(row.environment.as_ref()), row.started));
}

/// How it is cleaned, read and grouped; nothing if it cannot be.
fn explain_event(lines: &mut Lines, payload: &[u8], receipt: &Receipt, reading: &Reading) {
    if payload.len() > event::MAX_BYTES {
        return;
    }
    let Ok((cleaned, changes)) = reading.rules.scrubber.explain(payload, receipt.client_ip) else { return };
    let Ok(event) = event::parse(&cleaned.payload, receipt) else { return };
    lines.add("cleaned", format!("{} values, {} repairs of the JSON", cleaned.scrubbed, cleaned.repaired));
    for change in changes {
        lines.add("  ", format!("{}: {}", change.path, change.rule.name()));
    }
    for note in event::notes(&cleaned.payload) {
        lines.add("left out", format!("{}: {}", note.path, note.what));
    }
    describe(lines, &event, receipt);
    let (grouping, parts) = grouping::explain(&event);
    lines.add("grouped", format!("g{} by {}, {}", grouping.version, grouping.kind.name(), hex(&grouping.hash)));
    for component in &grouping.components {
        lines.add("  ", component);
    }
    for part in parts {
        lines.add(if part.counts { "  counts" } else { "  does not" }, format!("{}: {}", part.what, part.why));
    }
}

fn describe(lines: &mut Lines, event: &Event, receipt: &Receipt) {
    let id =
        if event.event_id == receipt.generated_id { "made by ingest".to_owned() } else { event.event_id.to_string() };
    lines.add("event id", id);
    lines.add("title", event.title());
    lines.add("culprit", event.culprit());
    lines.add("level", event.level.name());
    lines.add("kind", event.kind());
    lines.add("platform", &event.platform);
    let believed = if event.timestamp == receipt.received_at { " (when it was received)" } else { "" };
    lines.add("time", format!("{}{believed}", event.timestamp));
    lines.add("release", optional(event.release.as_ref()));
    lines.add("environment", optional(event.environment.as_ref()));
    lines.add("user", optional(event.user.identity().as_ref()));
    for exception in &event.exceptions {
        let in_app = exception.frames.iter().filter(|frame| frame.in_app == Some(true)).count();
        let name = exception.r#type.as_deref().unwrap_or("-");
        lines.add("exception", format!("{name}, {} frames, {in_app} of the application", exception.frames.len()));
    }
    for (key, value) in &event.tags {
        lines.add("tag", format!("{key}: {value}"));
    }
}

fn optional(value: Option<&impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Lines of `name: value`.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: impl fmt::Display) {
        // Writing to a String does not fail.
        let _ = writeln!(self.0, "{name:<12} {value}");
    }

    fn heading(&mut self, text: fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "\n{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"message":"user 5 not found","level":5,"timestamp":"2026-11-22T10:00:00Z",
        "user":{"id":7},"extra":{"password":"hunter2"},"release":["x"]}"#;

    fn explained(body: &str) -> String {
        let received_at = "2026-11-22T10:00:05Z".parse().unwrap();
        explain(Bytes::from(body.to_owned()), None, &Settings::default(), received_at).unwrap()
    }

    #[test]
    fn an_event_is_explained_from_body_to_group() {
        let event = EVENT.replace('\n', "");
        for body in
            [event.clone(), format!("{{\"sent_at\":\"2026-11-22T10:00:04Z\"}}\n{{\"type\":\"event\"}}\n{event}\n")]
        {
            let lines = explained(&body);
            for expected in [
                "title        user 5 not found",
                "extra.password: secret name",
                "left out     release",
                "user         id:7",
                "grouped      g2 by message, ",
                "message:user <int> not found",
            ] {
                assert!(lines.contains(expected), "{expected:?} in\n{lines}");
            }
            assert!(!lines.contains("hunter2"), "{lines}");
        }
    }

    #[test]
    fn what_would_be_refused_says_with_what() {
        for (body, expected) in [
            (
                "{}\n{\"type\":\"event\",\"length\":100}\n{}",
                "ingest would answer 400: invalid event envelope: unexpected end of file",
            ),
            ("[1]", "ingest would answer 400"),
        ] {
            let error = explain(Bytes::from(body), None, &Settings::default(), Timestamp::UNIX_EPOCH).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }

    #[test]
    fn what_became_of_each_item_is_said_in_the_words_of_the_counters() {
        let mut settings = Settings::default();
        settings.filters.ignore_errors = vec!["noise".into()];
        let session = r#"{"sid":"0c0cd2c4f5fd4d6b8f5d7a2c1a0c0cd2","init":true,"started":"2026-11-22T10:00:00Z","attrs":{"release":"1.0"}}"#;
        let body = [
            "{}",
            r#"{"type":"event"}"#,
            r#"{"message":"noise"}"#,
            r#"{"type":"event"}"#,
            r#"{"message":"one too many"}"#,
            r#"{"type":"session"}"#,
            session,
            r#"{"type":"session"}"#,
            "[]",
            r#"{"type":"client_report"}"#,
            r#"{"discarded_events":[{"reason":"before_send","category":"error","quantity":4}]}"#,
            r#"{"type":"transaction"}"#,
            "{}",
        ];
        let received_at = "2026-11-22T10:00:05Z".parse().unwrap();
        let lines = explain(Bytes::from(body.join("\n")), None, &settings, received_at).unwrap();
        for expected in [
            "outcome      filtered, ignored_error",
            "outcome      dropped, duplicate_item",
            "session      begins, healthy",
            "outcome      accepted",
            "outcome      dropped, invalid_session: ",
            "discarded    4 of error: before_send",
            "outcome      dropped, unsupported_item",
        ] {
            assert!(lines.contains(expected), "{expected:?} in\n{lines}");
        }
        let refused = explained("{}\n{\"type\":\"event\"}\n[1]\n{\"type\":\"attachment\"}\n");
        for expected in
            ["outcome      refused, invalid_event: ", "outcome      dropped, attachment", "ingest would answer 400: "]
        {
            assert!(refused.contains(expected), "{expected:?} in\n{refused}");
        }
    }

    #[test]
    fn one_line_is_an_event_unless_it_only_says_who_sends() {
        for (body, kind) in [
            (
                r#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","sent_at":"2026-11-22T10:00:00Z"}"#,
                "an envelope of 0 items",
            ),
            (r#"{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc","message":"hello"}"#, "a bare event"),
            ("{}", "a bare event"),
        ] {
            assert!(explained(body).contains(&format!("kind         {kind}")), "{body}");
        }
    }
}
