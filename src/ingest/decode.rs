//! Says how a captured request body is understood, cleaned, filtered and grouped, and why: the same functions as in
//! the ingest process, for people who wonder what became of an event.

use std::{
    fmt::{self, Write},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;

use super::{content::MAX_ENVELOPE_BYTES, refusal::Refusal, rules::Rules};
use crate::{
    crd::ErrorTrackingProject,
    dsn::hex,
    grouping,
    protocol::{
        client_report,
        encoding::{self, Encoding},
        envelope::{self, Envelope, ItemKind},
        event::{self, Event, EventId, EventType, Receipt, clock_drift},
        session::{self, SessionClock, SessionCounts, SessionUpdate, Sessions},
        user_report,
    },
    settings::Settings,
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
    #[error("failed to read the project in {}: {message}", .path.display())]
    Project { path: PathBuf, message: String },
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
        .map_err(|error| DecodeError::Project { path: path.to_owned(), message: error.to_string() })
}

/// What ingest would make of `body` if it came at `received_at`, as text for people.
pub fn explain(
    body: Bytes,
    content_encoding: Option<&str>,
    settings: &Settings,
    received_at: Timestamp,
) -> Result<String, DecodeError> {
    let rules = Rules::new(settings.clone());
    let mut said = Said::default();
    let encoding = match content_encoding {
        Some(coding) => Encoding::parse(Some(coding)).map_err(Refusal::from)?,
        None => recognised(&body),
    };
    let sent = body.len();
    let body = encoding::decode(encoding, body, MAX_ENVELOPE_BYTES).map_err(Refusal::from)?;
    said.line(
        "body",
        format!("{sent} bytes, {}, {} bytes decoded", format!("{encoding:?}").to_lowercase(), body.len()),
    );
    match envelope::parse(&body) {
        Ok(envelope) if is_envelope(&body, &envelope) => explain_envelope(&mut said, &envelope, &rules, received_at),
        parsed => {
            // What looks like an envelope and is none should say what is wrong with it.
            if body.starts_with(b"{")
                && body.contains(&b'\n')
                && serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_err()
            {
                parsed.map_err(Refusal::from)?;
            }
            let event = encoding::store_body(body, event::MAX_BYTES).map_err(Refusal::from)?;
            said.line("kind", "a bare event, as for /store/");
            explain_event(&mut said, &event, &receipt(received_at, None, None, settings.retention_days), &rules)?;
        }
    }
    Ok(said.0)
}

/// A bare event on one line is an envelope without items, too.
fn is_envelope(body: &[u8], envelope: &Envelope) -> bool {
    !envelope.items.is_empty() || envelope.event_id.is_some() && body.trim_ascii_end().len() < 200
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

fn receipt(
    received_at: Timestamp,
    envelope_id: Option<EventId>,
    sent_at: Option<Timestamp>,
    retention_days: u32,
) -> Receipt {
    let generated_id = EventId([0; 16]);
    Receipt { received_at, envelope_id, generated_id, sent_at, client_ip: None, retention_days }
}

fn explain_envelope(said: &mut Said, envelope: &Envelope, rules: &Rules, received_at: Timestamp) {
    said.line("kind", format!("an envelope of {} items", envelope.items.len()));
    said.line("event id", optional(envelope.event_id.as_ref()));
    said.line("sdk", optional(envelope.sdk.as_ref()));
    let drift = clock_drift(envelope.sent_at, received_at);
    said.line("sent at", optional(envelope.sent_at.as_ref()));
    if !drift.is_zero() {
        said.line("clock", format!("wrong: all times are moved by {drift:#}"));
    }
    let receipt = receipt(received_at, envelope.event_id, envelope.sent_at, rules.retention_days);
    let clock = SessionClock { received_at, drift };
    let mut has_event = false;
    for (number, item) in envelope.items.iter().enumerate() {
        said.heading(format_args!("item {}: {}, {} bytes", number + 1, item.kind.name(), item.payload.len()));
        match &item.kind {
            ItemKind::Event | ItemKind::Security if has_event => {
                said.line("dropped", "duplicate_item: an envelope has one event");
            }
            ItemKind::Event | ItemKind::Security => {
                has_event = true;
                if let Err(error) = explain_event(said, &item.payload, &receipt, rules) {
                    said.line("refused", error);
                }
            }
            ItemKind::Session => match session::parse_session(&item.payload, clock) {
                Ok(update) => explain_session(said, &update),
                Err(error) => said.line("dropped", format!("invalid_session: {error}")),
            },
            ItemKind::Sessions => match session::parse_sessions(&item.payload, clock) {
                Ok(parsed) => {
                    parsed.updates.iter().for_each(|update| explain_session(said, update));
                    for (error, quantity) in parsed.dropped {
                        said.line("dropped", format!("invalid_session: {quantity} aggregates: {error}"));
                    }
                }
                Err(error) => said.line("dropped", format!("invalid_session: {error}")),
            },
            ItemKind::ClientReport => match client_report::parse(&item.payload) {
                Ok(discarded) => discarded.iter().for_each(|entry| {
                    said.line("discarded", format!("{} of {}: {}", entry.quantity, entry.category, entry.reason));
                }),
                Err(error) => said.line("dropped", format!("invalid_report: {error}")),
            },
            ItemKind::UserReport => match user_report::parse(&item.payload) {
                Ok(report) => said.line(
                    "report",
                    format!(
                        "{} characters about event {}",
                        report.message.chars().count(),
                        optional(report.event_id.as_ref())
                    ),
                ),
                Err(error) => said.line("dropped", format!("invalid_report: {error}")),
            },
            ItemKind::Feedback => match user_report::parse_feedback(&item.payload) {
                Ok(report) => said.line("feedback", format!("{} characters", report.message.chars().count())),
                Err(error) => said.line("dropped", format!("invalid_report: {error}")),
            },
            _ => said.line("dropped", "accepted, counted and not kept"),
        }
    }
}

fn explain_session(said: &mut Said, update: &SessionUpdate) {
    let what = match &update.sessions {
        Sessions::One { state, init, .. } => {
            format!("{}, {}", if *init { "begins" } else { "goes on" }, format!("{state:?}").to_lowercase())
        }
        Sessions::Many(SessionCounts { exited, errored, crashed, abnormal, unhandled }) => {
            format!("{exited} exited, {errored} errored, {crashed} crashed, {abnormal} abnormal, {unhandled} unhandled")
        }
    };
    said.line("session", what);
    said.line(
        "  of",
        format!("{} in {}, started {}", update.release, optional(update.environment.as_ref()), update.started),
    );
}

fn explain_event(said: &mut Said, payload: &[u8], receipt: &Receipt, rules: &Rules) -> Result<(), DecodeError> {
    if payload.len() > event::MAX_BYTES {
        return Err(Refusal::from(event::EventError::TooLarge).into());
    }
    let (cleaned, changes) = rules.scrubber.explain(payload, receipt.client_ip).map_err(Refusal::from)?;
    said.line("cleaned", format!("{} values, {} repairs of the JSON", cleaned.scrubbed, cleaned.repaired));
    for change in changes {
        said.line("  ", format!("{}: {}", change.path, change.rule.name()));
    }
    for note in event::notes(&cleaned.payload) {
        said.line("left out", format!("{}: {}", note.path, note.what));
    }
    let event = event::parse(&cleaned.payload, receipt).map_err(Refusal::from)?;
    describe(said, &event, receipt);
    if event.r#type == EventType::Transaction {
        said.line("dropped", "unsupported_item: a transaction is no error");
        return Ok(());
    }
    match rules.filters.check(&event, None) {
        Some(reason) => said.line("filtered", format!("{}: answered 200, counted and not stored", reason.name())),
        None => said.line("filtered", "no"),
    }
    let grouping = grouping::g1(&event);
    said.line("grouped", format!("g{} by {}, {}", grouping::VERSION, grouping.kind.name(), hex(&grouping.hash)));
    for component in &grouping.components {
        said.line("  ", component);
    }
    Ok(())
}

fn describe(said: &mut Said, event: &Event, receipt: &Receipt) {
    let id =
        if event.event_id == receipt.generated_id { "made by ingest".to_owned() } else { event.event_id.to_string() };
    said.line("event id", id);
    said.line("title", event.title());
    said.line("culprit", event.culprit());
    said.line("level", event.level.name());
    said.line("kind", event.kind());
    said.line("platform", &event.platform);
    let believed = if event.timestamp == receipt.received_at { " (when it was received)" } else { "" };
    said.line("time", format!("{}{believed}", event.timestamp));
    said.line("release", optional(event.release.as_ref()));
    said.line("environment", optional(event.environment.as_ref()));
    said.line("user", optional(event.user.identity().as_ref()));
    for exception in &event.exceptions {
        let in_app = exception.frames.iter().filter(|frame| frame.in_app == Some(true)).count();
        let name = exception.r#type.as_deref().unwrap_or("-");
        said.line("exception", format!("{name}, {} frames, {in_app} of the application", exception.frames.len()));
    }
    for (key, value) in &event.tags {
        said.line("tag", format!("{key}: {value}"));
    }
}

fn optional(value: Option<&impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Lines of `name: value`.
#[derive(Default)]
struct Said(String);

impl Said {
    fn line(&mut self, name: &str, value: impl fmt::Display) {
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

    fn said(body: &str) -> String {
        let received_at = "2026-11-22T10:00:05Z".parse().unwrap();
        explain(Bytes::from(body.to_owned()), None, &Settings::default(), received_at).unwrap()
    }

    #[test]
    fn an_event_is_explained_from_body_to_group() {
        let event = EVENT.replace('\n', "");
        for body in
            [event.clone(), format!("{{\"sent_at\":\"2026-11-22T10:00:04Z\"}}\n{{\"type\":\"event\"}}\n{event}\n")]
        {
            let said = said(&body);
            for expected in [
                "title        user 5 not found",
                "extra.password: secret name",
                "left out     release",
                "user         id:7",
                "grouped      g1 by message, ",
                "message:user <int> not found",
            ] {
                assert!(said.contains(expected), "{expected:?} in\n{said}");
            }
            assert!(!said.contains("hunter2"), "{said}");
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
}
