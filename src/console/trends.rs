//! Events by hour of what is listed, from a moment ago: the same list is opened again and again, and its hours are the
//! part that grows with the errors. Used by the list of errors.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::recent::Recent;
use crate::store::console::{ProjectAddress, Search};

const FRESH: Duration = Duration::from_secs(15);
/// Each has at most a day of hours.
const MOST: usize = 1000;

/// Which errors the hours are of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selected {
    pub project: ProjectAddress,
    pub search: Search,
    /// How many there are, so that what was resolved just now counts no more.
    pub total: u64,
}

pub type Trend = Vec<(Timestamp, u64)>;

/// Clones share what they know.
#[derive(Clone)]
pub struct Trends(Arc<Recent<Selected, Trend>>);

impl Default for Trends {
    fn default() -> Self {
        Self(Arc::new(Recent::new(FRESH, MOST)))
    }
}

impl Trends {
    #[must_use]
    pub fn get(&self, selected: &Selected) -> Option<Trend> {
        self.0.get(selected)
    }

    pub fn insert(&self, selected: Selected, trend: Trend) {
        self.0.insert(selected, trend);
    }
}
