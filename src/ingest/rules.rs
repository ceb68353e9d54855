//! How a project wants what it is sent to be read: its settings, compiled once for each change of them, and what its
//! users are counted by.

use tracing::warn;

use super::limits::{Limit, QUOTA_WINDOW};
use crate::{filters, protocol::proxies::TrustedProxies, scrub::Scrubber, settings::Settings, store::ingest::UserKey};

/// What every event of a project goes through.
pub struct Rules {
    settings: Settings,
    /// What users are counted by; `None`: the project's number.
    pub user_key: Option<UserKey>,
    pub active: bool,
    pub scrubber: Scrubber,
    /// Whether the address of a user may be known.
    pub keeps_addresses: bool,
    pub filters: filters::Compiled,
    pub proxies: TrustedProxies,
    pub retention_days: u32,
    pub quota: Option<Limit>,
}

impl Rules {
    /// The operator leaves out what does not compile, and says so in the project; one of another version may have let it
    /// pass: then the log says it. May take seconds for a project with a hundred large expressions.
    #[must_use]
    pub fn new(settings: Settings, user_key: Option<UserKey>) -> Self {
        let (filters, refused) = filters::Compiled::new(&settings.filters);
        for error in refused {
            warn!(%error, "An entry of the project's filters cannot be used, and is not followed.");
        }
        let proxies = TrustedProxies::parse(&settings.trusted_proxies).unwrap_or_else(|error| {
            warn!(%error, "The project's list of trusted proxies cannot be used: no proxy is trusted.");
            TrustedProxies::default()
        });
        Self {
            active: settings.active,
            scrubber: Scrubber::new(&settings.privacy),
            keeps_addresses: !settings.privacy.scrub_ip_addresses,
            filters,
            proxies,
            retention_days: settings.retention_days,
            quota: settings.events_per_minute.map(|events| Limit { events: events.into(), window: QUOTA_WINDOW }),
            settings,
            user_key,
        }
    }

    /// Whether they are those of `settings` and `user_key`.
    #[must_use]
    pub fn follow(&self, settings: &Settings, user_key: Option<&UserKey>) -> bool {
        self.settings == *settings && self.user_key.as_ref() == user_key
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(Settings::default(), None)
    }
}
