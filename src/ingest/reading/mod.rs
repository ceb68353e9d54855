//! What a decoded body brings: items become the rows of one unit, and what became of each item is a list.
//!
//! One walk for both: ingest counts the list, `decode` prints it. Nothing here counts, logs or waits.

mod item;

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

pub use self::item::{Cause, ItemOutcome, ItemResult};
use super::{
    groupings::Groupings,
    limits::Exceeded,
    outcomes::{Category, OutcomeReason},
    pipeline::Unit,
    prepare::{self, Prepared},
    refusal::Refusal,
    rules::Rules,
};
use crate::{
    dsn::ProjectId,
    protocol::{
        client_report,
        envelope::{Envelope, Item, ItemKind},
        event::{EventId, Receipt, clock_drift},
        minidump, security,
        session::{self, SessionClock, SessionUpdate},
        user_report::{self, UserReport},
    },
    store::ingest::{FeedbackKind, FeedbackRow, SessionRow},
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
    pub groupings: Arc<Groupings>,
    pub received_at: Timestamp,
    pub client_ip: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub referer: Option<String>,
    /// The limit for events is reached: the rest is taken.
    pub exceeded: Option<Exceeded>,
}

/// What a body brought.
#[derive(Debug, Default)]
pub struct Read {
    pub unit: Unit,
    /// Of the event, or the one that the envelope names.
    pub event_id: Option<EventId>,
    /// In the order of the items.
    pub items: Vec<ItemOutcome>,
}

impl Read {
    fn keep(&mut self, item: usize, category: Category, rows: std::ops::Range<usize>) {
        let quantity = rows.len() as u64;
        self.items.push(ItemOutcome { item, category, quantity, result: ItemResult::Kept(rows) });
    }

    fn keep_feedback(&mut self, item: usize, category: Category, row: FeedbackRow) {
        let place = self.unit.feedback.len();
        self.unit.feedback.push(row);
        self.keep(item, category, place..place + 1);
    }

    fn drop(&mut self, item: usize, category: Category, reason: OutcomeReason, quantity: u64) {
        self.items.push(ItemOutcome { item, category, quantity, result: ItemResult::NotKept(reason, None) });
    }

    fn refuse(&mut self, item: usize, category: Category, reason: OutcomeReason, cause: impl Into<Cause>) {
        let result = ItemResult::NotKept(reason, Some(cause.into()));
        self.items.push(ItemOutcome { item, category, quantity: 1, result });
    }

    fn refuse_event(&mut self, item: usize, category: Category, refusal: Refusal) {
        self.refuse(item, category, refusal.reason(), refusal);
    }

    /// The limit that an event was not taken for.
    #[must_use]
    pub fn exceeded(&self) -> Option<&Exceeded> {
        self.items.iter().find_map(|item| match &item.result {
            ItemResult::NotKept(_, Some(Cause::Event(Refusal::RateLimited(exceeded)))) => Some(exceeded),
            _ => None,
        })
    }

    /// One bad item does not void the others; a request of nothing but a bad event is refused. Its refusal is no
    /// item's any more, so that it is counted once.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        let is_refused = |item: &ItemOutcome| matches!(item.result, ItemResult::NotKept(_, Some(Cause::Event(_))));
        let position = self.items.iter().position(is_refused).filter(|_| self.unit.is_empty())?;
        match self.items.remove(position).result {
            ItemResult::NotKept(_, Some(Cause::Event(refusal))) => Some(refusal),
            _ => None,
        }
    }

    /// Leaves out the events behind the first so many.
    pub fn cut_events(&mut self, count: usize, category: Category, reason: OutcomeReason) {
        let over = self.unit.rows.drain(count..).count() as u64;
        self.items.retain_mut(|item| match &mut item.result {
            ItemResult::Kept(rows) if rows.end > count && item.category == category => {
                rows.end = count.max(rows.start);
                item.quantity = rows.len() as u64;
                item.quantity > 0
            }
            _ => true,
        });
        self.drop(0, category, reason, over);
    }
}

impl Reading {
    /// A bare event.
    #[must_use]
    pub fn event(&self, payload: &[u8]) -> Read {
        let mut read = Read::default();
        read.event_id = self.add_event(&mut read, 0, payload, &self.receipt(None, None), Category::Error);
        read
    }

