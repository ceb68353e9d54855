//! Which endpoint a request path means. Clients put any prefix in front: a DSN that was issued by
//! GitLab posts to `/api/v4/error_tracking/collector/api/7/envelope/`, so the last match counts.

use crate::dsn::ProjectId;

/// What is sent to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Items behind a line of headers each.
    Envelope,
    /// A bare event.
    Store,
    /// What a browser reports of a page's policy: CSP, or a list of the Reporting API.
    Security,
    /// Network errors that a browser reports.
    Nel,
    /// A crash dump, as a form or alone.
    Minidump,
}

impl Endpoint {
    /// The last part of its path.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::Store => "store",
            Self::Security => "security",
            Self::Nel => "nel",
            Self::Minidump => "minidump",
        }
    }
}

/// The end of the path: `/api/<project>/<endpoint>/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub project: Addressed,
    pub endpoint: Endpoint,
}

/// Which project a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressed {
    Project(ProjectId),
    /// `/api/store/`, from before paths named a project: the one of the key.
    OfKey,
    /// The part is there but is no project id.
    Invalid,
}

impl Target {
    /// Repeated slashes count as one and the trailing one may be absent, as in Relay.
    /// `None` when the path ends differently.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.rsplit('/').filter(|part| !part.is_empty());
        let endpoint = match parts.next()? {
            "envelope" => Endpoint::Envelope,
            "store" => Endpoint::Store,
            "security" | "csp-report" => Endpoint::Security,
            "nel" => Endpoint::Nel,
            "minidump" => Endpoint::Minidump,
            _ => return None,
        };
        let project = match (parts.next()?, endpoint) {
            ("api", Endpoint::Store) => return Some(Self { project: Addressed::OfKey, endpoint }),
            (part, _) => part.parse().map_or(Addressed::Invalid, Addressed::Project),
        };
        (parts.next()? == "api").then_some(Self { project, endpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_endpoints() {
        let at = |id, endpoint| Some((Addressed::Project(ProjectId::new(id).unwrap()), endpoint));
        for (path, expected) in [
            ("/api/42/envelope/", at(42, Endpoint::Envelope)),
            ("/api/42/envelope", at(42, Endpoint::Envelope)),
            ("/api/42/store/", at(42, Endpoint::Store)),
            ("//api///42/store//", at(42, Endpoint::Store)),
            ("/api/v4/error_tracking/collector/api/123/envelope/", at(123, Endpoint::Envelope)),
            ("/errortracking/api/v1/projects/api/7/store/", at(7, Endpoint::Store)),
            ("/api/1/envelope/api/2/store/", at(2, Endpoint::Store)),
            ("/api/42/security/", at(42, Endpoint::Security)),
            ("/api/42/csp-report/", at(42, Endpoint::Security)),
            ("/api/42/nel/", at(42, Endpoint::Nel)),
            ("/api/42/minidump", at(42, Endpoint::Minidump)),
            ("/api/store/", Some((Addressed::OfKey, Endpoint::Store))),
            ("/prefix/api/store", Some((Addressed::OfKey, Endpoint::Store))),
            ("/api/shop/store/", Some((Addressed::Invalid, Endpoint::Store))),
            ("/api/0/store/", Some((Addressed::Invalid, Endpoint::Store))),
            ("/api/envelope/", None),
            ("/api/42/unreal/", None),
            ("/42/store/", None),
            ("/store/", None),
            ("/", None),
            ("", None),
        ] {
            let found = Target::parse(path).map(|target| (target.project, target.endpoint));
            assert_eq!(found, expected, "{path:?}");
        }
    }
}
