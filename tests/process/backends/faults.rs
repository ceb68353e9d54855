//! Every fault of a server at every step: what the status says, and that what comes of it is right when it is over.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{
    KEY, LIMIT, PROJECT, add_project, dsn, gitlab_project_of, key, rotate, sentry_project_of, token, whole, world,
};
use crate::{
    support::key_servers::{
        Fault, GitlabDouble, KeyServer, Rule, SentryDouble,
        gitlab::{GitlabToken, MAINTAINER},
        sentry::SentryToken,
    },
    world::{Namespace, World, eventually},
};

/// Where the fault comes.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Make,
    /// After the answer to a request for a key was lost.
    Find,
    /// The end of a key.
    Refuse,
}

struct Case {
    name: String,
    step: Step,
    fault: Fault,
    /// Words for the condition, any of them.
    reasons: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    const FAILED: &[&str] = &["ConnectionFailed"];
    let faults: [(&str, Fault, &[&str]); 11] = [
        ("500", Fault::Status { status: 500 }, FAILED),
        ("page", Fault::Page { status: 200 }, FAILED),
        ("half", Fault::HalfBody, FAILED),
        ("closed", Fault::ConnectionClosed, FAILED),
        ("endless", Fault::Endless, FAILED),
        ("silent", Fault::NeverAnswers, FAILED),
        ("429", Fault::TooManyRequests { retry_after: Some("3".into()) }, &["BackendLimited"]),
        ("401", Fault::Status { status: 401 }, &["AuthenticationFailed"]),
        ("403", Fault::Status { status: 403 }, &["AuthenticationFailed"]),
        ("redirect", Fault::Redirect { location: "http://127.0.0.2/elsewhere".into() }, &["BackendProjectMoved"]),
        ("other-key", Fault::EchoOtherKey, FAILED),
    ];
    let steps = [("connect", Step::Connect), ("make", Step::Make), ("find", Step::Find), ("refuse", Step::Refuse)];
    let mut cases = Vec::new();
    for (step_name, step) in steps {
        for (name, fault, reasons) in &faults {
            // There is no key in an answer about a project.
            if matches!((step, fault), (Step::Connect, Fault::EchoOtherKey)) {
                continue;
            }
            // One that never answers takes its whole time.
            let is_long = matches!(fault, Fault::NeverAnswers);
            if !whole() && is_long {
                continue;
            }
            let name = format!("{step_name}-{name}");
            cases.push(Case { name, step, fault: fault.clone(), reasons });
        }
    }
    cases
}

/// What is said while the fault lasts, at the project or at its key.
async fn said(namespace: &Namespace, case: &Case, name: &str) -> (String, String) {
    let (kind, limit) = match case.step {
        Step::Connect => (PROJECT, LIMIT),
        _ => (KEY, LIMIT),
    };
    eventually(&format!("{name}: it is said"), limit, async || {
        for condition in ["Stalled", "Reconciling"] {
            let condition = namespace.condition(kind, name, condition).await?;
            if condition.status == "True" && case.reasons.contains(&&*condition.reason) {
                return Some((condition.reason, condition.message));
            }
        }
        None
    })
    .await
}

#[tokio::test]
async fn a_servers_faults_are_told_and_cost_nothing_when_they_are_over() {
    let (sentry, gitlab) = (SentryDouble::start(), GitlabDouble::start());
    let cases = cases();
    for case in &cases {
        // A token of its own: calls of one wait for each other.
        let (name, value) = (&*case.name, format!("fake-{}", case.name));
        add_project(&sentry, name);
        let scopes = "org:read project:read project:write project:admin";
        sentry.with(|api| api.tokens.push(SentryToken::new(name, &value, "acme", scopes)));
        gitlab.with(|api| {
            let id = api.add_project(&format!("acme/{name}")).id;
            api.tokens.push(GitlabToken::new(name, &value, id, MAINTAINER));
        });
    }
    let world = world(&[&sentry.url(), &gitlab.url()]).await;
    let (at_sentry, at_gitlab) = (world.namespace("sentry").await, world.namespace("gitlab").await);
    for case in &cases {
        for namespace in [&at_sentry, &at_gitlab] {
            token(namespace, &case.name, &format!("fake-{}", case.name)).await;
        }
    }
    let _operator = world.start_and_lead().await;
    let (world, sentry, gitlab) = (&world, &sentry, &gitlab);
    let (at_sentry, at_gitlab) = (&at_sentry, &at_gitlab);
    let done = stream::iter(&cases).map(async |case: &Case| {
        let told = in_sentry(world, at_sentry, sentry, case).await;
        let orphans = in_gitlab(world, at_gitlab, gitlab, case).await;
        (case.name.clone(), told, orphans)
    });
    let mut done: Vec<_> = done.buffer_unordered(12).collect().await;
    done.sort();
    let (mut failed, mut orphans) = (0, 0);
    for (name, told, left) in &done {
        println!("{name:18} {told}");
        failed += u32::from(told.starts_with("FAILED"));
        orphans += left;
    }
    let stolen = stolen(world).await;
    println!("backends: {} cases, {failed} failed, {stolen} keys stolen, {orphans} orphans named", 2 * done.len());
    assert_eq!((failed, stolen), (0, 0));
}

