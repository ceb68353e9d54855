//! What inputs begin as: requests that are right, one of each kind, and real events where there are any.

use std::{env, fs, io::Write, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

#[path = "../../bench/corpus.rs"]
mod corpus;

/// Long ones take the time of many short ones.
const MAX_SAMPLE_BYTES: usize = 30_000;

const EVENTS: [&str; 9] = [
    r#"{"event_id":"fc6d8c0c43fc4630ad850ee518f1b9d0","timestamp":"2026-11-22T10:00:00.123Z","platform":"python","level":"error","release":"shop@1.2.3","environment":"production","server_name":"web-1","transaction":"/cart","exception":{"values":[{"type":"KeyError","value":"'a'","module":"builtins","mechanism":{"type":"django","handled":false},"stacktrace":{"frames":[{"filename":"app/cart.py","function":"view","module":"app.cart","lineno":10,"colno":5,"in_app":true,"context_line":"    return cart[a]","pre_context":["def view():"],"post_context":[""],"vars":{"cart":{},"password":"x"}},{"filename":"lib/x.py","function":"get","module":"lib.x","lineno":3,"in_app":false}]}}]},"tags":{"a":"b"},"user":{"id":"7","email":"ann@example.com","ip_address":"{{auto}}"},"request":{"url":"https://shop.example/cart?a=1","method":"POST","headers":[["User-Agent","Mozilla/5.0"],["Cookie","sessionid=x; a=b"]],"data":"{\"a\":1,\"password\":\"x\"}","query_string":"a=1&token=x","cookies":{"a":"b"},"env":{"REMOTE_ADDR":"10.0.0.1"}},"contexts":{"runtime":{"name":"CPython","version":"3.13"},"os":{"name":"Linux"}},"extra":{"argv":["a"]},"breadcrumbs":{"values":[{"timestamp":1795341600.5,"type":"http","category":"httplib","data":{"url":"https://u:p@h/"},"message":"GET"}]},"sdk":{"name":"sentry.python","version":"2.68.0"},"modules":{"django":"5.2"}}"#,
    r#"{"message":"user %s not found","logentry":{"message":"user %s not found","params":[5]},"level":"warning","logger":"app","culprit":"f in g"}"#,
    r#"{"platform":"javascript","exception":[{"type":"TypeError","value":"x is undefined","stacktrace":{"frames":[{"filename":"https://cdn.example/app.0123456789abcdef.js?v=1","function":"Object.f [as g]","lineno":1,"colno":99999,"in_app":true},{"filename":"<anonymous>","function":"?","lineno":1}]}}],"request":{"url":"http://localhost:3000/#a","headers":{"Referer":"http://h/","User-Agent":"Googlebot/2.1"}}}"#,
    r#"{"platform":"java","exception":{"values":[{"type":"A","module":"a.b","stacktrace":{"frames":[{"module":"a.B$$Lambda$14/0x0001","function":"lambda$f$0","in_app":true}]}},{"type":"B","value":"10.0.0.1:80 after 3ms, 0x1F, a@b.example"}]},"fingerprint":["{{ default }}","x","{{ tags.a }}"],"tags":[["a","b"],["c","d"]]}"#,
    r#"{"platform":"go","level":"fatal","exception":{"values":[{"type":"*errors.errorString","value":"open /builds/ann/shop/.git: no such file"}]},"sentry.interfaces.User":{"username":"ann"}}"#,
    r#"{"platform":"native","threads":{"values":[{"id":1,"crashed":true,"stacktrace":{"frames":[{"instruction_addr":"0x1","package":"/usr/lib/libc.so.6","function":"std::vector<int>::at(unsigned long) const"}]}}]},"debug_meta":{"images":[]}}"#,
    r#"{"csp":{"effective_directive":"script-src","blocked_uri":"https://evil.example/x.js","document_uri":"https://shop.example/"},"type":"csp"}"#,
    r#"{"type":"feedback","contexts":{"feedback":{"message":"it broke","contact_email":"ann@example.com","name":"Ann","url":"https://h/","associated_event_id":"fc6d8c0c43fc4630ad850ee518f1b9d0"}}}"#,
    "{}",
];

const REPORTS: [&str; 5] = [
    r#"{"sid":"fc6d8c0c43fc4630ad850ee518f1b9d0","did":"ann","init":true,"seq":1,"started":"2026-11-22T09:59:00Z","timestamp":"2026-11-22T10:00:00Z","status":"crashed","errors":2,"duration":1.5,"attrs":{"release":"shop@1.0","environment":"production","ip_address":"10.0.0.1"}}"#,
    r#"{"aggregates":[{"started":"2026-11-22T09:59:00Z","did":"ann","exited":3,"errored":2,"crashed":1,"abnormal":4},{"started":"2026-11-22T09:58:00Z","exited":"2"}],"attrs":{"release":"shop@1.0"}}"#,
    r#"{"timestamp":"2026-11-22T10:00:00Z","discarded_events":[{"reason":"queue_overflow","category":"error","quantity":23},{"reason":"before_send","category":"transaction","quantity":1}]}"#,
    r#"{"event_id":"fc6d8c0c43fc4630ad850ee518f1b9d0","name":"Ann","email":"ann@example.com","comments":"it broke"}"#,
    r#"{"contexts":{"feedback":{"message":"it broke","contact_email":"ann@example.com","name":"Ann","url":"https://h/"}}}"#,
];

const SECURITY: [&str; 4] = [
    r#"{"csp-report":{"document-uri":"https://shop.example/","referrer":"","violated-directive":"script-src 'self'","effective-directive":"script-src","original-policy":"default-src 'self'","blocked-uri":"inline","status-code":200,"line-number":3,"source-file":"https://shop.example/a.js","script-sample":"alert(1)"}}"#,
    r#"[{"type":"csp-violation","age":1,"url":"https://shop.example/","user_agent":"Mozilla/5.0","body":{"documentURL":"https://shop.example/","blockedURL":"eval","effectiveDirective":"script-src","disposition":"enforce","statusCode":200,"lineNumber":1,"columnNumber":2,"sample":"x"}},{"type":"deprecation","body":{"id":"a"}},{"type":"crash"},{"type":"network-error","body":{"phase":"dns"}}]"#,
    r#"{"expect-ct-report":{"hostname":"h"}}"#,
    r#"{"known-pins":["a"],"hostname":"h"}"#,
];

const PATTERNS: [&str; 3] = [
    "re:^Key(Error)?: .*a+$\n*Abort*\nshop@1.?\nKeyError: aaa\nshop@1.2\nAbortError",
    "https://*.example.com\nlocalhost:3000\n*\nhttps://a.example.com:8443/x\nhttp://localhost:3000\nhttp://[::1]:80/",
    "re:(a|b)*c\nre:[a-z]{1,50}\n**a*\nabababab\n",
];

const CREDENTIALS: [&str; 6] = [
    "Sentry sentry_key=fafafafafafafafafafafafafafafafa, sentry_version=7, sentry_client=sentry.python/2.68.0\n\n",
    "Sentry sentry_version=4,sentry_client=raven-go/1.0,sentry_key=fafafafafafafafafafafafafafafafa,sentry_secret=0\nBasic ZmFmYTp4\nsentry_key=fafa&sentry_version=7",
    "\nSentry sentry_key=fafa\nsentry_key=fafa&sentry_data=%7B%7D",
    "http://fafafafafafafafafafafafafafafafa@shop-ingest.web.svc:8080/team/42\nhttps://errors.example.com\n10.0.0.0/8, 192.0.2.7",
    "https://*.example.com\nfd00::/8\n1.1.1.1, 198.51.100.1:4711 , [2001:db8::1]:443",
    "gzip\nutf-8\nmultipart/form-data; boundary=\"a b\"",
];

pub fn events() -> Vec<Vec<u8>> {
    let mut events: Vec<Vec<u8>> = EVENTS.iter().map(|event| event.as_bytes().to_vec()).collect();
    events.extend(corpus::events(2));
    events.extend(samples());
    events
}

/// Real events, which a checkout may have beside it or name in `ERROR_TRACKING_SAMPLES`.
fn samples() -> Vec<Vec<u8>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/events");
    let directory = env::var_os("ERROR_TRACKING_SAMPLES").map_or_else(beside, PathBuf::from);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let json = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.filter_map(|path| fs::read(path).ok()).filter(|event| event.len() <= MAX_SAMPLE_BYTES).collect()
}

