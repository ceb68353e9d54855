//! The events: of a web application with three environments, twenty releases and fifty pods, over two weeks.

use error_tracking_operator::{
    protocol::event::{EventId, Level},
    store::ingest::{Batch, EventKind, Row, ingest_batch},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::support::{client::Request, ingest::World};
use error_tracking_operator::dsn::ProjectId;

/// Events of one batch, and writers at once.
const BATCH: u64 = 1_000;
const WRITERS: u64 = 4;

pub const ENVIRONMENTS: [&str; 3] = ["production", "staging", "beta"];

#[derive(Clone, Copy)]
pub struct Load {
    pub events: u64,
    pub issues: u64,
}

impl Load {
    pub async fn fill(self, world: &World) {
        // What this is about is not a flood.
        world.execute("UPDATE {schema}.flood_limits SET an_hour = 1000000000, in_all = 1000000000").await;
        let password = "bench".into();
        let role = world.admin.ensure_ingest_role(world.project, &password).await.unwrap();
        let pool = world
            .owner
            .with_login(&role, password)
            .pool(error_tracking_operator::store::connection::PoolSize { min: 0, max: 8 }, "bench");
        // Issues get their numbers in this order; then the writers may be at once.
        self.write(&pool, world.project, 0, 1, self.issues.min(self.events)).await;
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (pool, project) = (pool.clone(), world.project);
            writers.spawn(async move { self.write(&pool, project, self.issues + writer, WRITERS, self.events).await });
        }
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
        pool.close().await;
        world.execute("ANALYZE").await;
    }

    /// Every `step`th event from `first` on, up to `end`.
    async fn write(self, pool: &PgPool, project: ProjectId, first: u64, step: u64, end: u64) {
        let stream = Uuid::new_v4();
        let mut numbers = (first..end).step_by(usize::try_from(step).unwrap());
        for sequence in 1.. {
            let rows: Vec<_> =
                numbers.by_ref().take(usize::try_from(BATCH).unwrap()).map(|number| self.row(number)).collect();
            if rows.is_empty() {
                return;
            }
            let batch = Batch { stream, sequence, rows: &rows, ..Batch::default() };
            let applied = ingest_batch(pool, project, &batch).await.unwrap();
            assert_eq!(applied.stored, rows.len() as u64);
        }
    }

    fn row(self, number: u64) -> Row {
        // The first events make the issues; later ones fall on few of them more often than on most.
        let issue = if number < self.issues {
            number
        } else {
            (mixed(number) % self.issues).min(mixed(number + 1) % self.issues)
        };
        let chance = mixed(number.wrapping_mul(31));
        let received_at = Timestamp::now();
        let timestamp = received_at - SignedDuration::from_secs(i64::try_from(chance % (14 * 24 * 3600)).unwrap());
        let release = format!("shop@1.{}.0", chance % 20);
        let environment = environment(issue, chance);
        let pod = format!("shop-7f4c9b79b5-{:05}", chance % 50);
        let value = format!("product {issue} of the catalog");
        let payload = event(issue, chance, &value, &release, environment, &pod).to_string();
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&issue.to_be_bytes());
        Row {
            event_id: EventId(*Uuid::from_u64_pair(mixed(number), number).as_bytes()),
            received_at,
            timestamp,
            level: if chance.is_multiple_of(9) { Level::Warning } else { Level::Error },
            kind: EventKind::Error,
            title: format!("KeyError: {value}"),
            culprit: format!("shop.views.view_{} in render", issue % 300),
            exception_type: Some("KeyError".to_owned()),
            exception_value: Some(value),
            platform: "python".to_owned(),
            release: Some(release),
            environment: Some(environment.to_owned()),
            user_hash: Some((chance % 100_000).cast_signed()),
            tags: vec![("server_name".to_owned(), pod), ("region".to_owned(), format!("eu-{}", chance % 4))],
            grouping_version: 2,
            grouping_hash: hash,
            older_grouping: None,
            payload: zstd::encode_all(payload.as_bytes(), 3).unwrap(),
        }
    }
}

/// One in ten errors is of one environment alone.
fn environment(issue: u64, chance: u64) -> &'static str {
    let environment = if issue.is_multiple_of(10) { issue / 10 } else { chance };
    ENVIRONMENTS[usize::try_from(environment % 3).unwrap()]
}

/// An envelope of an event that is sent over HTTP.
pub fn request(world: &World, number: u64) -> Request {
    let chance = mixed(number);
    let value = format!("product {} of the catalog", number % 500);
    let body = event(number % 500, chance, &value, "shop@1.20.0", ENVIRONMENTS[0], "shop-7f4c9b79b5-00001");
    world.post("store", body.to_string())
}

fn event(issue: u64, chance: u64, value: &str, release: &str, environment: &str, pod: &str) -> serde_json::Value {
    let frames: Vec<_> = (0..12)
        .map(|frame| {
            json!({
                "filename": format!("shop/module_{frame}.py"), "function": format!("call_{}", (issue + frame) % 90),
                "lineno": 10 + frame, "in_app": frame % 3 == 0, "context_line": format!("    return handle(request, {frame})"),
                "pre_context": ["def handle(request, depth):", "    log(depth)"], "post_context": ["", "# end"],
                "vars": {"depth": frame, "request": format!("<Request {:x}>", chance % 1_000_000)},
            })
        })
        .collect();
    json!({
        "platform": "python", "level": "error", "release": release, "environment": environment, "server_name": pod,
        "exception": {"values": [{"type": "KeyError", "value": value, "stacktrace": {"frames": frames}}]},
        "user": {"id": chance % 100_000},
        "request": {"url": format!("https://shop.example/products/{}", chance % 10_000), "method": "GET"},
        "tags": {"region": format!("eu-{}", chance % 4)},
    })
}

/// Numbers that look random and are the same every time (splitmix64).
pub fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
