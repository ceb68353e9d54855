//! `/{namespace}/{project}/keys`: the client keys of a project, and who still sends with one that is refused.

use askama::Template;
use jiff::Timestamp;

use super::{
    ProjectHead, Shell,
    format::{Moment, count, counted},
    visible,
};
use crate::{
    rotation::State,
    store::console::{ClientKey, MAX_KEYS, Project},
};

/// A retiring key that was used within so many hours is in use.
const RECENT_HOURS: i64 = 24;

#[derive(Debug, Template)]
#[template(path = "keys.html")]
pub struct KeysPage {
    shell: Shell,
    project: ProjectHead,
    /// `2 keys that are refused are in use.`
    verdict: String,
    /// As "3 keys".
    total: String,
    keys: Vec<KeyRow>,
    /// There are more than are shown.
    cut: bool,
    in_use: Vec<InUse>,
}

#[derive(Debug)]
struct KeyRow {
    /// Of the `ClientKey`, with its namespace where that is not the project's.
    name: String,
    id: i64,
    prefix: String,
    /// One word; also the class of its colour.
    state: &'static str,
    /// Since when, where that is known.
    since: Option<Moment>,
    created: Moment,
    last_used: Option<Moment>,
}

/// A key that is refused and still in use.
#[derive(Debug)]
pub struct InUse {
    pub namespace: String,
    pub name: String,
    pub prefix: String,
    pub state: &'static str,
    pub last: Moment,
    pub requests: String,
    pub client: Option<String>,
}

impl KeysPage {
    #[must_use]
    pub fn new(shell: Shell, project: &Project, keys: &[ClientKey], now: Timestamp) -> Self {
        let project = ProjectHead::from(project);
        let rows = keys.iter().map(|key| row(key, &project, now)).collect();
        let in_use: Vec<_> = keys.iter().filter_map(|key| in_use(key, now)).collect();
        let retiring = keys.iter().filter_map(|key| retiring_in_use(key, now)).count();
        let cut = keys.len() as u64 >= MAX_KEYS.unsigned_abs();
        let verdict = verdict(keys.len(), in_use.len(), retiring);
        Self { shell, verdict, total: counted(keys.len() as u64, "key"), keys: rows, cut, in_use, project }
    }
}

fn verdict(keys: usize, refused_in_use: usize, retiring_in_use: usize) -> String {
    let keys_are = |number: usize| (counted(number as u64, "key"), if number == 1 { "is" } else { "are" });
    match (keys, refused_in_use, retiring_in_use) {
        (0, ..) => "There is no key yet: nothing can be sent.".to_owned(),
        (_, 0, 0) => "Nothing is sent with a key that has ended or is about to.".to_owned(),
        (_, 0, retiring) => {
            let (keys, are) = keys_are(retiring);
            format!("{keys} {are} retiring and in use: restart what holds the Secret.")
        }
        (_, refused, _) => {
            let (keys, are) = keys_are(refused);
            format!("{keys} in use {are} refused.")
        }
    }
}

/// In the words of `kubectl errors keys` and of `status` where they have one.
fn state(key: &ClientKey) -> &'static str {
    match key.state {
        State::Retired => "retired",
        State::Revoked => "revoked",
        State::Minted | State::Published | State::Overlap if !key.enabled => "disabled",
        State::Minted => "next",
        State::Published => "active",
        State::Overlap => "retiring",
    }
}

fn row(key: &ClientKey, project: &ProjectHead, now: Timestamp) -> KeyRow {
    let elsewhere = key.namespace != project.namespace;
    let since = key.ended_at.or(key.retiring_since.filter(|_| key.state == State::Overlap && key.enabled));
    let moment = |at| Moment::new(at, now);
    KeyRow {
        name: if elsewhere { format!("{}/{}", key.namespace, key.name) } else { key.name.clone() },
        id: key.id,
        prefix: visible(&key.public_key_prefix),
        state: state(key),
        since: since.map(moment),
        created: moment(key.created_at),
        last_used: key.last_used_at.map(moment),
    }
}

/// The name of a key that another one has taken the place of, while somebody still sends with it.
pub(super) fn retiring_in_use(key: &ClientKey, now: Timestamp) -> Option<String> {
    let is_retiring = key.state == State::Overlap && key.enabled;
    let recent = |at: &Timestamp| now.duration_since(*at).as_hours() < RECENT_HOURS;
    key.last_used_at.filter(|at| is_retiring && recent(at))?;
    Some(format!("{}… of {}/{}", visible(&key.public_key_prefix), key.namespace, key.name))
}

pub(super) fn in_use(key: &ClientKey, now: Timestamp) -> Option<InUse> {
    let refused = key.refused.as_ref().filter(|_| !key.is_accepted())?;
    Some(InUse {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        prefix: visible(&key.public_key_prefix),
        state: state(key),
        last: Moment::new(refused.last_at, now),
        requests: count(refused.events),
        client: refused.sentry_client.as_deref().map(visible),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::console::RefusedUse;

    fn key(state: State, enabled: bool) -> ClientKey {
        ClientKey {
            id: 7,
            namespace: "web".into(),
            name: "app".into(),
            public_key_prefix: "0a1b2c3d".into(),
            state,
            enabled,
            created_at: Timestamp::UNIX_EPOCH,
            retiring_since: None,
            ended_at: None,
            last_used_at: None,
            refused: Some(RefusedUse { last_at: Timestamp::UNIX_EPOCH, events: 1, sentry_client: None }),
        }
    }

    #[test]
    fn the_page_opens_with_what_is_worst() {
        for (numbers, expected) in [
            ((0, 0, 0), "There is no key yet: nothing can be sent."),
            ((3, 0, 0), "Nothing is sent with a key that has ended or is about to."),
            ((3, 0, 1), "1 key is retiring and in use: restart what holds the Secret."),
            ((3, 2, 1), "2 keys in use are refused."),
        ] {
            let (keys, refused, retiring) = numbers;
            assert_eq!(verdict(keys, refused, retiring), expected);
        }
    }

    #[test]
    fn a_key_has_one_word_for_its_state_and_is_in_use_only_while_it_is_refused() {
        for (of, enabled, word, refused) in [
            (State::Minted, true, "next", false),
            (State::Published, true, "active", false),
            (State::Published, false, "disabled", true),
            (State::Overlap, true, "retiring", false),
            (State::Overlap, false, "disabled", true),
            (State::Retired, true, "retired", true),
            (State::Retired, false, "retired", true),
            (State::Revoked, false, "revoked", true),
        ] {
            let key = key(of, enabled);
            assert_eq!(state(&key), word, "{of:?} {enabled}");
            assert_eq!(in_use(&key, Timestamp::UNIX_EPOCH).is_some(), refused, "{of:?} {enabled}");
        }
    }
}
