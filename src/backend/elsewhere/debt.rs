//! What a server has still to be told of a key. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::{crd::ServerKind, rotation::State, store::admin::ServerKeyRow};

/// A key of Sentry that has ended is deleted there after so long; until then it can be taken back.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What a server refused is asked for again after so long.
const ASKED_AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// How old the time may be when a key in its overlap was used last.
const USE_KNOWN: SignedDuration = SignedDuration::from_hours(1);

/// One thing that a server is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debt {
    /// The key is made there, or found.
    Make,
    /// It is accepted, or not, and limited as the spec asks.
    Update,
    /// It has ended: it is refused from now on.
    Refuse,
    /// It has ended long ago.
    Delete,
    /// The server is asked when it was used last.
    AskUse,
}

#[must_use]
pub fn owed(row: &ServerKeyRow, kind: ServerKind, now: Timestamp) -> Option<Debt> {
    let since = |at: Option<Timestamp>| at.map_or(SignedDuration::MAX, |at| now.duration_since(at));
    if row.ended_at.is_none() {
        if row.server_id.is_none() || row.dsn.is_none() || row.deleted_at.is_some() {
            return Some(Debt::Make);
        }
        // GitLab knows neither.
        if kind == ServerKind::Gitlab {
            return None;
        }
        let limited = row.rate_limit == row.server_limit || since(row.limit_refused_at) < ASKED_AGAIN;
        if row.accepted != row.enabled || !limited {
            return Some(Debt::Update);
        }
        return (row.state == State::Overlap && since(row.use_asked_at) >= USE_KNOWN).then_some(Debt::AskUse);
    }
    // One that the server was never asked for is not there.
    if row.deleted_at.is_some() || row.asked_at.is_none() {
        return None;
    }
    // An answer that was lost may have made it.
    let may_be_accepted = row.accepted || row.server_id.is_none();
    match kind {
        ServerKind::Gitlab => Some(Debt::Delete),
        ServerKind::Sentry if may_be_accepted => Some(Debt::Refuse),
        ServerKind::Sentry if since(row.ended_at) >= KEPT && since(row.delete_refused_at) >= ASKED_AGAIN => {
            Some(Debt::Delete)
        }
        ServerKind::Sentry => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RateLimit;

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_server_is_owed_what_it_has_not_been_told() {
        use Debt::{AskUse, Delete, Make, Refuse, Update};
        let limit = Some(RateLimit { events: 10, window_seconds: 60 });
        let now = 100 * DAY;
        let there = || ServerKeyRow::sample(1);
        let new = || ServerKeyRow { server_id: None, dsn: None, accepted: false, asked_at: None, ..there() };
        let ended = |days: i64| ServerKeyRow {
            ended_at: Some(at(now - days * DAY)),
            state: State::Retired,
            accepted: false,
            ..there()
        };
        let overlap = || ServerKeyRow { state: State::Overlap, retiring_since: Some(at(now - DAY)), ..there() };
        for (case, row, sentry, gitlab) in [
            ("as it should be", there(), None, None),
            ("new", new(), Some(Make), Some(Make)),
            ("its answer is lost", ServerKeyRow { asked_at: Some(at(now)), ..new() }, Some(Make), Some(Make)),
            ("it is gone there", ServerKeyRow { deleted_at: Some(at(now)), ..there() }, Some(Make), Some(Make)),
            ("disabled here", ServerKeyRow { enabled: false, ..there() }, Some(Update), None),
            ("disabled there", ServerKeyRow { accepted: false, ..there() }, Some(Update), None),
            ("limited", ServerKeyRow { rate_limit: limit, ..there() }, Some(Update), None),
            (
                "limited, and the server does not",
                ServerKeyRow { rate_limit: limit, limit_refused_at: Some(at(now - DAY + 1)), ..there() },
                None,
                None,
            ),
            (
                "a day later",
                ServerKeyRow { rate_limit: limit, limit_refused_at: Some(at(now - DAY)), ..there() },
                Some(Update),
                None,
            ),
            ("in its overlap", overlap(), Some(AskUse), None),
            ("asked within the hour", ServerKeyRow { use_asked_at: Some(at(now - 3_599)), ..overlap() }, None, None),
            ("ended", ServerKeyRow { accepted: true, ..ended(0) }, Some(Refuse), Some(Delete)),
            ("ended, its answer lost", ServerKeyRow { server_id: None, ..ended(0) }, Some(Refuse), Some(Delete)),
            ("ended, never asked for", ServerKeyRow { asked_at: None, server_id: None, ..ended(40) }, None, None),
            ("refused there", ended(29), None, Some(Delete)),
            ("for 30 days", ended(30), Some(Delete), Some(Delete)),
            (
                "the token may not delete",
                ServerKeyRow { delete_refused_at: Some(at(now - DAY + 1)), ..ended(30) },
                None,
                Some(Delete),
            ),
            ("deleted", ServerKeyRow { deleted_at: Some(at(now)), ..ended(30) }, None, None),
        ] {
            let now = at(now);
            assert_eq!(owed(&row, ServerKind::Sentry, now), sentry, "{case}");
            assert_eq!(owed(&row, ServerKind::Gitlab, now), gitlab, "{case}, in GitLab");
        }
    }
}
