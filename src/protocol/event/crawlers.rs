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

pub(super) fn is_crawler(user_agent: &str) -> bool {
    CRAWLER.as_ref().is_some_and(|crawler| crawler.is_match(user_agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crawlers_are_known_by_their_names() {
        for (user_agent, crawler) in [
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true),
            ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", true),
            ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", true),
            ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", true),
            ("Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", true),
            ("DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)", true),
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", true),
            ("Mozilla/5.0 AppleWebKit/537.36 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", true),
            ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", true),
            ("Mediapartners-Google", true),
            ("Twitterbot", true),
            ("some crawler of mine", true),
            ("", false),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", false),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1", false),
            ("Mozilla/5.0 (Linux; Android 9; CUBOT KING KONG) AppleWebKit/537.36 Chrome/128.0 Mobile", false),
            ("Mozilla/5.0 (Linux; Android 13; Cubot) AppleWebKit/537.36", false),
            ("sentry.python/2.68.0", false),
            ("Mozilla/5.0 robotics-lab/1.0", false),
        ] {
            assert_eq!(is_crawler(user_agent), crawler, "{user_agent}");
        }
    }
}
