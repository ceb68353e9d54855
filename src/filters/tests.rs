use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::protocol::event::{self, EventId, Receipt};

fn event(payload: &Value) -> Event {
    let receipt = Receipt::at(Timestamp::UNIX_EPOCH, EventId([1; 16]));
    event::parse(payload.to_string().as_bytes(), &receipt).unwrap()
}

fn compiled(filters: Value) -> Compiled {
    let (compiled, errors) = Compiled::new(&serde_json::from_value(filters).unwrap());
    assert_eq!(errors, []);
    compiled
}

fn reason(filters: Value, payload: &Value) -> Option<&'static str> {
    compiled(filters).check(&event(payload), None).map(FilterReason::name)
}

#[test]
fn a_project_that_says_nothing_takes_everything() {
    assert_eq!(serde_json::from_str::<Filters>("{}").unwrap(), Filters::default());
    let json = json!({
        "ignoreErrors": [], "ignoreReleases": [], "ignoreEnvironments": [], "allowedOrigins": ["*"],
        "ignoreLocalhost": false, "ignoreCrawlers": false,
    });
    assert_eq!(serde_json::to_value(Filters::default()).unwrap(), json);
    let event = event(&json!({
        "message": "", "request": {"url": "http://localhost/", "headers": {"User-Agent": "Googlebot/2.1"}},
    }));
    assert_eq!(Compiled::default().check(&event, Some("Googlebot/2.1")), None);
    assert!(Compiled::default().allows_origin(Some("https://any.example")));
}

#[test]
fn errors_are_ignored_by_type_value_and_message() {
    let exception = json!({"exception": [{"type": "Cause", "value": "c"}, {"type": "KeyError", "value": "'user 5'"}]});
    let message = json!({"logentry": {"message": "user %s left", "params": ["ann"]}});
    for (entry, payload, ignored) in [
        ("KeyError", &exception, true),
        ("keyerror", &exception, true),
        ("KeyError: 'user 5'", &exception, true),
        ("KeyError: *", &exception, true),
        ("*user*", &exception, true),
        ("'user 5'", &exception, false),
        ("Cause", &exception, false),
        ("Key", &exception, false),
        ("re:^KeyError", &exception, true),
        ("re:user \\d", &exception, true),
        ("re:^keyerror", &exception, false),
        ("re:(?i)^keyerror", &exception, true),
        ("re:^user", &exception, false),
        ("user ann left", &message, true),
        ("user %s left", &message, true),
        ("re:^user (ann|bob)", &message, true),
        ("user", &message, false),
        ("*", &json!({}), false),
        ("re:", &exception, true),
        ("", &exception, false),
    ] {
        let expected = ignored.then_some("ignored_error");
        assert_eq!(reason(json!({"ignoreErrors": ["never", entry]}), payload), expected, "{entry} {payload}");
    }
    assert_eq!(
        reason(json!({"ignoreErrors": ["only a value"]}), &json!({"exception": [{"value": "only a value"}]})),
        Some("ignored_error")
    );
}

#[test]
fn of_expressions_that_are_too_large_together_the_first_count() {
    let entry = |number: usize| format!("re:{}{number}$", r"\w{4}".repeat(2));
    let entries: Vec<String> = (0..100).map(entry).collect();
    let (compiled, errors) = Compiled::new(&Filters { ignore_errors: entries.clone(), ..Filters::default() });
    let refused: Vec<&str> = errors.iter().map(|error| error.entry.as_str()).collect();
    let fit = entries.len() - refused.len();
    assert!(fit > 1 && fit < 99, "{fit}");
    assert_eq!(refused, entries[fit..]);
    let message = |number: usize| event(&json!({"message": format!("abcdefgh{number}")}));
    assert_eq!(compiled.check(&message(fit - 1), None), Some(FilterReason::IgnoredError));
    assert_eq!(compiled.check(&message(fit), None), None);
}

#[test]
fn what_is_followed_is_followed_again() {
    let large = |number: usize| format!("re:{}{number}$", r"\w{4}".repeat(2));
    let ignore_errors = ["re:(", "KeyError"].map(str::to_owned).into_iter().chain((0..60).map(large)).collect();
    let filters = Filters { ignore_errors, ..Filters::default() };
    let (usable, errors) = followed(filters.clone());
    assert!(usable.ignore_errors.len() > 2 && errors.len() > 2);
    assert_eq!(usable.ignore_errors.len() + errors.len(), filters.ignore_errors.len());
    assert!(errors.iter().all(|error| filters.ignore_errors[error.index] == error.entry));
    assert_eq!(followed(usable.clone()), (usable, vec![]));
}

#[test]
fn the_beginning_of_a_message_is_compared() {
    for (blanks, ignored) in [(MAX_TEXT_BYTES - 5, true), (MAX_TEXT_BYTES - 4, false)] {
        let payload = json!({"message": format!("ü{}end", ".".repeat(blanks))});
        let expected = ignored.then_some("ignored_error");
        assert_eq!(reason(json!({"ignoreErrors": ["re:end$"]}), &payload), expected, "{blanks}");
    }
}

