//! Secrets planted where SDKs put them, and harmless texts beside them: `make test-scrub`. The names are obvious fakes.

use std::{env, fs, path::PathBuf};

use serde_json::{Value, json};

use super::Scrubber;
use crate::settings::Privacy;

const SECRET: &str = "hunter2planted";

/// Under these names a value is secret.
const SECRET_NAMES: [&str; 32] = [
    "password",
    "Passwd",
    "pwd",
    "pass",
    "passphrase",
    "passcode",
    "secret",
    "client_secret",
    "api_key",
    "x-api-key",
    "apiKey",
    "access_key",
    "AccessKey",
    "token",
    "access_token",
    "refreshToken",
    "csrf_token",
    "jwt",
    "id_jwt",
    "cvv",
    "card_cvc",
    "credentials",
    "private_key",
    "privateKey",
    "authorization",
    "Proxy-Authorization",
    "auth",
    "oauth",
    "db_password",
    "dbPass",
    "MYSQL_PWD",
    "smtp.pass",
];

/// A text with a secret in it.
const SECRET_TEXTS: [&str; 32] = [
    "password=hunter2planted",
    "password: hunter2planted",
    "connection failed: host=db user=app password=hunter2planted port=5432",
    "Server=db;User Id=app;Password=hunter2planted;Pooling=true",
    "SQLSTATE[28P01] pwd='hunter2planted'",
    "{\"password\":\"hunter2planted\", cut",
    "login?user=ann&token=hunter2planted&x=1",
    "GET https://h.example/p?api_key=hunter2planted&page=2 failed",
    "--password hunter2planted --verbose",
    "mysql --host=db --password=hunter2planted shop",
    "Authorization: Bearer hunter2planted",
    "authorization: Basic YXBwOmh1bnRlcjJwbGFudGVk",
    "sent Bearer hunter2planted",
    "sent Basic YXBwOmh1bnRlcjJwbGFudGVk",
    "postgres://app:hunter2planted@db.example/shop",
    "redis://:hunter2planted@cache:6379/0",
    "<login><password>hunter2planted</password></login>",
    "the password is hunter2planted",
    "secret => 'hunter2planted'",
    "api-key: hunter2planted",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwbGFudGVkIn0.cGxhbnRlZHBsYW50ZWQ",
    "key AKIAPLANTEDPLANTED00 was refused",
    "ghp_plantedplantedplantedplantedplanted0 was refused",
    "github_pat_plantedplantedplanted0000 was refused",
    "glpat-plantedplanted000000 was refused",
    "xoxb-0000000000-planted was refused",
    "sk_live_plantedplanted00000000 was refused",
    "AIzaplantedplantedplantedplantedplanted000 was refused",
    "card 4111 1111 1111 1111 declined",
    "card 378282246310005 declined",
    "from DE89370400440532013000",
    "ssn 078-05-1120 of ann",
];

/// What of those texts may never be stored.
const TRACES: [&str; 15] = [
    "hunter2planted",
    "YXBwOmh1bnRlcjJwbGFudGVk",
    "eyJzdWIi",
    "AKIAPLANTED",
    "ghp_planted",
    "github_pat_planted",
    "glpat-planted",
    "xoxb-0000",
    "sk_live_planted",
    "AIzaplanted",
    "4111 1111",
    "378282246310005",
    "DE893704",
    "078-05-1120",
    "plantedplanted",
];

/// Names whose values tell nothing.
const HARMLESS_NAMES: [&str; 22] = [
    "author",
    "authority",
    "authored_at",
    "co_authors",
    "authors",
    "max_tokens",
    "input_tokens",
    "token_count",
    "token_type",
    "total_tokens",
    "tokenizer",
    "passed",
    "bypass",
    "compass",
    "passenger",
    "pass_rate",
    "hotpot",
    "secretary",
    "key",
    "keyboard",
    "password_length",
    "monkey",
];

