//! How a double is steered from outside its process, at paths that no Sentry and no GitLab has:
//!
//! | call | does |
//! |---|---|
//! | `GET /_double/calls`, `DELETE` | lists the calls so far; forgets them |
//! | `GET /_double/faults`, `DELETE` | lists what is switched on; clears it |
//! | `POST /_double/faults` | switches a fault on: `{"method": "POST", "path": "/api/0/**", "times": 1, "when": "after", "fault": {"kind": "half_body"}}` |
//! | `GET /_double/switches` | how the server behaves |
//! | `PATCH /_double/switches` | changes some of it: `{"rate_limit": {"calls": 40, "window_milliseconds": 60000}}` |

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::{
    faults::Rule,
    server::{Api, Desk},
    wire::{Reply, Request},
};

/// `None`: the path is one of the server's own.
pub(super) fn answer<A: Api>(request: &Request, desk: &Mutex<Desk<A>>) -> Option<Reply> {
    let what = request.path.strip_prefix("/_double/")?;
    let mut desk = desk.lock();
    Some(match (request.method.as_str(), what) {
        ("GET", "calls") => shown(&desk.calls),
        ("DELETE", "calls") => {
            desk.calls.clear();
            Reply::empty(204)
        }
        ("GET", "faults") => shown(&desk.rules),
        ("DELETE", "faults") => {
            desk.rules.clear();
            Reply::empty(204)
        }
        ("POST", "faults") => match serde_json::from_slice::<Rule>(&request.body) {
            Ok(rule) => {
                desk.rules.push(rule);
                shown(&desk.rules)
            }
            Err(error) => Reply::detail(400, &error.to_string()),
        },
        ("GET", "switches") => shown(desk.api.switches()),
        ("PATCH", "switches") => match changed(desk.api.switches(), &request.body) {
            Ok(switches) => {
                *desk.api.switches() = switches;
                shown(desk.api.switches())
            }
            Err(error) => Reply::detail(400, &error.to_string()),
        },
        _ => Reply::detail(404, "A double has calls, faults and switches."),
    })
}

fn shown(what: &impl Serialize) -> Reply {
    Reply::json(200, serde_json::to_value(what).unwrap())
}

fn changed<S: Serialize + serde::de::DeserializeOwned>(switches: &S, changes: &[u8]) -> serde_json::Result<S> {
    let mut merged = serde_json::to_value(switches)?;
    let changes: serde_json::Map<String, Value> = serde_json::from_slice(changes)?;
    for (name, value) in changes {
        merged[name] = value;
    }
    serde_json::from_value(merged)
}
