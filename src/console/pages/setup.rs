//! `/{namespace}/{project}/setup`: how an application sends to a project.

use askama::Template;
use jiff::Timestamp;

use super::{ProjectHead, Shell, short_id, verdict::Verdict};
use crate::store::console::{Project, Reception, issue_number};

#[derive(Debug, Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    shell: Shell,
    project: ProjectHead,
    verdict: Verdict,
    /// The error that an event came for last: its number and its short id.
    newest: Option<(u32, String)>,
    /// For the platform of the project first.
    snippets: Vec<Snippet>,
}

/// The least that starts an SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Snippet {
    /// As a project's `spec.platform` begins.
    platform: &'static str,
    sdk: &'static str,
    note: &'static str,
    code: &'static str,
    /// Of the platform of the project.
    is_own: bool,
}

impl SetupPage {
    #[must_use]
    pub fn new(shell: Shell, project: &Project, newest: Option<i64>, reception: &Reception, now: Timestamp) -> Self {
        let newest = newest.map(issue_number).map(|number| (number, short_id(&project.name, number)));
        Self {
            shell,
            project: ProjectHead::from(project),
            verdict: Verdict::new(reception, now),
            newest,
            snippets: snippets(project.platform.as_deref()),
        }
    }
}

/// Those of the platform first.
fn snippets(platform: Option<&str>) -> Vec<Snippet> {
    // `python-django` is written in Python.
    let own = platform.and_then(|platform| platform.split('-').next());
    let mut snippets = SNIPPETS.map(|snippet| Snippet { is_own: Some(snippet.platform) == own, ..snippet });
    snippets.sort_by_key(|snippet| !snippet.is_own);
    snippets.into()
}

const fn snippet(platform: &'static str, sdk: &'static str, note: &'static str, code: &'static str) -> Snippet {
    Snippet { platform, sdk, note, code, is_own: false }
}

/// Each reads `SENTRY_DSN` by itself where that is not said.
const SNIPPETS: [Snippet; 10] = [
    snippet(
        "go",
        "Go, sentry-go",
        "",
        "err := sentry.Init(sentry.ClientOptions{})\ndefer sentry.Flush(2 * time.Second)",
    ),
    snippet("java", "Java, io.sentry:sentry", "", "Sentry.init();"),
    snippet(
        "javascript",
        "Browsers, @sentry/browser",
        "Browsers have no environment: the build puts the DSN in. Its ClientKey has endpoint: External.",
        "import * as Sentry from '@sentry/browser';\nSentry.init({ dsn: process.env.SENTRY_DSN });",
    ),
    snippet("node", "Node, @sentry/node 7", "", "const Sentry = require('@sentry/node');\nSentry.init();"),
    snippet(
        "node",
        "Node, @sentry/node 8 and later",
        "It has to run before anything else is loaded: node --require ./instrument.js main.js",
        "// instrument.js\nconst Sentry = require('@sentry/node');\nSentry.init();",
    ),
    snippet(
        "php",
        "PHP, sentry/sentry 3 and 4",
        "FPM clears the environment: set clear_env = no, or env[SENTRY_DSN] = $SENTRY_DSN.",
        r"\Sentry\init(['dsn' => getenv('SENTRY_DSN')]);",
    ),
    snippet("python", "Python, sentry-sdk 1 and 2", "", "import sentry_sdk\nsentry_sdk.init()"),
    snippet(
        "python",
        "Python, sentry-sdk 3",
        "Without LoggingIntegration(), logger.error sends nothing in this version.",
        "import sentry_sdk\nfrom sentry_sdk.integrations.logging import LoggingIntegration\n\
         sentry_sdk.init(integrations=[LoggingIntegration()])",
    ),
    snippet("ruby", "Ruby, sentry-ruby", "", "require \"sentry-ruby\"\nSentry.init"),
    snippet(
        "rust",
        "Rust, sentry",
        "The guard sends what waits when it goes: keep it in main.",
        "let _guard = sentry::init(());",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snippets_of_the_platform_come_first() {
        let sdks = |platform| -> Vec<_> { snippets(platform).iter().map(|snippet| snippet.sdk).collect() };
        for platform in ["python", "python-django"] {
            assert_eq!(sdks(Some(platform))[..2], ["Python, sentry-sdk 1 and 2", "Python, sentry-sdk 3"]);
        }
        assert_eq!(sdks(None)[0], "Go, sentry-go");
        assert!(snippets(Some("cobol")).iter().all(|snippet| !snippet.is_own));
    }
}