pub fn reports() -> Vec<Vec<u8>> {
    REPORTS.iter().map(|report| report.as_bytes().to_vec()).collect()
}

pub fn security() -> Vec<Vec<u8>> {
    SECURITY.iter().map(|report| report.as_bytes().to_vec()).collect()
}

pub fn patterns() -> Vec<Vec<u8>> {
    PATTERNS.iter().map(|lines| lines.as_bytes().to_vec()).collect()
}

pub fn credentials() -> Vec<Vec<u8>> {
    CREDENTIALS.iter().map(|lines| lines.as_bytes().to_vec()).collect()
}

pub fn envelopes() -> Vec<Vec<u8>> {
    let header = r#"{"event_id":"fc6d8c0c43fc4630ad850ee518f1b9d0","sent_at":"2026-11-22T10:00:00Z","dsn":"https://fafa:x@h.example/a/42","sdk":{"name":"sentry.python","version":"2.68.0"},"trace":{"a":"b"}}"#;
    let mut envelopes: Vec<Vec<u8>> = events().iter().map(|event| envelope(header, &[("event", event)])).collect();
    let reports = reports();
    let kinds = ["session", "sessions", "client_report", "user_report", "feedback"];
    let items: Vec<(&str, &Vec<u8>)> = kinds.into_iter().zip(&reports).collect();
    envelopes.push(envelope("{}", &items));
    let attachment = b"\0\n\xff{}\n".to_vec();
    envelopes.push(envelope("{}", &[("attachment", &attachment), ("log", &attachment), ("new_thing", &attachment)]));
    envelopes.push(b"{}\n{\"type\":\"event\"}\n{\"message\":\"a\"}\n{\"type\":\"session\"}\n{}".to_vec());
    envelopes.push(b"{}\n".to_vec());
    // As many items as one envelope may have.
    envelopes.push([b"{}\n".as_slice(), &b"{\"type\":\"session\"}\n{}\n".repeat(500)].concat());
    envelopes
}

