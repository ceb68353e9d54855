//! The clock of a pod's node is a day off, and is set while it serves: what is received has the time of the database, and no
//! limit waits for a day that does not come. `make test-clock`; the last line is
//! "clock: J jumps, Q quarantined, F frozen limits".

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use error_tracking_operator::settings::RateLimit;
use tokio::time::sleep;

use crate::{
    client,
    world::{EVENT, Start, World, until},
};

/// What the node's clock is set to, from that of the machine.
const JUMPS: [&str; 8] = ["+1d", "+0", "-1d", "+0", "+400d", "-400d", "+1h", "+0"];
/// Of the key: so many events in each window.
const LIMIT: RateLimit = RateLimit { events: 5, window_seconds: 2 };
/// A window is over by then, and the next one has begun.
const THAWED: Duration = Duration::from_secs(5);

/// An ingest process whose clock a file sets; that by which it measures time goes on.
struct Process {
    child: Child,
    address: SocketAddr,
    clock: PathBuf,
}

impl Process {
    async fn start(world: &World, library: &str) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (address, probes) = (free(), free());
        let clock = world.secret.with_extension("clock");
        fs::write(&clock, "+0").unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_error-tracking-operator"))
            .args(["ingest", "--instance", "shop-ingest-9", "--drain-delay", "1s"])
            .args(["--project-id", &world.project.to_string(), "--database"])
            .arg(&world.secret)
            .args(["--listen", &address.to_string(), "--probe-address", &probes.to_string()])
            .envs([("LD_PRELOAD", library), ("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")])
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, address, clock };
        let ready = client::Request::new("GET", "/readyz");
        until("the process is ready", async || {
            std::net::TcpStream::connect(probes).is_ok() && client::send(probes, &ready).await.status == 200
        })
        .await;
        process
    }

    fn set(&self, clock: &str) {
        fs::write(&self.clock, clock).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.clock);
    }
}

#[tokio::test]
#[ignore = "make test-clock: needs libfaketime"]
async fn no_clock_of_a_node_quarantines_an_event_or_freezes_a_limit() {
    let library = std::env::var("FAKETIME_LIBRARY").expect("make test-clock says where libfaketime is");
    let world = World::start_with(Start { rate_limit: Some(LIMIT), ..Start::default() }).await;
    let process = Process::start(&world, &library).await;
    let (mut accepted, mut refused, mut frozen) = (0, 0, 0);
    for clock in JUMPS {
        process.set(clock);
        let (began, before) = (Instant::now(), accepted);
        let mut filled = false;
        // The window of the jump is filled, and another one begins soon.
        while began.elapsed() < THAWED {
            let answer = client::send(process.address, &world.post("store", EVENT)).await;
            match answer.status {
                200 => accepted += 1,
                429 => (refused, filled) = (refused + 1, true),
                status => panic!("{status}: {}", answer.body),
            }
            if filled && accepted - before > i64::from(LIMIT.events) {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
        let thawed = accepted - before > i64::from(LIMIT.events);
        println!("{clock:>6}: {} accepted, {:.1} s", accepted - before, began.elapsed().as_secs_f64());
        frozen += i32::from(!thawed);
    }
    let quarantined = world.count("SELECT count(*) FROM {schema}.quarantine").await;
    let elsewhen = "SELECT count(*) FROM {schema}.events WHERE abs(extract(epoch FROM received_at - now())) > 120";
    let elsewhen = world.count(elsewhen).await;
    println!("{accepted} accepted, {refused} over the limit, {elsewhen} at another time than the database's");
    println!("clock: {} jumps, {quarantined} quarantined, {frozen} frozen limits", JUMPS.len());
    assert_eq!((world.stored().await, elsewhen, quarantined, frozen), (accepted, 0, 0, 0));
}
