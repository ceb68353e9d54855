use super::*;

const MOZILLA: &str = "Mozilla/5.0";
const WEBKIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
const IPHONE: &str =
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)";

/// Browser, system and device as tags show them.
fn read(user_agent: &str) -> [String; 3] {
    let agent = Agent::of(user_agent);
    let full = |said: Option<&Said<Software>>| said.map(|said| said.value.full_name()).unwrap_or_default();
    let device = agent.device.as_ref().map(|said| said.value.clone());
    [full(agent.browser.as_ref()), full(agent.os.as_ref()), device.unwrap_or_default()]
}

/// Twice: the second time it is remembered.
fn check(user_agent: &str, expected: [&str; 3]) {
    for _ in 0..2 {
        assert_eq!(read(user_agent), expected, "{user_agent}");
    }
}

#[test]
fn browsers_systems_and_devices_have_the_names_that_people_search_by() {
    for (user_agent, expected) in [
        (
            format!("{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/120.0.0.0 Safari/537.36"),
            ["Chrome 120.0.0", "Windows 10", ""],
        ),
        (
            format!(
                "{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91"
            ),
            ["Edge 120.0.2210", "Windows 10", ""],
        ),
        (
            format!("{MOZILLA} (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/119.0.0.0 Safari/537.36 OPR/105.0.0.0"),
            ["Opera 105.0.0", "Windows 10", ""],
        ),
        (format!("{MOZILLA} (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko"), ["IE 11.0", "Windows 7", ""]),
        (
            format!(
                "{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15"
            ),
            ["Safari 17.1", "Mac OS X 10.15.7", "Mac"],
        ),
        (
            format!("{MOZILLA} (X11; Ubuntu; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"),
            ["Firefox 115.0", "Linux", ""],
        ),
        (
            format!("{MOZILLA} (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/119.0.0.0 Safari/537.36"),
            ["Chrome 119.0.0", "Chrome OS 14541.0.0", ""],
        ),
        (
            format!("{MOZILLA} (X11; Linux x86_64) {WEBKIT} HeadlessChrome/119.0.0.0 Safari/537.36"),
            ["HeadlessChrome 119.0.0", "Linux", ""],
        ),
        (
            format!(
                "{MOZILLA} (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/118.0.5993.159 Electron/27.1.3 Safari/537.36"
            ),
            ["Electron 27.1.3", "Mac OS X 10.15.7", "Mac"],
        ),
    ] {
        check(&user_agent, expected);
    }
}

