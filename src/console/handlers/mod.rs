//! One file a page, each with what its request says: it asks the store within one snapshot and fills the page in.
//! Every handler gets a [`Context`](super::context::Context), which holds the caller. `routes` names them.

pub mod act;
pub mod asset;
pub mod event;
pub mod events;
pub mod go;
pub mod health;
pub mod help;
pub mod issue;
pub mod issues;
pub mod keys;
pub mod project;
pub mod projects;
pub mod releases;
pub mod setup;
pub mod sign_in;
pub mod suggest;
pub mod ticket;
pub mod tokens;

use uuid::Uuid;

use super::{
    auth::Right,
    context::Context,
    pages::{Acting, DoneBar, project_path},
    problem::Problem,
};
use crate::store::console::{Done, Issue, Project, ProjectAddress, Snapshot, issue_number};

/// The error of that number. Where it was merged into another, the same page of that one has to be asked for: `rest` is
/// what follows the number in its address.
async fn shown_issue(snapshot: &mut Snapshot, project: &Project, number: i64, rest: &str) -> Result<Issue, Problem> {
    let number = u32::try_from(number).map_err(|_| Problem::NotFound("error"))?;
    let id = project.issue_id(number);
    if let Some(issue) = snapshot.issue(project.id, id).await? {
        return Ok(issue);
    }
    let into = snapshot.merged_into(project.id, id).await?.ok_or(Problem::NotFound("error"))?;
    Err(Problem::See(format!("{}/issues/{}{rest}", project_path(&project.address()), issue_number(into))))
}

/// What a view says about deciding.
struct Decisions {
    /// Whether the project's schema keeps any yet.
    are_kept: bool,
    /// What was done with the batch that an address names, and can still be undone.
    done: Option<(Uuid, Done)>,
}

impl Decisions {
    async fn read(snapshot: &mut Snapshot, project: &Project, batch: Option<Uuid>) -> Result<Self, Problem> {
        let done = match batch {
            Some(batch) => snapshot.done(project.id, batch).await?.map(|done| (batch, done)),
            None => None,
        };
        Ok(Self { are_kept: snapshot.is_migrated(project.id).await?, done })
    }

    /// What the caller may do on a page of errors, with the bar about what was done just before.
    async fn acting(self, context: &Context, project: &ProjectAddress) -> Result<Acting, Problem> {
        let may_act = self.are_kept && context.also(Right::UpdateIssues, project).await?;
        let may_delete = may_act && context.also(Right::DeleteIssues, project).await?;
        let done =
            self.done.map(|(batch, done)| DoneBar::new(&context.shell, project, may_act.then_some(batch), &done));
        Ok(Acting { may_act, may_delete, done })
    }
}

/// Whether a place is one of the console's own pages: relative, and not upwards.
fn leads_here(to: &str) -> bool {
    let path = to.split(['?', '#']).next().unwrap_or_default();
    to.len() <= 2048
        && !to.starts_with('/')
        && !to.contains('\\')
        && !path.contains(':')
        && to.bytes().all(|byte| byte.is_ascii_graphic())
        && !path.split('/').any(goes_up)
}

/// Browsers take `%2e` for a dot there.
fn goes_up(part: &str) -> bool {
    part.to_ascii_lowercase().replace("%2e", ".") == ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_go_on_to_our_own_pages_only() {
        for (to, ours) in [
            ("", true),
            ("web/shop/issues/12", true),
            ("web/shop/issues?status=resolved&page=2", true),
            ("web/shop/issues?query=a%3Ab..", true),
            ("web/shop/issues?query=is:resolved", true),
            ("javascript:alert(1)?a", false),
            ("/web/shop", false),
            ("//attacker.example", false),
            ("https://attacker.example", false),
            ("javascript:alert(1)", false),
            (r"\\attacker.example", false),
            ("../../attacker", false),
            ("web/../..", false),
            ("web/%2E./.%2e/%2e%2e", false),
            ("web/shop%2e..", true),
            ("web/shop\r\nSet-Cookie: a=b", false),
            ("web/shöp", false),
        ] {
            assert_eq!(leads_here(to), ours, "{to:?}");
        }
    }
}
