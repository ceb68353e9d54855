//! What was seen of each SDK, as a table, and what was missing.

use std::collections::BTreeSet;

use crate::{
    recorder::Request,
    rows::{Row, Version},
    stored::{Sessions, Stored},
};

pub struct Outcome {
    row: &'static Row,
    /// Cells of the table behind SDK and version.
    cells: [String; COLUMNS.len() - 2],
    /// Why the row does not count as seen; empty: it does.
    missing: Vec<String>,
    /// Of the sample, when it is to blame.
    printed: String,
}

const COLUMNS: [&str; 9] = [
    "SDK",
    "version",
    "says",
    "endpoints",
    "exception",
    "message",
    "user",
    "sessions",
    "frames, with line, with source",
];

impl Outcome {
    pub fn not_installed(row: &'static Row, why: &str) -> Self {
        let cells = std::array::from_fn(|column| if column == 0 { "not installed" } else { "" }.to_owned());
        Self { row, cells, missing: vec![format!("not installed: {why}")], printed: String::new() }
    }

    pub fn of(
        row: &'static Row,
        requests: &[Request],
        stored: &Stored,
        ended: Result<(), String>,
        printed: String,
    ) -> Self {
        let exception = stored.exception.unwrap_or_default();
        let mut missing = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                missing.push(what);
            }
        };
        let printed = if ended.is_ok() && stored.events > 0 { String::new() } else { printed };
        expect(ended.is_ok(), format!("the sample ended with {}", ended.err().unwrap_or_default()));
        let refused: Vec<_> = requests.iter().filter(|request| request.status != Some(200)).collect();
        expect(refused.is_empty(), format!("answers other than 200: {refused:?}"));
        expect(stored.exception.is_some(), "the exception".into());
        expect(stored.message, "the message".into());
        expect(stored.user, "the user of every event".into());
        expect(stored.events == 2, format!("two events: there are {}", stored.events));
        expect(stored.is_readable(), format!("an issue for each, titled so: there are {:?}", stored.titles));
        expect(exception.frames_with_line > 0, "frames with line numbers".into());
        expect(!row.source || exception.frames_with_source > 0, "frames with source lines".into());
        let one_session = stored.sessions.is_some_and(Sessions::are_one_with_an_error);
        expect(!row.session || one_session, format!("one session with an error: {}", sessions(stored.sessions)));
        let told = stored.sdk.as_ref().map(|(_, version)| version.as_str());
        if let Version::Exactly(version) = row.version {
            expect(told == Some(version), format!("the version in the event: {told:?}"));
        }

        let yes = |seen: bool| if seen { "yes" } else { "no" }.to_owned();
        let client = requests.first().map(|request| request.client.clone()).unwrap_or_default();
        let says = stored.sdk.as_ref().map_or(client, |(name, version)| format!("{name} {version}"));
        let stack = format!("{}, {}, {}", exception.frames, exception.frames_with_line, exception.frames_with_source);
        let cells = [
            says,
            endpoints(requests),
            yes(stored.exception.is_some()),
            yes(stored.message),
            yes(stored.user),
            sessions(stored.sessions),
            stack,
        ];
        Self { row, cells, missing, printed }
    }

    pub fn is_seen(&self) -> bool {
        self.missing.is_empty()
    }

    fn version(&self) -> String {
        let double = if matches!(self.row.version, Version::Double(_)) { " (double)" } else { "" };
        format!("{}{double}", self.row.version.name())
    }
}

fn sessions(sessions: Option<Sessions>) -> String {
    sessions.map_or_else(|| "not kept".to_owned(), |Sessions { total, errored }| format!("{total}, {errored} errored"))
}

/// Each endpoint once, with the encoding of its bodies.
fn endpoints(requests: &[Request]) -> String {
    let endpoint = |request: &Request| match (request.method.as_str(), request.encoding.as_str()) {
        ("POST", "") => request.endpoint.clone(),
        ("POST", encoding) => format!("{} {encoding}", request.endpoint),
        (method, _) => format!("{method} {}", request.endpoint),
    };
    let endpoints: BTreeSet<_> = requests.iter().map(endpoint).collect();
    Vec::from_iter(endpoints).join(", ")
}

pub fn print(outcomes: &[Outcome]) {
    let mut lines = vec![COLUMNS.map(str::to_owned).to_vec()];
    for outcome in outcomes {
        let mut line = vec![outcome.row.sdk.to_owned(), outcome.version()];
        line.extend(outcome.cells.iter().cloned());
        lines.push(line);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    println!();
    for (number, line) in lines.iter().enumerate() {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", rules.join(" | "));
        }
    }
    println!();
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_seen()) {
        println!("{} {}: not seen: {}", outcome.row.sdk, outcome.version(), outcome.missing.join("; "));
        // What a sample prints last says what went wrong.
        let printed: Vec<_> = outcome.printed.lines().collect();
        for line in &printed[printed.len().saturating_sub(15)..] {
            println!("    {line}");
        }
    }
}
