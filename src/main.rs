//! Commands, nothing else.

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};
use error_tracking_operator::{commands, console, ingest, operator, telemetry};
use tokio_util::sync::CancellationToken;

/// Gives a Kubernetes cluster its own error tracking.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Reconcile the custom resources.
    Operator(Box<operator::Config>),
    /// Receive the events of one project.
    Ingest(ingest::Config),
    /// Serve the web pages.
    Console(console::Config),
    Decode(commands::Decode),
    Projects(commands::Projects),
    Retained(commands::Retained),
    Adopt(commands::Adopt),
    NextNumber(commands::NextNumber),
    Release(commands::Release),
    Crds(commands::Crds),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::logs::init();
    let runtime = match &arguments.command {
        Command::Ingest(_) => ingest::runtime(),
        _ => tokio::runtime::Runtime::new(),
    };
    let result: Result<(), Box<dyn Error>> =
        runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(arguments.command)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "Ended.");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Operator(config) => operator::run(*config, on_signal()).await.map_err(Into::into),
        Command::Ingest(config) => ingest::run(config, on_signal()).await.map_err(Into::into),
        Command::Console(config) => console::run(config, on_signal()).await.map_err(Into::into),
        Command::Decode(command) => commands::decode(&command, operator::ingest_settings).map_err(Into::into),
        Command::Projects(command) => commands::projects(command).await.map_err(Into::into),
        Command::Retained(command) => commands::retained(command).await.map_err(Into::into),
        Command::Adopt(command) => commands::adopt(command).await.map_err(Into::into),
        Command::NextNumber(command) => commands::next_number(command).await.map_err(Into::into),
        Command::Release(command) => commands::release(command).await.map_err(Into::into),
        Command::Crds(command) => commands::crds(&command).map_err(Into::into),
    }
}

/// Cancelled by the first SIGTERM or SIGINT.
#[expect(clippy::disallowed_methods, reason = "the task waits for a signal for as long as the process lives")]
fn on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        telemetry::signals::terminated().await;
        cancelled.cancel();
    });
    token
}
