//! Which SDKs are tried, and what each of them sends.

/// One SDK in one version. What is asked of every row: an exception and a message with the user that the sample set,
/// and a stack trace with line numbers.
pub struct Row {
    pub sdk: &'static str,
    pub version: Version,
    /// The run is reported as a session.
    pub session: bool,
    /// The SDK reads the source beside the program and sends the lines around each frame.
    pub source: bool,
    /// Clients from before 2018 refuse a DSN without a secret.
    pub secret_in_dsn: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The event has to name it.
    Exactly(&'static str),
    /// A client that does not tell its version in the event.
    Untold(&'static str),
    /// The newest; which that is stands in the sample's own list of dependencies.
    Current,
    /// Stands for the real SDK in this version.
    Double(&'static str),
}

use Version::{Current, Double, Exactly, Untold};

const fn row(sdk: &'static str, version: Version) -> Row {
    Row { sdk, version, session: false, source: false, secret_in_dsn: false }
}

impl Row {
    const fn with_session(self) -> Self {
        Self { session: true, ..self }
    }

    const fn with_source(self) -> Self {
        Self { source: true, ..self }
    }

    const fn with_secret(self) -> Self {
        Self { secret_in_dsn: true, ..self }
    }

    /// Where hack/sdk-matrix.sh put it.
    pub fn folder(&self) -> String {
        format!("{}-{}", self.sdk, self.version.name())
    }
}

impl Version {
    pub fn name(self) -> &'static str {
        match self {
            Exactly(version) | Untold(version) | Double(version) => version,
            Current => "current",
        }
    }
}

/// The languages of GitLab's table, each in the version that GitLab names and the newest; what GitLab Runner has in
/// it; the clients from before today's SDKs; a browser; the command.
pub const ROWS: &[Row] = &[
    row("python", Exactly("1.21.0")).with_session().with_source(),
    row("python", Current).with_session().with_source(),
    row("node", Exactly("7.38.0")).with_source(),
    row("node", Current).with_source(),
    row("go", Exactly("0.13.0")).with_source(),
    row("go", Exactly("0.20.0")).with_source(),
    row("go", Current),
    row("raven-go", Untold("0.1.0")).with_secret(),
    row("java", Exactly("6.18.1")),
    row("java", Current),
    row("rust", Exactly("0.31.0")).with_session(),
    row("rust", Current).with_session(),
    row("ruby", Exactly("5.3.0")).with_source(),
    row("raven-ruby", Exactly("3.1.2")).with_source(),
    row("browser", Current),
    row("sentry-cli", Current).with_source(),
    row("php", Double("3.18")).with_source(),
    row("php", Double("4.29")).with_source(),
];
