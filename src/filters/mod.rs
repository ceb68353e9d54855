//! Which events a project does not want: errors, releases and environments by name, crawlers, developers'
//! own machines, pages of foreign origins. Pure: settings and an event come in, a reason goes out. Used by
//! `ingest`, and by the operator, which tells people about the entries that ingest does not follow.

mod expression;
mod fit;
mod glob;
mod host;
mod origin;
mod refused;

use std::net::IpAddr;

use regex::{RegexSet, bytes::Regex};

pub use self::refused::{FilterError, FilterFault, FilterList};
use self::{fit::Fit, origin::AllowedOrigins};
use crate::{
    protocol::event::{Event, crawler},
    settings::Filters,
};

/// What is looked at of a message: the worst expressions take their size times its length, and one project must not
/// keep the ingest of many busy.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// Why an event is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FilterReason {
    IgnoredError,
    IgnoredRelease,
    IgnoredEnvironment,
    Localhost,
    Crawler,
}

impl FilterReason {
    pub const ALL: [Self; 5] =
        [Self::IgnoredError, Self::IgnoredRelease, Self::IgnoredEnvironment, Self::Localhost, Self::Crawler];

    /// A word of a closed set: a metric's label, and what is stored and printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IgnoredError => "ignored_error",
            Self::IgnoredRelease => "ignored_release",
            Self::IgnoredEnvironment => "ignored_environment",
            Self::Localhost => "localhost",
            Self::Crawler => "crawler",
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
    /// Filters of every entry that can be followed, and what is wrong with the others. The first ones are followed of
    /// entries that are too large together.
    #[must_use]
    pub fn new(filters: &Filters) -> (Self, Vec<FilterError>) {
        let Filters {
            ignore_errors,
            ignore_releases,
            ignore_environments,
            allowed_origins,
            ignore_localhost,
            ignore_crawlers,
        } = filters;
        let mut errors = Vec::new();
        let (error_globs, error_expressions) = compiled_errors(ignore_errors, &mut errors);
        let compiled = Self {
            error_globs,
            error_expressions,
            releases: compiled_globs(FilterList::IgnoreReleases, &numbered(ignore_releases), &mut errors),
            environments: compiled_globs(FilterList::IgnoreEnvironments, &numbered(ignore_environments), &mut errors),
            origins: AllowedOrigins::new(allowed_origins),
            ignore_localhost: *ignore_localhost,
            ignore_crawlers: *ignore_crawlers,
        };
        (compiled, errors)
    }
}

/// The entries of `filters` that [`Compiled::new`] follows, and what is wrong with the others: what the operator hands
/// on to ingest, and what it tells people.
#[must_use]
pub fn followed(filters: Filters) -> (Filters, Vec<FilterError>) {
    let (_, errors) = Compiled::new(&filters);
    (refused::without(filters, &errors), errors)
}

/// An entry with its number in the list of the custom resource.
type Numbered<'a> = (usize, &'a str);

fn numbered(entries: &[String]) -> Vec<Numbered<'_>> {
    entries.iter().map(String::as_str).enumerate().collect()
}

/// Patterns and regular expressions stand in one list.
fn compiled_errors(entries: &[String], errors: &mut Vec<FilterError>) -> (Option<Regex>, RegexSet) {
    let list = FilterList::IgnoreErrors;
    let (mut globs, mut marked, mut expressions) = (Vec::new(), Vec::new(), Vec::new());
    for (index, entry) in numbered(entries) {
        match expression::expression(entry) {
            None => globs.push((index, entry)),
            Some(Ok(expression)) => {
                marked.push((index, entry));
                expressions.push(expression);
            }
            Some(Err(error)) => {
                let (entry, source) = (entry.to_owned(), FilterFault::Unreadable(error));
                errors.push(FilterError { list, index, entry, source });
            }
        }
    }
    let fit = expression::any_of(&expressions.iter().collect::<Vec<_>>());
    (compiled_globs(list, &globs, errors), fitting(fit, list, &marked, errors))
}

fn compiled_globs(list: FilterList, globs: &[Numbered<'_>], errors: &mut Vec<FilterError>) -> Option<Regex> {
    let texts: Vec<&str> = globs.iter().map(|(_, glob)| *glob).collect();
    fitting(glob::any_of(&texts), list, globs, errors)
}

/// What fits of `entries`; the rest goes to `errors`.
fn fitting<T>(fit: Fit<T>, list: FilterList, entries: &[Numbered<'_>], errors: &mut Vec<FilterError>) -> T {
    if let Some(refusal) = fit.refusal {
        errors.extend(entries[fit.count..].iter().map(|(index, entry)| FilterError {
            list,
            index: *index,
            entry: (*entry).to_owned(),
            source: FilterFault::TooLargeTogether(refusal.clone()),
        }));
    }
    fit.compiled
}

impl Compiled {
    /// Why `event` is not wanted. `user_agent` is that of the request it came with: a browser's SDK sends
    /// no other.
    #[must_use]
    pub fn check(&self, event: &Event, user_agent: Option<&str>) -> Option<FilterReason> {
        let is = |pattern: &Option<Regex>, name: &Option<String>| match (pattern, name) {
            (Some(pattern), Some(name)) => pattern.is_match(name.as_bytes()),
            _ => false,
        };
        let mut user_agents = [event.user_agent.as_deref(), user_agent].into_iter().flatten();
        [
            (self.ignore_localhost && is_local(event), FilterReason::Localhost),
            (self.ignore_crawlers && user_agents.any(|agent| crawler(agent).is_some()), FilterReason::Crawler),
            (is(&self.releases, &event.release), FilterReason::IgnoredRelease),
            (is(&self.environments, &event.environment), FilterReason::IgnoredEnvironment),
            (self.is_ignored_error(event), FilterReason::IgnoredError),
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
            self.error_globs.as_ref().is_some_and(|globs| globs.is_match(text.as_bytes()))
                || self.error_expressions.is_match(text)
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
