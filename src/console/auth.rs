//! Who asks, and what they may do. [`authenticate`] is the one place that makes a [`Caller`], a [`Policy`] the one
//! place that decides. Pure; called by `web` before any handler, and by `context` once the project is known.

use std::net::IpAddr;

use http::{HeaderMap, header::HOST};

use crate::store::console::Project;

/// Whoever sent a request. There is no sign-in yet, so there is one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who reached the loopback of this machine: a port-forward, which needs rights in the console's namespace.
    Loopback,
}

/// What a route needs of its caller, each a verb on a subresource of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Nothing: what shows no data of a project.
    None,
    /// `get errortrackingprojects/issues`: titles, numbers, times.
    ReadIssues,
    /// `get errortrackingprojects/events`: payloads, which hold personal data.
    ReadEvents,
}

/// Decides whether the caller has the right: in this project, or in any at all where there is none.
pub type Policy = fn(Caller, Right, Option<&Project>) -> bool;

/// The policy until there is a sign-in: the port-forward was the check, and every right goes with it.
#[must_use]
pub fn port_forward_is_enough(caller: Caller, _right: Right, _project: Option<&Project>) -> bool {
    match caller {
        Caller::Loopback => true,
    }
}

/// The caller, or `None` where the request must not be answered.
///
/// The console listens on loopback only, and a request counts as the loopback's when its `Host` names this machine. A
/// foreign page can make its own name resolve to 127.0.0.1 (DNS rebinding) and then read what we answer; the browser
/// still sends that name as `Host`.
#[must_use]
pub fn authenticate(headers: &HeaderMap) -> Option<Caller> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
    host.to_str().ok().and_then(host_name).filter(|name| is_loopback(name)).map(|_| Caller::Loopback)
}

fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of `host[:port]` or `[v6][:port]`.
fn host_name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']')?;
            (name, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for (host, ours) in [
            ("localhost", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:31999", true),
            ("[::1]", true),
            ("[::1]:8000", true),
            ("attacker.example", false),
            ("localhost.attacker.example", false),
            ("localhost:8000.attacker.example", false),
            ("127.0.0.1.attacker.example", false),
            ("10.0.0.1:8000", false),
            ("[::1].attacker.example", false),
            ("localhost:", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            assert_eq!(authenticate(&headers), ours.then_some(Caller::Loopback), "{host:?}");
        }
        assert_eq!(authenticate(&HeaderMap::new()), None, "without a Host");
        let two = [(HOST, HeaderValue::from_static("localhost")), (HOST, HeaderValue::from_static("a.example"))];
        assert_eq!(authenticate(&HeaderMap::from_iter(two)), None, "with two");
    }
}
