//! What the commands share that decide about errors: they send the console the form that its buttons send.

use std::collections::{BTreeMap, BTreeSet};

use form_urlencoded::Serializer;
use serde_json::json;

use super::{
    PluginError, cluster,
    console::{self, Console},
    issue_name::IssueName,
    output::{Output, note, print, print_document},
};
use crate::console_api::{Acted, Outcome};

/// What every one of these commands is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Targets {
    /// As SHOP-12, or shop/12: name of the project and number.
    #[arg(value_name = "ISSUE", required = true)]
    issues: Vec<IssueName>,
    #[arg(short, long, value_enum)]
    output: Option<Output>,
    #[command(flatten)]
    console: console::Options,
}

/// An action of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Fields with their values.
    pub fields: Vec<(&'static str, String)>,
    /// As `resolved`.
    pub done: &'static str,
}

impl Action {
    pub fn new(action: impl Into<String>, done: &'static str) -> Self {
        Self { fields: vec![("action", action.into())], done }
    }

    pub fn with(mut self, field: &'static str, value: impl Into<String>) -> Self {
        self.fields.push((field, value.into()));
        self
    }
}

impl Targets {
    /// The projects of these errors.
    pub fn projects(&self) -> BTreeSet<&str> {
        self.issues.iter().map(|issue| issue.project.as_str()).collect()
    }
}

/// Acts on all of them, one project after the other, and says what became of each.
pub async fn act(targets: &Targets, action: &Action, options: &cluster::Options) -> Result<(), PluginError> {
    let mut by_project: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for IssueName { project, number } in &targets.issues {
        by_project.entry(project).or_default().insert(*number);
    }
    let mut console = targets.console.find(options).await?;
    let mut outcomes = Vec::new();
    for (project, numbers) in by_project {
        let acted = in_project(&mut console, project, &numbers, action).await;
        match acted {
            Ok(acted) => outcomes.extend(acted.outcomes),
            Err(error) => {
                // What was done before is done.
                say(targets.output, &outcomes, action.done)?;
                return Err(error);
            }
        }
    }
    say(targets.output, &outcomes, action.done)?;
    let mut refused = 0;
    for Outcome { short_id, refused: why, .. } in &outcomes {
        if let Some(why) = why {
            refused += 1;
            note(&format!("{short_id}: {why}"));
        }
    }
    if refused == 0 {
        return Ok(());
    }
    Err(PluginError::Refused(format!("{refused} of {} were not {}", outcomes.len(), action.done)))
}

async fn in_project(
    console: &mut Console,
    project: &str,
    numbers: &BTreeSet<u32>,
    action: &Action,
) -> Result<Acted, PluginError> {
    let mut form = Serializer::new(String::new());
    for number in numbers {
        form.append_pair("issue", &number.to_string());
    }
    for (field, value) in &action.fields {
        form.append_pair(field, value);
    }
    let path = format!("/{}/{project}/issues.json", console.namespace);
    console.post(&path, &form.finish()).await
}

fn say(output: Option<Output>, outcomes: &[Outcome], done: &str) -> Result<(), PluginError> {
    match output.and_then(Output::document) {
        Some(document) => print_document(document, &json!({"outcomes": outcomes})),
        None => print(&lines(output, outcomes, done)),
    }
}

fn lines(output: Option<Output>, outcomes: &[Outcome], done: &str) -> String {
    let line = |Outcome { short_id, changed, .. }: &Outcome| match output {
        Some(Output::Name) => format!("issue/{short_id}\n"),
        _ if *changed => format!("issue/{short_id} {done}\n"),
        _ => format!("issue/{short_id} unchanged\n"),
    };
    outcomes.iter().filter(|outcome| outcome.refused.is_none()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_a_line_but_those_that_were_refused() {
        let outcome = |number: u32, changed: bool, refused: Option<&str>| Outcome {
            number,
            short_id: format!("SHOP-{number}"),
            changed,
            refused: refused.map(str::to_owned),
        };
        let outcomes = [outcome(1, true, None), outcome(2, false, None), outcome(3, false, Some("it is gone"))];
        assert_eq!(lines(None, &outcomes, "resolved"), "issue/SHOP-1 resolved\nissue/SHOP-2 unchanged\n");
        assert_eq!(lines(Some(Output::Name), &outcomes, "resolved"), "issue/SHOP-1\nissue/SHOP-2\n");
    }
}
