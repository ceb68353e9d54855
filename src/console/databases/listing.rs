//! What several databases say of projects, put together. Pure.
//!
//! The installation's own database has a row for every project, also for those that are kept elsewhere. It alone says
//! which projects there are and whose a number is; what others say is believed while it is away, up to
//! [`MAX_BELIEVED`].

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    dsn::ProjectId,
    store::console::{Project, ProjectNumbers, ProjectSummary},
};

/// Projects of a database that is not the installation's own, while that is away: its people may write into it what they
/// like, and the rights in each are asked about.
const MAX_BELIEVED: usize = 100;

/// One database's part.
pub struct Listed {
    pub server: String,
    /// That it belongs to; `None`: the installation's own.
    pub namespace: Option<String>,
    /// `None`: it did not answer.
    pub projects: Option<Vec<ProjectSummary>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// By namespace and name.
    pub projects: Vec<ListedProject>,
    pub unreachable: Vec<Unreachable>,
}

/// A server that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    pub server: String,
    /// Whose people may know of it; `None`: the installation's own.
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedProject {
    pub project: Project,
    pub state: ProjectState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProjectState {
    Readable(ProjectNumbers),
    /// Its schema is not there yet.
    BeingSetUp,
    /// It is kept on a server that does not answer.
    Unreachable,
    /// It is kept on a server that the console has no login for.
    NoLogin,
}

impl Listing {
    /// The first of `parts` is the installation's own.
    #[must_use]
    pub fn new(parts: Vec<Listed>) -> Self {
        let servers: BTreeSet<_> = parts.iter().map(|part| part.server.clone()).collect();
        let unreachable: Vec<_> = parts
            .iter()
            .filter(|part| part.projects.is_none())
            .map(|part| Unreachable { server: part.server.clone(), namespace: part.namespace.clone() })
            .collect();
        let is_away = |server: &String| unreachable.iter().any(|away| away.server == *server);
        let all_are_known = parts.first().is_some_and(|own| own.projects.is_some());
        let mut projects: BTreeMap<ProjectId, ListedProject> = BTreeMap::new();
        for (index, part) in parts.into_iter().enumerate() {
            let believed = if index == 0 || all_are_known { usize::MAX } else { MAX_BELIEVED };
            for ProjectSummary { project, numbers } in part.projects.into_iter().flatten().take(believed) {
                let state = match (&project.server, numbers) {
                    (None, Some(numbers)) => ProjectState::Readable(numbers),
                    (None, None) => ProjectState::BeingSetUp,
                    (Some(server), _) if is_away(server) => ProjectState::Unreachable,
                    (Some(server), _) if servers.contains(server) => ProjectState::BeingSetUp,
                    (Some(_), _) => ProjectState::NoLogin,
                };
                let listed = ListedProject { project, state };
                match projects.get_mut(&listed.project.id) {
                    None if index > 0 && all_are_known => {}
                    None => drop(projects.insert(listed.project.id, listed)),
                    Some(known) if index > 0 && known.is_replaced_by(&listed) => *known = listed,
                    Some(_) => {}
                }
            }
        }
        let mut projects: Vec<_> = projects.into_values().collect();
        projects.sort_by(|ListedProject { project: one, .. }, ListedProject { project: other, .. }| {
            (&one.namespace, &one.name, one.id).cmp(&(&other.namespace, &other.name, other.id))
        });
        Self { projects, unreachable }
    }
}

impl ListedProject {
    /// Whether another database has what this row only points to.
    fn is_replaced_by(&self, other: &Self) -> bool {
        let (row, found) = (&self.project, &other.project);
        row.server.is_some()
            && (&row.namespace, &row.name) == (&found.namespace, &found.name)
            && matches!(other.state, ProjectState::Readable(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::console::Reception;

    fn summary(id: u64, name: &str, server: Option<&str>, unresolved: Option<u64>) -> ProjectSummary {
        let project = Project {
            id: ProjectId::new(id).unwrap(),
            namespace: "web".to_owned(),
            name: name.to_owned(),
            display_name: None,
            platform: None,
            server: server.map(str::to_owned),
        };
        let numbers = unresolved.map(|unresolved| ProjectNumbers {
            unresolved,
            new: 0,
            regressed: 0,
            hours: Vec::new(),
            reception: Reception::default(),
            platforms: Vec::new(),
        });
        ProjectSummary { project, numbers }
    }

    fn part(server: &str, projects: Option<Vec<ProjectSummary>>) -> Listed {
        let namespace = (server != "own").then(|| "web".to_owned());
        Listed { server: server.to_owned(), namespace, projects }
    }

    fn away(listing: &Listing) -> Vec<&str> {
        listing.unreachable.iter().map(|away| away.server.as_str()).collect()
    }

    /// Name and unresolved errors, or what is the matter.
    fn seen(listing: &Listing) -> Vec<String> {
        let state = |state: &ProjectState| match state {
            ProjectState::Readable(numbers) => numbers.unresolved.to_string(),
            other => format!("{other:?}"),
        };
        listing.projects.iter().map(|listed| format!("{} {}", listed.project.name, state(&listed.state))).collect()
    }

    fn catalog() -> Vec<ProjectSummary> {
        vec![
            summary(1, "own", None, Some(7)),
            summary(2, "new", None, None),
            summary(3, "shop", Some("a"), None),
            summary(4, "pay", Some("b"), None),
            summary(5, "far", Some("c"), None),
        ]
    }

    #[test]
    fn every_project_shows_once_with_what_is_known_of_it() {
        let listing = Listing::new(vec![
            part("own", Some(catalog())),
            part("a", Some(vec![summary(3, "shop", None, Some(9))])),
            part("b", None),
        ]);
        assert_eq!(seen(&listing), ["far NoLogin", "new BeingSetUp", "own 7", "pay Unreachable", "shop 9"]);
        assert_eq!(away(&listing), ["b"]);
    }

    #[test]
    fn a_server_cannot_take_the_number_of_a_project_that_is_not_there() {
        let claims = vec![
            summary(1, "own", None, Some(666)),
            summary(2, "new", None, Some(666)),
            summary(3, "other name", None, Some(666)),
            summary(4, "pay", None, Some(5)),
            summary(6, "made up", None, Some(666)),
        ];
        let listing = Listing::new(vec![part("own", Some(catalog())), part("b", Some(claims))]);
        assert_eq!(seen(&listing), ["far NoLogin", "new BeingSetUp", "own 7", "pay 5", "shop NoLogin"]);
    }

    #[test]
    fn without_the_own_database_the_others_show() {
        let parts =
            || vec![part("own", None), part("a", Some(vec![summary(3, "shop", None, Some(9))])), part("b", None)];
        let listing = Listing::new(parts());
        assert_eq!(seen(&listing), ["shop 9"]);
        assert_eq!(away(&listing), ["own", "b"]);
        let many = (1..=1000).map(|id| summary(id, "made up", None, Some(666))).collect();
        let listing = Listing::new(vec![part("own", None), part("a", Some(many))]);
        assert_eq!(listing.projects.len(), MAX_BELIEVED);
    }
}