#[test]
fn releases_and_environments_are_ignored_by_name() {
    for (filters, payload, expected) in [
        (json!({"ignoreReleases": ["1.*"]}), json!({"release": "1.4"}), Some("ignored_release")),
        (json!({"ignoreReleases": ["1.*"]}), json!({"release": "2.1.4"}), None),
        (json!({"ignoreReleases": ["*"]}), json!({}), None),
        (
            json!({"ignoreEnvironments": ["dev*", "test"]}),
            json!({"environment": "Development"}),
            Some("ignored_environment"),
        ),
        (
            json!({"ignoreEnvironments": ["dev*", "test"]}),
            json!({"tags": {"environment": "test"}}),
            Some("ignored_environment"),
        ),
        (json!({"ignoreEnvironments": ["dev*", "test"]}), json!({"environment": "production"}), None),
    ] {
        assert_eq!(reason(filters.clone(), &payload), expected, "{filters} {payload}");
    }
}

#[test]
fn the_own_machine_and_crawlers_are_ignored() {
    let localhost = json!({"ignoreLocalhost": true});
    for (payload, local) in [
        (json!({"request": {"url": "http://localhost:3000/cart"}}), true),
        (json!({"user": {"ip_address": "127.0.0.1"}}), true),
        (json!({"user": {"ip_address": "::1"}}), true),
        (json!({"request": {"env": {"REMOTE_ADDR": "127.0.0.1"}}}), true),
        (json!({"user": {"ip_address": "10.0.0.7"}, "request": {"url": "https://shop.example/"}}), false),
        (json!({"server_name": "localhost"}), false),
    ] {
        assert_eq!(reason(localhost.clone(), &payload), local.then_some("localhost"), "{payload}");
    }
    let crawlers = compiled(json!({"ignoreCrawlers": true}));
    let page = |user_agent: &str| event(&json!({"request": {"headers": {"User-Agent": user_agent}}}));
    for (event, user_agent, crawler) in [
        (page("Googlebot/2.1"), None, true),
        (page("Firefox/128.0"), Some("Googlebot/2.1"), true),
        (event(&json!({})), Some("Googlebot/2.1"), true),
        (page("Firefox/128.0"), Some("Firefox/128.0"), false),
        (event(&json!({})), None, false),
    ] {
        assert_eq!(crawlers.check(&event, user_agent), crawler.then_some(FilterReason::Crawler), "{user_agent:?}");
    }
}

#[test]
fn an_unreadable_expression_is_told_and_the_others_count() {
    let filters = Filters {
        ignore_errors: ["re:(", "KeyError", "re:^Abort", "re:a{1000}{1000}"].map(str::to_owned).to_vec(),
        ..Filters::default()
    };
    let (compiled, errors) = Compiled::new(&filters);
    let told: Vec<_> = errors.iter().map(|error| (error.list.name(), error.entry.as_str())).collect();
    assert_eq!(told, [("ignoreErrors", "re:("), ("ignoreErrors", "re:a{1000}{1000}")]);
    assert!(errors[0].to_string().starts_with(r#"ignoreErrors: "re:(" is not a pattern"#), "{}", errors[0]);
    for name in ["KeyError", "AbortError"] {
        let event = event(&json!({"exception": [{"type": name}]}));
        assert_eq!(compiled.check(&event, None), Some(FilterReason::IgnoredError), "{name}");
    }
}

#[test]
fn programs_without_an_origin_may_always_report() {
    let filters = compiled(json!({"allowedOrigins": ["https://*.example.com", "localhost:3000"]}));
    for (origin, allowed) in [
        (None, true),
        (Some("https://shop.example.com"), true),
        (Some("https://shop.example.com/cart?x"), true),
        (Some("http://localhost:3000"), true),
        (Some("https://evil.example"), false),
        (Some("null"), false),
    ] {
        assert_eq!(filters.allows_origin(origin), allowed, "{origin:?}");
    }
}

proptest! {
    #[test]
    fn any_settings_can_be_used(entries in proptest::collection::vec("(re:)?\\PC{0,20}|[*./:a-z\\[\\]{}()|?+]{0,12}", 0..6), text in "\\PC{0,40}") {
        let filters = Filters {
            ignore_errors: entries.clone(),
            ignore_releases: entries.clone(),
            ignore_environments: entries.clone(),
            allowed_origins: entries,
            ignore_localhost: true,
            ignore_crawlers: true,
        };
        let (compiled, _) = Compiled::new(&filters);
        let event = event(&json!({"message": text, "release": text, "request": {"url": text}}));
        let _ = (compiled.check(&event, Some(&text)), compiled.allows_origin(Some(&text)));
    }
}
