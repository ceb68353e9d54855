use proptest::prelude::*;

use super::*;

const NOW: &str = "2026-11-22T10:00:00Z";
const SID: &str = "0f0e0d0c-0b0a-0908-0706-050403020100";
const ATTRIBUTES: &str = r#""attrs":{"release":"shop@1.0","environment":"production"}"#;

fn clock() -> SessionClock {
    SessionClock { received_at: NOW.parse().unwrap(), drift: SignedDuration::ZERO }
}

/// A session of a minute ago; `members` may name an attribute again.
fn session(members: &str) -> Result<SessionUpdate, SessionError> {
    let json = format!(r#"{{"sid":"{SID}","started":"2026-11-22T09:59:00Z",{ATTRIBUTES},{members},"x":[1]}}"#);
    parse_session(json.as_bytes(), clock())
}

fn one(update: &SessionUpdate) -> (i64, bool, SessionState) {
    match update.sessions {
        Sessions::One { seq, init, state, .. } => (seq, init, state),
        Sessions::Many(_) => panic!("{update:?}"),
    }
}

#[test]
fn an_update_is_read_whole() {
    let update = session(r#""did":"ann","seq":7,"init":true,"status":"crashed","errors":1,"duration":60"#).unwrap();
    assert_eq!(
        update,
        SessionUpdate {
            started: "2026-11-22T09:59:00Z".parse().unwrap(),
            user: Some("ann".to_owned()),
            release: "shop@1.0".to_owned(),
            environment: Some("production".to_owned()),
            sessions: Sessions::One {
                sid: [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
                seq: 7,
                init: true,
                state: SessionState::Crashed,
            },
        }
    );
}

#[test]
fn the_state_is_the_worse_of_status_and_errors() {
    use SessionState::{Abnormal, Crashed, Errored, Healthy, Unhandled};
    for (members, expected) in [
        (r#""status":"ok""#, Healthy),
        (r#""status":"exited""#, Healthy),
        (r#""status":"exited","errors":2"#, Errored),
        (r#""status":"ok","errors":"1""#, Errored),
        (r#""status":"errored""#, Errored),
        (r#""status":"unhandled","errors":1"#, Unhandled),
        (r#""status":"abnormal","errors":0"#, Abnormal),
        (r#""status":"crashed","errors":1"#, Crashed),
        (r#""status":"degraded""#, Errored),
        (r#""status":null"#, Healthy),
        (r#""status":{},"errors":-1"#, Healthy),
        (r#""errors":99999999999999"#, Errored),
    ] {
        assert_eq!(one(&session(members).unwrap()).2, expected, "{members}");
    }
}

#[test]
fn an_update_without_a_number_is_as_new_as_its_arrival() {
    let arrival = clock().received_at.as_millisecond();
    for (members, expected) in [
        (r#""seq":0"#, 0),
        (r#""seq":3.0"#, 3),
        (r#""seq":"5""#, 5),
        (r#""seq":18446744073709551615"#, i64::MAX),
        (r#""seq":-1"#, arrival),
        (r#""seq":null"#, arrival),
        (r#""seq":[]"#, arrival),
    ] {
        assert_eq!(one(&session(members).unwrap()).0, expected, "{members}");
    }
}

#[test]
fn a_session_without_an_id_is_one_of_its_own() {
    for (members, expected) in [
        (r#""sid":null"#, None),
        (r#""sid":"x""#, None),
        (r#""sid":7"#, None),
        (r#""sid":"00000000-0000-0000-0000-000000000000""#, None),
        (r#""sid":"0F0E0D0C0B0A09080706050403020100""#, Some(15)),
    ] {
        let json = format!(r#"{{"started":1795341600,{ATTRIBUTES},"status":"crashed",{members}}}"#);
        match parse_session(json.as_bytes(), clock()).unwrap().sessions {
            Sessions::One { sid, .. } => assert_eq!(Some(sid[0]), expected, "{members}"),
            Sessions::Many(counts) => {
                assert_eq!(counts, SessionCounts { crashed: 1, ..SessionCounts::default() }, "{members}");
                assert_eq!(expected, None, "{members}");
            }
        }
    }
}

#[test]
fn a_user_is_whoever_has_a_name() {
    for (members, expected) in [
        (r#""did":" ann ""#, Some("ann")),
        (r#""did":42"#, Some("42")),
        (r#""did":"0""#, Some("0")),
        (r#""did":"00000000-0000-0000-0000-000000000000""#, None),
        (r#""did":"00000000000000000000000000000000""#, None),
        (r#""did":" ""#, None),
        (r#""did":null"#, None),
        (r#""did":["ann"]"#, None),
    ] {
        assert_eq!(session(members).unwrap().user.as_deref(), expected, "{members}");
    }
}

#[test]
fn a_release_is_needed_and_an_environment_is_not() {
    let long = format!(r#""attrs":{{"release":"{}"}}"#, "r".repeat(201));
    for (members, expected) in [
        (r#""attrs":{"release":" 1.0 "}"#, Ok(("1.0", None))),
        (r#""attrs":{"release":1.5,"environment":"none"}"#, Ok(("1.5", None))),
        (r#""attrs":{"release":"1.0","environment":"a/b"}"#, Ok(("1.0", None))),
        (r#""attrs":{"release":"1.0","environment":7}"#, Ok(("1.0", None))),
        (r#""attrs":{"release":"latest"}"#, Err(SessionError::InvalidRelease)),
        (r#""attrs":{"release":null,"environment":"production"}"#, Err(SessionError::InvalidRelease)),
        (r#""attrs":[]"#, Err(SessionError::InvalidRelease)),
        (&long, Err(SessionError::InvalidRelease)),
    ] {
        let read = session(members);
        let read = read.as_ref().map(|update| (update.release.as_str(), update.environment.as_deref()));
        assert_eq!(read.map_err(|error| *error), expected, "{members}");
    }
}

#[test]
fn what_is_too_old_or_yet_to_come_is_not_counted() {
    use SessionError::{InFuture, MissingStarted, TooOld};
    for (members, expected) in [
        (r#""started":"2026-11-17T10:00:00Z""#, Ok(())),
        (r#""started":"2026-11-17T09:59:59Z""#, Err(TooOld)),
        (r#""started":"2026-11-22T10:01:00Z""#, Ok(())),
        (r#""started":"2026-11-22T10:01:01Z""#, Err(InFuture)),
        (r#""timestamp":"2026-11-22T10:01:01Z""#, Err(InFuture)),
        (r#""timestamp":"2020-01-01T00:00:00Z""#, Ok(())),
        (r#""timestamp":"yesterday""#, Ok(())),
        (r#""started":1795341540"#, Ok(())),
        (r#""started":-62135596800"#, Err(TooOld)),
    ] {
        assert_eq!(session(members).map(drop), expected, "{members}");
    }
    for started in ["null", "\"soon\"", "{}", "1e300"] {
        let json = format!(r#"{{"sid":"{SID}","started":{started},{ATTRIBUTES}}}"#);
        assert_eq!(parse_session(json.as_bytes(), clock()).map(drop), Err(MissingStarted), "{started}");
    }
}

#[test]
fn the_drift_of_the_clock_is_taken_out_first() {
    let started = r#""started":"2026-11-12T09:59:00Z","timestamp":"2026-11-12T10:00:00Z""#;
    let json = format!(r#"{{"sid":"{SID}",{started},{ATTRIBUTES}}}"#);
    let right = SessionClock { drift: SignedDuration::from_hours(240), ..clock() };
    assert_eq!(parse_session(json.as_bytes(), clock()).map(drop), Err(SessionError::TooOld));
    let update = parse_session(json.as_bytes(), right).unwrap();
    assert_eq!(update.started.to_string(), "2026-11-22T09:59:00Z");
    let endless = SessionClock { drift: SignedDuration::MAX, ..clock() };
    assert_eq!(parse_session(json.as_bytes(), endless).map(drop), Err(SessionError::TooOld));
}

#[test]
fn what_is_no_session_is_refused() {
    for payload in ["", "null", "[]", "7", "{", "{\"sid\":", "{}x", "\u{0}"] {
        for parsed in [
            parse_session(payload.as_bytes(), clock()).map(drop),
            parse_sessions(payload.as_bytes(), clock()).map(drop),
        ] {
            assert_eq!(parsed, Err(SessionError::InvalidJson), "{payload}");
        }
    }
    let deep = "[".repeat(100_000);
    assert_eq!(parse_session(deep.as_bytes(), clock()).map(drop), Err(SessionError::InvalidJson));
    let long = vec![b' '; super::super::MAX_BYTES + 1];
    assert_eq!(parse_session(&long, clock()).map(drop), Err(SessionError::TooLarge));
    assert_eq!(parse_sessions(&long, clock()).map(drop), Err(SessionError::TooLarge));
}

fn sessions(aggregates: &str) -> ParsedSessions {
    parse_sessions(format!(r#"{{"aggregates":{aggregates},{ATTRIBUTES}}}"#).as_bytes(), clock()).unwrap()
}

#[test]
fn aggregates_are_read_one_by_one() {
    let parsed = sessions(
        r#"[{"started":"2026-11-22T09:59:00Z","did":"ann","exited":3,"errored":2,"crashed":1,"abnormal":4,"unhandled":5},
            {"started":"2026-11-22T09:58:00Z","exited":"2"}, null, 7, {"started":"2026-11-22T09:57:00Z"}]"#,
    );
    let at = |minute, user: Option<&str>, counts| SessionUpdate {
        started: format!("2026-11-22T09:{minute}:00Z").parse().unwrap(),
        user: user.map(str::to_owned),
        release: "shop@1.0".to_owned(),
        environment: Some("production".to_owned()),
        sessions: Sessions::Many(counts),
    };
    let first = SessionCounts { exited: 3, errored: 2, crashed: 1, abnormal: 4, unhandled: 5 };
    let second = SessionCounts { exited: 2, ..SessionCounts::default() };
    assert_eq!(parsed.updates, [at(59, Some("ann"), first), at(58, None, second)]);
    assert_eq!(parsed.dropped, []);
    for aggregates in ["null", "[]", "{}", "7"] {
        assert_eq!(sessions(aggregates), ParsedSessions::default(), "{aggregates}");
    }
}

#[test]
fn dropped_aggregates_are_counted_by_reason_in_sessions() {
    let good = r#"{"started":"2026-11-22T09:59:00Z","exited":1}"#;
    let parsed = sessions(&format!(
        r#"[{{"started":"2026-11-01T00:00:00Z","exited":2,"crashed":1}},{{"exited":4}},{good},
            {{"started":"2026-11-02T00:00:00Z","exited":1}},{{"started":"2026-12-01T00:00:00Z"}}]"#
    ));
    assert_eq!(parsed.updates.len(), 1);
    assert_eq!(parsed.dropped, [(SessionError::TooOld, 4), (SessionError::MissingStarted, 4)]);

    let many = sessions(&format!("[{}]", vec![good; MAX_AGGREGATES + 3].join(",")));
    assert_eq!(many.updates.len(), MAX_AGGREGATES);
    assert_eq!(many.dropped, [(SessionError::TooManyAggregates, 3)]);

    let payload = format!(r#"{{"aggregates":[{good}],"attrs":{{"environment":"production"}}}}"#);
    assert_eq!(parse_sessions(payload.as_bytes(), clock()), Err(SessionError::InvalidRelease));
}

/// What is left when an attribute is useless: an update without it, or the one refusal that names it.
#[test]
fn no_attribute_of_a_wrong_type_costs_more_than_itself() {
    let values = ["null", "true", "-1", "3", "1.5", "1e400", "\"\"", "\"x\"", "[]", "{}", "[[1]]", "{\"a\":{}}", "NaN"];
    for name in ["sid", "did", "seq", "init", "timestamp", "duration", "status", "errors", "abnormal_mechanism", "new"]
    {
        for value in values {
            assert!(session(&format!(r#""{name}":{value}"#)).is_ok(), "{name}: {value}");
        }
    }
    for name in ["did", "exited", "errored", "abnormal", "unhandled", "crashed", "new"] {
        for value in values {
            let parsed =
                sessions(&format!(r#"[{{"started":"2026-11-22T09:59:00Z","exited":1,"crashed":1,"{name}":{value}}}]"#));
            assert_eq!((parsed.updates.len(), parsed.dropped.len()), (1, 0), "{name}: {value}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_sessions_or_refused(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _read = (parse_session(&payload, clock()), parse_sessions(&payload, clock()));
    }

    #[test]
    fn any_text_in_an_object_is_read_or_refused(text in "[\\[\\]{}:,\"a-z0-9.\\\\ -]{0,80}") {
        let payload = format!(r#"{{"aggregates":[{{{text}}}],{ATTRIBUTES},"sid":{text}}}"#);
        let _read = (parse_session(payload.as_bytes(), clock()), parse_sessions(payload.as_bytes(), clock()));
    }
}
