//! Opens the console in a browser.

use std::{
    process::{Command, Stdio},
    str::FromStr,
};

use super::{
    PluginError,
    cluster::{self, name},
    console,
    issue_name::IssueName,
    output::{note, print},
};

/// Open the console in the browser, at an error or at the errors of a project.
///
/// Without an address of its own, the console is reached through a port of this machine until the command is
/// interrupted.
#[derive(Clone, Debug, clap::Args)]
pub struct Open {
    /// An error, as SHOP-12; or the name of a project.
    #[arg(value_name = "ISSUE|PROJECT")]
    place: Option<Place>,
    /// Print the address only.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    console: console::Options,
}

/// A page of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Issue(IssueName),
    Project(String),
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A project may be called shop-12: then shop-12/3 is an error of it, and the list is a click away from it.
        text.parse()
            .map(Self::Issue)
            .or_else(|_| name(text).map(Self::Project))
            .map_err(|_| "it is neither an error, as SHOP-12, nor the name of a project")
    }
}

impl Place {
    /// Below the console's root.
    pub fn path(&self, namespace: &str) -> String {
        match self {
            Self::Issue(IssueName { project, number }) => format!("{namespace}/{project}/issues/{number}"),
            Self::Project(project) => format!("{namespace}/{project}/issues"),
        }
    }
}

pub async fn open(command: &Open, options: &cluster::Options) -> Result<(), PluginError> {
    let console = command.console.find(options).await?;
    let path = command.place.as_ref().map(|place| place.path(&console.namespace)).unwrap_or_default();
    let entrance = console.entrance().await?;
    let url = format!("{}/{path}", entrance.url);
    print(&format!("{url}\n"))?;
    if !command.print {
        browse(&url);
    }
    entrance.keep().await
}

/// Shows a page in the browser. Where there is none, the address that was printed is enough.
pub fn browse(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let nothing = Stdio::null;
    let started = Command::new(program).arg(url).stdin(nothing()).stdout(nothing()).stderr(nothing()).spawn();
    if let Err(error) = started {
        note(&format!("No browser was opened ({program}: {error})."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_projects_have_pages() {
        for (text, path) in [
            ("SHOP-12", Some("web/shop/issues/12")),
            ("shop/12", Some("web/shop/issues/12")),
            ("shop", Some("web/shop/issues")),
            ("shop-eu", Some("web/shop-eu/issues")),
            ("Shop", None),
            ("../shop", None),
        ] {
            let place: Option<Place> = text.parse().ok();
            assert_eq!(place.map(|place| place.path("web")).as_deref(), path, "{text}");
        }
    }
}
