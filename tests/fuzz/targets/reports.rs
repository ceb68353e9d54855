//! Sessions, client reports, user reports and feedback.

use error_tracking_operator::protocol::{
    client_report, session,
    session::{SessionClock, Sessions},
    user_report,
};
use jiff::SignedDuration;

pub fn clock() -> SessionClock {
    SessionClock { received_at: "2026-11-22T10:00:00Z".parse().unwrap(), drift: SignedDuration::ZERO }
}

pub fn check(input: &[u8]) {
    if let Ok(update) = session::parse_session(input, clock()) {
        check_update(&update);
    }
    let off = SessionClock { drift: SignedDuration::from_hours(-24 * 365 * 50), ..clock() };
    for clock in [clock(), off] {
        let Ok(parsed) = session::parse_sessions(input, clock) else { continue };
        assert!(parsed.updates.len() <= session::MAX_AGGREGATES);
        parsed.updates.iter().for_each(check_update);
        let mut reasons: Vec<&str> = parsed.dropped.iter().map(|(reason, _)| reason.reason()).collect();
        reasons.sort_unstable();
        assert!(reasons.windows(2).all(|pair| pair[0] != pair[1]), "a reason twice: {reasons:?}");
    }
    if let Ok(discarded) = client_report::parse(input) {
        assert!(discarded.len() <= client_report::MAX_ENTRIES + 1);
        for discarded in discarded {
            assert_ne!(discarded.quantity, 0);
            for word in [discarded.category, discarded.reason] {
                let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
                assert!((1..=64).contains(&word.len()) && word.bytes().all(is_letter), "{word:?}");
            }
        }
    }
    for report in [user_report::parse(input), user_report::parse_feedback(input)].into_iter().flatten() {
        let texts = [&report.name, &report.email, &report.message, &report.url];
        assert!(texts.iter().all(|text| !text.contains('\0')));
        assert!(report.message.chars().count() <= user_report::MAX_MESSAGE_CHARS);
        assert_eq!(report.id(), report.clone().id());
    }
}

#[track_caller]
fn check_update(update: &session::SessionUpdate) {
    assert!((1..=200).contains(&update.release.chars().count()));
    assert!(update.environment.as_ref().is_none_or(|environment| (1..=64).contains(&environment.chars().count())));
    let texts = [Some(&update.release), update.environment.as_ref(), update.user.as_ref()];
    assert!(texts.into_iter().flatten().all(|text| !text.contains('\0')));
    let age = clock().received_at.duration_since(update.started).as_hours();
    assert!((-1..=5 * 24).contains(&age), "{}", update.started);
    if let Sessions::Many(counts) = update.sessions {
        let _ = counts.total();
    }
}
