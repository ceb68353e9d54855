//! What it costs to rotate many keys at once: `make bench-rotation`. Each is asked for at a time of its own within a minute,
//! as intervals come due; the last line is "keys: N rotated in S s, A API calls and Q statements a key", S from the time
//! that the last is due.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::Row as _;

use crate::{LIMIT, follow::Following, load::Load, settle, world::World};

/// From the commit until the first rotation is due.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// In which all of them come due.
const WITHIN: i64 = 60;
/// Requests under way at once while the times are written.
const WRITERS: usize = 16;

pub async fn run() {
    let load = Load::of_rotation();
    println!("load: {} keys of {} projects, due within {WITHIN} s", load.keys(), load.projects);
    let world = World::direct().await;
    let _operator = world.start_and_lead().await;
    let following = Following::start(&world.client);
    load.fill(&world).await;
    following.all_ready(load.projects + load.keys(), LIMIT).await;
    settle(&world).await;
    let superuser = world.database.superuser();
    sqlx::query("CREATE EXTENSION pg_stat_statements").execute(&superuser).await.unwrap();

    let keys = load.keys();
    let first = Timestamp::now() + AHEAD;
    let last = first + SignedDuration::from_secs(WITHIN);
    let asked = stream::iter(0..keys).for_each_concurrent(WRITERS, async |number| {
        let part = i64::try_from(number).unwrap() * WITHIN / i64::try_from(keys).unwrap();
        let at = first + SignedDuration::from_secs(part);
        let (namespace, name) = load.name(&world, number);
        namespace.patch("ClientKey", &name, json!({"spec": {"rotation": {"requestedAt": at}}})).await;
    });
    asked.await;
    println!("asked for {} s before the first is due", first.duration_since(Timestamp::now()).as_secs());
    settle_until(first).await;
    let mark = world.mark();
    sqlx::query("SELECT pg_stat_statements_reset()").execute(&superuser).await.unwrap();
    let rotated = async || {
        let query = "SELECT count(*) FROM errortracking.client_keys WHERE state = 'overlap'";
        world.sql(query).await.parse::<usize>().unwrap()
    };
    settle_until(last).await;
    let began = Instant::now();
    let mut done = rotated().await;
    while done < keys {
        assert!(began.elapsed() < LIMIT, "{done} of {keys} rotated");
        tokio::time::sleep(Duration::from_millis(200)).await;
        done = rotated().await;
    }
    let took = began.elapsed();
    settle(&world).await;
    // Those of the operator; the questions above are the superuser's.
    let statements: i64 = sqlx::query(
        "SELECT sum(calls)::bigint AS calls FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid
         WHERE r.rolname <> 'postgres' AND s.query !~* '^(BEGIN|COMMIT|ROLLBACK)'",
    )
    .fetch_one(&superuser)
    .await
    .unwrap()
    .get("calls");
    let requests = world.requests_since(&mark);
    let of_lease = requests.iter().filter(|request| request.resource == "leases" || request.verb == "watch").count();
    let number = |count: usize| f64::from(u32::try_from(count).unwrap());
    let each = |count: usize| number(count) / number(keys);
    println!(
        "keys: {keys} rotated in {:.1} s, {:.1} API calls and {:.1} statements a key",
        took.as_secs_f64(),
        each(requests.len() - of_lease),
        each(usize::try_from(statements).unwrap())
    );
}

async fn settle_until(time: Timestamp) {
    let left = time.duration_since(Timestamp::now());
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
}
