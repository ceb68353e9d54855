//! What stands above the list of errors: the form to search by, a query's mistake, links that narrow it, and what the
//! figures below are about.

use super::{format::count, untrusted::visible};
use crate::{
    console::{
        query::{self, Mistake},
        selection::{Period, Selection},
    },
    protocol::event::Level,
    store::console::{Choices, Criterion, Gaps, IssueOrder, Search},
};

/// The form above the list. Without a script it is all there is to search by.
#[derive(Debug)]
pub struct SearchForm {
    pub query: String,
    pub environments: Vec<Choice>,
    pub periods: Vec<Choice>,
    pub orders: Vec<Choice>,
    pub mistake: Option<Marked>,
    pub max_bytes: usize,
}

#[derive(Debug)]
pub struct Choice {
    pub value: String,
    pub label: String,
    pub current: bool,
}

/// A query with the character that a mistake is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Marked {
    pub column: usize,
    pub sentence: String,
    pub before: String,
    /// A blank behind the end.
    pub at: String,
    pub after: String,
}

/// Links of one kind: a label and each value with its number of errors.
#[derive(Debug)]
pub struct Narrow {
    pub label: &'static str,
    pub values: Vec<Narrower>,
}

#[derive(Debug)]
pub struct Narrower {
    pub address: String,
    pub label: String,
    pub count: String,
}

/// What figures are not of the filter, and what a filter does not say.
#[must_use]
pub fn notes(search: &Search, gaps: Gaps) -> Vec<String> {
    let has = |is: fn(&Criterion) -> bool| search.terms.iter().any(|term| is(&term.criterion));
    let environments = has(|criterion| matches!(criterion, Criterion::Environment(_)));
    let releases = has(|criterion| matches!(criterion, Criterion::Release(_)));
    let tags = search.terms.iter().filter(|term| matches!(term.criterion, Criterion::Tag { .. })).count();
    let numbers = match (environments, releases) {
        (false, false) => None,
        (true, false) => Some(
            "Events, first and last seen and the charts are of the chosen environments. Users and levels: all \
             environments.",
        ),
        (false, true) => {
            Some("Events and first and last seen are of the chosen releases. Charts, users and levels: all releases.")
        }
        (true, true) => Some(
            "Events and first and last seen are of the chosen environments and releases together. Charts: all \
             releases. Users and levels: all environments and releases.",
        ),
    };
    let apart = (tags > 1 || (tags > 0 && (environments || releases)))
        .then_some("Tags are looked for in all events of an error: no event need have all of them.");
    let since = gaps.since.map(|since| {
        format!(
            "Events that came before {} are not counted by environment and release.",
            since.strftime("%Y-%m-%d %H:%M UTC")
        )
    });
    let crowded = gaps.crowded.then_some(
        "Some errors have more environments or releases than are told apart (20 environments, 500 pairs of both): a \
         filter can miss their later ones.",
    );
    let notes = [numbers, apart, crowded].into_iter().flatten().map(str::to_owned);
    notes.chain(since).collect()
}

/// What the search does not speak of yet.
#[must_use]
pub fn narrow(selection: &Selection, search: &Search, choices: &Choices) -> Vec<Narrow> {
    let speaks = |of: fn(&Criterion) -> bool| search.terms.iter().any(|term| of(&term.criterion));
    let narrower =
        |address: String, label: &str, issues: u64| Narrower { address, label: visible(label), count: count(issues) };
    let mut groups = Vec::new();
    if selection.environment.is_none() && !speaks(|criterion| matches!(criterion, Criterion::Environment(_))) {
        let to = |name: &String| {
            Selection { environment: Some(name.clone()), narrow: false, ..selection.clone() }.address(None)
        };
        let values = choices.environments.iter().map(|(name, issues)| narrower(to(name), name, *issues)).collect();
        groups.push(Narrow { label: "Environment", values });
    }
    if !speaks(|criterion| matches!(criterion, Criterion::Level(_))) {
        let value = |(level, issues): &(Level, u64)| {
            narrower(selection.with_term("level", level.name()), level.name(), *issues)
        };
        groups.push(Narrow { label: "Level", values: choices.levels.iter().map(value).collect() });
    }
    if !speaks(|criterion| matches!(criterion, Criterion::Release(_))) {
        let value = |(name, issues): &(String, u64)| narrower(selection.with_term("release", name), name, *issues);
        groups.push(Narrow { label: "Release", values: choices.releases.iter().map(value).collect() });
    }
    groups.retain(|group| !group.values.is_empty());
    groups
}

impl SearchForm {
    #[must_use]
    pub fn new(selection: &Selection, mut environments: Vec<String>, mistake: Option<Marked>) -> Self {
        if let Some(chosen) = selection.environment.as_ref().filter(|chosen| !environments.contains(chosen)) {
            environments.push(chosen.clone());
        }
        let environments = environments.into_iter().map(|name| Choice {
            label: visible(&name),
            current: selection.environment.as_ref() == Some(&name),
            value: name,
        });
        let every = Choice { value: String::new(), label: "All environments".to_owned(), current: false };
        let environments: Vec<_> = environments.collect();
        let environments =
            if environments.is_empty() { environments } else { [every].into_iter().chain(environments).collect() };
        let period = |period: Period| Choice {
            value: period.as_str().to_owned(),
            label: match period {
                Period::All => "Any time",
                Period::Day => "Last 24 hours",
                Period::TwoWeeks => "Last 14 days",
                Period::Month => "Last 30 days",
            }
            .to_owned(),
            current: period == selection.period,
        };
        let order = |order: IssueOrder| Choice {
            value: order.as_str().to_owned(),
            label: match order {
                IssueOrder::LastSeen => "Last seen",
                IssueOrder::FirstSeen => "First seen",
                IssueOrder::Events => "Most events",
                IssueOrder::Users => "Most users",
            }
            .to_owned(),
            current: order == selection.order,
        };
        Self {
            query: selection.query.clone(),
            environments,
            periods: Period::EACH.into_iter().map(period).collect(),
            orders: IssueOrder::ALL.into_iter().map(order).collect(),
            mistake,
            max_bytes: query::MAX_BYTES,
        }
    }
}

impl Marked {
    /// Around the place not more than fits beside it.
    #[must_use]
    pub fn new(query: &str, mistake: &Mistake) -> Self {
        const AROUND: usize = 60;
        let characters: Vec<char> = query.chars().collect();
        let place = (mistake.column - 1).min(characters.len());
        let text = |range: &[char]| visible(&range.iter().collect::<String>()).replace('\n', " ");
        let (start, end) = (place.saturating_sub(AROUND), (place + 1 + AROUND).min(characters.len()));
        let behind = (place + 1).min(end);
        Self {
            column: mistake.column,
            sentence: visible(&mistake.sentence),
            before: text(&characters[start..place]),
            at: if place == characters.len() { " ".to_owned() } else { text(&characters[place..behind]) },
            after: text(&characters[behind..end]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_marked_where_it_is() {
        let marked = |query: &str, column| {
            let marked = Marked::new(query, &Mistake::new(column, ""));
            (marked.before, marked.at, marked.after)
        };
        let parts = |before: &str, at: &str, after: &str| (before.to_owned(), at.to_owned(), after.to_owned());
        assert_eq!(marked("größe (a", 7), parts("größe ", "(", "a"));
        assert_eq!(marked("level:", 7), parts("level:", " ", ""));
        assert_eq!(marked("", 1), parts("", " ", ""));
        let (before, _, after) = marked(&"x".repeat(1000), 500);
        assert_eq!((before.len(), after.len()), (60, 60));
    }
}
