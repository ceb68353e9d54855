//! What the console reads and does, and who is signed in to it: one [`Snapshot`] a page, one [`Change`] for what somebody
//! does. Its login may SELECT, and call functions that act on issues and that begin and end sessions.

mod acting;
mod activity;
mod api_tokens;
mod deliveries;
mod events;
mod keys;
mod listing;
mod overview;
mod releases;
mod search;
mod sessions;
mod snapshot;
mod tickets;
mod values;

use std::{
    io::{self, Read},
    str::FromStr,
};

use jiff::Timestamp;

pub use self::{
    acting::{Action, Change, Ignoring, MAX_COMMENT, MAX_ISSUES, MAX_NAME, Outcome, Resolution, Undo, Undone},
    activity::{Activity, Done, Happened, UndoneBy},
    api_tokens::{
        ApiToken, NewToken, TokenDigest, api_tokens_of, end_sessions_of, make_api_token, revoke_api_token,
        use_api_token,
    },
    deliveries::{Deliveries, Reception},
    events::{ListedEvent, Towards},
    keys::MAX_KEYS,
    listing::{List, Listing},
    overview::{Choices, Gaps},
    releases::Release,
    search::{Assignee, Bounds, Criterion, IssueState, Pattern, Search, Term},
    sessions::{Session, SessionDigest, User, begin_session, begin_session_once, end_session, find_session},
    snapshot::{ProjectAddress, Snapshot, Wanted},
    tickets::{make_ticket, ticket_user, use_ticket},
    values::{MOST_COUNTED, Valued},
};
use crate::{
    dsn::ProjectId,
    protocol::event::{EventId, Level, MAX_CLEANED_BYTES},
    rotation::State,
};

/// A project as the operator registered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub id: ProjectId,
    pub namespace: String,
    pub name: String,
    pub display_name: Option<String>,
    pub platform: Option<String>,
    /// Where it is kept when not on the server that was asked, as `db.example:5432/errors`.
    pub server: Option<String>,
}

impl Project {
    #[must_use]
    pub fn address(&self) -> ProjectAddress {
        ProjectAddress { namespace: self.namespace.clone(), name: self.name.clone() }
    }

    /// The id of the issue of that number: `project_id << 32 | number`.
    #[must_use]
    pub fn issue_id(&self, number: u32) -> i64 {
        self.id.as_i64() << 32 | i64::from(number)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectSummary {
    pub project: Project,
    /// `None` while the project's schema is not there yet, and where it is on another server.
    pub numbers: Option<ProjectNumbers>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectNumbers {
    pub unresolved: u64,
    /// Unresolved ones that were first seen in the hours asked for.
    pub new: u64,
    /// Unresolved ones that happened again after they were resolved.
    pub regressed: u64,
    /// Events by hour, of those hours.
    pub hours: Vec<(Timestamp, u64)>,
    pub reception: Reception,
    /// Seen in its issues, by name.
    pub platforms: Vec<String>,
}

impl ProjectNumbers {
    /// In the hours asked for.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.hours.iter().map(|(_, events)| events).sum()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssueStatus {
    Unresolved,
    Resolved,
    Ignored,
}

impl IssueStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::Resolved => "resolved",
            Self::Ignored => "ignored",
        }
    }
}

impl FromStr for IssueStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        [Self::Unresolved, Self::Resolved, Self::Ignored]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an issue is unresolved, resolved or ignored")]
pub struct UnknownStatus;

/// What a list of issues begins with, and goes down by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IssueOrder {
    #[default]
    LastSeen,
    FirstSeen,
    Events,
    Users,
}

impl IssueOrder {
    pub const ALL: [Self; 4] = [Self::LastSeen, Self::FirstSeen, Self::Events, Self::Users];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LastSeen => "last_seen",
            Self::FirstSeen => "first_seen",
            Self::Events => "events",
            Self::Users => "users",
        }
    }

    /// Where a list in this order goes on after that issue.
    #[must_use]
    pub fn after(self, issue: &Issue) -> IssueCursor {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let key = match self {
            Self::LastSeen => issue.last_seen.as_microsecond(),
            Self::FirstSeen => issue.first_seen.as_microsecond(),
            Self::Events => count(issue.events),
            Self::Users => count(issue.users),
        };
        IssueCursor { key, issue: issue.id }
    }
}

/// A place in a list of issues. Unlike a number of issues to leave out, it neither skips nor repeats any while events
/// come: what has moved up since is on the first page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssueCursor {
    /// Microseconds since 1970, or a count.
    pub key: i64,
    pub issue: i64,
}

/// When an event reopens an issue that is resolved or ignored. Numbers are those of the issue as [`Issue`] has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusRule {
    /// Any event of a resolved issue, none of an ignored one.
    Plain,
    /// An event of a later release.
    ResolvedIn(String),
    /// An event of a release that was first seen after it was resolved.
    ResolvedInNext,
    /// An event that is received from then on.
    IgnoredUntil(Timestamp),
    /// The event with which it has so many.
    IgnoredUntilEvents(u64),
    /// The event with which it has so many users; those of issues that were merged count each for itself.
    IgnoredUntilUsers(u64),
}

