//! A hundred keys of one token, on a server that allows forty calls a minute.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{KEY, add_project, key, rotate, sentry_project, token, world};
use crate::{
    support::key_servers::{KeyServer, RateLimit, SentryDouble},
    world::eventually,
};

const KEYS: usize = 100;

#[tokio::test]
#[ignore = "takes six minutes: make test-backends"]
async fn keys_of_one_token_rotate_as_fast_as_its_limit_allows() {
    let sentry = SentryDouble::start();
    let url = sentry.url();
    add_project(&sentry, "shop");
    let world = world(&[&url]).await;
    let namespace = world.namespace("web").await;
    token(&namespace, "token", &sentry.token()).await;
    let _operator = world.start_and_lead().await;
    sentry_project(&namespace, "shop", &url).await;
    let names: Vec<_> = (0..KEYS).map(|number| format!("key-{number}")).collect();
    let namespace = &namespace;
    stream::iter(&names)
        .for_each_concurrent(8, async |name| {
            key(namespace, name, "shop", json!({"rotation": {"overlap": {"minimum": "1s", "silence": "1s"}}})).await;
        })
        .await;
    for name in &names {
        namespace.ready(KEY, name).await;
    }
    sentry.with(|api| api.switches.rate_limit = Some(RateLimit { calls: 40, window_milliseconds: 60_000 }));
    sentry.forget_calls();
    let begun = Instant::now();
    for name in &names {
        rotate(&world, namespace, name).await;
    }
    eventually("all are rotated", Duration::from_mins(9), async || {
        let rotated = world
            .sql("SELECT count(*) FROM errortracking.server_keys WHERE ordinal = 2 AND state = 'published' AND published_at IS NOT NULL")
            .await;
        (rotated == KEYS.to_string()).then_some(())
    })
    .await;
    let calls = sentry.calls();
    let refused = calls.iter().filter(|call| call.status == Some(429)).count();
    println!(
        "limits: {KEYS} keys rotated in {} s with {} calls, {refused} of them refused for asking too often",
        begun.elapsed().as_secs(),
        calls.len()
    );
    assert!(refused <= calls.len() / 40 + 1, "no storm: {refused} refused");
}
