//! Serves the doubles of Sentry and GitLab until it is interrupted, for a person or a test of another process:
//! `cargo run --example key-servers -- --sentry 127.0.0.1:9001 --gitlab 127.0.0.1:9002`. How faults are switched on is
//! told in `tests/support/key_servers/control.rs`.

#![expect(clippy::unwrap_used, reason = "a program for tests, whose mistakes are seen at once")]

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

#[path = "../support/mod.rs"]
mod support;

use support::{
    authority::Authority,
    key_servers::{GitlabDouble, KeyServer, SentryDouble},
};

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    sentry: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:0")]
    gitlab: SocketAddr,
    /// Speak TLS, and write the certificate of the CA to this file
    #[arg(long)]
    authority: Option<PathBuf>,
    /// Names in the certificate
    #[arg(long, default_value = SentryDouble::NAMES)]
    names: String,
    /// Scheme, host and port of Sentry's DSNs and links, if clients reach it by others than it listens on
    #[arg(long)]
    sentry_origin: Option<String>,
    /// The same for GitLab
    #[arg(long)]
    gitlab_origin: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    let certificate = arguments.authority.map(|file| {
        let authority = Authority::create();
        std::fs::write(file, authority.certificate()).unwrap();
        authority.issue(&arguments.names)
    });
    let sentry = SentryDouble::listen(arguments.sentry, certificate.as_ref());
    let gitlab = GitlabDouble::listen(arguments.gitlab, certificate.as_ref());
    if let Some(origin) = arguments.sentry_origin {
        sentry.set_origin(&origin);
    }
    if let Some(origin) = arguments.gitlab_origin {
        gitlab.set_origin(&origin);
    }
    println!("Sentry: {}, project acme/shop, token {}", KeyServer::url(&sentry), sentry.token());
    println!("GitLab: {}, project acme/shop, token {}", KeyServer::url(&gitlab), gitlab.token());
    tokio::signal::ctrl_c().await.unwrap();
}
