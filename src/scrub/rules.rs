//! What is secret: names, words and patterns, and the settings of the project that bend them.

use super::{
    cards::is_card,
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

/// What frameworks call such cookies together with names of their own: `laravel_session`, `connect.sid`.
const COOKIE_PARTS: [&str; 5] = ["sess", "csrf", "xsrf", "remember", "jwt"];

/// Sessions in a URL, and in headers.
const SESSIONS: [&str; 7] = ["jsessionid", "phpsessid", "sessionid", "session_id", "session-id", "x-session-id", "sid"];

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
            && (signals.any(Signals::OWN_WORD)
                || signals.any(Signals::SECRET | Signals::TOKEN) && !describes(name) && !self.is_alike(name)
                || signals.any(Signals::PART) && has_secret_part(name)
                || signals.any(Signals::WHOLE_NAME) && whole_name())
    }

    /// Whether a name only begins like a secret's: an author authorises nobody.
    fn is_alike(&self, name: &str) -> bool {
        const ALIKE: [&str; 3] = ["author", "secretar", "tokeni"];
        let lowered = name.to_ascii_lowercase();
        if !ALIKE.iter().any(|alike| lowered.contains(alike)) {
            return false;
        }
        // Kept: what authorises.
        let mut rest = lowered.replace("authoriz", "auth-iz").replace("authoris", "auth-is");
        for alike in ALIKE {
            rest = rest.replace(alike, "-");
        }
        !self.words.signals(&rest).any(Signals::SECRET | Signals::TOKEN)
    }

    /// Whether a number under such a name counts something: `max_tokens`.
    pub(super) fn is_count(name: &str, signals: Signals) -> bool {
        let others = Signals::SECRET | Signals::OWN_WORD | Signals::PART | Signals::WHOLE_NAME;
        signals.any(Signals::TOKEN) && !signals.any(others) && {
            let lowered = name.to_ascii_lowercase();
            lowered.contains("tokens") || ["max", "min", "num", "total"].iter().any(|word| lowered.starts_with(word))
        }
    }

    /// Whether a text of this name is secret in a form, a query or a text.
    pub(super) fn is_secret_value(&self, name: &str, value: &str) -> bool {
        let signals = self.words.signals(name);
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        !self.is_safe(name) && self.is_secret_name(name, signals) && !(is_number && Self::is_count(name, signals))
    }

    pub(super) fn is_secret_cookie(&self, name: &str) -> bool {
        let lowered = || name.to_ascii_lowercase();
        let tells = |name: String| COOKIE_PARTS.iter().any(|part| name.contains(part)) || name.ends_with("sid");
        self.scrub_data && (COOKIES.iter().any(|cookie| name.eq_ignore_ascii_case(cookie)) || tells(lowered()))
    }

    /// Whether what stands behind `name=` in a URL is secret.
    pub(super) fn is_secret_parameter(&self, name: &str, value: &str) -> bool {
        self.is_secret_value(name, value) || !self.is_safe(name) && Self::is_session(name)
    }

    /// Whether a name is that of a session, where no cookies are.
    pub(super) fn is_session(name: &str) -> bool {
        SESSIONS.iter().any(|session| name.eq_ignore_ascii_case(session))
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

/// Whether a name ends with what is known of a secret and is none: `token_type`, `password_changed_at`.
fn describes(name: &str) -> bool {
    const ABOUT: [&str; 20] = [
        "at",
        "count",
        "counts",
        "length",
        "type",
        "limit",
        "size",
        "expiry",
        "expires",
        "expired",
        "expiration",
        "ttl",
        "policy",
        "strength",
        "required",
        "valid",
        "enabled",
        "usage",
        "remaining",
        "in",
    ];
    let (before, last) = last_part(name);
    !before.is_empty() && ABOUT.iter().any(|about| last.eq_ignore_ascii_case(about))
}

/// Whether one of the words of a name is `cvv` or `jwt`, or its last one `pass` or `pwd`. `PWD` is where a shell stands.
fn has_secret_part(name: &str) -> bool {
    if matches!(name, "PWD" | "OLDPWD") {
        return false;
    }
    let (mut rest, last) = last_part(name.trim_end_matches(|end: char| end.is_ascii_digit()));
    if ["pass", "pwd", "passphrase", "passcode"].iter().any(|word| last.eq_ignore_ascii_case(word)) {
        return true;
    }
    let mut part = last;
    loop {
        if ["cvv", "cvc", "jwt"].iter().any(|word| part.eq_ignore_ascii_case(word)) {
            return true;
        }
        if rest.is_empty() {
            return false;
        }
        (rest, part) = last_part(rest);
    }
}

/// The last word of `dbPass`, `db_pass` and `db.pass`, and what stands before it.
fn last_part(name: &str) -> (&str, &str) {
    let name = name.trim_end_matches(|end: char| !end.is_ascii_alphanumeric());
    let bytes = name.as_bytes();
    let starts_word = |at: &usize| {
        !bytes[at - 1].is_ascii_alphanumeric() || bytes[*at].is_ascii_uppercase() && bytes[at - 1].is_ascii_lowercase()
    };
    let at = (1..bytes.len()).rev().find(starts_word).unwrap_or_default();
    name.split_at(name.floor_char_boundary(at))
}
