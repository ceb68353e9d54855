//! What can be made to go wrong, the same way for both doubles.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    client::{Answer, ask, try_ask},
    support::{
        authority::Authority,
        key_servers::{Fault, GitlabDouble, KeyServer, Rule, SentryDouble, sentry::SentryKey},
    },
};

const KEYS: &str = "/api/0/projects/acme/shop/keys/";
const GITLAB_KEYS: &str = "/api/v4/projects/5/error_tracking/client_keys";

async fn post(sentry: &SentryDouble) -> Result<Answer, String> {
    try_ask(sentry, &sentry.token(), "POST", KEYS, Some(json!({"name": "checkout"}))).await
}

#[tokio::test]
async fn a_fault_before_the_effect_does_nothing_and_one_after_it_loses_the_answer() {
    for fault in [
        Fault::Status { status: 500 },
        Fault::Page { status: 502 },
        Fault::TooManyRequests { retry_after: Some("30".into()) },
        Fault::Redirect { location: "http://elsewhere.example/".into() },
        Fault::HalfBody,
        Fault::ConnectionClosed,
        Fault::Endless,
    ] {
        for (after, keys) in [(false, 1), (true, 2)] {
            let sentry = SentryDouble::start();
            let rule = Rule::new("POST", "/api/0/projects/*/*/keys/", fault.clone()).once();
            sentry.fault(if after { rule.after() } else { rule });
            // Another method is not meant.
            assert_eq!(ask(&sentry, "GET", KEYS, None).await.status, 200);
            let answer = post(&sentry).await;
            let lost = match &answer {
                Err(_) => fault == Fault::ConnectionClosed,
                Ok(answer) => !answer.whole || ![200, 201].contains(&answer.status),
            };
            assert!(lost, "{fault:?} {answer:?}");
            assert_eq!(sentry.keys_of("acme/shop").await.len(), keys, "{fault:?} {after}");
            let call = sentry.calls().pop().unwrap();
            assert_eq!((call.acted, call.status), (after, answer.as_ref().ok().map(|answer| answer.status)));
            assert!(call.faults.iter().eq([&fault]));
            // It is over.
            assert_eq!(post(&sentry).await.unwrap().status, 201);
        }
    }
}

#[tokio::test]
async fn heads_and_bodies_are_as_the_fault_says() {
    let sentry = SentryDouble::start();
    let under = async |fault: Fault| {
        sentry.clear_faults();
        sentry.fault(Rule::everywhere(fault));
        ask(&sentry, "GET", KEYS, None).await
    };
    let page = under(Fault::Page { status: 502 }).await;
    assert_eq!((page.status, page.header("content-type")), (502, "text/html; charset=utf-8"));
    assert!(page.body.starts_with(b"<!DOCTYPE html>"));
    assert!(under(Fault::Status { status: 500 }).await.json()["detail"].is_string());
    for retry_after in ["7", "Sun, 06 Nov 1994 08:49:37 GMT", "soon"] {
        let answer = under(Fault::TooManyRequests { retry_after: Some(retry_after.into()) }).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, retry_after));
    }
    let half = under(Fault::HalfBody).await;
    let length: usize = half.header("content-length").parse().unwrap();
    assert!(!half.whole && half.body.len() == length / 2, "{half:?}");
    let endless = under(Fault::Endless).await;
    assert!(!endless.whole && endless.body.len() >= 4 << 20);
    let padded = under(Fault::Padded { bytes: 2 << 20 }).await;
    assert_eq!((padded.header("content-length"), padded.list().len()), ("2097152", 1));
    let plain = under(Fault::ContentType { content_type: "text/plain".into() }).await;
    assert_eq!((plain.header("content-type"), plain.list().len()), ("text/plain", 1));
    let elsewhere = under(Fault::Redirect { location: "http://elsewhere.example/".into() }).await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (302, "http://elsewhere.example/"));
    assert!(under(Fault::Slow { milliseconds: 5 }).await.whole);
    sentry.clear_faults();
    sentry.fault(Rule::everywhere(Fault::Drip { milliseconds: 1 }));
    assert_eq!(ask(&sentry, "GET", "/api/0/", None).await.json()["version"], "0");
    sentry.clear_faults();
    assert_eq!(ask(&sentry, "GET", KEYS, None).await.status, 200);
}

