//! Keys in a Sentry, from the first to the one that is deleted there.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{
    KEY, LIMIT, PROJECT, add_project, dsn, key, keys_become, ours, rotate, sentry_project, sentry_project_of, token,
    world,
};
use crate::{
    support::{
        authority::Authority,
        key_servers::{KeyServer, SentryDouble},
    },
    world::eventually,
};

#[tokio::test]
async fn a_key_lives_in_a_sentry_as_it_does_in_the_operators_own_store() {
    let sentry = SentryDouble::start();
    let url = sentry.url();
    for slug in ["shop", "cheap", "own-keys"] {
        add_project(&sentry, slug);
    }
    let world = world(&[&url]).await;
    let namespace = world.namespace("web").await;
    token(&namespace, "token", &sentry.token()).await;
    sentry_project(&namespace, "shop", &url).await;
    let operator = world.start_and_lead().await;
    let spec = json!({"rateLimit": {"events": 100, "window": "60s"}, "extraKeys": {"deprecatedDSN": true},
        "rotation": {"overlap": {"minimum": "1s", "silence": "1s", "maximum": "4s"}}});
    key(&namespace, "shop", "shop", spec).await;

    let connected = namespace.reason(PROJECT, "shop", "Connected", "Connected").await;
    assert_eq!(connected, format!("Sentry project acme/shop at {url} answers."));
    namespace.ready(PROJECT, "shop").await;
    namespace.ready(KEY, "shop").await;
    let available = namespace.field(PROJECT, "shop", "/status/sentry/availableProjects").await;
    assert_eq!(available, json!(["acme/cheap", "acme/own-keys", "acme/shop"]));
    let made = ours(&sentry, "acme/shop").await;
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(dsn(&namespace, "shop").await.as_deref(), Some(&*made[0].dsn));
    let deprecated = namespace.secret("shop-dsn", "SENTRY_DSN_DEPRECATED").await.unwrap();
    let secret = sentry.with(|api| api.project("acme/shop").unwrap().key(&made[0].public).unwrap().secret.clone());
    assert!(deprecated.contains(&format!("{}:{secret}@", made[0].public)), "the secret part is Sentry's");
    let limit = sentry.with(|api| api.project("acme/shop").unwrap().key(&made[0].public).unwrap().rate_limit);
    assert_eq!(limit, Some((60, 100)));
    let shown = namespace.field(KEY, "shop", "/status/active").await;
    assert!(!shown.to_string().contains(&made[0].public), "a whole public key is the DSN: {shown}");

    // Nothing changes: nobody is asked anything.
    let mark = world.at_rest().await;
    sentry.forget_calls();
    sleep(Duration::from_secs(12)).await;
    assert_eq!(sentry.calls().len(), 0);
    assert!(world.writes_of(&operator, &mark).is_empty());

    // A rotation: the next key, the Secret, and the end of the one before.
    let before = dsn(&namespace, "shop").await;
    rotate(&world, &namespace, "shop").await;
    eventually("the Secret names the next key", LIMIT, async || {
        (dsn(&namespace, "shop").await != before).then_some(())
    })
    .await;
    keys_become(&sentry, "acme/shop", "the key before is disabled", |keys| {
        keys.iter().filter(|key| key.name.as_deref() != Some("Default")).map(|key| key.active).eq([false, true])
    })
    .await;
    let limit = sentry.with(|api| api.project("acme/shop").unwrap().keys.last().unwrap().rate_limit);
    assert_eq!(limit, Some((60, 100)), "the next key has the limit too");
    // It is brought back for a sender that nobody can restart.
    let id =
        world.sql("SELECT key_id FROM errortracking.server_keys WHERE name = 'shop' ORDER BY ordinal LIMIT 1").await;
    namespace.patch(KEY, "shop", json!({"metadata": {"annotations": {"errortracking.dev/restore": id}}})).await;
    keys_become(&sentry, "acme/shop", "the key before is accepted again", |keys| keys.iter().all(|key| key.active))
        .await;
    namespace.reason(KEY, "shop", "Rotating", "Restored").await;
    namespace.patch(KEY, "shop", json!({"metadata": {"annotations": {"errortracking.dev/restore": null}}})).await;
    keys_become(&sentry, "acme/shop", "it ends again", |keys| !keys[1].active).await;

    namespace.patch(KEY, "shop", json!({"spec": {"enabled": false}})).await;
    keys_become(&sentry, "acme/shop", "the key is disabled", |keys| !keys[2].active).await;
    assert!(sentry.with(|api| api.project("acme/shop").unwrap().keys[0].active), "that of others is left alone");
    namespace.patch(KEY, "shop", json!({"spec": {"enabled": true}})).await;
    keys_become(&sentry, "acme/shop", "the key is enabled", |keys| keys[2].active).await;

    // The token expires: what is published goes on, and the sentence says what to do.
    let before = dsn(&namespace, "shop").await;
    token(&namespace, "token", "fake-expired").await;
    let said = namespace.reason(PROJECT, "shop", "Connected", "AuthenticationFailed").await;
    assert!(said.contains("Connection failed. Check auth token and try again"), "{said}");
    assert_eq!(namespace.condition(PROJECT, "shop", "Stalled").await.unwrap().status, "True");
    key(&namespace, "late", "shop", json!({})).await;
    namespace.reason(KEY, "late", "Stalled", "AuthenticationFailed").await;
    assert_eq!(dsn(&namespace, "shop").await, before);
    namespace.ready(KEY, "shop").await;
    token(&namespace, "token", &sentry.token()).await;
    namespace.reason(PROJECT, "shop", "Connected", "Connected").await;
    namespace.ready(KEY, "late").await;

    // A plan without limits takes one and keeps none.
    sentry.with(|api| api.switches.key_rate_limits = false);
    sentry_project(&namespace, "cheap", &url).await;
    key(&namespace, "cheap", "cheap", json!({"rateLimit": {"events": 5, "window": "60s"}})).await;
    namespace.reason(KEY, "cheap", "Stalled", "RateLimitUnsupported").await;
    sleep(Duration::from_secs(3)).await;
    assert!(sentry.count("PUT", "/api/0/projects/acme/cheap/keys/*/") <= 1, "no loop of PUTs");
    assert_eq!(dsn(&namespace, "cheap").await, ours(&sentry, "acme/cheap").await.pop().map(|key| key.dsn));
    sentry.with(|api| api.switches.key_rate_limits = true);

    // A server that chooses public keys itself, and whose answer is lost: the label finds the key.
    sentry.with(|api| api.switches.chosen_public_keys = false);
    let lost = crate::support::key_servers::Rule::new(
        "POST",
        "/api/0/projects/acme/own-keys/keys/",
        crate::support::key_servers::Fault::ConnectionClosed,
    );
    sentry.fault(lost.after().once());
    sentry_project(&namespace, "own-keys", &url).await;
    key(&namespace, "own-keys", "own-keys", json!({})).await;
    namespace.ready(KEY, "own-keys").await;
    let made = ours(&sentry, "acme/own-keys").await;
    assert_eq!(made.len(), 1, "no second key was made: {made:?}");
    assert_eq!(dsn(&namespace, "own-keys").await.as_deref(), Some(&*made[0].dsn));
    sentry.with(|api| api.switches.chosen_public_keys = true);

    // Keys go with their objects: disabled at once, deleted 30 days later.
    namespace.delete(KEY, "shop").await;
    namespace.gone(KEY, "shop").await;
    keys_become(&sentry, "acme/shop", "its keys are disabled", |keys| keys[1..3].iter().all(|key| !key.active)).await;
    world
        .execute(
            "UPDATE errortracking.server_keys SET ended_at = ended_at - interval '30 days'
             WHERE ended_at IS NOT NULL AND name = 'shop'",
        )
        .await;
    namespace.patch(PROJECT, "shop", json!({"spec": {"displayName": "Shop"}})).await;
    keys_become(&sentry, "acme/shop", "they are deleted", |keys| keys.len() == 2).await;

    // So they do with the project.
    namespace.delete(PROJECT, "own-keys").await;
    namespace.gone(PROJECT, "own-keys").await;
    keys_become(&sentry, "acme/own-keys", "the project's keys are disabled", |keys| !keys[1].active).await;
    drop(operator);
}

