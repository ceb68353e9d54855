//! Envelopes, and every item in them as ingest would read it.

use bytes::Bytes;
use error_tracking_operator::protocol::{
    client_report,
    envelope::{ItemKind, MAX_ITEMS, parse},
    event, security, session, user_report,
};

use super::{is_slice_of, receipt, reports::clock};

pub fn check(input: &[u8]) {
    let body = Bytes::copy_from_slice(input);
    let Ok(envelope) = parse(&body) else { return };
    assert!(envelope.items.len() <= MAX_ITEMS);
    let length: usize = envelope.items.iter().map(|item| item.payload.len()).sum();
    assert!(length < body.len(), "items are longer than the envelope");
    let mut again = b"{}\n".to_vec();
    for item in &envelope.items {
        assert!(is_slice_of(&item.payload, &body), "a payload was copied");
        let name = item.kind.name();
        again.extend(format!("{{\"type\":\"{name}\",\"length\":{}}}\n", item.payload.len()).bytes());
        again.extend_from_slice(&item.payload);
        again.push(b'\n');
        match &item.kind {
            ItemKind::Event => drop(event::parse(&item.payload, &receipt())),
            ItemKind::Session => drop(session::parse_session(&item.payload, clock())),
            ItemKind::Sessions => drop(session::parse_sessions(&item.payload, clock())),
            ItemKind::ClientReport => drop(client_report::parse(&item.payload)),
            ItemKind::UserReport => drop(user_report::parse(&item.payload)),
            ItemKind::Feedback => drop(user_report::parse_feedback(&item.payload)),
            ItemKind::Security => {
                drop(security::parse(Some("application/json"), &item.payload, &security::Request::default()));
            }
            _ => {}
        }
    }
    let again = parse(&Bytes::from(again)).expect("what we write is an envelope");
    assert_eq!(again.items.len(), envelope.items.len());
    for (again, item) in again.items.iter().zip(&envelope.items) {
        assert_eq!((again.kind.name(), &again.payload), (item.kind.name(), &item.payload));
    }
}