#[tokio::test]
async fn a_call_that_is_never_answered_has_its_effect_or_none() {
    for (after, keys) in [(false, 1), (true, 2)] {
        let sentry = SentryDouble::start();
        let rule = Rule::everywhere(Fault::NeverAnswers).once();
        sentry.fault(if after { rule.after() } else { rule });
        assert!(tokio::time::timeout(Duration::from_millis(100), post(&sentry)).await.is_err());
        assert_eq!(sentry.calls()[0].status, None);
        assert_eq!(sentry.keys_of("acme/shop").await.len(), keys);
    }
}

#[tokio::test]
async fn faults_wait_for_their_turn_and_end() {
    let sentry = SentryDouble::start();
    sentry.fault(Rule::new("GET", "/api/0/**", Fault::Status { status: 503 }).skip(1).times(2));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(&sentry, "GET", KEYS, None).await.status);
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    assert_eq!((sentry.count("GET", KEYS), sentry.count("*", "/api/0/projects/*/")), (4, 0));
    sentry.forget_calls();
    assert_eq!(sentry.count("*", "**"), 0);
}

#[tokio::test]
async fn another_key_than_asked_for_is_another_in_every_field() {
    let sentry = SentryDouble::start();
    sentry.fault(Rule::everywhere(Fault::EchoOtherKey));
    let public = "0123456789abcdef0123456789abcdef";
    let echoed = ask(&sentry, "POST", KEYS, Some(json!({"public": public}))).await.json();
    assert!(!echoed.to_string().contains(public), "{echoed}");
    assert_eq!((&echoed["id"], echoed["dsn"]["public"].is_string()), (&echoed["public"], true));
    assert_eq!(sentry.keys_of("acme/shop").await[1].public, public);

    let gitlab = GitlabDouble::start();
    gitlab.fault(Rule::everywhere(Fault::EchoOtherKey));
    let echoed = ask(&gitlab, "POST", GITLAB_KEYS, None).await.json();
    let kept = gitlab.keys_of("5").await.remove(0);
    assert!(
        !echoed.to_string().contains(&kept.public) && echoed["id"] != json!(kept.id.parse::<u64>().unwrap()),
        "{echoed}"
    );
}

#[tokio::test]
async fn pages_that_never_end_hold_the_first_page_again() {
    let sentry = SentryDouble::start();
    let gitlab = GitlabDouble::start();
    sentry.with(|sentry| {
        let keys = (0..14).map(|number| SentryKey::new(&format!("key {number}"), Timestamp::now()));
        sentry.project("acme/shop").unwrap().keys.extend(keys);
    });
    gitlab.with(|gitlab| (0..25).for_each(|_| drop(gitlab.make_key("5"))));
    for (fault, cursors, pages) in
        [(Fault::SamePage, ["10:1:0", "10:1:0"], ["2", "2"]), (Fault::PagesForever, ["10:1:0", "10:8:0"], ["2", "9"])]
    {
        sentry.clear_faults();
        sentry.fault(Rule::new("GET", "**", fault.clone()));
        gitlab.clear_faults();
        gitlab.fault(Rule::new("GET", "**", fault));
        for (query, cursor) in ["", "?cursor=10:7:0"].into_iter().zip(cursors) {
            let answer = ask(&sentry, "GET", &format!("{KEYS}{query}"), None).await;
            assert_eq!(answer.list()[0]["name"], "key 13");
            let next = format!("rel=\"next\"; results=\"true\"; cursor=\"{cursor}\"");
            assert!(answer.header("link").ends_with(&next), "{}", answer.header("link"));
        }
        for (query, page) in ["", "?page=8"].into_iter().zip(pages) {
            let answer = ask(&gitlab, "GET", &format!("{GITLAB_KEYS}{query}"), None).await;
            assert_eq!((&answer.list()[0]["id"], answer.header("x-next-page")), (&json!(1), page));
        }
    }
}

#[tokio::test]
async fn a_server_can_have_a_clock_of_its_own() {
    let sentry = SentryDouble::start();
    sentry.fault(Rule::everywhere(Fault::ClockOffset { seconds: -400 * 86_400 }));
    let made = post(&sentry).await.unwrap();
    let year = Timestamp::now().strftime(" %Y ").to_string();
    assert!(!made.header("date").contains(&year), "{}", made.header("date"));
    let created: Timestamp = made.json()["dateCreated"].as_str().unwrap().parse().unwrap();
    assert!(Timestamp::now().as_second() - created.as_second() >= 400 * 86_400);
}

