//! Addresses of the version before, `/projects/{number}/…`, lead to those of now. Pure; used by `context`, which has
//! asked for the right first.

use super::pages::project_path;
use crate::{
    dsn::ProjectId,
    store::console::{ProjectAddress, issue_number},
};

/// The number of the project, if the address may be an old one. A namespace called `projects` may exist too: it comes
/// first.
#[must_use]
pub fn number(address: &ProjectAddress) -> Option<ProjectId> {
    (address.namespace == "projects").then(|| address.name.parse().ok()).flatten()
}

/// The page of now for the old `path` and `query`, relative to the console's root. `None`: there is none.
#[must_use]
pub fn place(path: &str, query: &str, project: &ProjectAddress) -> Option<String> {
    let mut parts = path.trim_matches('/').split('/').skip(2);
    let rest = match (parts.next().unwrap_or("issues"), parts.next(), parts.next()) {
        ("issues", None, None) => "issues".to_owned(),
        ("keys", None, None) => "keys".to_owned(),
        ("issues", Some(id), None) => format!("issues/{}", issue_number(id.parse().ok()?)),
        _ => return None,
    };
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    Some(format!("{}/{rest}{query}", project_path(project)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_addresses_lead_to_the_new_ones() {
        let project = ProjectAddress { namespace: "web".to_owned(), name: "shop".to_owned() };
        for (path, query, expected) in [
            ("/projects/7", "", Some("web/shop/issues")),
            ("/projects/7/issues/", "status=resolved", Some("web/shop/issues?status=resolved")),
            ("/projects/7/keys", "", Some("web/shop/keys")),
            ("/projects/7/issues/30064771074", "", Some("web/shop/issues/2")),
            ("/projects/7/issues/x", "", None),
            ("/projects/7/issues/1/events", "", None),
            ("/projects/7/nothing", "", None),
        ] {
            assert_eq!(place(path, query, &project).as_deref(), expected, "{path}");
        }
        let number = |namespace: &str, name: &str| {
            number(&ProjectAddress { namespace: namespace.to_owned(), name: name.to_owned() }).map(ProjectId::get)
        };
        assert_eq!([number("projects", "7"), number("projects", "shop"), number("web", "7")], [Some(7), None, None]);
    }
}
