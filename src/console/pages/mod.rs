//! The pages: what the store knows becomes text for a template, pure and without HTTP. A file holds one page and the
//! fields that its template reads, or what several pages show: `chart`, `verdict` (whether a project receives),
//! `format` (numbers and times), `untrusted` (text that an SDK sent). What an event says is in `stacktrace`,
//! `breadcrumbs`, `request`, `threads`, `attributes` (the rest) and `grouped` (why events are one error). `handlers`
//! fills them in.

mod attributes;
mod breadcrumbs;
mod chart;
mod events;
mod format;
mod go;
mod grouped;
mod health;
mod help;
mod issue;
mod issues;
pub mod json;
mod keys;
mod outcome;
mod problem;
mod projects;
mod releases;
mod request;
mod search;
mod setup;
mod sign_in;
mod stacktrace;
mod suggest;
mod threads;
mod ticket;
mod tokens;
mod triage;
mod untrusted;
mod verdict;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

use self::untrusted::visible;
pub use self::{
    chart::{Days, Hours},
    events::{EVENTS_PAGE_SIZE, EventsPage, ListedEvents},
    go::{GoPage, Hit, Looked},
    health::{HealthPage, Healthy},
    help::HelpPage,
    issue::{EventBar, EventState, IssuePage, Shown},
    issues::{Found, IssuesPage, Listed, PAGE_SIZE, TABS},
    keys::KeysPage,
    outcome::OutcomePage,
    problem::{ProblemPage, for_program},
    projects::ProjectsPage,
    releases::{RELEASES_PAGE_SIZE, ReleasesPage},
    setup::SetupPage,
    sign_in::SignInPage,
    stacktrace::Reading,
    suggest::{Suggested, Suggestion},
    ticket::TicketPage,
    tokens::TokensPage,
    triage::{Acting, DoneBar, with_done},
};
use super::{
    assets,
    auth::Caller,
    sign_in::{Credentials, Secret},
};
use crate::store::console::{Project, ProjectAddress};

/// What every page needs to link to others. Links are relative, so that the console works below any
/// prefix: `kubectl port-forward` has none, the API server's `services/proxy` a long one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// Way from the page to the console's own root: `./` or `../../`.
    pub root: String,
    /// The page itself with its query, relative to that root.
    pub here: String,
    pub stylesheet: &'static str,
    pub script: &'static str,
    pub icon: &'static str,
    pub user: Option<UserView>,
    /// Whether there is no sign-in, so that everybody sees everything.
    pub open: bool,
}

/// Who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserView {
    pub name: String,
    /// What a form carries. `None`: signed in by a header, by a program.
    pub form_token: Option<String>,
    /// Another one on each page: a form that is sent twice acts once.
    pub form_word: String,
}

impl Shell {
    /// For the page at `path`, which starts with a slash.
    #[must_use]
    pub fn at(path: &str, query: &str) -> Self {
        let depth = path.matches('/').count().saturating_sub(1);
        let root = if depth == 0 { "./".to_owned() } else { "../".repeat(depth) };
        let page = path.strip_prefix('/').unwrap_or(path);
        let here = if query.is_empty() { page.to_owned() } else { format!("{page}?{query}") };
        let stylesheet = assets::STYLESHEET.name.as_str();
        let (script, icon) = (assets::SCRIPT.name.as_str(), assets::ICON.name.as_str());
        Self { root, here, stylesheet, script, icon, user: None, open: false }
    }

    /// From now on the page says who is signed in.
    pub fn show(&mut self, credentials: &Credentials) {
        self.open = matches!(credentials.caller, Caller::Everybody);
        let form_token = credentials.secret.as_ref().map(Secret::form_token);
        if let Caller::User(user) = &credentials.caller {
            let form_word = Uuid::new_v4().simple().to_string();
            self.user = Some(UserView { name: visible(&user.name), form_token, form_word });
        }
    }
}

/// A project as its pages head themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectHead {
    pub id: u64,
    pub title: String,
    /// Its pages below the console's root: `web/shop`.
    pub address: String,
    /// `metadata.name`, for commands.
    pub name: String,
    pub namespace: String,
    pub platform: Option<String>,
}

/// The pages of a project, below the console's root: `web/shop`.
#[must_use]
pub fn project_path(project: &ProjectAddress) -> String {
    format!("{}/{}", in_path(&project.namespace), in_path(&project.name))
}

/// How people call an error: `SHOP-12`.
#[must_use]
pub fn short_id(project: &str, number: u32) -> String {
    format!("{}-{number}", visible(project).to_uppercase())
}

/// As one part of a path. Names of Kubernetes stay as they are; a tenant's own database may say anything.
fn in_path(name: &str) -> impl std::fmt::Display {
    utf8_percent_encode(name, NOT_IN_PATH)
}

const NOT_IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

impl From<&Project> for ProjectHead {
    fn from(project: &Project) -> Self {
        let shown = |text: &Option<String>| text.as_deref().map(visible).filter(|text| !text.trim().is_empty());
        Self {
            id: project.id.get(),
            title: shown(&project.display_name).unwrap_or_else(|| project.name.clone()),
            address: project_path(&project.address()),
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
            assert_eq!(Shell::at(path, "").root, root, "{path}");
        }
    }
}