    /// One event, and any number of other items.
    #[must_use]
    pub fn envelope(&self, envelope: Envelope) -> Read {
        let receipt = self.receipt(envelope.event_id, envelope.sent_at);
        let drift = clock_drift(envelope.sent_at, self.received_at);
        let mut read = Read { event_id: envelope.event_id, ..Read::default() };
        let (mut has_event, mut has_feedback) = (false, false);
        for (number, Item { kind, payload }) in envelope.items.into_iter().enumerate() {
            let category = Category::of(&kind);
            match kind {
                ItemKind::Event | ItemKind::Security if has_event => {
                    read.drop(number, category, OutcomeReason::DuplicateItem, 1);
                }
                ItemKind::Event | ItemKind::Security => {
                    has_event = true;
                    if let Some(exceeded) = &self.exceeded {
                        read.refuse_event(number, category, Refusal::RateLimited(exceeded.clone()));
                    } else {
                        let event_id = self.add_event(&mut read, number, &payload, &receipt, category);
                        read.event_id = event_id.or(read.event_id);
                    }
                }
                ItemKind::Session | ItemKind::Sessions if read.unit.sessions.len() >= MAX_SESSIONS => {
                    read.drop(number, category, OutcomeReason::TooManyItems, 1);
                }
                ItemKind::Session => self.add_session(&mut read, number, &payload, drift),
                ItemKind::Sessions => self.add_sessions(&mut read, number, &payload, drift),
                ItemKind::ClientReport => add_discarded(&mut read, number, &payload),
                ItemKind::UserReport if read.unit.feedback.len() >= MAX_REPORTS => {
                    read.drop(number, category, OutcomeReason::TooManyItems, 1);
                }
                ItemKind::UserReport => self.add_report(&mut read, number, &payload),
                // It has the id of the envelope: a second one would have the same.
                ItemKind::Feedback if has_feedback => read.drop(number, category, OutcomeReason::DuplicateItem, 1),
                ItemKind::Feedback => {
                    has_feedback = true;
                    self.add_feedback(&mut read, number, &payload, &receipt);
                }
                ItemKind::Attachment => read.drop(number, category, OutcomeReason::Attachment, 1),
                _ => read.drop(number, category, OutcomeReason::UnsupportedItem, 1),
            }
        }
        read
    }

    /// What a browser reports of a page's policy.
    pub fn security(&self, content_type: Option<&str>, body: &[u8], query: &ReportQuery) -> Result<Read, Refusal> {
        let request = security::Request {
            release: query.release.as_deref(),
            environment: query.environment.as_deref(),
            user_agent: self.user_agent.as_deref(),
            referer: self.referer.as_deref(),
        };
        let reports = security::parse(content_type, body, &request)?;
        let mut read = Read::default();
        for (_, quantity) in reports.skipped {
            read.drop(0, Category::Security, OutcomeReason::UnsupportedItem, quantity.into());
        }
        for payload in reports.events {
            self.add_event(&mut read, 0, &payload, &self.receipt(None, None), Category::Security);
        }
        Ok(read)
    }

    /// Errors of the network are counted and not kept.
    pub fn network_errors(body: &[u8]) -> Result<Read, Refusal> {
        let mut read = Read::default();
        read.drop(0, Category::Security, OutcomeReason::UnsupportedItem, security::network_errors(body)?.into());
        Ok(read)
    }

    /// Of a crash dump the event that comes with it is kept.
    pub fn minidump(&self, content_type: Option<&str>, body: &Bytes) -> Result<Read, Refusal> {
        let upload = minidump::parse(content_type, body)?;
        let mut read = self.event(&upload.event);
        read.drop(0, Category::Attachment, OutcomeReason::Attachment, upload.other_parts as u64 + 1);
        Ok(read)
    }

    fn receipt(&self, envelope_id: Option<EventId>, sent_at: Option<Timestamp>) -> Receipt {
        Receipt {
            received_at: self.received_at,
            envelope_id,
            generated_id: EventId(Uuid::new_v4().into_bytes()),
            sent_at,
            client_ip: self.client_ip.filter(|_| self.rules.keeps_addresses),
            user_agent: self.user_agent.clone(),
            retention_days: self.rules.retention_days,
        }
    }

