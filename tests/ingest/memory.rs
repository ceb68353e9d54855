//! A few of the attacks of `make bench-ingest-memory`, for a short time: the process lives, stays below the limit of its
//! pod, and serves a good client.

use std::time::Duration;

use crate::attacks::{Battlefield, LIMIT_MIB, Way};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_attack_on_its_memory_ends_a_process_or_keeps_a_good_client_out() {
    let mut field = Battlefield::prepare().await;
    for way in [Way::SlowClients, Way::Http2Flood, Way::Bombs, Way::HeldBodies] {
        let outcome = field.attack(way, Duration::from_secs(3)).await;
        println!("{way:?}: {} MiB, {} of {}; {}", outcome.peak_mib, outcome.accepted, outcome.sent, outcome.told);
        assert!(field.process.is_alive(), "{way:?}");
        assert!(outcome.peak_mib > 0 && outcome.peak_mib < LIMIT_MIB, "{way:?}: {} MiB", outcome.peak_mib);
        assert_eq!(outcome.accepted, outcome.sent, "{way:?}: {}", outcome.told);
    }
    let (stored, accepted) = field.stored_and_accepted().await;
    assert_eq!(stored, accepted);
}
