//! `kubectl errors`, nothing else.

use std::process::ExitCode;

use error_tracking_operator::plugin;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    plugin::run(std::env::args_os()).await
}
