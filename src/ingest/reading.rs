//! What a decoded body brings: items become the rows of one unit, and what does not is counted with its reason.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    outcomes::{Category, Outcomes, Reason},
    pipeline::Unit,
    prepare::{self, Prepared},
    refusal::Refusal,
    rules::Rules,
};
use crate::{
    dsn::{ProjectId, PublicKey},
    filters::FilterReason,
    protocol::{
        client_report,
        envelope::{Envelope, Item, ItemKind},
        event::{EventId, Receipt, clock_drift},
        minidump, security,
        session::{self, SessionClock, SessionUpdate},
        user_report::{self, UserReport},
    },
    store::ingest::{FeedbackKind, FeedbackRow, Row, SessionRow},
};

/// Sessions, or aggregates of them, after which one envelope brings no more. SDKs send some hundred at most.
const MAX_SESSIONS: usize = 1_000;

/// Reports of users that one envelope may bring.
const MAX_REPORTS: usize = 10;

/// All that is known of a request when its body is read.
#[derive(Clone)]
pub struct Reading {
    pub project: ProjectId,
    pub rules: Arc<Rules>,
    pub outcomes: Outcomes,
    pub key: PublicKey,
    pub received_at: Timestamp,
    pub client_ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub referer: Option<String>,
    /// The limit for events is reached: the rest is taken.
    pub events_refused: bool,
}

/// What a body brought.
#[derive(Debug)]
pub struct Read {
    pub unit: Unit,
    /// Of the event, or the one that the envelope names.
    pub event_id: Option<EventId>,
    /// There was an event, which was not taken because of the limit.
    pub limited: bool,
}

impl Reading {
    /// A bare event.
    pub fn event(&self, payload: &[u8]) -> Result<Read, Refusal> {
        let mut unit = self.unit();
        let event_id = self.add_event(&mut unit, payload, &self.receipt(None, None), Category::Error)?;
        Ok(Read { unit, event_id: Some(event_id), limited: false })
    }

    /// One bad item does not void the others; an envelope of nothing but a bad event is refused.
    pub fn envelope(&self, envelope: Envelope) -> Result<Read, Refusal> {
        let receipt = self.receipt(envelope.event_id, envelope.sent_at);
        let drift = clock_drift(envelope.sent_at, self.received_at);
        let mut read = Read { unit: self.unit(), event_id: envelope.event_id, limited: false };
        let mut refused = None;
        let (mut has_event, mut has_feedback) = (false, false);
        for Item { kind, payload } in envelope.items {
            let category = Category::of(&kind);
            match kind {
                ItemKind::Event | ItemKind::Security if has_event => self.drop(category, Reason::DuplicateItem, 1),
                ItemKind::Event | ItemKind::Security if self.events_refused => {
                    has_event = true;
                    read.limited = true;
                }
                ItemKind::Event | ItemKind::Security => {
                    has_event = true;
                    match self.add_event(&mut read.unit, &payload, &receipt, category) {
                        Ok(event_id) => read.event_id = Some(event_id),
                        Err(refusal) => refused = Some((refusal, category)),
                    }
                }
                ItemKind::Session | ItemKind::Sessions if read.unit.sessions.len() >= MAX_SESSIONS => {
                    self.drop(category, Reason::TooManyItems, 1);
                }
                ItemKind::Session => self.add_session(&mut read.unit, &payload, drift),
                ItemKind::Sessions => self.add_sessions(&mut read.unit, &payload, drift),
                ItemKind::ClientReport => self.count_report(&payload),
                ItemKind::UserReport if read.unit.feedback.len() >= MAX_REPORTS => {
                    self.drop(category, Reason::TooManyItems, 1);
                }
                ItemKind::UserReport => self.add_report(&mut read.unit, &payload),
                // It has the id of the envelope: a second one would have the same.
                ItemKind::Feedback if has_feedback => self.drop(category, Reason::DuplicateItem, 1),
                ItemKind::Feedback => {
                    has_feedback = true;
                    self.add_feedback(&mut read.unit, &payload, &receipt);
                }
                ItemKind::Attachment => self.drop(category, Reason::Attachment, 1),
                _ => self.drop(category, Reason::UnsupportedItem, 1),
            }
        }
        match refused {
            Some((refusal, _)) if read.unit.is_empty() => Err(refusal),
            Some((refusal, category)) => {
                self.drop(category, refusal.reason(), 1);
                Ok(read)
            }
            None => Ok(read),
        }
    }

    /// What a browser reports of a page's policy.
    pub fn security(&self, content_type: Option<&str>, body: &[u8], named: &Named) -> Result<Read, Refusal> {
        let request = security::Request {
            release: named.release.as_deref(),
            environment: named.environment.as_deref(),
            user_agent: self.user_agent.as_deref(),
            referer: self.referer.as_deref(),
        };
        let reports = security::parse(content_type, body, &request)?;
        for (_, quantity) in reports.skipped {
            self.drop(Category::Security, Reason::UnsupportedItem, quantity.into());
        }
        let mut unit = self.unit();
        for payload in reports.events {
            self.add_event(&mut unit, &payload, &self.receipt(None, None), Category::Security)?;
        }
        Ok(Read { unit, event_id: None, limited: false })
    }

    /// Errors of the network are counted and not kept.
    pub fn network_errors(&self, body: &[u8]) -> Result<Read, Refusal> {
        self.drop(Category::Security, Reason::UnsupportedItem, security::network_errors(body)?.into());
        Ok(Read { unit: Unit::default(), event_id: None, limited: false })
    }

