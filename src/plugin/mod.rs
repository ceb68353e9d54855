//! `kubectl errors`: what people do with their keys from their own machine. A command line comes in; out go tables, and
//! annotations on `ClientKey`s, which the operator obeys. It talks to the API server alone, with the kubeconfig and the
//! rights of who calls it. What is asked for goes to standard output, what is said beside it to standard error. Called
//! by the binary `kubectl-errors`.

mod annotations;
mod cluster;
mod completion;
mod dsn;
mod error;
mod keys;
mod output;
mod plan;
mod restore;
mod revoke;
mod rotate;
mod status;

use std::{ffi::OsString, io::ErrorKind, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{cluster::Options, error::PluginError};

/// Rotate and revoke the keys that applications report their errors with, and see how projects and keys are.
#[derive(Parser)]
#[command(name = "kubectl-errors", bin_name = "kubectl errors", version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Rotate(rotate::Rotate),
    Revoke(revoke::Revoke),
    Restore(restore::Restore),
    Keys(keys::Keys),
    Dsn(dsn::Dsn),
    Status(status::Status),
    Completion(completion::Completion),
}

/// Does what the command line says. 0: done; 1: it could not be; 2: the command line cannot be understood.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let words: Vec<_> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(words) = completion::asked(&words) {
        return ended(completion::answer(words).await);
    }
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(said) => {
            // Help goes to standard output and ends with 0. Nobody is left to be told when it cannot be written.
            let _ = said.print();
            return if said.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    ended(command(arguments).await)
}

fn ended(result: Result<(), PluginError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read has read enough, as `head` does.
        Err(PluginError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn command(Arguments { options, command }: Arguments) -> Result<(), PluginError> {
    match command {
        Command::Rotate(command) => rotate::rotate(&command, &options.connect().await?).await,
        Command::Revoke(command) => revoke::revoke(&command, &options.connect().await?).await,
        Command::Restore(command) => restore::restore(&command, &options.connect().await?).await,
        Command::Keys(command) => keys::keys(&command, &options.connect().await?).await,
        Command::Dsn(command) => dsn::dsn(&command, &options.connect().await?).await,
        Command::Status(command) => status::status(&command, &options.connect().await?).await,
        Command::Completion(command) => completion::completion(&command),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_whole() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_cannot_be_a_name_is_not_asked_for() {
        for (line, fits) in [
            ("rotate shop", true),
            ("rotate shop --plan -n web", true),
            ("-n web rotate shop --wait --timeout 90s", true),
            ("rotate shop --timeout 90s", false),
            ("rotate shop --wait --plan", false),
            ("rotate shop --wait --timeout forever", false),
            ("rotate", false),
            ("rotate ../secrets/other", false),
            ("rotate Shop", false),
            ("revoke shop", true),
            ("revoke shop 42 --yes", true),
            ("revoke shop 4/2", false),
            ("restore shop", false),
            ("restore shop 41", true),
            ("keys", true),
            ("keys shop -A -o wide", true),
            ("keys -A -n web", true),
            ("status -A -o yaml", true),
            ("status shop", false),
            ("dsn shop", true),
            ("dsn shop -o json", false),
            ("dsn shop --for runner", true),
            ("dsn shop --for runner --runner-version 14.6", true),
            ("dsn shop --for runner --runner-version latest", false),
            ("dsn shop --runner-version 14.6", false),
            ("dsn shop --for nginx", false),
            ("completion zsh", true),
            ("completion powershell", false),
        ] {
            let words = ["kubectl-errors"].into_iter().chain(line.split(' '));
            assert_eq!(Arguments::try_parse_from(words).is_ok(), fits, "{line}");
        }
    }
}
