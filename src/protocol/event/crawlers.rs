//! Programs that read the web on their own, by what they call themselves.

use std::sync::LazyLock;

use regex::Regex;

/// Word ends that mark a crawler: `Googlebot/2.1`, `(compatible; bingbot/2.0)`, `SomeSpider`. `Cubot` is a
/// brand of phones.
const ENDINGS: [&str; 4] = [r"(?:^|[^u])bots?(?:[/;,)_+ -]|$)", r"spider(?:[/;,)_+ -]|$)", r"crawler", r"crawl/"];

/// Those whose names do not end so. Each operator documents its own.
const NAMES: [&str; 26] = [
    "adsbot-google",
    "apis-google",
    "archive\\.org_bot",
    "bingpreview",
    "bytespider",
    "chatgpt-user",
    "claude-user",
    "cohere-ai",
    "facebookexternalhit",
    "facebookcatalog",
    "feedfetcher-google",
    "google-inspectiontool",
    "google-read-aloud",
    "googleother",
    "ia_archiver",
    "mediapartners-google",
    "meta-externalagent",
    "pingdom",
    "screaming frog",
    "slackbot-linkexpanding",
    "slurp",
    "sogou",
    "storebot-google",
    "uptimerobot",
    "whatsapp/",
    "yandex(?:bot|images|metrika|accessibilitybot)",
];

static CRAWLER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let alternatives = [&ENDINGS[..], &NAMES[..]].concat().join("|");
    Regex::new(&format!("(?i){alternatives}")).ok()
});

/// The product that says so: `Googlebot/2.1` of `Mozilla/5.0 (compatible; Googlebot/2.1; +http://…)`.
#[must_use]
pub fn crawler(user_agent: &str) -> Option<&str> {
    let found = CRAWLER.as_ref()?.find(user_agent)?;
    // A word begins with the sign before it.
    let at = found.start() + found.as_str().find(|sign: char| sign.is_ascii_alphabetic()).unwrap_or_default();
    let is_end = |sign: char| !sign.is_ascii_alphanumeric() && !"-_./".contains(sign);
    let start = at - user_agent[..at].rsplit(is_end).next().map_or(0, str::len);
    let end = user_agent[at..].find(is_end).map_or(user_agent.len(), |end| at + end);
    Some(user_agent[start..end].trim_end_matches('/')).filter(|product| !product.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_are_known_by_their_names() {
        for (user_agent, expected) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Some("Googlebot/2.1")),
            ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", Some("bingbot/2.0")),
            ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", Some("YandexBot/3.0")),
            ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", Some("AhrefsBot/7.0")),
            (
                "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
                Some("Baiduspider/2.0"),
            ),
            ("DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)", Some("DuckDuckBot/1.1")),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", Some("Slackbot-LinkExpanding")),
            ("Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", Some("GPTBot/1.2")),
            (
                "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
                Some("facebookexternalhit/1.1"),
            ),
            ("Mediapartners-Google", Some("Mediapartners-Google")),
            ("Twitterbot", Some("Twitterbot")),
            ("some crawler of mine", Some("crawler")),
            ("ärger crawl/1 ü", Some("crawl/1")),
            ("Goo\u{feff}glebot/2.1", Some("glebot/2.1")),
            ("Mozilla (ü€bot)", Some("bot")),
            ("", None),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", None),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1", None),
            ("Mozilla/5.0 (Linux; Android 9; CUBOT KING KONG) AppleWebKit/537.36 Chrome/128.0 Mobile", None),
            ("Mozilla/5.0 (Linux; Android 13; Cubot) AppleWebKit/537.36", None),
            ("sentry.python/2.68.0", None),
            ("Mozilla/5.0 robotics-lab/1.0", None),
        ] {
            assert_eq!(crawler(user_agent), expected, "{user_agent}");
        }
    }
}
