//! The operator has the rights that it needs and no others, and says which one it misses.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    runners,
    world::{Mode, Namespace, World, eventually, manifest},
};

/// Until a right that was given back is noticed: a watch pauses for a while after a refusal.
const NOTICED: Duration = Duration::from_mins(1);

async fn take_away(world: &World, kind: &str, resource: &str, verb: &str) {
    let less = world.chart.role_without(kind, resource, verb);
    world.chart.apply(&world.client, &less, kind == "ClusterRole").await;
    // The API server's authorizer follows its own watch.
    sleep(Duration::from_millis(500)).await;
}

async fn give_back(world: &World, kind: &str) {
    world.chart.apply(&world.client, &world.chart.manifest(kind), kind == "ClusterRole").await;
}

#[tokio::test]
async fn a_missing_right_to_write_is_named_in_the_status_and_works_again_when_given_back() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    take_away(&world, "ClusterRole", "secrets", "create").await;
    namespace.key("other", "shop").await;
    let message = eventually("the key says what is missing", Duration::from_secs(30), async || {
        let ready = namespace.condition("ClientKey", "other", "Ready").await?;
        ready.message.contains("cannot create").then_some(ready.message)
    })
    .await;
    println!("{message}");
    assert!(message.contains("secrets"), "{message}");
    give_back(&world, "ClusterRole").await;
    eventually("Ready after the right was given back", NOTICED, async || {
        (namespace.condition("ClientKey", "other", "Ready").await?.status == "True").then_some(())
    })
    .await;
    drop(operator);
}

#[tokio::test]
async fn a_missing_right_to_watch_is_named_in_the_log_and_works_again_when_given_back() {
    let world = World::new().await;
    let mut operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    take_away(&world, "ClusterRole", "secrets", "watch").await;
    // Rights are looked at when a watch begins: the running one ends with its connection.
    world.api_server.set(Mode::Refuse);
    sleep(Duration::from_secs(1)).await;
    world.api_server.set(Mode::Forward);
    eventually("the log says what is missing", Duration::from_secs(30), async || {
        operator.logged("cannot watch resource").then_some(())
    })
    .await;
    let lines = operator.log();
    println!("{}", lines.lines().find(|line| line.contains("cannot watch resource")).unwrap());
    // The others go on.
    namespace.patch("ErrorTrackingProject", "shop", json!({"spec": {"displayName": "Shop"}})).await;
    namespace.ready("ErrorTrackingProject", "shop").await;
    give_back(&world, "ClusterRole").await;
    namespace.delete("Secret", "shop-dsn").await;
    eventually("the watch works again", NOTICED, async || {
        world.revive(&mut operator).await;
        namespace.get("Secret", "shop-dsn").await
    })
    .await;
}

/// An apply of an object that is not there needs the right to create it, which no line of an audit log shows.
#[tokio::test]
async fn what_is_owed_to_postgres_needs_the_right_to_create_its_list() {
    let world = World::new().await;
    let operator = world.start_and_lead().await;
    let namespace = world.namespace("web").await;
    namespace.ready_project("shop").await;
    take_away(&world, "Role", "configmaps", "create").await;
    world.postgres.set(Mode::Refuse);
    namespace.delete("ClientKey", "shop").await;
    sleep(Duration::from_secs(5)).await;
    assert!(namespace.get("ClientKey", "shop").await.is_some(), "nothing says any more that its key is to be revoked");
    give_back(&world, "Role").await;
    eventually("the key is gone after the right was given back", NOTICED, async || {
        namespace.get("ClientKey", "shop").await.is_none().then_some(())
    })
    .await;
    drop(operator);
}

