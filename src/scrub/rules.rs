//! What is secret: names, words and patterns, and the settings of the project that bend them.

use super::{
    patterns::is_card,
    place::Place,
    signals::{Signals, Words},
};
use crate::settings::Privacy;

/// Stands for what was taken out.
pub(super) const FILTERED: &str = "[Filtered]";

/// Cookies that identify a session or guard a form, in lower case.
const COOKIES: [&str; 23] = [
    "sentrysid",
    "sudo",
    "su",
    "session",
    "__session",
    "sessionid",
    "user_session",
    "symfony",
    "phpsessid",
    "fasthttpsessionid",
    "mysession",
    "irissessionid",
    "_vercel_jwt",
    "csrf",
    "xsrf",
    "_xsrf",
    "_csrf",
    "csrf-token",
    "csrf_token",
    "xsrf-token",
    "xsrf_token",
    "fastcsrf",
    "_iris_csrf",
];

/// The rules of one project.
pub(super) struct Rules {
    pub(super) words: Words,
    has_own_words: bool,
    safe_fields: Vec<String>,
    scrub_data: bool,
    scrub_addresses: bool,
}

impl Rules {
    pub(super) fn new(privacy: &Privacy) -> Self {
        let own = privacy.sensitive_fields.iter().map(|word| word.trim().to_ascii_lowercase());
        let own: Vec<String> = own.filter(|word| privacy.scrub_data && !word.is_empty()).collect();
        Self {
            words: Words::new(own.iter().map(String::as_str), privacy.scrub_ip_addresses),
            has_own_words: !own.is_empty(),
            safe_fields: privacy.safe_fields.clone(),
            scrub_data: privacy.scrub_data,
            scrub_addresses: privacy.scrub_ip_addresses,
        }
    }

    pub(super) fn scrubs_data(&self) -> bool {
        self.scrub_data
    }

    /// Whether texts are looked at at all.
    pub(super) fn look_at_texts(&self) -> bool {
        self.scrub_data || self.scrub_addresses
    }

    pub(super) fn has_own_words(&self) -> bool {
        self.has_own_words
    }

    pub(super) fn is_safe(&self, name: &str) -> bool {
        self.safe_fields.iter().any(|safe| safe.eq_ignore_ascii_case(name))
    }

    pub(super) fn is_secret_name(&self, name: &str, signals: Signals) -> bool {
        let whole_name = || ["otp", "two-factor", "two_factor"].iter().any(|whole| name.eq_ignore_ascii_case(whole));
        self.scrub_data
            && (signals.any(Signals::SECRET | Signals::TOKEN | Signals::OWN_WORD)
                || signals.any(Signals::WHOLE_NAME) && whole_name())
    }

    pub(super) fn is_secret_cookie(&self, name: &str) -> bool {
        self.scrub_data && COOKIES.iter().any(|cookie| name.eq_ignore_ascii_case(cookie))
    }

    /// Whether what stands behind `name=` in a URL is secret.
    pub(super) fn is_secret_parameter(&self, name: &str) -> bool {
        !self.is_safe(name) && self.is_secret_name(name, self.words.signals(name))
    }

    /// Whether a text that an application put in tells of a secret, and so goes whole.
    pub(super) fn is_secret_text(&self, text: &str, signals: Signals) -> bool {
        self.scrub_data && (signals.any(Signals::SECRET) || signals.any(Signals::TOKEN) && has_assigned_token(text))
    }

    /// Whether a number is that of a card.
    pub(super) fn is_card(&self, number: &str) -> bool {
        self.scrub_data && is_card(number)
    }

    /// Place of an attribute that is an address.
    pub(super) fn address(&self, otherwise: Place) -> Place {
        if self.scrub_addresses { Place::Removed } else { otherwise }
    }
}

/// Whether `token` and, before the next blank, a colon or an equals sign follow each other.
fn has_assigned_token(text: &str) -> bool {
    text.split_ascii_whitespace().any(|word| {
        let token = word.as_bytes().windows(5).position(|window| window.eq_ignore_ascii_case(b"token"));
        token.is_some_and(|start| word[start..].contains([':', '=']))
    })
}
