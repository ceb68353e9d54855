//! What may come next in a query, as the script of the search field reads it.

use serde::Serialize;

use super::{format::count, untrusted::visible};
use crate::{
    console::query::{self, Typed},
    store::console::MOST_COUNTED,
};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Suggested {
    /// Where the text of an option belongs, up to the caret: in UTF-16 units, as scripts count.
    pub from: usize,
    pub options: Vec<Suggestion>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    text: String,
    label: String,
    /// Errors that have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<String>,
}

impl Suggestion {
    #[must_use]
    pub fn of_key(key: &str) -> Self {
        let text = format!("{key}:");
        Self { label: text.clone(), text, count: None }
    }

    /// A name that is in the data, with errors that were counted up to a limit.
    #[must_use]
    pub fn of_name(typed: &Typed, name: &str, errors: u64) -> Self {
        let is_more = if errors < MOST_COUNTED { "" } else { "+" };
        Self {
            count: Some(format!("{}{is_more}", count(errors))),
            ..Self::of_value(typed, name, &query::quoted(name), 0)
        }
    }

    /// A value, as it is and as a query has it.
    #[must_use]
    pub fn of_value(typed: &Typed, value: &str, text: &str, errors: u64) -> Self {
        let behind = if typed.is_in_list { "" } else { " " };
        Self { text: format!("{text}{behind}"), label: visible(value), count: Some(count(errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_its_term_and_is_shown_as_it_is() {
        let typed = |before| query::typed(before).unwrap();
        let environment = Suggestion::of_name(&typed("environment:"), "two words", 999);
        assert_eq!((environment.text.as_str(), environment.label.as_str()), ("\"two words\" ", "two words"));
        assert_eq!(environment.count.as_deref(), Some("999"));
        let listed = Suggestion::of_name(&typed("environment:[beta, "), "prod", 1000);
        assert_eq!((listed.text.as_str(), listed.count.as_deref()), ("prod", Some("1,000+")));
        assert_eq!(Suggestion::of_value(&typed("users:>"), ">10", ">10", 12_345).count.as_deref(), Some("12,345"));
        assert_eq!(Suggestion::of_name(&typed("cart:"), "a\u{202e}b", 1).label, visible("a\u{202e}b"));
    }
}