#[tokio::test]
async fn every_right_of_the_chart_is_used() {
    let world = World::with_values(&["runnerBinding.enabled=true"]).await;
    let mark = world.mark();
    let operator = world.start_and_lead().await;
    let standby = world.start_as("standby", &[]).await;
    let namespace = world.namespace("web").await;
    live(&world, &namespace).await;
    drop((operator, standby));

    let mut used: BTreeMap<(String, String, String), usize> = BTreeMap::new();
    let mut at_home = BTreeSet::new();
    for request in world.requests_since(&mark) {
        if request.code == 403 {
            println!("refused: {request}");
        }
        let right = (request.group.clone(), request.resource.clone(), request.verb.clone());
        if request.namespace == world.name {
            at_home.insert(right.clone());
        }
        *used.entry(right).or_default() += 1;
    }
    println!("{:<28} {:<34} {:<8} {:>6}", "group", "resource", "verb", "used");
    let mut unused = Vec::new();
    for (kind, is_used) in [
        ("ClusterRole", &(|right: &_| used.contains_key(right)) as &dyn Fn(&(String, String, String)) -> bool),
        ("Role", &|right| at_home.contains(right)),
    ] {
        for right in world.chart.rights(kind) {
            let (group, resource, verb) = &right;
            let count = used.get(&right).copied().unwrap_or_default();
            println!("{group:<28} {resource:<34} {verb:<8} {count:>6}");
            if !is_used(&right) && !is_only_checked(resource, verb) {
                unused.push(format!("{kind}: {verb} {resource} {group}"));
            }
        }
    }
    assert_eq!(unused, Vec::<String>::new(), "rights that nothing needs");
}

#[tokio::test]
async fn an_installation_of_some_namespaces_has_a_role_in_each_and_no_cluster_role() {
    let world = World::of_namespaces(&["runnerBinding.enabled=true"], &["web", "api"]).await;
    assert!(world.chart.rights("ClusterRole").is_empty());
    let mark = world.mark();
    let operator = world.start_and_lead().await;
    let standby = world.start_as("standby", &[]).await;
    let (web, api, other) = (world.served("web"), world.served("api"), world.namespace("other").await);
    other.project_without_pods("stranger").await;
    live(&world, &web).await;
    api.ready_project("blog").await;
    assert!(other.condition("ErrorTrackingProject", "stranger", "Ready").await.is_none(), "it is not served");
    drop(standby);

    let (mut used, mut refused) = (BTreeSet::new(), Vec::new());
    for request in world.requests_since(&mark) {
        if request.code == 403 {
            refused.push(request.to_string());
        }
        used.insert((request.group.clone(), request.resource.clone(), request.verb.clone()));
    }
    assert_eq!(refused, Vec::<String>::new(), "what the roles do not give is not asked for");
    let unused = world.chart.rights("Role").into_iter().filter(|right| !used.contains(right));
    let unused: Vec<_> = unused.filter(|(_, resource, verb)| !is_only_checked(resource, verb)).collect();
    assert_eq!(unused, [], "rights that nothing needs");

    // A namespace that is lost, and its role with it, keeps nobody waiting.
    drop(operator);
    api.delete("RoleBinding", &format!("{}-operator-projects", world.name)).await;
    sleep(Duration::from_secs(1)).await;
    let operator = world.start_and_lead().await;
    web.ready_project("after").await;
    let bindings = world.chart.manifests_of("RoleBinding");
    for binding in bindings.iter().filter(|binding| binding["metadata"]["namespace"] == api.name) {
        world.chart.apply(&world.client, binding, false).await;
    }
    api.key("late", "blog").await;
    eventually("the namespace is served again", NOTICED, async || {
        (api.condition("ClientKey", "late", "Ready").await?.status == "True").then_some(())
    })
    .await;
    drop(operator);
}

/// What the API server only asks for: the right to create what an apply may make, shown by taking it away above, and the
/// right to delete a child that gets another owner, which the objects that were lost and applied anew need (identity.rs).
/// Pods that do not come up need two minutes until they count as failing: `tests/operator/pod_template.rs` has them.
fn is_only_checked(resource: &str, verb: &str) -> bool {
    let inherited = ["services", "serviceaccounts", "networkpolicies", "poddisruptionbudgets"];
    // The restart of a workload comes a minute after the next key: tests/operator/rotation.rs has one.
    let late = [("statefulsets", "patch"), ("daemonsets", "patch")];
    [("configmaps", "create"), ("pods", "list")].iter().chain(&late).any(|right| *right == (resource, verb))
        || (verb == "delete" && inherited.contains(&resource))
}