const HARMLESS_TEXTS: [&str; 30] = [
    "the authentication failed",
    "user is not authorized to see this cart",
    "the password was wrong",
    "invalid password",
    "password: must have at least eight characters",
    "forgot your password?",
    "Unexpected token: x",
    "Unexpected token '<', \"<html>\" is not valid JSON",
    "invalid auth token: none",
    "token abc",
    "the author of the book",
    "max_tokens=100 exceeded",
    "basic authentication is off",
    "the basic plan",
    "https://h.example/p?page=2&author=ann",
    "password_reset_required",
    "41111111-1111-4111-8111-111111111111",
    "0.4532015112830366",
    "order 4111111111111112 is gone",
    "id 1732269600123456",
    "DE00370400440532013000",
    "GB1234567890123456",
    "Asia/Tokyo",
    "task-7 of disk-3",
    "ghp_short",
    "version 4.0.0-rc.1",
    "2026-11-22T10:00:00Z",
    "at shop.cart.pay(cart.py:12)",
    "password=null",
    "password=%s",
];

/// An event with a text in one place.
fn of_text(place: &str, text: &str) -> Value {
    match place {
        "message" => json!({"message": text}),
        "exception" => json!({"exception": {"values": [{"type": "E", "value": text}]}}),
        "tag" => json!({"tags": [["detail", text]]}),
        "extra" => json!({"extra": {"detail": text}}),
        "context" => json!({"contexts": {"app": {"detail": text}}}),
        "breadcrumb" => json!({"breadcrumbs": {"values": [{"message": text}]}}),
        "data" => json!({"breadcrumbs": {"values": [{"data": {"detail": text}}]}}),
        "variable" => {
            let frame = json!({"function": "f", "vars": {"detail": text}});
            json!({"exception": {"values": [{"type": "E", "stacktrace": {"frames": [frame]}}]}})
        }
        "header" => json!({"request": {"headers": [["X-Detail", text]]}}),
        "nested" => json!({"extra": {"detail": json!({"inner": [text]}).to_string()}}),
        _ => json!({"logentry": {"message": "%s", "params": [text], "formatted": text}}),
    }
}

const TEXT_PLACES: [&str; 11] =
    ["message", "exception", "tag", "extra", "context", "breadcrumb", "data", "variable", "header", "nested", "params"];

/// An event with a value under a name in one place.
fn of_name(place: &str, name: &str, value: &Value) -> Value {
    match place {
        "extra" => json!({"extra": {name: value}}),
        "context" => json!({"contexts": {"app": {name: value}}}),
        "tag" => json!({"tags": {name: value}}),
        "header" => json!({"request": {"headers": {name: value}}}),
        "environment" => json!({"request": {"env": {name: value}}}),
        "body" => json!({"request": {"data": {"user": {name: value}}}}),
        "query" => json!({"request": {"query_string": [[name, value]]}}),
        "cookie" => json!({"request": {"cookies": {name: value}}}),
        "breadcrumb" => json!({"breadcrumbs": {"values": [{"data": {name: value}}]}}),
        "json" => json!({"extra": {"body": json!({name: value}).to_string()}}),
        _ => {
            let frame = json!({"function": "f", "vars": {name: value}});
            json!({"exception": {"values": [{"type": "E", "stacktrace": {"frames": [frame]}}]}})
        }
    }
}

const NAME_PLACES: [&str; 11] =
    ["extra", "context", "tag", "header", "environment", "body", "query", "cookie", "breadcrumb", "json", "variable"];

/// As `@sentry/node` 11 collects by default: headers, cookies, query, body and user.
fn collected_by_default() -> Value {
    json!({
        "platform": "node",
        "user": {"id": "7", "email": "ann@shop.example", "ip_address": "10.0.0.7"},
        "request": {
            "method": "POST", "url": "https://shop.example/login?next=%2Fcart&token=hunter2planted",
            "query_string": "next=%2Fcart&token=hunter2planted",
            "headers": {
                "authorization": "Bearer hunter2planted", "cookie": "theme=dark; connect.sid=hunter2planted",
                "x-csrf-token": "hunter2planted", "x-api-key": "hunter2planted", "x-session-id": "hunter2planted",
                "user-agent": "Firefox/150.0", "accept-language": "de", "referer": "https://shop.example/?access_token=hunter2planted",
            },
            "cookies": {
                "theme": "dark", "connect.sid": "hunter2planted", "laravel_session": "hunter2planted", "remember_me": "hunter2planted",
                "next-auth.session-token": "hunter2planted", "XSRF-TOKEN": "hunter2planted",
            },
            "data": "{\"user\":\"ann\",\"password\":\"hunter2planted\",\"items\":[1,2]}",
        },
    })
}

