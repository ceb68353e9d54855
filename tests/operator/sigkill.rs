//! The ingest process is killed again and again in the middle of a stream: what was acknowledged is stored, once.

use std::{collections::HashSet, time::Duration};

use crate::world::{Namespace, alone, pause, sigkill, sql};

/// Kills in a run, and events that are sent meanwhile.
const KILLS: usize = 24;
const EVENTS: usize = 6_000;

#[test]
fn every_acknowledged_event_is_stored_once_however_often_ingest_is_killed() {
    let _turn = alone();
    let namespace = Namespace::new("sigkill");
    let id = namespace.ready_project("shop", 2);
    namespace.start_sender("shop-dsn");
    let events = EVENTS.to_string();
    let mut kills = 0;
    let acknowledged: usize = std::thread::scope(|scope| {
        let stream = scope.spawn(|| namespace.send(&["stream", &events]));
        while kills < KILLS {
            assert!(!stream.is_finished(), "the stream ended after {kills} kills: send more events");
            let pods = namespace.kubectl(&["get", "pod", "-l", "errortracking.dev/project=shop", "-o", "name"]);
            let pods: Vec<_> = pods.lines().map(|pod| pod.trim_start_matches("pod/").to_owned()).collect();
            sigkill(&namespace.0, &pods[kills % pods.len()], "ingest");
            kills += 1;
            pause(Duration::from_secs(1));
        }
        stream.join().unwrap().parse().unwrap()
    });

    let text = namespace.kubectl(&["exec", "sender", "--", "cat", "/results/acknowledged"]);
    let answered: HashSet<&str> = text.lines().collect();
    assert_eq!(answered.len(), acknowledged);
    let rows = sql(&format!("SELECT replace(event_id::text, '-', '') FROM project_{id}.events"));
    let stored: Vec<&str> = rows.lines().collect();
    let distinct: HashSet<&str> = stored.iter().copied().collect();
    let lost = answered.difference(&distinct).count();
    let twice = stored.len() - distinct.len();
    let counted = sql(&format!("SELECT sum(events) FROM project_{id}.issue_counters"));
    println!(
        "kills {kills}, acknowledged {acknowledged}, stored {}, lost {lost}, twice {twice}, counted {counted}",
        stored.len()
    );
    assert_eq!((lost, twice), (0, 0));
    assert_eq!(counted, stored.len().to_string(), "the issue's count is exact");
    assert_eq!(acknowledged, EVENTS, "a client that tries again gets every event through");
}
