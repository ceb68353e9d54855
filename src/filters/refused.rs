//! Entries of a project's filters that are not followed, and why.

use crate::settings::Filters;

/// A list of a project's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterList {
    IgnoreErrors,
    IgnoreReleases,
    IgnoreEnvironments,
}

impl FilterList {
    /// Its name in the custom resource.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IgnoreErrors => "ignoreErrors",
            Self::IgnoreReleases => "ignoreReleases",
            Self::IgnoreEnvironments => "ignoreEnvironments",
        }
    }
}

/// An entry that is not followed. The others of its list still count.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}: {entry:?} {source}", list.name())]
pub struct FilterError {
    pub list: FilterList,
    /// Its number in the list, from 0 on.
    pub index: usize,
    pub entry: String,
    pub source: FilterFault,
}

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FilterFault {
    #[error("is not a pattern: {0}")]
    Unreadable(#[source] regex::Error),
    /// Alone it could be followed.
    #[error("is too large together with the entries before it: {0}")]
    TooLargeTogether(#[source] regex::Error),
}

/// `filters` without the entries that `errors` are about.
pub(super) fn without(mut filters: Filters, errors: &[FilterError]) -> Filters {
    for (list, entries) in [
        (FilterList::IgnoreErrors, &mut filters.ignore_errors),
        (FilterList::IgnoreReleases, &mut filters.ignore_releases),
        (FilterList::IgnoreEnvironments, &mut filters.ignore_environments),
    ] {
        let mut index = 0..;
        entries.retain(|_| {
            let index = index.next();
            errors.iter().all(|error| error.list != list || Some(error.index) != index)
        });
    }
    filters
}
