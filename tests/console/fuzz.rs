//! Whatever is asked for: a page or an answer that says what is wrong, never an error of ours, and nothing of others.
//!
//! Requests are put together from real addresses, fields and values, and from values that nobody means well; which ones
//! is decided by a number, so that a run can be had again: `FUZZ_SEED=7 FUZZ_REQUESTS=20000 cargo test --test console fuzz`.

use std::{collections::BTreeMap, env};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    events,
    sign_in::{FROM_HERE, form_token, page, session, with_rights},
    world::World,
};

const RIGHTS: &[&str] = &[
    "ada get issues web/",
    "ada get events web/",
    "ada get keys web/",
    "ada update issues web/",
    "ada delete issues web/",
];
/// Stands in every event of a project that Ada has no right to.
const OF_OTHERS: &str = "Rocket 4711 exploded";

const METHODS: &[&str] =
    &["GET", "GET", "GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO"];
/// `{}` is filled in.
const PATHS: &[&str] = &[
    "/",
    "/web/shop",
    "/web/shop/issues",
    "/web/shop/issues.json",
    "/web/shop/issues/{}",
    "/web/shop/issues/{}.json",
    "/web/shop/issues/{}/events",
    "/web/shop/issues/{}/events/{}",
    "/web/shop/events/{}/json",
    "/web/shop/keys",
    "/web/shop/health",
    "/web/shop/releases",
    "/web/shop/releases/{}",
    "/web/shop/setup",
    "/web/{}/issues",
    "/{}/{}/issues",
    "/{}/{}/issues/{}",
    "/{}/{}/events/{}/json",
    "/space/rockets",
    "/space/rockets/issues",
    "/space/rockets/issues.json",
    "/space/rockets/issues/{}",
    "/space/rockets/issues/{}.json",
    "/space/rockets/issues/{}/events",
    "/space/rockets/keys",
    "/-/suggest/web/shop.json",
    "/-/suggest/space/rockets.json",
    "/-/suggest/{}/{}.json",
    "/-/go",
    "/-/e/{}",
    "/-/login",
    "/-/oidc/start",
    "/-/oidc/callback",
    "/-/help",
    "/-/ticket",
    "/-/ticket.json",
    "/-/tokens",
    "/-/tokens/revoke",
    "/-/undo/web/shop",
    "/-/undo/space/rockets",
    "/-/undo/{}/{}",
    "/-/static/{}",
    "/-/{}",
    "/{}",
];
/// Of queries and forms. `/-/sessions/end` and `/-/logout` would end the run.
const FIELDS: &[&str] = &[
    "query",
    "before",
    "environment",
    "period",
    "sort",
    "status",
    "narrow",
    "after",
    "done",
    "q",
    "to",
    "issue",
    "action",
    "into",
    "release",
    "assignee",
    "comment",
    "batch",
    "form",
    "form_token",
    "name",
    "days",
    "scope",
    "token",
    "keys",
    "ticket",
    "code",
    "state",
    "error",
    "iss",
    "at",
    "event",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "+1",
    "01",
    "1.5",
    "1e9",
    "0x1",
    "4294967295",
    "4294967296",
    "4294967297",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999999",
    "NaN",
    "null",
    "true",
    "undefined",
    "latest",
    "oldest",
    "..",
    ".",
    "../../etc/passwd",
    "..%2f..",
    "%00",
    "%",
    "%zz",
    "%ff",
    "\0",
    "\u{202e}gnp",
    "\u{feff}",
    "é",
    "💥",
    "a b",
    "\r\nSet-Cookie: a=b",
    "'",
    "\"",
    "\\",
    "`",
    "';DROP TABLE events--",
    "' OR '1'='1",
    "$1",
    "{schema}",
    "%s%n",
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "//evil.example",
    "https://evil.example/",
    "/\\evil.example",
    "data:text/html,x",
    "web/shop/issues",
    "space",
    "rockets",
    "web",
    "shop",
    "SHOP-1",
    "ROCKETS-1",
    "space/ROCKETS-1",
    "Rocket",
    "00000000000000000000000000000000",
    "0123456789abcdef0123456789abcdef",
    "01234567-89ab-cdef-0123-456789abcdef",
    "is:unresolved",
    "is:",
    ":",
    "!",
    "!!",
    "is:new is:regressed",
    "is:[unresolved,",
    "is:[]",
    "level:",
    "level:fatal",
    "timesSeen:>",
    "timesSeen:>-1",
    "timesSeen:>99999999999999999999",
    "firstSeen:-1h",
    "firstSeen:-99999999999d",
    "lastSeen:2026-02-30",
    "lastSeen:>9999-12-31",
    "lastSeen:-262144-01-01",
    "environment:",
    "environment:\"\"",
    "environment:*",
    "release:shop@*",
    "assigned:me",
    "assigned:none",
    "server_name:*",
    "nothing:here",
    "*",
    "***",
    "\"",
    "\"\"",
    "[",
    "]",
    "(",
    "((((((((((",
    "a:b:c",
    "\\\"",
    "%%%",
    "____",
    "24h",
    "14d",
    "30d",
    "all",
    "last_seen",
    "first_seen",
    "events",
    "users",
    "resolve",
    "resolve in",
    "resolve next",
    "ignore",
    "ignore 100 events",
    "ignore -1 events",
    "ignore 99999999999999999999 users",
    "ignore 7 d",
    "reopen",
    "assign",
    "comment",
    "delete",
    "merge",
    "undo",
    "yes",
    "no",
    "on",
    "off",
    "production",
    "event:read",
    "key:write",
    "-9223372036854775808.1",
    "1700000000000000.1",
    "9223372036854775807.4294967295",
    ".",
    "1.",
    ".1",
    "1.1.1",
    "NaN.NaN",
];
const CONTENT_TYPES: &[&str] = &[
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-7",
    "application/json",
    "multipart/form-data; boundary=x",
    "text/plain",
    "",
    "nonsense",
];
const BODIES: &[&[u8]] = &[
    b"",
    b"\0\xff\xfe",
    b"{\"action\":\"delete\"}",
    b"&&&===",
    b"%",
    b"a=%zz",
    b"--x\r\n\r\nx\r\n--x--",
    b"=",
    b"\xf0\x9f",
];