impl StatusRule {
    fn of(
        resolved_in: Option<String>,
        resolved_in_next: bool,
        ignored_until: Option<Timestamp>,
        ignored_until_events: Option<u64>,
        ignored_until_users: Option<u64>,
    ) -> Self {
        match (resolved_in, ignored_until, ignored_until_events, ignored_until_users) {
            (Some(release), ..) => Self::ResolvedIn(release),
            _ if resolved_in_next => Self::ResolvedInNext,
            (_, Some(until), ..) => Self::IgnoredUntil(until),
            (_, _, Some(events), _) => Self::IgnoredUntilEvents(events),
            (.., Some(users)) => Self::IgnoredUntilUsers(users),
            _ => Self::Plain,
        }
    }
}

/// An error: all events of one group, and of those that were merged into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// `project_id << 32 | number`
    pub id: i64,
    pub title: String,
    pub culprit: String,
    pub level: Level,
    pub status: IssueStatus,
    pub rule: StatusRule,
    /// `None`: it has the status since it was first seen.
    pub status_changed_at: Option<Timestamp>,
    /// As Kubernetes or the identity provider names somebody.
    pub assignee: Option<String>,
    /// How many were merged into it.
    pub merged: u64,
    pub events: u64,
    /// Distinct, also over those that were merged into it.
    pub users: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// The event received last.
    pub latest: EventKey,
}

/// A key of a project, also one that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey {
    /// What `kubectl errors revoke` takes.
    pub id: i64,
    /// Of the `ClientKey`.
    pub namespace: String,
    pub name: String,
    pub public_key_prefix: String,
    pub state: State,
    pub enabled: bool,
    pub created_at: Timestamp,
    pub retiring_since: Option<Timestamp>,
    /// When it was refused first.
    pub ended_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub refused: Option<RefusedUse>,
}

impl ClientKey {
    /// Whether what is sent with it is stored, as far as the key goes.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.enabled && self.state.is_alive()
    }
}

/// What was sent in the last hour with a key that was refused then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedUse {
    pub last_at: Timestamp,
    /// Requests, since there was an hour without any.
    pub events: u64,
    /// Name and version of the SDK, as the sender has them.
    pub sentry_client: Option<String>,
}

/// Finds an event without a look into every partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventKey {
    pub received_at: Timestamp,
    pub event_id: EventId,
}

impl Issue {
    /// Within its project, from 1.
    #[must_use]
    pub fn number(&self) -> u32 {
        issue_number(self.id)
    }
}

/// The number within its project of the issue of that id, which [`Project::issue_id`] makes of it.
#[must_use]
pub fn issue_number(id: i64) -> u32 {
    (id & i64::from(u32::MAX)).try_into().unwrap_or(u32::MAX)
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub event_id: EventId,
    pub received_at: Timestamp,
    /// When it happened, as ingest believed it.
    pub timestamp: Timestamp,
    /// Dictionary of the compression, if one was used.
    pub dictionary: Option<i32>,
    /// zstd of the event's JSON.
    pub payload: Vec<u8>,
}

impl StoredEvent {
    #[must_use]
    pub fn key(&self) -> EventKey {
        EventKey { received_at: self.received_at, event_id: self.event_id }
    }

    /// The JSON that the client sent. Errors: not zstd, longer than any event may be, a dictionary that
    /// this version does not have.
    pub fn json(&self) -> io::Result<Vec<u8>> {
        self.json_within(MAX_CLEANED_BYTES)
    }

    /// The same, if it has at most so many bytes.
    pub fn json_within(&self, most: usize) -> io::Result<Vec<u8>> {
        if let Some(dictionary) = self.dictionary {
            return Err(io::Error::other(format!("dictionary {dictionary} is not known")));
        }
        let mut json = Vec::new();
        zstd::Decoder::new(&*self.payload)?.take(most as u64 + 1).read_to_end(&mut json)?;
        if json.len() > most {
            return Err(io::Error::other(format!("longer than {most} bytes")));
        }
        Ok(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(json: &[u8]) -> StoredEvent {
        let payload = zstd::encode_all(json, 3).unwrap();
        let at = Timestamp::UNIX_EPOCH;
        StoredEvent { event_id: EventId([1; 16]), received_at: at, timestamp: at, dictionary: None, payload }
    }

    #[test]
    fn payloads_come_back_as_sent_up_to_the_longest_event() {
        let longest = vec![b' '; MAX_CLEANED_BYTES];
        assert_eq!(stored(&longest).json().unwrap(), longest);
        assert!(stored(&[longest, vec![b' ']].concat()).json().is_err(), "a bomb ends at the limit");
        assert!(StoredEvent { dictionary: Some(1), ..stored(b"{}") }.json().is_err(), "an unknown dictionary");
        assert!(StoredEvent { payload: b"{}".to_vec(), ..stored(b"{}") }.json().is_err(), "not zstd");
    }
}
