//! Which endpoint a request path means. Clients put any prefix in front: a DSN that was issued by
//! GitLab posts to `/api/v4/error_tracking/collector/api/7/envelope/`, so the last match counts.

use crate::dsn::ProjectId;

/// What is sent to an endpoint: an envelope of items or a bare event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Envelope,
    Store,
}

/// The end of the path: `/api/<project>/<endpoint>/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// `None` when the part is there but is no project id.
    pub project: Option<ProjectId>,
    pub endpoint: Endpoint,
}

impl Target {
    /// Repeated slashes count as one and the trailing one may be absent, as in Relay.
    /// `None` when the path ends differently.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('/').filter(|part| !part.is_empty());
        let endpoint = match parts.next()? {
            "envelope" => Endpoint::Envelope,
            "store" => Endpoint::Store,
            _ => return None,
        };
        let project = parts.next()?;
        (parts.next()? == "api").then(|| Self { project: project.parse().ok(), endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_endpoints() {
        for (path, expected) in [
            ("/api/42/envelope/", Some((Some(42), Endpoint::Envelope))),
            ("/api/42/envelope", Some((Some(42), Endpoint::Envelope))),
            ("/api/42/store/", Some((Some(42), Endpoint::Store))),
            ("//api///42/store//", Some((Some(42), Endpoint::Store))),
            ("/api/v4/error_tracking/collector/api/123/envelope/", Some((Some(123), Endpoint::Envelope))),
            ("/errortracking/api/v1/projects/api/7/store/", Some((Some(7), Endpoint::Store))),
            ("/api/1/envelope/api/2/store/", Some((Some(2), Endpoint::Store))),
            ("/api/shop/store/", Some((None, Endpoint::Store))),
            ("/api/0/store/", Some((None, Endpoint::Store))),
            ("/api/store/", None),
            ("/api/42/minidump/", None),
            ("/42/store/", None),
            ("/", None),
            ("", None),
        ] {
            let found = Target::parse(path).map(|target| (target.project.map(ProjectId::get), target.endpoint));
            assert_eq!(found, expected, "{path:?}");
        }
    }
}