/// The same for the same seed.
struct Dice(StdRng);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0.random_range(0..sides)
    }

    fn of<'c, T: ?Sized>(&mut self, choices: &[&'c T]) -> &'c T {
        choices[self.below(choices.len())]
    }

    /// One of the values, or several, or very many of one.
    fn value(&mut self) -> String {
        match self.below(20) {
            0 => self.of(VALUES).repeat(1 + self.below(2000)),
            1..4 => [self.of(VALUES), " ", self.of(VALUES)].concat(),
            _ => self.of(VALUES).to_owned(),
        }
    }

    /// As a browser writes it, mostly; or as it is, but for what would end the line of the request.
    fn written(&mut self) -> String {
        let value = self.value();
        if self.below(8) > 0 {
            return percent_encode(value.as_bytes(), NON_ALPHANUMERIC).to_string();
        }
        value.replace([' ', '\r', '\n'], "+")
    }

    fn fields(&mut self, token: &str) -> String {
        let mut fields = Vec::new();
        for _ in 0..self.below(5) {
            fields.push(match self.below(10) {
                0 => self.written(),
                _ => format!("{}={}", self.of(FIELDS), self.written()),
            });
        }
        if self.below(3) > 0 {
            fields.push(format!("form_token={token}"));
        }
        fields.join("&")
    }

    fn request(&mut self, cookie: &str, token: &str) -> Vec<u8> {
        let method = self.of(METHODS);
        let mut path = self.of(PATHS).to_owned();
        while path.contains("{}") {
            path = path.replacen("{}", &self.written(), 1);
        }
        if self.below(2) > 0 {
            path = format!("{path}?{}", self.fields(token));
        }
        let body = match (method, self.below(8)) {
            ("GET" | "HEAD", _) => Vec::new(),
            (_, 0) => self.of(BODIES).to_vec(),
            (_, 1) => vec![b'a'; 1 + self.below(40_000)],
            _ => self.fields(token).into_bytes(),
        };
        let content_type = self.of(CONTENT_TYPES);
        let origin = if self.below(8) > 0 { FROM_HERE.1 } else { self.of(&["null", "https://evil.example", "%"]) };
        let cookie = match self.below(12) {
            0 => "",
            1 => "errortracking=x; __Host-errortracking=\u{7f}",
            _ => cookie,
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nOrigin: {origin}\r\nSec-Fetch-Site: same-origin\r\nCookie: {cookie}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }
}

/// Status, and everything that came.
async fn answer(world: &World, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(world.console).await.unwrap();
    // A server that has refused need not read the rest.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

#[tokio::test]
async fn no_request_is_an_error_of_ours_or_shows_what_is_of_others() {
    let number = |name: &str, default| env::var(name).map_or(default, |text| text.parse::<u64>().unwrap());
    let (seed, requests) = (number("FUZZ_SEED", 1), number("FUZZ_REQUESTS", 1500).min(1_000_000));
    let (world, _cluster) = with_rights(RIGHTS).await;
    world.send(&[events::checkout(), events::message("Payment provider failed", "warning")]).await;
    let others = world.another_tenant(&[events::message(OF_OTHERS, "error")]).await;
    let ada = session(&world, "ada").await;
    let shown = page(&world, &ada, "/web/shop/issues").await.body;
    let token = form_token(&shown);

    let mut dice = Dice(StdRng::seed_from_u64(seed));
    let mut statuses = BTreeMap::new();
    for n in 0..requests {
        let request = dice.request(&ada, &token);
        let (status, answer) = answer(&world, &request).await;
        let said = || format!("request {n} of seed {seed}: {}\n\n{answer}", String::from_utf8_lossy(&request));
        assert!((200..500).contains(&status), "{}", said());
        assert!(!answer.contains(OF_OTHERS), "{}", said());
        let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        // What is no request in HTTP, or too long for one, is refused before it reaches a page.
        let is_ours = !matches!(status, 400 | 414 | 431) || head.contains("content-type");
        assert!(!is_ours || head.contains("content-security-policy: default-src 'none'"), "{}", said());
        assert!(!head.contains("set-cookie: a=b") && !head.contains("location: http"), "{}", said());
        assert!(!head.contains("location: //") && !head.contains("location: /\\"), "{}", said());
        *statuses.entry(status).or_insert(0u64) += 1;
    }
    println!("seed {seed}: {requests} requests, by status {statuses:?}");
    assert!(statuses.len() > 5 && statuses[&200] * 20 > requests, "they reach the pages: {statuses:?}");
    // What is of others is as it was.
    assert_eq!(world.errors_of(others).await, [(OF_OTHERS.to_owned(), "unresolved".to_owned())]);
}