    /// Of a crash dump the event that comes with it is kept.
    pub fn minidump(&self, content_type: Option<&str>, body: &Bytes) -> Result<Read, Refusal> {
        let upload = minidump::parse(content_type, body)?;
        self.drop(Category::Attachment, Reason::Attachment, upload.other_parts as u64 + 1);
        self.event(&upload.event)
    }

    fn unit(&self) -> Unit {
        Unit { key: Some(self.key.clone()), ..Unit::default() }
    }

    fn receipt(&self, envelope_id: Option<EventId>, sent_at: Option<Timestamp>) -> Receipt {
        Receipt {
            received_at: self.received_at,
            envelope_id,
            generated_id: EventId(Uuid::new_v4().into_bytes()),
            sent_at,
            client_ip: self.client_ip.filter(|_| self.rules.keeps_addresses),
            retention_days: self.rules.retention_days,
        }
    }

    fn drop(&self, category: Category, reason: Reason, quantity: u64) {
        self.outcomes.count(Some(&self.key), category, reason, quantity);
    }

    fn add_event(
        &self,
        unit: &mut Unit,
        payload: &[u8],
        receipt: &Receipt,
        category: Category,
    ) -> Result<EventId, Refusal> {
        match prepare::event(payload, receipt, &self.rules, self.user_agent.as_deref(), self.project)? {
            Prepared::Row(row) => {
                let Row { event_id, .. } = *row;
                unit.rows.push(*row);
                Ok(event_id)
            }
            Prepared::Filtered(reason, event_id) => {
                self.drop(category, filtered(reason), 1);
                Ok(event_id)
            }
            Prepared::Transaction(event_id) => {
                self.drop(Category::Transaction, Reason::UnsupportedItem, 1);
                Ok(event_id)
            }
        }
    }

    fn add_session(&self, unit: &mut Unit, payload: &[u8], drift: SignedDuration) {
        match session::parse_session(payload, self.session_clock(drift)) {
            Ok(update) => unit.sessions.push(self.session_row(update)),
            Err(_) => self.drop(Category::Session, Reason::InvalidSession, 1),
        }
    }

    fn add_sessions(&self, unit: &mut Unit, payload: &[u8], drift: SignedDuration) {
        match session::parse_sessions(payload, self.session_clock(drift)) {
            Ok(parsed) => {
                unit.sessions.extend(parsed.updates.into_iter().map(|update| self.session_row(update)));
                let dropped: u64 = parsed.dropped.iter().map(|(_, quantity)| quantity).sum();
                if dropped > 0 {
                    self.drop(Category::Session, Reason::InvalidSession, dropped);
                }
            }
            Err(_) => self.drop(Category::Session, Reason::InvalidSession, 1),
        }
    }

    fn session_clock(&self, drift: SignedDuration) -> SessionClock {
        SessionClock { received_at: self.received_at, drift }
    }

    fn session_row(&self, update: SessionUpdate) -> SessionRow {
        let is_kept = |user: &&str| self.rules.keeps_addresses || user.parse::<IpAddr>().is_err();
        let user_hash = update.user.as_deref().filter(is_kept).map(|user| prepare::user_hash(self.project, user));
        SessionRow::new(update, user_hash)
    }

    fn count_report(&self, payload: &[u8]) {
        match client_report::parse(payload) {
            Ok(discarded) => discarded.into_iter().for_each(|entry| self.outcomes.discarded(Some(&self.key), entry)),
            Err(_) => self.drop(Category::Default, Reason::InvalidReport, 1),
        }
    }

    fn add_report(&self, unit: &mut Unit, payload: &[u8]) {
        match user_report::parse(payload) {
            Ok(report) => {
                let feedback_id = report.id();
                unit.feedback.push(self.feedback_row(feedback_id, FeedbackKind::Report, report));
            }
            Err(_) => self.drop(Category::UserReport, Reason::InvalidReport, 1),
        }
    }

    fn add_feedback(&self, unit: &mut Unit, payload: &[u8], receipt: &Receipt) {
        match user_report::parse_feedback(payload) {
            Ok(report) => {
                let feedback_id = receipt.envelope_id.unwrap_or_else(|| report.id());
                unit.feedback.push(self.feedback_row(feedback_id, FeedbackKind::Feedback, report));
            }
            Err(_) => self.drop(Category::Feedback, Reason::InvalidReport, 1),
        }
    }

    /// What people write is theirs, but for what has no business anywhere.
    fn feedback_row(&self, feedback_id: EventId, kind: FeedbackKind, mut report: UserReport) -> FeedbackRow {
        for text in [&mut report.message, &mut report.url] {
            *text = self.rules.scrubber.text(text).into_owned();
        }
        FeedbackRow { feedback_id, received_at: self.received_at, kind, report }
    }
}

/// What the query of a report's address names.
#[derive(Clone, Debug, Default)]
pub struct Named {
    pub release: Option<String>,
    pub environment: Option<String>,
}

fn filtered(reason: FilterReason) -> Reason {
    match reason {
        FilterReason::ErrorMessage => Reason::IgnoredError,
        FilterReason::Release => Reason::IgnoredRelease,
        FilterReason::Environment => Reason::IgnoredEnvironment,
        FilterReason::Localhost => Reason::Localhost,
        FilterReason::Crawler => Reason::Crawler,
    }
}
