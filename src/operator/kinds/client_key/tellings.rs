//! How often a status says anew who holds the key before. Pods come and go, and each change of their number would be a
//! write: it is told once a minute, and at once when something else has changed.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{held::Held, rotating::Rotating};
use crate::crd::Reason;

/// Between two writes that differ in who holds the key.
const MINUTE: Duration = Duration::from_mins(1);

/// What was told last, by the uid of the object; nothing older than a minute.
#[derive(Default)]
pub struct Tellings {
    told: Mutex<HashMap<String, Telling>>,
}

struct Telling {
    at: Instant,
    /// What is under way, and with which key.
    about: (Reason, String),
    held: Held,
}

impl Tellings {
    /// Who is said to hold the key before, where `held` was found and `rotating` is what is said of it.
    pub(super) fn settle(&self, uid: &str, rotating: &Rotating, held: Option<&Held>, now: Instant) -> Option<Held> {
        let (held, retiring) = (held?, rotating.retiring.as_ref()?);
        let about = (rotating.reason, retiring.key_id.clone());
        let mut told = self.told.lock();
        told.retain(|_, telling| now.duration_since(telling.at) < MINUTE);
        if let Some(telling) = told.get(uid).filter(|telling| telling.about == about) {
            return Some(telling.held.clone());
        }
        told.insert(uid.to_owned(), Telling { at: now, about, held: held.clone() });
        Some(held.clone())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::crd::{ConditionStatus, RetiringKey};

    #[test]
    fn who_holds_a_key_is_told_anew_once_a_minute_and_at_once_with_everything_else() {
        let (tellings, began) = (Tellings::default(), Instant::now());
        for (second, reason, key, pods, told) in [
            (0, Reason::Overlap, "7", 500, 500),
            (2, Reason::Overlap, "7", 480, 500),
            (59, Reason::Overlap, "7", 20, 500),
            (60, Reason::Overlap, "7", 20, 20),
            (61, Reason::Overlap, "7", 0, 20),
            (62, Reason::RestartReverted, "7", 18, 18),
            (63, Reason::RestartReverted, "7", 17, 18),
            (64, Reason::RestartReverted, "8", 9, 9),
            (200, Reason::RestartReverted, "8", 0, 0),
        ] {
            let rotating = Rotating {
                retiring: Some(RetiringKey {
                    key_id: key.into(),
                    public_key_prefix: "01234567".into(),
                    since: Time(Timestamp::UNIX_EPOCH),
                    not_before: None,
                    last_used_at: None,
                    holders: Some(pods),
                    held_by: Vec::new(),
                }),
                next_rotation_at: None,
                status: ConditionStatus::True,
                reason,
                message: String::new(),
                dead_key_in_use: None,
            };
            let held = Held { pods: usize::try_from(pods).unwrap(), by: Vec::new() };
            let said = tellings.settle("uid", &rotating, Some(&held), began + Duration::from_secs(second));
            assert_eq!(said.map(|held| held.pods), Some(told), "at {second} s");
            assert_eq!(tellings.settle("other", &rotating, None, began), None);
        }
    }
}