#[test]
fn phones_tablets_and_applications_have_names_too() {
    for (user_agent, expected) in [
        (
            format!("{IPHONE} Version/17.1.2 Mobile/15E148 Safari/604.1"),
            ["Mobile Safari 17.1.2", "iOS 17.1.2", "iPhone"],
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1".to_owned(),
            ["Mobile Safari 16.6", "iOS 16.6", "iPad"],
        ),
        (
            format!("{IPHONE} CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1"),
            ["Chrome Mobile iOS 120.0.6099", "iOS 17.1.2", "iPhone"],
        ),
        (format!("{IPHONE} FxiOS/121.0 Mobile/15E148 Safari/605.1.15"), ["Firefox iOS 121.0", "iOS 17.1.2", "iPhone"]),
        (
            format!("{MOZILLA} (Linux; Android 13; Pixel 7) {WEBKIT} Chrome/120.0.6099.144 Mobile Safari/537.36"),
            ["Chrome Mobile 120.0.6099", "Android 13", "Pixel 7"],
        ),
        (
            format!("{MOZILLA} (Linux; Android 10; K) {WEBKIT} Chrome/120.0.0.0 Mobile Safari/537.36"),
            ["Chrome Mobile 120.0.0", "Android 10", ""],
        ),
        (
            format!("{MOZILLA} (Linux; Android 13; SM-S901B) {WEBKIT} SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36"),
            ["Samsung Internet 23.0", "Android 13", "SM-S901B"],
        ),
        (
            format!("{MOZILLA} (Android 13; Mobile; rv:120.0) Gecko/120.0 Firefox/120.0"),
            ["Firefox Mobile 120.0", "Android 13", ""],
        ),
        (
            format!("{MOZILLA} (Linux; U; Android 7.1.2; de-de; Redmi 5A Build/N2G47H) {WEBKIT} Version/4.0 Chrome/61.0.3163.128 Mobile Safari/537.36 MiuiBrowser/10.1.1"),
            ["MiuiBrowser 10.1.1", "Android 7.1.2", "Redmi 5A"],
        ),
        // Pages that an application shows.
        (
            format!("{MOZILLA} (Linux; Android 12; SM-A515F Build/SP1A.210812.016; wv) {WEBKIT} Version/4.0 Chrome/119.0.6045.193 Mobile Safari/537.36"),
            ["Chrome Mobile WebView 119.0.6045", "Android 12", "SM-A515F"],
        ),
        (format!("{IPHONE} Mobile/15E148"), ["Mobile Safari UI/WKWebView", "iOS 17.1.2", "iPhone"]),
        (
            format!("{MOZILLA} (Linux; Android 12; SM-A515F Build/SP1A.210812.016; wv) {WEBKIT} Version/4.0 Chrome/119.0.6045.193 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/443.0.0.23.229;]"),
            ["Facebook 443.0.0", "Android 12", "SM-A515F"],
        ),
        (
            format!("{IPHONE} Mobile/21B74 Instagram 309.1.1.28.108 (iPhone14,5; iOS 17_1; de_DE; de; scale=3.00)"),
            ["Instagram 309.1.1", "iOS 17.1.2", "iPhone"],
        ),
        (format!("{IPHONE} Mobile/15E148 Safari Line/13.8.1"), ["LINE 13.8.1", "iOS 17.1.2", "iPhone"]),
        (format!("{IPHONE} Mobile/15E148 [LinkedInApp]/9.28.7586"), ["LinkedIn 9.28.7586", "iOS 17.1.2", "iPhone"]),
        (format!("{IPHONE} GSA/293.0.586384914 Mobile/15E148 Safari/604.1"), ["Google 293.0.586384914", "iOS 17.1.2", "iPhone"]),
    ] {
        check(&user_agent, expected);
    }
}

#[test]
fn crawlers_and_programs_are_named_and_nonsense_is_nothing() {
    for (user_agent, expected) in [
        (
            format!(
                "{MOZILLA} (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) {WEBKIT} Chrome/119.0.6045.199 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
            ),
            ["Googlebot 2.1", "", "Spider"],
        ),
        (
            format!("{MOZILLA} {WEBKIT} (compatible; GPTBot/1.2; +https://openai.com/gptbot)"),
            ["GPTBot 1.2", "", "Spider"],
        ),
        ("curl/8.4.0".to_owned(), ["curl 8.4.0", "", ""]),
        ("python-requests/2.31.0".to_owned(), ["python-requests 2.31.0", "", ""]),
        ("Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A)".to_owned(), ["", "Android 13", "Pixel 7"]),
        ("Mozilla/5.0".to_owned(), ["", "", ""]),
        ("-".to_owned(), ["", "", ""]),
        ("(((;;Android".to_owned(), ["", "Android", ""]),
        ("ü/ü Android ü".to_owned(), ["", "Android", ""]),
    ] {
        check(&user_agent, expected);
    }
}

#[test]
fn no_more_agents_are_remembered_than_have_a_place() {
    for number in 0..1000 {
        assert_eq!(read(&format!("curl/{number}.0"))[0], format!("curl {number}.0"));
    }
    SEEN.with_borrow(|seen| assert_eq!(seen.len(), REMEMBERED));
}

#[test]
fn contexts_say_no_more_than_is_known() {
    let agent = Agent::of(&format!("{MOZILLA} (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"));
    let software = |said: Option<&Said<Software>>| said.map(|said| said.context.clone()).unwrap_or_default();
    let [browser, os] = [software(agent.browser.as_ref()), software(agent.os.as_ref())];
    let device = agent.device.as_ref().map(|said| said.context.clone()).unwrap_or_default();
    assert_eq!(browser, r#""browser":{"name":"Firefox","type":"browser","version":"128.0"}"#);
    assert_eq!((os.as_str(), device.as_str()), (r#""os":{"name":"Linux","type":"os"}"#, ""));
}
