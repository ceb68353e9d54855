//! Which events a project does not want: errors, releases and environments by name, crawlers, developers'
//! own machines, pages of foreign origins. Pure: settings and an event come in, a reason goes out. Used by
//! `ingest`, and by the operator to tell people which pattern is unreadable.

mod crawlers;
mod glob;
mod host;
mod origin;

use std::net::IpAddr;

use regex::{Regex, RegexSet, RegexSetBuilder};

use self::origin::AllowedOrigins;
use crate::{
    protocol::event::Event,
    settings::{Filters, ignore_expression},
};

/// What all expressions of one list may take in memory: a pattern must not cost more than the events it stops.
const MAX_REGEX_BYTES: usize = 2 << 20;

/// What is looked at of a message: the worst expressions take their size times its length, and one project must not
/// keep the ingest of many busy.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// An entry that cannot be used. The others of its list still count.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{field}: {entry:?} is not a pattern: {source}")]
pub struct FilterError {
    /// Name of the list in the custom resource.
    pub field: &'static str,
    pub entry: String,
    source: regex::Error,
}

/// Why an event is dropped; the words are those of Sentry's own outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterReason {
    ErrorMessage,
    Release,
    Environment,
    Localhost,
    Crawler,
}

impl FilterReason {
    /// A word of a closed set, fit for a metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ErrorMessage => "error-message",
            Self::Release => "release-version",
            Self::Environment => "environment",
            Self::Localhost => "localhost",
            Self::Crawler => "web-crawlers",
        }
    }
}

/// Filters made ready to look at many events.
#[derive(Clone, Debug)]
pub struct Compiled {
    error_globs: Option<Regex>,
    error_expressions: RegexSet,
    releases: Option<Regex>,
    environments: Option<Regex>,
    origins: AllowedOrigins,
    ignore_localhost: bool,
    ignore_crawlers: bool,
}

impl Default for Compiled {
    fn default() -> Self {
        Self::new(&Filters::default()).0
    }
}

impl Compiled {
    /// Filters of every entry that can be read, and what is wrong with the others.
    #[must_use]
    pub fn new(filters: &Filters) -> (Self, Vec<FilterError>) {
        let mut errors = Vec::new();
        let globs = |entries: &[String]| glob::any_of(entries.iter().map(String::as_str));
        let error_globs = filters.ignore_errors.iter().filter(|entry| ignore_expression(entry).is_none());
        let compiled = Self {
            error_globs: glob::any_of(error_globs.map(String::as_str)),
            error_expressions: readable(&filters.ignore_errors, &mut errors),
            releases: globs(&filters.ignore_releases),
            environments: globs(&filters.ignore_environments),
            origins: AllowedOrigins::new(&filters.allowed_origins),
            ignore_localhost: filters.ignore_localhost,
            ignore_crawlers: filters.ignore_crawlers,
        };
        (compiled, errors)
    }
}

/// The expressions that compile, within the memory that all of them together may take.
fn readable(entries: &[String], errors: &mut Vec<FilterError>) -> RegexSet {
    let mut unreadable = |entry: &str, source| {
        errors.push(FilterError { field: "ignoreErrors", entry: entry.to_owned(), source });
    };
    let mut good: Vec<(&str, String)> = Vec::new();
    for entry in entries {
        match ignore_expression(entry) {
            Some(Ok(expression)) => good.push((entry, expression.as_str().to_owned())),
            Some(Err(source)) => unreadable(entry, source),
            None => {}
        }
    }
    // Only together are they too large: the later ones have to go. Each attempt takes as long as the limit allows, so
    // that the length of the list must not be their number.
    let together = |count: usize| {
        let expressions = good.iter().take(count).map(|(_, expression)| expression);
        RegexSetBuilder::new(expressions).size_limit(MAX_REGEX_BYTES).build()
    };
    let (mut fit, mut too_many, mut count) = (0, good.len() + 1, good.len());
    let (mut set, mut refusal) = (RegexSet::empty(), None);
    while fit + 1 < too_many {
        match together(count) {
            Ok(fitting) => (fit, set) = (count, fitting),
            Err(source) => (too_many, refusal) = (count, Some(source)),
        }
        count = usize::midpoint(fit, too_many);
    }
    for (entry, _) in good.iter().skip(fit) {
        if let Some(source) = &refusal {
            unreadable(entry, source.clone());
        }
    }
    set
}

impl Compiled {
    /// Why `event` is not wanted. `user_agent` is that of the request it came with: a browser's SDK sends
    /// no other.
    #[must_use]
    pub fn check(&self, event: &Event, user_agent: Option<&str>) -> Option<FilterReason> {
        let is = |pattern: &Option<Regex>, name: &Option<String>| match (pattern, name) {
            (Some(pattern), Some(name)) => pattern.is_match(name),
            _ => false,
        };
        let mut user_agents = [event.user_agent.as_deref(), user_agent].into_iter().flatten();
        [
            (self.ignore_localhost && is_local(event), FilterReason::Localhost),
            (self.ignore_crawlers && user_agents.any(crawlers::is_crawler), FilterReason::Crawler),
            (is(&self.releases, &event.release), FilterReason::Release),
            (is(&self.environments, &event.environment), FilterReason::Environment),
            (self.is_ignored_error(event), FilterReason::ErrorMessage),
        ]
        .into_iter()
        .find_map(|(applies, reason)| applies.then_some(reason))
    }

    /// Whether a page of this origin may report. Pass `Origin`, else `Referer`; a program that is no
    /// browser sends neither and may always.
    #[must_use]
    pub fn allows_origin(&self, origin: Option<&str>) -> bool {
        origin.is_none_or(|origin| self.origins.contain(origin))
    }

    fn is_ignored_error(&self, event: &Event) -> bool {
        if self.error_globs.is_none() && self.error_expressions.is_empty() {
            return false;
        }
        let is_ignored = |text: &str| {
            let text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
            self.error_globs.as_ref().is_some_and(|globs| globs.is_match(text)) || self.error_expressions.is_match(text)
        };
        let message = event.log_entry.as_ref();
        let template = message.and_then(|entry| entry.message.as_deref());
        let message = message.map(|entry| entry.formatted.as_str());
        [message, template].into_iter().flatten().any(is_ignored)
            || event.main_exception().is_some_and(|exception| {
                let name = exception.r#type.as_deref().unwrap_or_default();
                let value = exception.value.as_deref().unwrap_or_default();
                is_ignored(name)
                    || is_ignored(&if name.is_empty() { value.to_owned() } else { format!("{name}: {value}") })
            })
    }
}

/// The page, or the person who looked at it, is on the machine that runs it.
fn is_local(event: &Event) -> bool {
    let address = event.user.ip_address.as_deref().and_then(|address| address.parse::<IpAddr>().ok());
    let loopback = |address: IpAddr| address.to_canonical().is_loopback();
    address.is_some_and(loopback) || event.request_url.as_deref().and_then(host::of_url).is_some_and(host::is_local)
}

#[cfg(test)]
mod tests;
