//! `kubectl errors`: what people do with their keys and errors from their own machine. A command line comes in; out go
//! tables, annotations on `ClientKey`s, which the operator obeys, and forms for the console. It talks to the API server,
//! with the kubeconfig and the rights of who calls it, and through it to the console (`console`) and to ingest pods. What is asked for goes to standard output, what is said beside it to standard error. Called
//! by the binary `kubectl-errors`.

mod annotations;
mod cluster;
mod completion;
mod console;
mod dsn;
mod error;
mod forward;
mod ignore;
mod issue_name;
mod issues;
mod keys;
mod login;
mod merge;
mod open;
mod output;
mod plan;
mod reopen;
mod resolve;
mod restore;
mod revoke;
mod rotate;
mod send_test;
mod show;
mod status;
mod tail;
mod token;
mod triage;

use std::{ffi::OsString, io::ErrorKind, process::ExitCode};

use clap::{Parser, Subcommand};

use self::{cluster::Options, error::PluginError};

/// See and decide about the errors of applications, rotate and revoke the keys that they report them with.
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
    Issues(issues::Issues),
    Show(show::Show),
    Resolve(resolve::Resolve),
    Ignore(ignore::Ignore),
    Reopen(reopen::Reopen),
    Merge(merge::Merge),
    Tail(tail::Tail),
    Open(open::Open),
    Login(login::Login),
    Token(token::Token),
    SendTest(send_test::SendTest),
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
        Command::Issues(command) => issues::issues(&command, &options).await,
        Command::Show(command) => show::show(&command, &options).await,
        Command::Resolve(command) => resolve::resolve(&command, &options).await,
        Command::Ignore(command) => ignore::ignore(&command, &options).await,
        Command::Reopen(command) => reopen::reopen(&command, &options).await,
        Command::Merge(command) => merge::merge(&command, &options).await,
        Command::Tail(command) => tail::tail(&command, &options).await,
        Command::Open(command) => open::open(&command, &options).await,
        Command::Login(command) => login::login(&command, &options).await,
        Command::Token(command) => token::token(&command, &options).await,
        Command::SendTest(command) => send_test::send_test(&command, &options).await,
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
            ("issues", true),
            ("issues shop -w --sort events -n web", true),
            ("issues shop --status open", false),
            ("issues shop --console http://errors.example.com", false),
            ("issues shop --console https://errors.example.com --token-file t", true),
            ("issues shop --token-file t --service-account reader", false),
            ("show SHOP-12", true),
            ("show issue/SHOP-12 --all-frames -o yaml", true),
            ("show shop", false),
            ("show", false),
            ("resolve SHOP-12 shop/13 --in-next-release", true),
            ("resolve SHOP-12 --in-next-release --in-release 1.2", false),
            ("resolve", false),
            ("ignore SHOP-12 --for 7d", true),
            ("ignore SHOP-12 --for 7d --users 10", false),
            ("reopen SHOP-12 -o name", true),
            ("merge SHOP-12 --into SHOP-1", true),
            ("merge SHOP-12", false),
            ("tail shop", true),
            ("tail", false),
            ("open", true),
            ("open SHOP-12 --print", true),
            ("login", true),
            ("token ci --scope event:read", true),
            ("token ci --scope event:read,event:write --scope key:write --days 7 -o json", true),
            ("token ci", false),
            ("token --scope event:read", false),
            ("token ci --scope org:admin", false),
            ("token ci --scope event:read --days 367", false),
            ("login shop --service-account reader --print", true),
            ("send-test shop", true),
            ("send-test", false),
            ("completion zsh", true),
            ("completion powershell", false),
        ] {
            let words = ["kubectl-errors"].into_iter().chain(line.split(' '));
            assert_eq!(Arguments::try_parse_from(words).is_ok(), fits, "{line}");
        }
    }
}
