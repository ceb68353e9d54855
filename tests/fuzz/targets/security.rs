//! Reports of browsers: each becomes an event that is read as one.

use error_tracking_operator::protocol::{
    event,
    security::{MAX_EVENTS, Request, network_errors, parse},
};

use super::receipt;

pub fn check(input: &[u8]) {
    let request = Request { release: Some("1"), user_agent: Some("Mozilla/5.0"), ..Request::default() };
    if let Ok(reports) = parse(Some("application/json; charset=utf-8"), input, &request) {
        assert!(reports.events.len() <= MAX_EVENTS);
        for payload in reports.events {
            let event = event::parse(&payload, &receipt()).expect("an event that we wrote");
            super::event::check_event(&event);
            assert_eq!(event.release.as_deref(), Some("1"));
            let says_directive = event.tags.iter().any(|(key, _)| key == "effective-directive");
            assert_eq!(event.kind() == "csp", says_directive, "{}", payload.escape_ascii());
        }
        assert!(reports.skipped.iter().all(|(_, count)| *count > 0));
    }
    let _ = network_errors(input);
}
