//! What an address of the list of errors says: which errors, in which order. Read from the query of a request, and
//! written into links. Pure.

use std::{fmt, str::FromStr};

use form_urlencoded::Serializer;
use jiff::{SignedDuration, Timestamp};

use super::query;
use crate::store::console::{Bounds, Criterion, IssueOrder, IssueStatus, Pattern, Term};

/// What is listed when an address does not say.
pub const USUAL_QUERY: &str = "is:unresolved";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// As it was typed.
    pub query: String,
    pub environment: Option<String>,
    pub period: Period,
    pub order: IssueOrder,
    /// Whether the page says by what the search can be narrowed.
    pub narrow: bool,
}

/// When errors were last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Period {
    #[default]
    All,
    Day,
    TwoWeeks,
    Month,
}

impl Period {
    pub const EACH: [Self; 4] = [Self::All, Self::Day, Self::TwoWeeks, Self::Month];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Day => "24h",
            Self::TwoWeeks => "14d",
            Self::Month => "30d",
        }
    }

    fn since(self, now: Timestamp) -> Option<Timestamp> {
        let hours = match self {
            Self::All => return None,
            Self::Day => 24,
            Self::TwoWeeks => 14 * 24,
            Self::Month => 30 * 24,
        };
        Some(query::earlier(now, SignedDuration::from_hours(hours)))
    }
}

impl Default for Selection {
    fn default() -> Self {
        let query = USUAL_QUERY.to_owned();
        let (period, order) = (Period::default(), IssueOrder::default());
        Self { query, environment: None, period, order, narrow: false }
    }
}

impl Selection {
    /// All parts are optional, and what is not of the list is left alone; the error is the sentence to show.
    pub fn parse(address: &str) -> Result<Self, &'static str> {
        let mut parsed = Self::default();
        let mut status = None;
        let mut query = None;
        for (name, value) in form_urlencoded::parse(address.as_bytes()) {
            match &*name {
                "query" => query = Some(value.into_owned()),
                // As addresses had it before there was a query.
                "status" => {
                    let wrong = "status is one of unresolved, resolved and ignored";
                    status = Some(value.parse::<IssueStatus>().map_err(|_| wrong)?);
                }
                "environment" => parsed.environment = Some(value.into_owned()).filter(|name| !name.is_empty()),
                "period" => {
                    let named = Period::EACH.into_iter().find(|period| period.as_str() == value);
                    parsed.period = named.ok_or("period is one of 24h, 14d, 30d and all")?;
                }
                "sort" => {
                    let named = IssueOrder::ALL.into_iter().find(|order| order.as_str() == value);
                    parsed.order = named.ok_or("sort is one of last_seen, first_seen, events and users")?;
                }
                "narrow" => parsed.narrow = value == "yes",
                _ => {}
            }
        }
        if let Some(query) = query.or_else(|| status.map(|status| format!("is:{}", status.as_str()))) {
            parsed.query = query;
        }
        Ok(parsed)
    }

    /// What holds beside the query.
    #[must_use]
    pub fn scope(&self, now: Timestamp) -> Vec<Term> {
        let environment = self.environment.as_deref().map(|name| Criterion::Environment(vec![Pattern::exactly(name)]));
        let period =
            self.period.since(now).map(|since| Criterion::LastSeen(Bounds { from: Some(since), before: None }));
        environment.into_iter().chain(period).map(Term::new).collect()
    }

    /// The address of the same with another query: `?query=…`.
    #[must_use]
    pub fn with_query(&self, query: &str) -> String {
        Self { query: query.to_owned(), narrow: false, ..self.clone() }.address(None)
    }

    /// The address of the same with a term more in its query.
    #[must_use]
    pub fn with_term(&self, key: &str, value: &str) -> String {
        self.with_query(format!("{} {}", self.query.trim(), query::term(key, value)).trim())
    }

    /// `?query=…&after=…`, without what is usual; the place is that of [`Place`].
    #[must_use]
    pub fn address(&self, after: Option<Place>) -> String {
        let mut address = Serializer::for_suffix("?".to_owned(), 1);
        if self.query != USUAL_QUERY {
            address.append_pair("query", &self.query);
        }
        if let Some(environment) = &self.environment {
            address.append_pair("environment", environment);
        }
        if self.period != Period::default() {
            address.append_pair("period", self.period.as_str());
        }
        if self.order != IssueOrder::default() {
            address.append_pair("sort", self.order.as_str());
        }
        if self.narrow {
            address.append_pair("narrow", "yes");
        }
        if let Some(place) = after {
            address.append_pair("after", &place.to_string());
        }
        address.finish()
    }
}

