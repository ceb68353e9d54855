//! Which pages are asked for, and how long they took.

use std::{collections::BTreeMap, fmt, time::Instant};

use super::{
    fill::{ENVIRONMENTS, Load, mixed},
    support::client::{Client, Request},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    List,
    Search,
    Details,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::List, Self::Search, Self::Details];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::List => "list",
            Self::Search => "search",
            Self::Details => "details",
        })
    }
}

/// Addresses of one kind, other ones each time.
pub struct Pages {
    kind: Kind,
    load: Load,
    turn: u64,
}

impl Pages {
    pub fn new(kind: Kind, load: Load) -> Self {
        Self { kind, load, turn: 0 }
    }

    pub fn skip(self, turns: u64) -> Self {
        Self { turn: turns, ..self }
    }

    /// An address, and what is asked there.
    fn next(&mut self) -> (String, &'static str) {
        self.turn += 1;
        let chance = mixed(self.turn);
        let issue = chance % self.load.issues;
        let environment = ENVIRONMENTS[usize::try_from(chance % 3).unwrap()];
        let sort = ["last_seen", "first_seen", "events", "users"][usize::try_from(self.turn % 4).unwrap()];
        match self.kind {
            Kind::List => (format!("/web/shop/issues?sort={sort}"), ""),
            Kind::Details => (format!("/web/shop/issues/{}", issue + 1), ""),
            Kind::Search => {
                let (query, what) = match self.turn % 4 {
                    0 => (format!("product+{issue}"), " by the text of one error"),
                    1 => ("catalog".to_owned(), " by a text of all errors"),
                    2 => (format!("region%3Aeu-{}", chance % 4), " by a tag"),
                    _ => (format!("environment%3A{environment}"), " by environment"),
                };
                (format!("/web/shop/issues?query=is%3Aunresolved+{query}&sort={sort}"), what)
            }
        }
    }
}

/// In milliseconds.
#[derive(Default)]
pub struct Times {
    of: BTreeMap<(Kind, &'static str), Vec<f64>>,
    /// In bytes.
    pub longest: usize,
    /// Pages that said that the database does not answer in time.
    pub late: u64,
}

impl Times {
    /// Asks for the next page; an answer that is neither a page nor late ends the measurement.
    pub async fn take(&mut self, kind: Kind, client: &mut Client, pages: &mut Pages) {
        let (path, what) = pages.next();
        let request = Request::new("GET", path.as_str()).header("Host", "localhost").header("Connection", "keep-alive");
        // As browsers do.
        let request = request.header("Accept-Encoding", "gzip, deflate, br, zstd");
        let began = Instant::now();
        let answer = client.send(&request).await.unwrap();
        let took = began.elapsed().as_secs_f64() * 1000.0;
        assert!(matches!(answer.status, 200 | 503), "{path}: {} {}", answer.status, answer.body);
        self.late += u64::from(answer.status == 503);
        let length = answer.header("content-length").unwrap().parse().unwrap();
        self.longest = self.longest.max(length);
        self.of.entry((kind, what)).or_default().push(took);
    }

    pub fn add(&mut self, other: Self) {
        self.longest = self.longest.max(other.longest);
        self.late += other.late;
        for (kind, times) in other.of {
            self.of.entry(kind).or_default().extend(times);
        }
    }

    pub fn percentile(&self, kind: Kind, percent: usize) -> f64 {
        let of_kind = self.of.iter().filter(|((found, _), _)| *found == kind);
        percentile(of_kind.flat_map(|(_, times)| times).copied().collect(), percent)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, what), times) in &self.of {
            let [p50, p95, p99] = [50, 95, 99].map(|percent| percentile(times.clone(), percent));
            writeln!(
                formatter,
                "  {kind}{what}: {} pages, p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms",
                times.len()
            )?;
        }
        write!(formatter, "  {} of them were too late", self.late)
    }
}

/// By nearest rank.
fn percentile(mut times: Vec<f64>, percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or(f64::NAN)
}
