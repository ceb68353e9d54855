//! What one event of 23 KB costs from the body to the group, on one core: `make bench-pipeline`.
//!
//! Bodies are envelopes, gzipped as Python's SDK does. Each stage is timed alone, and the whole chain beside it, which
//! costs more than the sum: the caches are colder. The last line sums up.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "what it is for")]

#[path = "../corpus.rs"]
mod corpus;
#[path = "../operator/machine.rs"]
mod machine;

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

use bytes::Bytes;
use error_tracking_operator::{
    grouping::g2,
    protocol::{
        encoding::{self, Encoding},
        envelope::{self, ItemKind},
        event::{self, Event, EventId, Receipt},
    },
    scrub::Scrubber,
    settings::Settings,
};
use jiff::Timestamp;

/// Different events: more than fit into the second-level cache together.
const EVENTS: u64 = 200;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(400);
const LIMIT: usize = 100 << 20;

fn main() {
    let events = corpus::events(EVENTS);
    let bodies: Vec<Bytes> = events.iter().map(|event| gzipped_envelope(event)).collect();
    let mean = |all: &mut dyn Iterator<Item = usize>| all.sum::<usize>() / events.len();
    println!("machine: {}", machine::describe());
    println!(
        "load: {EVENTS} events, {} bytes each, {} gzipped",
        mean(&mut events.iter().map(Vec::len)),
        mean(&mut bodies.iter().map(Bytes::len))
    );
    let scrubber = Scrubber::new(&Settings::default().privacy);
    let receipt = Receipt::at("2026-11-22T10:00:05Z".parse::<Timestamp>().unwrap(), EventId([7; 16]));
    let payloads: Vec<Bytes> = bodies.iter().map(payload).collect();
    let cleaned: Vec<Vec<u8>> =
        payloads.iter().map(|payload| scrubber.clean(payload, None).unwrap().payload.into_owned()).collect();
    let parsed: Vec<Event> = cleaned.iter().map(|payload| event::parse_core(payload, &receipt).unwrap()).collect();
    let frames: usize = parsed.iter().flat_map(|event| &event.exceptions).map(|exception| exception.frames.len()).sum();
    assert!(frames > 15 * parsed.len(), "the corpus is understood");
    let changed = cleaned.iter().zip(&payloads).filter(|(cleaned, payload)| ***cleaned != ***payload).count();
    assert_eq!(changed, cleaned.len(), "every event holds something that is scrubbed");

    let decode = measured("decode", &bodies, |body| payload(body).len());
    let scrub = measured("scrub", &payloads, |payload| scrubber.clean(payload, None).unwrap().payload.len());
    let parse = measured("parse", &cleaned, |payload| event::parse_core(payload, &receipt).unwrap().exceptions.len());
    let group = measured("group", &parsed, grouped);
    let whole = measured("whole", &bodies, |body| {
        let payload = payload(body);
        let payload = scrubber.clean(&payload, None).unwrap().payload;
        grouped(&event::parse_core(&payload, &receipt).unwrap())
    });
    let mut compressor = zstd::bulk::Compressor::new(3).unwrap();
    measured("zstd -3, beside", &cleaned, |payload| compressor.compress(payload).unwrap().len());
    println!(
        "pipeline: {:.0} events/s a core, {whole:.1} us: decode {decode:.1}, parse {parse:.1}, scrub {scrub:.1}, group {group:.1}",
        1e6 / whole
    );
}

fn gzipped_envelope(event: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let header =
        format!("{{\"sent_at\":\"2026-11-22T10:00:04Z\"}}\n{{\"type\":\"event\",\"length\":{}}}\n", event.len());
    for part in [header.as_bytes(), event, b"\n"] {
        encoder.write_all(part).unwrap();
    }
    encoder.finish().unwrap().into()
}

/// The event of a body.
fn payload(body: &Bytes) -> Bytes {
    let body = encoding::decode(Encoding::Gzip, body.clone(), LIMIT).unwrap();
    let mut items = envelope::parse(&body).unwrap().items.into_iter();
    items.find(|item| item.kind == ItemKind::Event).unwrap().payload
}

/// All that a row needs of an event.
fn grouped(event: &Event) -> usize {
    let (title, culprit, grouping) = (event.title(), event.culprit(), g2(event));
    title.len() + culprit.len() + usize::from(grouping.hash[0])
}

/// Microseconds for one input, the median of some rounds.
fn measured<T>(name: &str, inputs: &[T], mut work: impl FnMut(&T) -> usize) -> f64 {
    let mut rounds: Vec<f64> = (0..=ROUNDS)
        .map(|_| {
            let (began, mut done) = (Instant::now(), 0_u32);
            while began.elapsed() < ROUND {
                for input in inputs {
                    black_box(work(black_box(input)));
                    done += 1;
                }
            }
            began.elapsed().as_secs_f64() * 1e6 / f64::from(done)
        })
        .skip(1)
        .collect();
    rounds.sort_by(f64::total_cmp);
    let median = rounds[ROUNDS / 2];
    println!("{name}: {median:.1} us [{:.1}..{:.1}]", rounds[0], rounds[ROUNDS - 1]);
    median
}