    /// The id of an event that can be read.
    fn add_event(
        &self,
        read: &mut Read,
        item: usize,
        payload: &[u8],
        receipt: &Receipt,
        category: Category,
    ) -> Option<EventId> {
        match prepare::event(payload, receipt, &self.rules, &self.groupings, self.project) {
            Ok(Prepared::Row(row)) => {
                let (event_id, place) = (row.event_id, read.unit.rows.len());
                read.unit.rows.push(*row);
                read.keep(item, category, place..place + 1);
                Some(event_id)
            }
            Ok(Prepared::Filtered(reason, event_id)) => {
                read.drop(item, category, OutcomeReason::Filtered(reason), 1);
                Some(event_id)
            }
            Ok(Prepared::Transaction(event_id)) => {
                read.drop(item, Category::Transaction, OutcomeReason::UnsupportedItem, 1);
                Some(event_id)
            }
            Err(refusal) => {
                read.refuse_event(item, category, refusal);
                None
            }
        }
    }

    fn add_session(&self, read: &mut Read, item: usize, payload: &[u8], drift: SignedDuration) {
        match session::parse_session(payload, self.session_clock(drift)) {
            Ok(update) => {
                let place = read.unit.sessions.len();
                read.unit.sessions.push(self.session_row(update));
                read.keep(item, Category::Session, place..place + 1);
            }
            Err(error) => read.refuse(item, Category::Session, OutcomeReason::InvalidSession, error),
        }
    }

    fn add_sessions(&self, read: &mut Read, item: usize, payload: &[u8], drift: SignedDuration) {
        match session::parse_sessions(payload, self.session_clock(drift)) {
            Ok(parsed) => {
                let start = read.unit.sessions.len();
                read.unit.sessions.extend(parsed.updates.into_iter().map(|update| self.session_row(update)));
                let rows = start..read.unit.sessions.len();
                if !rows.is_empty() {
                    read.keep(item, Category::Session, rows);
                }
                for (error, quantity) in parsed.dropped {
                    let result = ItemResult::NotKept(OutcomeReason::InvalidSession, Some(error.into()));
                    read.items.push(ItemOutcome { item, category: Category::Session, quantity, result });
                }
            }
            Err(error) => read.refuse(item, Category::Session, OutcomeReason::InvalidSession, error),
        }
    }

    fn session_clock(&self, drift: SignedDuration) -> SessionClock {
        SessionClock { received_at: self.received_at, drift }
    }

    fn session_row(&self, update: SessionUpdate) -> SessionRow {
        let is_kept = |user: &&str| self.rules.keeps_addresses || user.parse::<IpAddr>().is_err();
        let hash = |user: &str| prepare::user_hash(self.project, self.rules.user_key.as_ref(), user);
        let user_hash = update.user.as_deref().filter(is_kept).map(hash);
        SessionRow::new(update, user_hash)
    }

    fn add_report(&self, read: &mut Read, item: usize, payload: &[u8]) {
        match user_report::parse(payload) {
            Ok(report) => {
                let row = self.feedback_row(report.id(), FeedbackKind::Report, report);
                read.keep_feedback(item, Category::UserReport, row);
            }
            Err(error) => read.refuse(item, Category::UserReport, OutcomeReason::InvalidReport, error),
        }
    }

    fn add_feedback(&self, read: &mut Read, item: usize, payload: &[u8], receipt: &Receipt) {
        match user_report::parse_feedback(payload) {
            Ok(report) => {
                let feedback_id = receipt.envelope_id.unwrap_or_else(|| report.id());
                let row = self.feedback_row(feedback_id, FeedbackKind::Feedback, report);
                read.keep_feedback(item, Category::Feedback, row);
            }
            Err(error) => read.refuse(item, Category::Feedback, OutcomeReason::InvalidReport, error),
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
pub struct ReportQuery {
    pub release: Option<String>,
    pub environment: Option<String>,
}

fn add_discarded(read: &mut Read, item: usize, payload: &[u8]) {
    match client_report::parse(payload) {
        Ok(discarded) => read.items.extend(discarded.into_iter().map(|discarded| ItemOutcome {
            item,
            category: Category::Default,
            quantity: discarded.quantity,
            result: ItemResult::Discarded(discarded),
        })),
        Err(error) => read.refuse(item, Category::Default, OutcomeReason::InvalidReport, error),
    }
}