#[tokio::test]
async fn what_keeps_a_server_from_being_asked_is_said() {
    let (authority, stranger) = (Authority::create(), Authority::create());
    let sentry = SentryDouble::start_secured(&authority);
    let url = sentry.url();
    for slug in ["shop", "renamed", "narrow"] {
        add_project(&sentry, slug);
    }
    let world = world(&[&url]).await;
    let namespace = world.namespace("web").await;
    let ca = async |name: &str, authority: &Authority| {
        let data = json!({"ca.crt": authority.certificate()});
        let metadata = json!({"name": name, "labels": {"errortracking.dev/watch": "true"}});
        namespace.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})).await;
    };
    ca("ca", &authority).await;
    ca("other-ca", &stranger).await;
    token(&namespace, "token", &sentry.token()).await;
    token(&namespace, "empty", " \n").await;
    sentry.with(|api| {
        let read =
            crate::support::key_servers::sentry::SentryToken::new("narrow", "fake-narrow", "acme", "project:read");
        api.tokens.push(read);
        api.rename_project("acme/renamed", "new-name");
    });
    token(&namespace, "narrow", "fake-narrow").await;
    let _operator = world.start_and_lead().await;
    for (name, url, slug, secret, bundle, reason, says) in [
        ("absent", &*url, "shop", "absent", "ca", "TokenSecretInvalid", "Secret absent"),
        ("empty", &url, "shop", "empty", "ca", "TokenSecretInvalid", "Secret empty"),
        ("elsewhere", "https://sentry.example", "shop", "token", "ca", "BackendHostNotAllowed", "sentry.example"),
        ("other-port", "https://127.0.0.1", "shop", "token", "ca", "BackendHostNotAllowed", "127.0.0.1"),
        ("no-bundle", &url, "shop", "token", "", "CertificateNotTrusted", "caBundleSecretRef"),
        ("other-bundle", &url, "shop", "token", "other-ca", "CertificateNotTrusted", "certificate"),
        ("unknown", &url, "nobody", "token", "ca", "BackendProjectNotFound", "project"),
        ("renamed", &url, "renamed", "token", "ca", "BackendProjectMoved", "new-name"),
    ] {
        let mut sentry =
            json!({"url": url, "organization": "acme", "project": slug, "tokenSecretRef": {"name": secret}});
        if !bundle.is_empty() {
            sentry["caBundleSecretRef"] = json!({"name": bundle});
        }
        namespace.project(name, json!({"backend": {"sentry": sentry}})).await;
        let said = namespace.reason(PROJECT, name, "Connected", reason).await;
        assert!(said.contains(says), "{name}: {said}");
        assert!(!said.contains("fake-"), "{said}");
        assert_eq!(namespace.condition(PROJECT, name, "Stalled").await.unwrap().status, "True", "{name}: {said}");
        println!("{name}: {said}");
    }
    // What still works without a scope, and which one is missing.
    let narrow = json!({"url": url, "organization": "acme", "project": "narrow", "tokenSecretRef": {"name": "narrow"},
        "caBundleSecretRef": {"name": "ca"}});
    namespace.project("narrow", json!({"backend": {"sentry": narrow}})).await;
    namespace.ready(PROJECT, "narrow").await;
    key(&namespace, "narrow", "narrow", json!({})).await;
    let said = namespace.reason(KEY, "narrow", "Stalled", "AuthenticationFailed").await;
    assert!(said.contains("project:write"), "{said}");
    // A choice that is made stays.
    let other = json!({"spec": {"backend": {"sentry": {"project": "other"}}}});
    let refused = namespace.try_patch(PROJECT, "narrow", other).await.unwrap_err().to_string();
    assert!(refused.contains("sentry.project is immutable"), "{refused}");
    let both = json!({"spec": {"backend": {"integrated": {}}}});
    let refused = namespace.try_patch(PROJECT, "narrow", both).await.unwrap_err().to_string();
    assert!(refused.contains("exactly one of"), "{refused}");
    // A server of another name, with everything as it should be.
    sentry_project_of(&namespace, "late", &url, "shop", "token").await;
    namespace.reason(PROJECT, "late", "Connected", "CertificateNotTrusted").await;
    let bundle = json!({"spec": {"backend": {"sentry": {"caBundleSecretRef": {"name": "ca"}}}}});
    namespace.patch(PROJECT, "late", bundle).await;
    namespace.ready(PROJECT, "late").await;
    let describe = namespace.field(PROJECT, "late", "/status/conditions").await;
    assert!(!describe.to_string().contains("DatabaseReady"), "{describe}");
}
