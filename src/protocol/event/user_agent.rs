//! What a `User-Agent` says of browser, system and device, in the words that people who come from Sentry search by.
//!
//! Browsers and systems are told apart by `woothee`. What it does not know is here: applications that show pages, tools
//! that call themselves by a browser's name, and crawlers.

use std::{
    cell::RefCell,
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
};

use serde_json::{Value, json};
use woothee::parser::{Parser, WootheeResult};

use super::{context::Software, crawlers::crawler};

/// What is known of who sent a request; each `None` where nothing says it.
#[derive(Debug)]
pub(super) struct Agent {
    /// The header's value.
    text: String,
    pub(super) browser: Option<Said<Software>>,
    pub(super) os: Option<Said<Software>>,
    /// `iPhone`, `Pixel 7`, `Mac`; `Spider` for a crawler.
    pub(super) device: Option<Said<String>>,
}

/// One thing that an agent says of itself.
#[derive(Debug)]
pub(super) struct Said<T> {
    pub(super) value: T,
    /// The same as a member of an event's contexts, in JSON: `"device":{"family":"Mac","type":"device"}`.
    pub(super) context: String,
}

/// Applications that show pages, then programs that `woothee` takes for the browser they are made of: what stands in
/// front of the version, and the name. The first one counts.
const PRODUCTS: [(&str, &str); 26] = [
    ("FBAV/", "Facebook"),
    ("FBAN/", "Facebook"),
    ("FB_IAB/", "Facebook"),
    ("Instagram ", "Instagram"),
    ("MicroMessenger/", "WeChat"),
    ("Line/", "LINE"),
    ("musical_ly_", "TikTok"),
    ("BytedanceWebview/", "TikTok"),
    ("Snapchat/", "Snapchat"),
    ("LinkedInApp]/", "LinkedIn"),
    ("Pinterest/", "Pinterest"),
    ("Twitter for iPhone/", "Twitter"),
    ("TwitterAndroid/", "Twitter"),
    ("KAKAOTALK ", "KakaoTalk"),
    ("GSA/", "Google"),
    ("Slack_SSB/", "Slack Desktop Client"),
    ("HeadlessChrome/", "HeadlessChrome"),
    ("Electron/", "Electron"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo Mobile"),
    ("UCBrowser/", "UC Browser"),
    ("MiuiBrowser/", "MiuiBrowser"),
    ("Whale/", "Whale"),
    ("QQBrowser/", "QQ Browser"),
    ("Brave/", "Brave"),
];

/// Names of browsers on a phone or tablet: of `woothee`, then as they are called on iOS and elsewhere.
const MOBILE: [(&str, &str, &str); 6] = [
    ("Chrome", "Chrome Mobile iOS", "Chrome Mobile"),
    ("Safari", "Mobile Safari", "Mobile Safari"),
    ("Firefox", "Firefox iOS", "Firefox Mobile"),
    ("Edge", "Edge Mobile", "Edge Mobile"),
    ("Opera", "Opera Mobile", "Opera Mobile"),
    ("Webview", "Mobile Safari UI/WKWebView", "Chrome Mobile WebView"),
];

/// Agents that each thread remembers: to tell them apart takes as long as to parse a small event, and most pages are read
/// with few different ones.
const REMEMBERED: usize = 64;

thread_local! {
    static SEEN: RefCell<Vec<Option<Rc<Agent>>>> = const { RefCell::new(Vec::new()) };
}

impl Agent {
    /// Of a header's value, which the caller has cut to a sensible length.
    pub(super) fn of(user_agent: &str) -> Rc<Self> {
        let mut hasher = DefaultHasher::new();
        user_agent.hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % REMEMBERED as u64).unwrap_or_default();
        SEEN.with_borrow_mut(|seen| {
            seen.resize(REMEMBERED, None);
            if let Some(known) = seen[place].as_ref().filter(|known| known.text == user_agent) {
                return Rc::clone(known);
            }
            let fresh = Rc::new(Self::read(user_agent));
            seen[place] = Some(Rc::clone(&fresh));
            fresh
        })
    }

    fn read(user_agent: &str) -> Self {
        if let Some(product) = crawler(user_agent) {
            let (name, version) = product.split_once('/').unwrap_or((product, ""));
            let browser = Some(Software::new(name, short(version)));
            return Self::new(user_agent, browser, None, Some("Spider".to_owned()));
        }
        let known = Parser::new().parse(user_agent);
        let os = known.as_ref().and_then(os);
        let browser = product(user_agent)
            .or_else(|| known.as_ref().and_then(|known| browser(known, user_agent)))
            .or_else(|| program(user_agent));
        let device = os.as_ref().and_then(|os| device(&os.name, user_agent));
        Self::new(user_agent, browser, os, device)
    }

    fn new(text: &str, browser: Option<Software>, os: Option<Software>, device: Option<String>) -> Self {
        let software = |kind| move |value: Software| Said::new(kind, software_context(&value), value);
        Self {
            text: text.to_owned(),
            browser: browser.map(software("browser")),
            os: os.map(software("os")),
            device: device.map(|family| Said::new("device", json!({ "family": family }), family)),
        }
    }
}