struct Case {
    name: String,
    sent: Value,
    is_planted: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = vec![Case { name: "JavaScript 11".to_owned(), sent: collected_by_default(), is_planted: true }];
    let mut add = |name: String, sent: Value, is_planted: bool| cases.push(Case { name, sent, is_planted });
    for place in TEXT_PLACES {
        for text in SECRET_TEXTS {
            add(format!("{place}: {text}"), of_text(place, text), true);
        }
        for text in HARMLESS_TEXTS {
            add(format!("{place}: {text}"), of_text(place, text), false);
        }
    }
    for place in NAME_PLACES {
        for name in SECRET_NAMES {
            add(format!("{place} {name}"), of_name(place, name, &json!(SECRET)), true);
        }
        for name in HARMLESS_NAMES {
            let value = if name.contains("tokens") || name.contains("count") { json!(100) } else { json!("plain") };
            add(format!("{place} {name}"), of_name(place, name, &value), false);
        }
    }
    cases
}

/// Events of real clients, which a checkout may have beside it.
fn samples() -> Vec<Case> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/events");
    let Ok(entries) = fs::read_dir(env::var_os("ERROR_TRACKING_SAMPLES").map_or(beside, PathBuf::from)) else {
        println!("skipped: no sample events");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let json = paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| Case {
        name: "sample event".to_owned(),
        sent: serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
        is_planted: false,
    })
    .collect()
}

#[test]
fn planted_secrets_go_and_harmless_texts_stay() {
    let scrubber = Scrubber::new(&Privacy::default());
    let clean = |sent: &Value| -> Value {
        let payload = sent.to_string();
        let cleaned = scrubber.clean(payload.as_bytes(), None).unwrap();
        serde_json::from_slice(&cleaned.payload).unwrap()
    };
    let cases = cases();
    let (mut leaked, mut destroyed) = (0, 0);
    for Case { name, sent, is_planted } in &cases {
        let stored = clean(sent);
        let text = stored.to_string();
        if *is_planted && TRACES.iter().any(|trace| text.contains(trace)) {
            leaked += 1;
            println!("leaked: {name}: {text}");
        } else if !*is_planted && stored != *sent {
            destroyed += 1;
            println!("destroyed: {name}: {text}");
        }
    }
    let off = Scrubber::new(&Privacy { scrub_data: false, ..Privacy::default() });
    let is_found = |case: &&Case| {
        let payload = case.sent.to_string();
        let cleaned = off.clean(payload.as_bytes(), None).unwrap();
        let text = String::from_utf8_lossy(&cleaned.payload).into_owned();
        TRACES.iter().any(|trace| text.contains(trace))
    };
    let found = cases.iter().filter(|case| case.is_planted).filter(is_found).count();
    assert_eq!(found, cases.iter().filter(|case| case.is_planted).count(), "every secret is one that can be found");
    let stored = clean(&collected_by_default());
    assert_eq!(stored["user"], collected_by_default()["user"], "the user stays usable");
    assert_eq!(stored["request"]["headers"]["user-agent"], "Firefox/150.0");
    let planted = cases.iter().filter(|case| case.is_planted).count();
    let harmless = cases.len() - planted;
    if let Some(path) = env::var_os("ERROR_TRACKING_SCRUB_CASES") {
        let all = cases.into_iter().chain(samples());
        let all: Vec<Value> = all
            .map(|Case { name, sent, is_planted }| {
                json!({"name": name, "planted": is_planted, "cleaned": clean(&sent), "sent": sent})
            })
            .collect();
        fs::write(path, json!(all).to_string()).unwrap();
    }
    println!("scrub: {planted} secrets planted, {leaked} leaked, {harmless} harmless, {destroyed} destroyed");
    assert_eq!((leaked, destroyed), (0, 0));
}