/// All errors of a selection that were there at a moment, as a form has it: `query=…&period=…&at=1764489600000000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Everything {
    pub selection: Selection,
    /// Errors that are new since then are not meant.
    pub at: Timestamp,
}

impl fmt::Display for Everything {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Selection { narrow: false, ..self.selection.clone() }.address(None);
        write!(formatter, "{}&at={}", &address[1..], self.at.as_microsecond())
    }
}

impl FromStr for Everything {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "at is when the list was shown, in microseconds since 1970";
        let at = form_urlencoded::parse(text.as_bytes()).find(|(name, _)| name == "at").ok_or(WRONG)?.1;
        let at = at.parse().ok().and_then(|at| Timestamp::from_microsecond(at).ok()).ok_or(WRONG)?;
        Ok(Self { selection: Selection::parse(text)?, at })
    }
}

impl Everything {
    /// What holds beside the query.
    #[must_use]
    pub fn scope(&self) -> Vec<Term> {
        let next = self.at.checked_add(SignedDuration::from_micros(1)).unwrap_or(self.at);
        let stored = Criterion::Stored(Bounds { from: None, before: Some(next) });
        self.selection.scope(self.at).into_iter().chain([Term::new(stored)]).collect()
    }
}

/// A place in the list, as an address has it: `1764489600000000.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub key: i64,
    /// Of the last error before it, within the project.
    pub number: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.key, self.number)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "after is a place in the list, as the link to the next page has it";
        let (key, number) = text.split_once('.').ok_or(WRONG)?;
        Ok(Self { key: key.parse().map_err(|_| WRONG)?, number: number.parse().map_err(|_| WRONG)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_which_errors_and_is_written_as_it_is_read() {
        for (text, written) in [
            ("", "?"),
            ("query=is%3Aunresolved&sort=last_seen&period=all&environment=", "?"),
            ("status=resolved", "?query=is%3Aresolved"),
            ("status=ignored&query=a", "?query=a"),
            ("query=", "?query="),
            ("sort=users&period=14d&later=parameter", "?period=14d&sort=users"),
            ("narrow=yes", "?narrow=yes"),
            ("environment=a+b%26&query=level:error", "?query=level%3Aerror&environment=a+b%26"),
        ] {
            let selection = Selection::parse(text).unwrap();
            assert_eq!(selection.address(None), written, "{text}");
            assert_eq!(Selection::parse(&written[1..]), Ok(selection), "{text}");
        }
        let place = Place { key: -1, number: 3 };
        assert_eq!(Selection::default().address(Some(place)), "?after=-1.3");
        for (text, wrong) in [
            ("status=open", "status is one of unresolved, resolved and ignored"),
            ("sort=title", "sort is one of last_seen, first_seen, events and users"),
            ("period=1h", "period is one of 24h, 14d, 30d and all"),
        ] {
            assert_eq!(Selection::parse(text), Err(wrong), "{text}");
        }
    }

    #[test]
    fn everything_of_a_selection_is_written_as_it_is_read() {
        let at: Timestamp = "2026-11-22T14:20:00.000001Z".parse().unwrap();
        for query in ["", "?query=level%3Aerror+%26at%3D1&environment=a&period=24h&sort=users"] {
            let selection = Selection::parse(query.trim_start_matches('?')).unwrap();
            let everything = Everything { selection, at };
            assert_eq!(everything.to_string().parse(), Ok(everything.clone()), "{everything}");
            let expected = Criterion::Stored(Bounds { from: None, before: Some(at + SignedDuration::from_micros(1)) });
            assert_eq!(everything.scope().last(), Some(&Term::new(expected)));
        }
        for text in ["", "query=a", "at=", "at=x", "at=99999999999999999999", "at=9223372036854775807", "sort=x&at=1"] {
            assert!(text.parse::<Everything>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_place_is_a_key_and_a_number() {
        assert_eq!("12.3".parse(), Ok(Place { key: 12, number: 3 }));
        for text in ["", "1", "1.x", "1.-2", "99999999999999999999.1"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