impl<T> Said<T> {
    fn new(kind: &str, mut context: Value, value: T) -> Self {
        context["type"] = json!(kind);
        Self { value, context: format!("\"{kind}\":{context}") }
    }
}

fn software_context(software: &Software) -> Value {
    let Software { name, version } = software;
    match version {
        Some(version) => json!({ "name": name, "version": version }),
        None => json!({ "name": name }),
    }
}

fn product(user_agent: &str) -> Option<Software> {
    let (at, name) = PRODUCTS.iter().find_map(|(mark, name)| Some((user_agent.find(mark)? + mark.len(), name)))?;
    // `FBAN/FBIOS` names the application, not its version.
    Some(Software::new(name, short(&user_agent[at..])))
}

fn browser(known: &WootheeResult<'_>, user_agent: &str) -> Option<Software> {
    if known.browser_type != "browser" || known.name == "UNKNOWN" {
        return None;
    }
    let is_ios = matches!(known.os, "iPhone" | "iPad" | "iPod" | "iOS");
    let is_mobile = matches!(known.category, "smartphone" | "mobilephone");
    let mobile = MOBILE.iter().find(|(name, ..)| is_mobile && *name == known.name);
    let name = match (mobile, known.name) {
        (Some((_, on_ios, elsewhere)), _) => {
            if is_ios {
                on_ios
            } else {
                elsewhere
            }
        }
        (None, "Internet Explorer") => "IE",
        (None, name) => name,
    };
    // That of the page's view is always 4.0.
    let version = if known.name == "Webview" { behind(user_agent, "Chrome/") } else { Some(known.version) };
    Some(Software::new(name, version.and_then(short)))
}

/// A program that is no browser: `curl/8.4.0`.
fn program(user_agent: &str) -> Option<Software> {
    let (name, version) = user_agent.split([' ', '(']).next()?.split_once('/')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic()) && !matches!(name, "Mozilla" | "Dalvik");
    is_name.then(|| Software::new(name, short(version)))
}

fn os(known: &WootheeResult<'_>) -> Option<Software> {
    let version = Some(&*known.os_version).filter(|version| *version != "UNKNOWN");
    let last_word = || version.and_then(|version| version.rsplit(' ').next());
    Some(match known.os {
        "UNKNOWN" => return None,
        "Mac OSX" | "Mac OS Classic" => Software::new("Mac OS X", version.and_then(short)),
        "iPhone" | "iPad" | "iPod" | "iOS" => Software::new("iOS", version.and_then(short)),
        "ChromeOS" => Software::new("Chrome OS", last_word().and_then(short)),
        "Windows UNKNOWN Ver" => Software::new("Windows", None),
        os => match os.split_once(' ') {
            // `10`, `XP`: the number of the kernel says less.
            Some(("Windows", edition)) if edition != "Phone OS" => Software::new("Windows", Some(edition)),
            _ => Software::new(os.trim_end_matches(" OS"), version.and_then(short)),
        },
    })
}

fn device(os: &str, user_agent: &str) -> Option<String> {
    match os {
        "iOS" => ["iPad", "iPod", "iPhone"].into_iter().find(|device| user_agent.contains(device)).map(str::to_owned),
        "Mac OS X" => Some("Mac".to_owned()),
        "Android" => {
            let (_, comment) = user_agent.split_once('(')?;
            let parts = comment.split(')').next()?.split(';').map(str::trim);
            let behind = parts.skip_while(|part| !part.starts_with("Android")).skip(1);
            let model = behind.map(|part| part.split(" Build/").next().unwrap_or(part)).find(|part| is_model(part))?;
            Some(model.to_owned())
        }
        _ => None,
    }
}

/// Whether a part behind `Android 13` names a device: browsers write `K` for those they hide, and `wv` for a view.
fn is_model(part: &str) -> bool {
    let is_locale = matches!(part.as_bytes(), [a, b, b'-' | b'_', c, d]
        if [a, b, c, d].iter().all(|letter| letter.is_ascii_alphabetic()));
    let is_none =
        matches!(part, "" | "K" | "U" | "wv" | "Mobile" | "Tablet" | "arm" | "arm_64") || part.starts_with("rv:");
    !is_locale && !is_none
}

fn behind<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    text.find(mark).map(|at| &text[at + mark.len()..])
}

/// The version that a text begins with, as far as people search by it: three numbers.
fn short(text: &str) -> Option<&str> {
    let is_number = |sign: char| sign.is_ascii_digit() || sign == '.';
    let version = text.split(|sign: char| !is_number(sign)).next()?;
    let end = version.match_indices('.').nth(2).map_or(version.len(), |(end, _)| end);
    Some(version[..end].trim_end_matches('.')).filter(|version| !version.is_empty())
}

#[cfg(test)]
#[path = "user_agent_tests.rs"]
mod tests;
