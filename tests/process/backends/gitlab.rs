//! Keys in a GitLab: nobody's name is on them, and whoever else makes some keeps them.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{KEY, LIMIT, PROJECT, dsn, gitlab_project, key, keys_become, rotate, token, whole, world};
use crate::{
    support::key_servers::{Fault, GitlabDouble, KeyServer, Rule},
    world::eventually,
};

const CLIENT_KEYS: &str = "/api/v4/projects/*/error_tracking/client_keys";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one life of a key")]
async fn a_key_in_gitlab_is_ours_only_if_the_answer_says_so() {
    let gitlab = GitlabDouble::start();
    let url = gitlab.url();
    for name in ["shop", "off"] {
        gitlab.with(|api| {
            let id = api.add_project(&format!("acme/{name}")).id;
            for token in &mut api.tokens {
                token.roles.insert(id, crate::support::key_servers::gitlab::MAINTAINER);
            }
        });
    }
    let world = world(&[&url]).await;
    let namespace = world.namespace("web").await;
    token(&namespace, "token", &gitlab.token()).await;
    let mut operator = world.start_and_lead().await;
    gitlab_project(&namespace, "shop", &url).await;
    namespace.ready(PROJECT, "shop").await;
    let settings = gitlab.with(|api| api.project("acme/shop").unwrap().settings.clone().unwrap());
    assert!(settings.active && settings.integrated, "{settings:?}");
    let overlap = json!({"rotation": {"overlap": {"minimum": "1s", "silence": "1s", "maximum": "1s"}}});
    key(&namespace, "shop", "shop", overlap).await;
    namespace.ready(KEY, "shop").await;
    let published = dsn(&namespace, "shop").await.unwrap();
    let there = gitlab.keys_of("acme/shop").await;
    assert!(there.iter().any(|key| key.dsn == published), "taken whole: {published}");

    // An answer is lost while a stranger makes a key: neither is claimed, and both are named.
    let strangers = gitlab.with(|api| {
        let key = api.make_key("acme/shop");
        key.id
    });
    gitlab.before_call("POST", CLIENT_KEYS, 1, |api| drop(api.make_key("acme/shop")));
    gitlab.fault(Rule::new("POST", CLIENT_KEYS, Fault::Page { status: 502 }).after().once());
    let before: Vec<_> = gitlab.keys_of("acme/shop").await.into_iter().map(|key| key.id).collect();
    rotate(&world, &namespace, "shop").await;
    eventually("the Secret names the next key", LIMIT, async || {
        (dsn(&namespace, "shop").await.unwrap() != published).then_some(())
    })
    .await;
    let ours = |dsn: &str, keys: &[crate::support::key_servers::KeptKey]| {
        keys.iter().find(|key| key.dsn == dsn).map(|key| key.id.clone())
    };
    let now = gitlab.keys_of("acme/shop").await;
    let named = ours(&dsn(&namespace, "shop").await.unwrap(), &now).unwrap();
    let unclaimed: Vec<_> =
        now.iter().map(|key| key.id.clone()).filter(|id| !before.contains(id) && *id != named).collect();
    assert_eq!(unclaimed.len(), 2, "one of the stranger, and one whose answer was lost: {unclaimed:?}");
    // Many rotations later both are there, and that of before.
    for round in 0..if whole() { 10 } else { 3 } {
        let before = dsn(&namespace, "shop").await.unwrap();
        rotate(&world, &namespace, "shop").await;
        eventually(&format!("rotation {round}"), LIMIT, async || {
            let living = world.sql("SELECT count(*) FROM errortracking.server_keys WHERE ended_at IS NULL").await;
            (dsn(&namespace, "shop").await.unwrap() != before && living == "1").then_some(())
        })
        .await;
    }
    let now = gitlab.keys_of("acme/shop").await;
    for id in unclaimed.iter().chain([&strangers.to_string()]) {
        assert!(now.iter().any(|key| key.id == *id), "key {id} is not ours to delete");
    }
    let named = ours(&dsn(&namespace, "shop").await.unwrap(), &now).unwrap();
    let known: Vec<_> = before.iter().chain(&unclaimed).chain([&named]).cloned().collect();
    let others: Vec<_> = now.iter().filter(|key| !known.contains(&key.id)).collect();
    assert!(others.is_empty(), "keys of rotations are deleted: {others:?}");

    // The comparison with the server says whose nobody's keys are, and finds that one of ours is gone.
    let published = dsn(&namespace, "shop").await.unwrap();
    gitlab.with(|api| api.project("acme/shop").unwrap().keys.retain(|key| key.id.to_string() != named));
    world.revive(&mut operator).await;
    operator.kill();
    let operator = world.start_as("operator-1", &[]).await;
    operator.leads().await;
    eventually("the unclaimed keys are named", LIMIT, async || {
        let said = namespace.condition(PROJECT, "shop", "Connected").await?.message;
        unclaimed.iter().all(|id| said.contains(id)).then_some(())
    })
    .await;
    eventually("a key that was deleted there is replaced", LIMIT, async || {
        (dsn(&namespace, "shop").await.unwrap() != published).then_some(())
    })
    .await;
    println!("{}", namespace.condition(PROJECT, "shop", "Connected").await.unwrap().message);

    // What GitLab has nothing for.
    for (name, more, field) in [
        ("disabled", json!({"enabled": false}), "spec.enabled"),
        ("limited", json!({"rateLimit": {"events": 5, "window": "60s"}}), "spec.rateLimit"),
        ("security", json!({"extraKeys": {"securityEndpoint": true}}), "securityEndpoint"),
        ("deprecated", json!({"extraKeys": {"deprecatedDSN": true}}), "deprecatedDSN"),
        ("external", json!({"endpoint": "External"}), "spec.endpoint"),
    ] {
        key(&namespace, name, "shop", more).await;
        let said = namespace.reason(KEY, name, "Stalled", "NotSupported").await;
        assert!(said.contains(field), "{name}: {said}");
    }
    let interval = json!({"rotation": {"interval": "2160h"}});
    key(&namespace, "for-ever", "shop", interval).await;
    let said = namespace.reason(KEY, "for-ever", "Stalled", "Invalid").await;
    assert!(said.contains("overlap.maximum"), "{said}");

    // A feature that is off is explained as GitLab's page does.
    gitlab.with(|api| api.switches.integrated_error_tracking = false);
    gitlab_project(&namespace, "off", &url).await;
    let said = namespace.reason(PROJECT, "off", "Ready", "ErrorTrackingDisabled").await;
    assert!(said.contains("integrated_error_tracking") && said.contains("Monitor"), "{said}");
    gitlab.with(|api| api.switches.integrated_error_tracking = true);
    namespace.patch(PROJECT, "off", json!({"spec": {"displayName": "On"}})).await;
    namespace.ready(PROJECT, "off").await;

    // The whole namespace goes, token first.
    namespace.delete("Secret", "token").await;
    for name in ["shop", "limited"] {
        namespace.delete(KEY, name).await;
        namespace.gone(KEY, name).await;
    }
    namespace.delete(PROJECT, "shop").await;
    namespace.gone(PROJECT, "shop").await;
    sleep(Duration::from_millis(200)).await;
    keys_become(&gitlab, "acme/shop", "its keys are deleted", |keys| {
        keys.iter().all(|key| before.contains(&key.id) || unclaimed.contains(&key.id))
    })
    .await;
}

