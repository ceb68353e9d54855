//! Prints the custom resource definitions, which `crds/` and the chart hold.

use std::path::PathBuf;

use super::CommandError;
use crate::crd;

/// Print the custom resource definitions, or write a file for each.
#[derive(Clone, Debug, clap::Args)]
pub struct Crds {
    /// Folder to write to.
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// Writes them to the folder, or to standard output.
pub fn crds(command: &Crds) -> Result<(), CommandError> {
    for (file, manifest) in crd::manifests()? {
        match &command.directory {
            Some(directory) => std::fs::write(directory.join(file), manifest)?,
            None => println!("---\n{manifest}"),
        }
    }
    Ok(())
}