/// Everything that the operator does: objects come, change, drift and go, with Postgres and without.
async fn live(world: &World, namespace: &Namespace) {
    namespace
        .project("shop", json!({"deletionPolicy": "Delete", "backend": {"integrated": {"ingest": {"replicas": 0}}}}))
        .await;
    namespace.key("shop", "shop").await;
    namespace.ready("ErrorTrackingProject", "shop").await;
    namespace.ready("ClientKey", "shop").await;
    for kind in ["ErrorTrackingProject", "ClientKey"] {
        pause(namespace, kind, "shop").await;
    }
    // The same Event twice is counted up.
    for enabled in [false, true, false, true] {
        namespace.patch("ClientKey", "shop", json!({"spec": {"enabled": enabled}})).await;
        namespace.ready("ClientKey", "shop").await;
    }
    for (kind, name, edit) in [
        ("Secret", "shop-dsn", json!({"stringData": {"SENTRY_DSN": "wrong"}})),
        ("Service", "shop-ingest", json!({"spec": {"selector": {"app.kubernetes.io/name": "other"}}})),
        ("Deployment", "shop-ingest", json!({"spec": {"replicas": 1}})),
        ("NetworkPolicy", "shop-ingest", json!({"spec": {"policyTypes": ["Ingress"]}})),
        ("PodDisruptionBudget", "shop-ingest", json!({"spec": {"maxUnavailable": 2}})),
        ("ServiceAccount", "shop-ingest", json!({"automountServiceAccountToken": true})),
    ] {
        put_back(namespace, kind, name, edit).await;
        let uid = namespace.field(kind, name, "/metadata/uid").await;
        namespace.delete(kind, name).await;
        eventually(&format!("deleted {kind} put back"), Duration::from_secs(15), async || {
            let now = namespace.field(kind, name, "/metadata/uid").await;
            (!now.is_null() && now != uid).then_some(())
        })
        .await;
    }
    expose_and_scale(world, namespace).await;
    bind_runners(world, namespace).await;
    for (kind, name) in [("ClientKey", "shop"), ("ErrorTrackingProject", "shop")] {
        namespace.delete(kind, name).await;
        namespace.gone(kind, name).await;
    }
    // A deletion without Postgres is written down and done later.
    namespace.ready_project("gone").await;
    world.postgres.set(Mode::Refuse);
    for (kind, name) in [("ClientKey", "gone"), ("ErrorTrackingProject", "gone")] {
        namespace.delete(kind, name).await;
        namespace.gone(kind, name).await;
    }
    world.postgres.set(Mode::Forward);
    eventually("what was owed is done", Duration::from_mins(1), async || {
        let live = "SELECT count(*) FROM errortracking.projects WHERE state = 'active'";
        (world.sql(live).await == "0").then_some(())
    })
    .await;
    sleep(Duration::from_secs(1)).await;
}

/// Runners are configured, each in another way.
async fn bind_runners(world: &World, namespace: &Namespace) {
    let definition: Value = serde_yaml::from_str(include_str!("../runner/crd.yaml")).unwrap();
    world.chart.apply(&world.client, &definition, true).await;
    eventually("Runners are known", Duration::from_secs(15), async || {
        namespace.api("Runner").list(&ListParams::default()).await.ok()
    })
    .await;
    runners::config_by_hand(namespace, "ConfigMap", "fleet", runners::CONFIG, false).await;
    let template = |more: Value| {
        let mut container = json!({"name": "runner", "image": "gitlab/gitlab-runner:v19.3.0"});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"labels": {"app": "fleet"}}, "spec": {"containers": [container], "volumes": [
            {"name": "config", "configMap": {"name": "fleet"}},
        ]}})
    };
    let mount = json!({"volumeMounts": [{"name": "config", "mountPath": "/etc/gitlab-runner"}]});
    let reference = json!({"secretKeyRef": {"name": "shop-dsn", "key": "SENTRY_DSN"}});
    let variable = json!({"env": [{"name": "SENTRY_DSN", "valueFrom": reference}]});
    for (kind, more) in [("Deployment", mount), ("StatefulSet", variable.clone()), ("DaemonSet", variable)] {
        let mut spec = json!({"selector": {"matchLabels": {"app": "fleet"}}, "template": template(more)});
        match kind {
            "DaemonSet" => spec["template"]["spec"]["nodeSelector"] = json!({"nowhere.example/node": "true"}),
            _ => spec["replicas"] = 0.into(),
        }
        namespace.apply(&manifest(kind, "fleet", spec)).await;
    }
    namespace
        .apply(&manifest("Runner", "fleet", json!({"gitlabUrl": "https://gitlab.example", "token": "none"})))
        .await;
    let environment = |kind: &str| json!({"environment": {"workloadRef": {"kind": kind, "name": "fleet"}}});
    for (name, target) in [
        ("config", json!({"configToml": {"configMapRef": {"name": "fleet"}, "workloadRef": {"name": "fleet"}}})),
        ("set", environment("StatefulSet")),
        ("daemons", environment("DaemonSet")),
        ("runner", json!({"runnerRef": {"name": "fleet"}})),
    ] {
        let spec = json!({"clientKeyRef": {"name": "shop"}, "runner": target});
        namespace.apply(&manifest("RunnerBinding", name, spec)).await;
        namespace.ready("RunnerBinding", name).await;
    }
    pause(namespace, "RunnerBinding", "set").await;
    for name in ["config", "set", "daemons", "runner"] {
        namespace.delete("RunnerBinding", name).await;
        namespace.gone("RunnerBinding", name).await;
    }
}

