//! What people type or paste to find an error or an event. Pure; used by the handler of `/-/go`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::{dsn::ProjectId, protocol::event::EventId, store::console::ProjectAddress};

/// Longest text that is looked at.
pub const MAX_BYTES: usize = 2048;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// `SHOP-12`: in every project of that name.
    Short {
        project: String,
        number: u32,
    },
    /// `web/SHOP-12`, or the page of an error or of one of its events.
    In {
        project: ProjectAddress,
        number: u32,
        event: Option<EventId>,
    },
    /// `12`: in every project.
    Number(u32),
    /// As APIs have it: the project and the number in one.
    Id {
        project: ProjectId,
        number: u32,
    },
    Event(EventId),
}

impl Lookup {
    /// `None`: it is nothing of that kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > MAX_BYTES {
            return None;
        }
        if let Ok(event) = text.parse() {
            return Some(Self::Event(event));
        }
        number(text.strip_prefix('#').unwrap_or(text)).or_else(|| short(text)).or_else(|| address(text))
    }
}

/// Only digits: `+1` is none. An id is larger than every number.
fn number(text: &str) -> Option<Lookup> {
    let number: u64 = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
    let within = u32::try_from(number & u64::from(u32::MAX)).ok().filter(|within| *within > 0)?;
    match number >> 32 {
        0 => Some(Lookup::Number(within)),
        project => Some(Lookup::Id { project: ProjectId::new(project)?, number: within }),
    }
}

/// `SHOP-12`, and with a namespace before it.
fn short(text: &str) -> Option<Lookup> {
    let (namespace, rest) = text.split_once('/').map_or((None, text), |(namespace, rest)| (Some(namespace), rest));
    let (project, digits) = rest.rsplit_once('-')?;
    let Some(Lookup::Number(number)) = number(digits) else { return None };
    if !is_name(project) || !namespace.is_none_or(is_name) {
        return None;
    }
    // Names of Kubernetes have no capitals.
    let name = project.to_lowercase();
    Some(match namespace {
        Some(namespace) => {
            Lookup::In { project: ProjectAddress { namespace: namespace.to_lowercase(), name }, number, event: None }
        }
        None => Lookup::Short { project: name, number },
    })
}

/// An address of this console, of Sentry or of GitLab, whatever host it has and whatever comes before its path.
fn address(text: &str) -> Option<Lookup> {
    let path = text.split_once("://").map_or(text, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let parts: Option<Vec<_>> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned))
        .collect();
    let parts = parts?;
    let after = |name: &str| {
        let position = parts.iter().rposition(|part| part == name)?;
        Some((position, parts.get(position + 1)?.as_str()))
    };
    let event = after("events").and_then(|(_, event)| event.parse().ok());
    let found = match (after("issues"), after("error_tracking")) {
        (Some((position, issue)), _) => of_issue(&parts[..position], issue, event),
        (None, Some((_, issue))) => number(issue),
        (None, None) => None,
    };
    // Whoever has the id of an event needs no more.
    match found {
        Some(found @ Lookup::In { .. }) => Some(found),
        found => event.or_else(|| after("e")?.1.parse().ok()).map(Lookup::Event).or(found),
    }
}

/// `before`: the parts of the path before `issues`.
fn of_issue(before: &[String], issue: &str, event: Option<EventId>) -> Option<Lookup> {
    let found = number(issue).or_else(|| short(issue))?;
    match (before, found) {
        // Issues of GitLab are no errors.
        ([.., dash], _) if dash == "-" => None,
        // Sentry's addresses.
        ([.., organizations, _], found) if organizations == "organizations" => Some(found),
        ([.., namespace, name], Lookup::Number(number)) => {
            let project = ProjectAddress { namespace: namespace.clone(), name: name.clone() };
            (is_name(namespace) && is_name(name)).then_some(Lookup::In { project, number, event })
        }
        (_, found) => Some(found),
    }
}

/// Whether an object of Kubernetes can be called so, but for capitals.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn project(namespace: &str, name: &str) -> ProjectAddress {
        ProjectAddress { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn shop(number: u32) -> Lookup {
        Lookup::Short { project: "shop".to_owned(), number }
    }

    fn in_shop(number: u32) -> Lookup {
        Lookup::In { project: project("web", "shop"), number, event: None }
    }

    #[test]
    fn people_type_what_they_have() {
        let event: EventId = ID.parse().unwrap();
        let id = |project, number| Lookup::Id { project: ProjectId::new(project).unwrap(), number };
        for (text, expected) in [
            ("SHOP-12", Some(shop(12))),
            (" shop-12\n", Some(shop(12))),
            ("MY-SHOP-2-12", Some(Lookup::Short { project: "my-shop-2".to_owned(), number: 12 })),
            ("web/SHOP-12", Some(in_shop(12))),
            ("12", Some(Lookup::Number(12))),
            ("#12", Some(Lookup::Number(12))),
            ("30064771084", Some(id(7, 12))),
            (ID, Some(Lookup::Event(event))),
            ("01234567-89AB-CDEF-0123-456789ABCDEF", Some(Lookup::Event(event))),
            ("https://errors.example/web/shop/issues/12", Some(in_shop(12))),
            ("http://127.0.0.1:8000/web/shop/issues/12/?done=x#i-1", Some(in_shop(12))),
            ("https://api.example/api/v1/proxy/web/shop/issues/12", Some(in_shop(12))),
            ("web/shop/issues/12/", Some(in_shop(12))),
            ("https://errors.example/%77eb/shop/issues/12", Some(in_shop(12))),
            ("https://errors.example/-/e/0123456789abcdef0123456789abcdef", Some(Lookup::Event(event))),
            (
                "https://errors.example/web/shop/events/0123456789abcdef0123456789abcdef/json",
                Some(Lookup::Event(event)),
            ),
            ("https://acme.sentry.io/issues/30064771084/?project=1", Some(id(7, 12))),
            ("https://acme.sentry.io/issues/SHOP-12/", Some(shop(12))),
            ("https://sentry.io/organizations/acme/issues/12/", Some(Lookup::Number(12))),
            (
                "https://sentry.io/organizations/acme/issues/99/events/0123456789abcdef0123456789abcdef/",
                Some(Lookup::Event(event)),
            ),
            ("https://gitlab.example/group/shop/-/error_tracking/30064771084/details", Some(id(7, 12))),
            ("https://gitlab.example/group/shop/-/issues/12", None),
            ("", None),
            ("0", None),
            ("+1", None),
            ("-12", None),
            ("/SHOP-12", None),
            ("web/", None),
            ("SHOP-", None),
            ("SHOP-0", None),
            ("SHOP-4294967296", None),
            ("18446744073709551615", None),
            ("99999999999999999999", None),
            ("00000000000000000000000000000000", None),
            ("https://", None),
            ("https://errors.example/web/shop/issues/%ff", None),
            ("web/shop/issues/%00", None),
            ("web%00/shop/issues/1", None),
            ("we\0b/SHOP-1", None),
            ("SH\u{202e}OP-1", None),
            ("../../etc/passwd", None),
            ("'; DROP TABLE events", None),
        ] {
            assert_eq!(Lookup::parse(text), expected, "{text:?}");
        }
        let named = Lookup::parse(&format!("https://errors.example/web/shop/issues/12/events/{ID}"));
        assert_eq!(named, Some(Lookup::In { project: project("web", "shop"), number: 12, event: Some(event) }));
        assert_eq!(Lookup::parse(&"1".repeat(MAX_BYTES + 1)), None);
    }
}