/// Keys that two objects claim.
async fn stolen(world: &World) -> usize {
    let claimed =
        world.sql("SELECT place || ' ' || server_id FROM errortracking.server_keys WHERE server_id IS NOT NULL");
    let claimed = claimed.await;
    let all: Vec<_> = claimed.lines().collect();
    all.len() - all.iter().collect::<BTreeSet<_>>().len()
}

async fn in_sentry(world: &World, namespace: &Namespace, sentry: &SentryDouble, case: &Case) -> String {
    let name = &case.name;
    let path = format!("/api/0/projects/acme/{name}/");
    let (keys, one) = (format!("{path}keys/"), format!("{path}keys/*/"));
    let rule = |method: &str, path: &str| Rule::new(method, path, case.fault.clone());
    match case.step {
        Step::Connect => sentry.fault(rule("GET", &path)),
        Step::Make => sentry.fault(rule("POST", &keys)),
        Step::Find => {
            sentry.fault(Rule::new("POST", &keys, Fault::ConnectionClosed).after().once());
            sentry.fault(rule("GET", &one));
        }
        Step::Refuse => sentry.fault(rule("PUT", &one)),
    }
    sentry_project_of(namespace, name, &sentry.url(), name, name).await;
    key(namespace, name, name, json!({"rotation": {"overlap": {"minimum": "1s", "silence": "1s", "maximum": "1s"}}}))
        .await;
    if matches!(case.step, Step::Refuse) {
        namespace.ready(KEY, name).await;
        rotate(world, namespace, name).await;
    }
    let (reason, message) = said(namespace, case, name).await;
    sentry.clear_faults_of(name);
    let expected = if matches!(case.step, Step::Refuse) { vec![false, true] } else { vec![true] };
    let outcome = eventually_keys(namespace, name, async || {
        let there = sentry.keys_of(&format!("acme/{name}")).await;
        let ours: Vec<_> = there.iter().filter(|key| key.name.as_deref() != Some("Default")).collect();
        let named = ours.last().map(|key| key.dsn.clone());
        (ours.iter().map(|key| key.active).collect::<Vec<_>>() == expected, named)
    })
    .await;
    format!("{outcome}{reason}: {message}")
}

async fn in_gitlab(world: &World, namespace: &Namespace, gitlab: &GitlabDouble, case: &Case) -> u32 {
    if matches!((case.step, &case.fault), (Step::Refuse, Fault::EchoOtherKey)) {
        // It is deleted, whatever the answer says.
        return 0;
    }
    let name = &case.name;
    let path = format!("/api/v4/projects/acme%2F{name}/error_tracking/");
    let (keys, one) = (format!("{path}client_keys"), format!("{path}client_keys/*"));
    let rule = |method: &str, path: &str| Rule::new(method, path, case.fault.clone());
    match case.step {
        Step::Connect => gitlab.fault(rule("GET", &format!("{path}settings"))),
        Step::Make => gitlab.fault(rule("POST", &keys)),
        Step::Find => {
            gitlab.fault(Rule::new("POST", &keys, Fault::ConnectionClosed).after().once());
            gitlab.fault(rule("GET", &keys));
        }
        Step::Refuse => gitlab.fault(rule("DELETE", &one)),
    }
    gitlab_project_of(namespace, name, &gitlab.url(), name).await;
    key(namespace, name, name, json!({"rotation": {"overlap": {"minimum": "1s", "silence": "1s", "maximum": "1s"}}}))
        .await;
    if matches!(case.step, Step::Refuse) {
        namespace.ready(KEY, name).await;
        rotate(world, namespace, name).await;
    }
    said(namespace, case, name).await;
    gitlab.clear_faults_of(&format!("acme%2F{name}"));
    let outcome = eventually_keys(namespace, name, async || {
        let there = gitlab.keys_of(&format!("acme/{name}")).await;
        let living = world
            .sql(&format!(
                "SELECT server_id FROM errortracking.server_keys
                 WHERE place LIKE 'gitlab %/{name}' AND ended_at IS NULL"
            ))
            .await;
        let named = there.iter().find(|key| key.id == living).map(|key| key.dsn.clone());
        (named.is_some(), named)
    })
    .await;
    assert_eq!(outcome, "", "{name} in GitLab");
    let orphans = world
        .sql(&format!("SELECT count(*) FROM errortracking.server_key_orphans WHERE place LIKE 'gitlab %/{name}'"))
        .await;
    orphans.parse().unwrap()
}

/// The keys at the server are as they should be, and the Secret names the newest.
async fn eventually_keys(
    namespace: &Namespace,
    name: &str,
    there: impl AsyncFn() -> (bool, Option<String>),
) -> &'static str {
    let limit = Duration::from_mins(2);
    let right = tokio::time::timeout(limit, async {
        loop {
            let (right, named) = there().await;
            if right && named.is_some() && dsn(namespace, name).await == named {
                return;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    match right.await {
        Ok(()) => "",
        Err(_) => "FAILED: ",
    }
}