#[tokio::test]
async fn a_limit_between_an_answer_and_the_list_leaves_no_orphan() {
    let gitlab = GitlabDouble::start();
    let url = gitlab.url();
    gitlab.with(|api| {
        let id = api.add_project("acme/shop").id;
        for token in &mut api.tokens {
            token.roles.insert(id, crate::support::key_servers::gitlab::MAINTAINER);
        }
    });
    let world = world(&[&url]).await;
    let namespace = world.namespace("web").await;
    token(&namespace, "token", &gitlab.token()).await;
    let _operator = world.start_and_lead().await;
    gitlab_project(&namespace, "shop", &url).await;
    namespace.ready(PROJECT, "shop").await;
    let before = gitlab.keys_of("acme/shop").await.len();
    // The first list comes before the request for a key, the second one after it.
    let limited = Fault::TooManyRequests { retry_after: Some("2".into()) };
    gitlab.fault(Rule::new("GET", CLIENT_KEYS, limited).skip(1).once());
    key(&namespace, "shop", "shop", json!({})).await;
    namespace.ready(KEY, "shop").await;
    let there = gitlab.keys_of("acme/shop").await;
    assert_eq!(there.len(), before + 1, "one key was asked for: {there:?}");
    assert_eq!(dsn(&namespace, "shop").await, there.last().map(|key| key.dsn.clone()));
    assert_eq!(world.sql("SELECT count(*) FROM errortracking.server_key_orphans").await, "0");
}