async fn pause(namespace: &Namespace, kind: &str, name: &str) {
    let paused = |value: Value| json!({"metadata": {"annotations": {"errortracking.dev/paused": value}}});
    namespace.patch(kind, name, paused(json!("true"))).await;
    eventually(&format!("{kind} paused"), Duration::from_secs(10), async || {
        (namespace.condition(kind, name, "Paused").await?.status == "True").then_some(())
    })
    .await;
    namespace.patch(kind, name, paused(Value::Null)).await;
    namespace.ready(kind, name).await;
}

/// Children that a project has only when it asks for them.
async fn expose_and_scale(world: &World, namespace: &Namespace) {
    let route: Value = serde_yaml::from_str(include_str!("../operator/gateway-api.yaml")).unwrap();
    world.chart.apply(&world.client, &route, true).await;
    let ingress = json!({"className": "none", "host": "errors.example"});
    let gateway = json!({"parentRefs": [{"name": "public"}], "hostnames": ["errors.example"]});
    let autoscaling = json!({"minReplicas": 1, "maxReplicas": 2, "targetCPUUtilizationPercentage": 80});
    for (kind, ingest, edit) in [
        ("Ingress", json!({"replicas": 0, "ingress": ingress}), json!({"spec": {"ingressClassName": "other"}})),
        ("HTTPRoute", json!({"replicas": 0, "gateway": gateway}), Value::Null),
        ("HorizontalPodAutoscaler", json!({"autoscaling": autoscaling}), json!({"spec": {"maxReplicas": 9}})),
    ] {
        let spec = |ingest: &Value| json!({"deletionPolicy": "Delete", "backend": {"integrated": {"ingest": ingest}}});
        namespace.project("shop", spec(&ingest)).await;
        eventually(&format!("{kind} made"), Duration::from_secs(30), async || namespace.get(kind, "shop-ingest").await)
            .await;
        if edit.is_null() {
            // It is not watched, so nobody notices an edit: the spec changes.
            let mut more = ingest.clone();
            more["gateway"]["hostnames"] = json!(["errors.example", "more.example"]);
            namespace.project("shop", spec(&more)).await;
            eventually(&format!("{kind} follows"), Duration::from_secs(30), async || {
                let names = namespace.field(kind, "shop-ingest", "/spec/hostnames").await;
                (names == more["gateway"]["hostnames"]).then_some(())
            })
            .await;
        } else {
            put_back(namespace, kind, "shop-ingest", edit).await;
        }
        namespace.project("shop", spec(&json!({"replicas": 0}))).await;
        namespace.gone(kind, "shop-ingest").await;
    }
}

/// Edits a child by hand and waits until the edit is gone.
async fn put_back(namespace: &Namespace, kind: &str, name: &str, edit: Value) {
    let content = async || {
        let object = serde_json::to_value(namespace.get(kind, name).await.unwrap()).unwrap();
        (object["spec"].clone(), object["data"].clone(), object["automountServiceAccountToken"].clone())
    };
    let before = content().await;
    namespace.patch(kind, name, edit).await;
    eventually(&format!("edited {kind} put back"), Duration::from_secs(15), async || {
        (content().await == before).then_some(())
    })
    .await;
}
