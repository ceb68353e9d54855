//! The pages: what the store knows becomes text for a template, pure and without HTTP. A file holds one page and the
//! fields that its template reads, or what several pages show: `chart`, `stacktrace`, `attributes` (what an event says
//! besides its stack trace), `grouped` (why events are one error), `format` (numbers and times), `untrusted` (text that an SDK sent). `handlers` fills them in.

mod attributes;
mod chart;
mod format;
mod grouped;
mod issue;
mod issues;
mod keys;
mod problem;
mod projects;
mod stacktrace;
mod untrusted;

use self::untrusted::visible;
pub use self::{
    chart::Hours,
    issue::{EventState, IssuePage},
    issues::{IssuesPage, MAX_PAGE, PAGE_SIZE},
    keys::KeysPage,
    problem::ProblemPage,
    projects::ProjectsPage,
};
use super::assets;
use crate::store::console::Project;

/// What every page needs to link to others. Links are relative, so that the console works below any
/// prefix: `kubectl port-forward` has none, the API server's `services/proxy` a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// Way from the page to the console's own root: `./` or `../../`.
    pub root: String,
    pub stylesheet: &'static str,
    pub icon: &'static str,
}

impl Shell {
    /// For the page at `path`, which starts with a slash.
    #[must_use]
    pub fn at(path: &str) -> Self {
        let depth = path.matches('/').count().saturating_sub(1);
        let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
        Self { root, stylesheet: &assets::STYLESHEET.name, icon: &assets::ICON.name }
    }
}

/// A project as its pages head themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectHead {
    pub id: u64,
    pub title: String,
    /// `metadata.name`, for commands.
    pub name: String,
    pub namespace: String,
    pub platform: Option<String>,
}

impl From<&Project> for ProjectHead {
    fn from(project: &Project) -> Self {
        let shown = |text: &Option<String>| text.as_deref().map(visible).filter(|text| !text.trim().is_empty());
        Self {
            id: project.id.get(),
            title: shown(&project.display_name).unwrap_or_else(|| project.name.clone()),
            name: project.name.clone(),
            namespace: project.namespace.clone(),
            platform: shown(&project.platform),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_root_from_any_depth() {
        for (path, root) in
            [("/", "./"), ("/projects", "./"), ("/projects/1/issues", "../../"), ("/projects/1/issues/5", "../../../")]
        {
            assert_eq!(Shell::at(path).root, root, "{path}");
        }
    }
}