fn envelope(header: &str, items: &[(&str, &Vec<u8>)]) -> Vec<u8> {
    let mut body = format!("{header}\n").into_bytes();
    for (kind, payload) in items {
        body.extend(format!("{{\"type\":\"{kind}\",\"length\":{}}}\n", payload.len()).bytes());
        body.extend_from_slice(payload);
        body.push(b'\n');
    }
    body
}

/// A byte that says the coding, as [`super::targets`] reads it, and the body.
pub fn encoded() -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for event in events() {
        for coding in 0..5 {
            bodies.push([&[coding], compressed(coding, &event).as_slice()].concat());
        }
    }
    // Several members or frames, and more than the limit.
    for coding in [1, 4] {
        let part = compressed(coding, b"{\"a\":1}");
        bodies.push([&[coding], part.as_slice(), part.as_slice()].concat());
    }
    for coding in 1..5 {
        bodies.push([&[coding], compressed(coding, &vec![0; 3 << 20]).as_slice()].concat());
    }
    bodies
}

/// 1: gzip, 2: zlib, 3: brotli, 4: zstd.
pub fn compressed(coding: u8, plain: &[u8]) -> Vec<u8> {
    match coding % 5 {
        1 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap()
        }
        2 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap()
        }
        3 => {
            let mut output = Vec::new();
            let parameters = brotli::enc::BrotliEncoderParams { quality: 1, ..Default::default() };
            brotli::BrotliCompress(&mut &*plain, &mut output, &parameters).unwrap();
            output
        }
        4 => zstd::encode_all(plain, 1).unwrap(),
        _ => plain.to_vec(),
    }
}

pub fn store_bodies() -> Vec<Vec<u8>> {
    let events = events();
    let base64 = events.iter().map(|event| STANDARD.encode(event).into_bytes());
    let zlib = events.iter().map(|event| STANDARD.encode(compressed(2, event)).into_bytes());
    let bomb = STANDARD.encode(compressed(2, &vec![b' '; 3 << 20])).into_bytes();
    base64.chain(zlib).chain(events.iter().cloned()).chain([bomb]).collect()
}

/// The media type, a line break, the body.
pub fn minidumps() -> Vec<Vec<u8>> {
    let field = |name: &str, body: &[u8]| {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a;\\\"b\"\r\n\r\n");
        [head.as_bytes(), body, b"\r\n"].concat()
    };
    let form =
        |fields: &[Vec<u8>]| [b"multipart/form-data; boundary=b\n", fields.concat().as_slice(), b"--b--\r\n"].concat();
    let dump = field("upload_file_minidump", b"MDMP\0\0\r\n--c");
    // {"message": "a", "level": 5, "tags": {"a": null}}, two breadcrumbs
    let packed = b"\x83\xa7message\xa1a\xa5level\x05\xa4tags\x81\xa1a\xc0";
    let crumbs = b"\x81\xa9timestamp\xb42026-11-22T10:00:00Z\x81\xa7message\xa1b";
    vec![
        form(&[field("sentry", EVENTS[5].as_bytes()), dump.clone()]),
        form(&[field("__sentry-event", packed), field("__sentry-breadcrumb1", crumbs), dump.clone()]),
        form(&[field("sentry__1", b"{\"message\":"), field("sentry__2", b"\"a\"}"), dump.clone()]),
        form(&[field("sentry[tags][a]", b"b"), field("sentry[release]", b"1"), field("log", b"x"), dump]),
        b"application/octet-stream\nMDMP\0\0".to_vec(),
    ]
}
