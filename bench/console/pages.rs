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

    fn next(&mut self) -> String {
        self.turn += 1;
        let chance = mixed(self.turn);
        let issue = chance % self.load.issues;
        let environment = ENVIRONMENTS[usize::try_from(chance % 3).unwrap()];
        let sort = ["last_seen", "first_seen", "events", "users"][usize::try_from(self.turn % 4).unwrap()];
        match self.kind {
            Kind::List => format!("/web/shop/issues?sort={sort}"),
            Kind::Details => format!("/web/shop/issues/{}", issue + 1),
            Kind::Search => {
                let query = match self.turn % 4 {
                    // By text, of one error and of many; by a tag; by environment.
                    0 => format!("product+{issue}"),
                    1 => "catalog".to_owned(),
                    2 => format!("region%3Aeu-{}", chance % 4),
                    _ => format!("environment%3A{environment}"),
                };
                format!("/web/shop/issues?query=is%3Aunresolved+{query}&sort={sort}")
            }
        }
    }
}

/// In milliseconds.
#[derive(Default)]
pub struct Times {
    of: BTreeMap<Kind, Vec<f64>>,
    /// In bytes.
    pub longest: usize,
    /// Pages that said that the database does not answer in time.
    pub late: u64,
}

impl Times {
    /// Asks for the next page; an answer that is neither a page nor late ends the measurement.
    pub async fn take(&mut self, kind: Kind, client: &mut Client, pages: &mut Pages) {
        let path = pages.next();
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
        self.of.entry(kind).or_default().push(took);
    }

    pub fn add(&mut self, other: Self) {
        self.longest = self.longest.max(other.longest);
        self.late += other.late;
        for (kind, times) in other.of {
            self.of.entry(kind).or_default().extend(times);
        }
    }

    /// By nearest rank.
    pub fn percentile(&self, kind: Kind, percent: usize) -> f64 {
        let mut sorted = self.of.get(&kind).cloned().unwrap_or_default();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, times) in &self.of {
            writeln!(
                formatter,
                "  {kind}: {} pages, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
                times.len(),
                self.percentile(*kind, 50),
                self.percentile(*kind, 95),
                self.percentile(*kind, 99)
            )?;
        }
        write!(formatter, "  {} of them were too late", self.late)
    }
}
