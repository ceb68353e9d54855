//! Clients that mean ill to the memory of an ingest process, a good one beside them, and a look at what the process holds.
//! Everything is bounded in count and time, and goes to loopback.

mod process;
mod ways;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use error_tracking_operator::dsn::PublicKey;
use tokio::{
    task::JoinSet,
    time::{Instant, interval, timeout},
};

pub use self::{process::Process, ways::Way};
use super::{
    client::{self, Request},
    ingest::World,
};

/// What an ingest pod may take by default.
pub const LIMIT_MIB: u64 = 256;

/// Between two events of the good client, and how long it waits for each answer: PHP gives up then.
const GOOD_INTERVAL: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

/// What the event ids of the good client begin with.
const GOOD_PREFIX: &str = "600d";

/// Where to send, and as whom.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub project: String,
    pub key: PublicKey,
}

impl Target {
    fn path(&self, endpoint: &str) -> String {
        format!("/api/{}/{endpoint}/?sentry_key={}", self.project, self.key.as_str())
    }
}

/// What clients were told, by status, and what else happened to them.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<BTreeMap<String, u64>>>);

impl Told {
    fn count(&self, what: &str) {
        *self.0.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.0.lock().unwrap();
        let lines: Vec<_> = told.iter().map(|(what, times)| format!("{what} x{times}")).collect();
        formatter.write_str(if lines.is_empty() { "nothing" } else { "" })?;
        formatter.write_str(&lines.join(", "))
    }
}

/// What came of one attack.
pub struct Outcome {
    pub told: Told,
    pub sent: u64,
    pub accepted: u64,
    /// Largest resident memory of the process meanwhile.
    pub peak_mib: u64,
}

/// An ingest process, its project, and two keys of it.
pub struct Battlefield {
    pub world: World,
    pub process: Process,
    attacker: Target,
    good: Target,
    sent: u64,
    accepted: u64,
}

impl Battlefield {
    pub async fn prepare() -> Self {
        let world = World::start().await;
        let good = PublicKey::from_random([2; 16]);
        world.mint(2, &good).await;
        let process = Process::start(&world).await;
        let target = |key| Target { address: process.address, project: world.project.to_string(), key };
        let (attacker, good) = (target(world.key.clone()), target(good));
        Self { world, process, attacker, good, sent: 0, accepted: 0 }
    }

    /// Attacks for `time` while the good client sends.
    pub async fn attack(&mut self, way: Way, time: Duration) -> Outcome {
        self.process.forget_peak();
        let (told, until) = (Told::default(), Instant::now() + time);
        let mut attackers = JoinSet::new();
        way.start(&self.attacker, until, &told, &mut attackers);
        let before = self.sent;
        let mut accepted = 0;
        let mut ticks = interval(GOOD_INTERVAL);
        let mut good = JoinSet::new();
        while Instant::now() < until {
            ticks.tick().await;
            self.sent += 1;
            let event =
                format!(r#"{{"event_id":"{GOOD_PREFIX}{:028x}","message":"good {}"}}"#, self.sent, self.sent % 5);
            let (address, request) = (self.good.address, Request::post(self.good.path("store"), event));
            good.spawn(async move {
                let sending = async { client::Client::connect(address).await?.send(&request).await };
                matches!(timeout(PATIENCE, sending).await, Ok(Ok(answer)) if answer.status == 200)
            });
        }
        while let Some(is_accepted) = good.join_next().await {
            accepted += u64::from(is_accepted.unwrap());
        }
        let peak_mib = self.process.peak_mib();
        attackers.shutdown().await;
        self.accepted += accepted;
        Outcome { told, sent: self.sent - before, accepted, peak_mib }
    }

    /// The good client's events that are stored, and those that it was told of.
    pub async fn stored_and_accepted(&self) -> (i64, i64) {
        let statement = format!("SELECT count(*) FROM {{schema}}.events WHERE event_id::text LIKE '{GOOD_PREFIX}%'");
        (self.world.count(&statement).await, self.accepted.try_into().unwrap())
    }
}