#[tokio::test]
async fn a_stranger_makes_a_key_between_two_calls() {
    let gitlab = GitlabDouble::start();
    gitlab.after_call("POST", GITLAB_KEYS, 2, |gitlab| drop(gitlab.make_key("5")));
    gitlab.before_call("GET", GITLAB_KEYS, 1, |gitlab| drop(gitlab.make_key("5")));
    ask(&gitlab, "POST", GITLAB_KEYS, None).await;
    assert_eq!(gitlab.keys_of("5").await.len(), 1);
    ask(&gitlab, "POST", GITLAB_KEYS, None).await;
    assert_eq!(gitlab.keys_of("5").await.len(), 3);
    assert_eq!(ask(&gitlab, "GET", GITLAB_KEYS, None).await.list().len(), 4);
    assert_eq!(ask(&gitlab, "GET", GITLAB_KEYS, None).await.list().len(), 4);

    // And as a fault beside another: the POST does nothing, the stranger's key is there.
    gitlab.fault(Rule::new("POST", "**", Fault::StrangerMakesKey).once());
    gitlab.fault(Rule::new("POST", "**", Fault::Status { status: 500 }).once());
    assert_eq!(ask(&gitlab, "POST", GITLAB_KEYS, None).await.status, 500);
    assert_eq!(gitlab.keys_of("5").await.len(), 5);
}

#[tokio::test]
async fn only_a_certificate_of_the_right_ca_and_name_is_trusted() {
    let (authority, other) = (Authority::create(), Authority::create());
    let sentry = SentryDouble::start_secured(&authority);
    let names = SentryDouble::NAMES;
    assert_eq!(ask(&sentry, "GET", KEYS, None).await.status, 200);
    assert!(sentry.keys_of("acme/shop").await[0].dsn.starts_with("https://"));
    for (certificate, trusted) in
        [(other.issue(names), false), (authority.issue("DNS:elsewhere.example"), false), (authority.issue(names), true)]
    {
        sentry.show(&certificate);
        let answer = try_ask(&sentry, &sentry.token(), "GET", KEYS, None).await;
        assert_eq!(answer.is_ok(), trusted, "{answer:?}");
    }
    assert_eq!(sentry.count("*", "**"), 2);
}

#[tokio::test]
async fn it_is_steered_from_outside_too() {
    let sentry = SentryDouble::start();
    let rule =
        json!({"method": "POST", "path": "/api/0/**", "times": 1, "when": "after", "fault": {"kind": "half_body"}});
    assert_eq!(ask(&sentry, "POST", "/_double/faults", Some(rule)).await.list().len(), 1);
    let half = post(&sentry).await.unwrap();
    assert!(!half.whole);
    let calls = ask(&sentry, "GET", "/_double/calls", None).await.list();
    assert_eq!((calls.len(), &calls[0]["acted"]), (1, &json!(true)));
    for path in ["/_double/faults", "/_double/calls"] {
        assert_eq!(ask(&sentry, "DELETE", path, None).await.status, 204);
        assert!(ask(&sentry, "GET", path, None).await.list().is_empty());
    }

    let limit = json!({"rate_limit": {"calls": 1, "window_milliseconds": 60_000}, "key_rate_limits": false});
    let switches = ask(&sentry, "PATCH", "/_double/switches", Some(limit)).await.json();
    assert_eq!(switches, ask(&sentry, "GET", "/_double/switches", None).await.json());
    assert_eq!((&switches["key_rate_limits"], &switches["key_stats"]), (&json!(false), &json!(true)));
    assert_eq!(post(&sentry).await.unwrap().status, 201);
    assert_eq!(post(&sentry).await.unwrap().status, 429);
    for (method, path, body) in [
        ("PATCH", "/_double/switches", json!({"unknown": true})),
        ("POST", "/_double/faults", json!({"fault": {"kind": "unknown"}})),
    ] {
        assert_eq!(ask(&sentry, method, path, Some(body)).await.status, 400);
    }
}

#[tokio::test]
async fn nobody_answers_when_the_double_is_gone() {
    let gitlab = GitlabDouble::start();
    let address = gitlab.address();
    drop(gitlab);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
