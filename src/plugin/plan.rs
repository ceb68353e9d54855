//! What a rotation would do, and who holds the key that would retire. Pure.

use std::{
    cmp::Reverse,
    fmt::{self, Write as _},
};

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;

use super::{
    keys::{conditions, holding},
    output::Output,
};
use crate::{
    crd::{
        ClientKey, ConditionType, Endpoint, HolderWorkload, Holders, Overlap, PAUSED_ANNOTATION, Period, RetiringKey,
        RunnerBinding,
    },
    kubernetes::{
        holders::{PodFacts, Published, by_workload},
        table::{age, align},
    },
    rotation::DEFAULT_OVERLAP,
};

/// Workloads that the plan names, unless all are asked for.
const MOST_WORKLOADS: usize = 20;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    namespace: String,
    client_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_name: Option<String>,
    /// The one that would retire.
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<Active>,
    overlap: PlannedOverlap,
    /// The other server that keeps the key, as "Sentry"; absent also where the project may not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'static str>,
    /// Pods that took the Secret, and those of runners that a `RunnerBinding` configures; absent where pods may not be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<usize>,
    held_by: Vec<HolderWorkload>,
    /// What has to happen first.
    obstacles: Vec<String>,
    endpoint: Endpoint,
    restart_workloads: bool,
    /// Those pods one by one, for the wide table.
    #[serde(skip)]
    each: Vec<HolderPod>,
}

/// Who holds a key, as far as it may be seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    /// Those of the key's namespace; `None`: they may not be listed.
    pub pods: Option<&'a [PodFacts]>,
    /// Those of the key's namespace.
    pub bindings: &'a [RunnerBinding],
}

/// A pod, below what it belongs to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HolderPod {
    workload: (String, String),
    name: String,
    created: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Active {
    #[serde(rename = "keyID")]
    key_id: String,
    public_key_prefix: String,
    created_at: Timestamp,
}

/// The spec's, with the defaults.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlannedOverlap {
    holders: Holders,
    minimum: String,
    silence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<String>,
}

impl PlannedOverlap {
    fn of(key: &ClientKey, elsewhere: bool) -> Self {
        let none = Overlap::default();
        let overlap = key.spec.rotation.as_ref().and_then(|rotation| rotation.overlap.as_ref()).unwrap_or(&none);
        let written = |period: &Option<Period>| period.clone().map(String::from);
        let or_default = |period| written(period).unwrap_or_else(|| format!("{}h", DEFAULT_OVERLAP.as_hours()));
        Self {
            holders: key.holders(elsewhere),
            minimum: or_default(&overlap.minimum),
            silence: or_default(&overlap.silence),
            maximum: written(&overlap.maximum),
        }
    }
}

/// What keeps the operator from doing what is asked for, or puts it off.
pub fn obstacles(key: &ClientKey) -> Vec<String> {
    let name = key.name_any();
    let mut obstacles = Vec::new();
    if key.metadata.deletion_timestamp.is_some() {
        obstacles.push(format!("ClientKey {name} is being deleted."));
    }
    if key.annotations().get(PAUSED_ANNOTATION).is_some_and(|paused| paused == "true") {
        obstacles.push(format!("ClientKey {name} is paused: nothing happens while {PAUSED_ANNOTATION} is \"true\"."));
    }
    if let Some(stalled) = holding(conditions(key), ConditionType::Stalled) {
        obstacles.push(format!("ClientKey {name} is stalled ({}): {}", stalled.reason, stalled.message));
    }
    obstacles
}

/// What a rotation waits for beside what everything waits for.
pub fn obstacles_of_rotation(key: &ClientKey, now: Timestamp) -> Vec<String> {
    let name = key.name_any();
    let mut obstacles = obstacles(key);
    let status = key.status.as_ref();
    if status.is_none_or(|status| status.active.is_none()) {
        obstacles.push(format!("ClientKey {name} has no key yet: its first one is made as soon as that is possible."));
    }
    if let Some(retiring) = status.and_then(|status| status.retiring.as_ref()) {
        obstacles.push(format!("{} One rotation is under way at a time.", still_retiring(retiring, now)));
    }
    obstacles
}

fn still_retiring(key: &RetiringKey, now: Timestamp) -> String {
    let held = match key.holders {
        None => "who holds it is not known".to_owned(),
        Some(1) => "1 pod holds it".to_owned(),
        Some(pods) => format!("{pods} pods hold it"),
    };
    format!("Key {} has been retiring for {}, and {held}.", key.key_id, age(now.duration_since(key.since.0)))
}

impl Plan {
    /// `server`: the other one that keeps the key.
    pub fn of(
        key: &ClientKey,
        server: Option<&'static str>,
        seen: Seen<'_>,
        now: Timestamp,
        output: Option<Output>,
    ) -> Self {
        let status = key.status.as_ref();
        let secrets = key.secret_names();
        let active = status.and_then(|status| status.active.as_ref());
        // As if the Secret had just been written.
        let published = Published { at: now, minimum_is_over: false };
        let holding = |pod: &&PodFacts| secrets.iter().any(|secret| pod.holds_former_key(secret, &published));
        let holders: Option<Vec<_>> = seen.pods.map(|pods| pods.iter().filter(holding).collect());
        let bound: Vec<_> = seen.bindings.iter().filter_map(|binding| held_by_binding(binding, key)).collect();
        let number = |held: &HolderWorkload| usize::try_from(held.pods).unwrap_or_default();
        let pods = holders.as_ref().map(|pods| pods.len() + bound.iter().map(number).sum::<usize>());
        let most = if output.is_some() { usize::MAX } else { MOST_WORKLOADS };
        let mut held_by = bound;
        held_by.extend(holders.iter().flat_map(|pods| by_workload(pods.iter().copied(), most)));
        held_by.sort_by_key(|held| Reverse(held.pods));
        held_by.truncate(most);
        let each =
            |pod: &&PodFacts| HolderPod { workload: pod.workload(), name: pod.name.to_string(), created: pod.created };
        let wide = holders.as_ref().filter(|_| output == Some(Output::Wide));
        let mut each: Vec<_> = wide.into_iter().flatten().map(each).collect();
        each.sort_unstable();
        Self {
            namespace: key.namespace().unwrap_or_default(),
            client_key: key.name_any(),
            secret_name: status.and_then(|status| status.secret_name.clone()),
            active: active.map(|active| Active {
                key_id: active.key_id.clone(),
                public_key_prefix: active.public_key_prefix.clone(),
                created_at: active.created_at.0,
            }),
            overlap: PlannedOverlap::of(key, server.is_some()),
            server,
            pods,
            held_by,
            obstacles: obstacles_of_rotation(key, now),
            endpoint: key.spec.endpoint,
            restart_workloads: key.spec.rotation.as_ref().is_some_and(|rotation| rotation.restart_workloads),
            each,
        }
    }

    /// For people.
    pub fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        // A String takes everything.
        let _ = self.write(&mut text, now);
        text
    }

    fn write(&self, text: &mut String, now: Timestamp) -> fmt::Result {
        let Self { namespace, client_key, overlap, .. } = self;
        let (Some(active), Some(secret)) = (&self.active, &self.secret_name) else {
            writeln!(text, "ClientKey {namespace}/{client_key} has no key that could be rotated.")?;
            return self.write_obstacles(text);
        };
        let id = &active.key_id;
        let made = age(now.duration_since(active.created_at));
        let prefix = &active.public_key_prefix;
        writeln!(
            text,
            "Secret {secret} of ClientKey {namespace}/{client_key} names key {id} ({prefix}…), made {made} ago."
        )?;
        let known =
            self.server.map_or_else(|| "every ingest pod knows it".to_owned(), |server| format!("{server} has it"));
        writeln!(text, "A rotation makes another key and names it there as soon as {known}.")?;
        match (overlap.holders, &overlap.maximum) {
            (Holders::Visible, maximum) if self.server.is_none() => {
                writeln!(text, "Key {id} is accepted beside it until all of this is so:")?;
                writeln!(text, "  minimum   {} have passed", overlap.minimum)?;
                writeln!(text, "  silence   nothing was sent with it for {}", overlap.silence)?;
                writeln!(text, "  holders   no pod is left that took the Secret before")?;
                match maximum {
                    Some(maximum) => writeln!(text, "  maximum   or {maximum} have passed, whoever holds it then")?,
                    None => writeln!(text, "  maximum   none: a pod that stays keeps it alive")?,
                }
            }
            (_, maximum) => {
                let why = match (self.server, self.endpoint) {
                    (Some(server), _) => format!("{server} receives what is sent with it"),
                    (None, Endpoint::External) => "endpoint: External".to_owned(),
                    (None, Endpoint::Internal) => "overlap.holders: Unknown".to_owned(),
                };
                writeln!(text, "Who holds key {id} cannot be seen ({why}), so it is accepted beside it until:")?;
                match maximum {
                    Some(maximum) => writeln!(text, "  maximum   {maximum} have passed, whoever holds it then")?,
                    None => writeln!(
                        text,
                        "  maximum   none: until it is revoked, with kubectl errors revoke {client_key}"
                    )?,
                }
            }
        }
        if self.restart_workloads {
            writeln!(
                text,
                "  restarts  of workloads that hold it, after a minute, where the installation allows them"
            )?;
        }
        self.write_holders(text, id, now)?;
        self.write_obstacles(text)
    }

    fn write_holders(&self, text: &mut String, id: &str, now: Timestamp) -> fmt::Result {
        let namespace = &self.namespace;
        match self.pods {
            None => {
                let but = if self.held_by.is_empty() { "." } else { ", but for runners:" };
                writeln!(
                    text,
                    "\nYou may not list pods in namespace {namespace}, so who holds it now is not shown{but}"
                )?;
                if !self.held_by.is_empty() {
                    text.push_str(&self.table(now));
                }
                Ok(())
            }
            Some(0) => writeln!(text, "\nNo pod of namespace {namespace} takes the Secret."),
            Some(pods) => {
                let noun = if pods == 1 { "pod holds" } else { "pods hold" };
                let bound = self.held_by.iter().any(|held| held.kind == RunnerBinding::HOLDER);
                let until = if bound { ", or until a RunnerBinding says that they have the next one" } else { "" };
                writeln!(text, "\n{pods} {noun} key {id} now, until restarted{until}:")?;
                text.push_str(&self.table(now));
                let named: usize = self.held_by.iter().filter_map(|held| usize::try_from(held.pods).ok()).sum();
                if named < pods {
                    writeln!(text, "… and {} pods of other workloads: -o wide names all.", pods - named)?;
                }
                Ok(())
            }
        }
    }

    fn table(&self, now: Timestamp) -> String {
        let mut rows = Vec::new();
        if self.each.is_empty() {
            rows.push(["KIND", "NAME", "PODS"].map(str::to_owned).to_vec());
            let row = |held: &HolderWorkload| vec![held.kind.clone(), held.name.clone(), held.pods.to_string()];
            rows.extend(self.held_by.iter().map(row));
        } else {
            rows.push(["KIND", "NAME", "POD", "AGE"].map(str::to_owned).to_vec());
            rows.extend(self.each.iter().map(|pod| {
                let (kind, name) = pod.workload.clone();
                vec![kind, name, pod.name.clone(), age(now.duration_since(pod.created))]
            }));
            let bound = self.held_by.iter().filter(|held| held.kind == RunnerBinding::HOLDER);
            rows.extend(
                bound.map(|held| vec![held.kind.clone(), held.name.clone(), format!("all {}", held.pods), "-".into()]),
            );
        }
        align(&rows)
    }

    fn write_obstacles(&self, text: &mut String) -> fmt::Result {
        if self.obstacles.is_empty() {
            return Ok(());
        }
        writeln!(text, "\nBefore anything begins:")?;
        self.obstacles.iter().try_for_each(|obstacle| writeln!(text, "  {obstacle}"))
    }
}

/// A runner whose configuration names the key.
fn held_by_binding(binding: &RunnerBinding, key: &ClientKey) -> Option<HolderWorkload> {
    let status = binding.status.as_ref().filter(|_| binding.spec.client_key_ref.name == key.name_any())?;
    binding.holders(status, None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-11-29T12:00:00Z";

    fn key(change: fn(&mut Value)) -> ClientKey {
        let mut key = json!({
            "metadata": {"name": "shop", "namespace": "web"},
            "spec": {"projectRef": {"name": "shop"}},
            "status": {
                "secretName": "shop-dsn",
                "active": {"keyID": "42", "publicKeyPrefix": "1a2b3c4d", "createdAt": "2026-09-27T12:00:00Z"},
            },
        });
        change(&mut key);
        serde_json::from_value(key).unwrap()
    }

    fn pods(number: usize) -> Vec<PodFacts> {
        let pod = |number: usize, secret: &str| {
            let owner = if number.is_multiple_of(3) { "worker" } else { "shop" };
            let pod = json!({
                "metadata": {"name": format!("pod-{number}"), "creationTimestamp": "2026-11-01T12:00:00Z",
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner, "uid": "u", "controller": true}]},
                "spec": {"containers": [{"name": "app", "envFrom": [{"secretRef": {"name": secret}}]}]},
                "status": {"phase": "Running"},
            });
            PodFacts::of(&serde_json::from_value(pod).unwrap())
        };
        (1..=number).map(|number| pod(number, "shop-dsn")).chain([pod(0, "other")]).collect()
    }

    fn seen(pods: &[PodFacts]) -> Seen<'_> {
        Seen { pods: Some(pods), bindings: &[] }
    }

    fn text(key: &ClientKey, pods: Option<&[PodFacts]>) -> String {
        let now = NOW.parse().unwrap();
        Plan::of(key, None, Seen { pods, bindings: &[] }, now, None).text(now)
    }

    #[test]
    fn a_plan_says_who_holds_the_key_and_what_comes() {
        assert_eq!(
            text(&key(|_| {}), Some(&pods(4))),
            "Secret shop-dsn of ClientKey web/shop names key 42 (1a2b3c4d…), made 63d ago.\n\
             A rotation makes another key and names it there as soon as every ingest pod knows it.\n\
             Key 42 is accepted beside it until all of this is so:\n  \
               minimum   168h have passed\n  \
               silence   nothing was sent with it for 168h\n  \
               holders   no pod is left that took the Secret before\n  \
               maximum   none: a pod that stays keeps it alive\n\
             \n\
             4 pods hold key 42 now, until restarted:\n\
             KIND          NAME     PODS\n\
             StatefulSet   shop     3\n\
             StatefulSet   worker   1\n"
        );
        let bounded = key(|key| {
            key["spec"]["rotation"] =
                json!({"overlap": {"minimum": "1h", "silence": "2h", "maximum": "720h"}, "restartWorkloads": true});
        });
        let said = text(&bounded, Some(&pods(0)));
        for line in [
            "  minimum   1h have passed\n",
            "  silence   nothing was sent with it for 2h\n",
            "  maximum   or 720h have passed, whoever holds it then\n  restarts  of workloads that hold it, after a minute",
            "\nNo pod of namespace web takes the Secret.\n",
        ] {
            assert!(said.contains(line), "{said}");
        }
    }

    #[test]
    fn holders_that_cannot_be_seen_are_not_none() {
        let external = key(|key| key["spec"]["endpoint"] = json!("External"));
        let said = text(&external, None);
        assert!(said.contains("Who holds key 42 cannot be seen (endpoint: External), so it is accepted"), "{said}");
        assert!(said.contains("  maximum   none: until it is revoked, with kubectl errors revoke shop\n"), "{said}");
        assert!(
            said.ends_with("\nYou may not list pods in namespace web, so who holds it now is not shown.\n"),
            "{said}"
        );
        let unknown = key(|key| {
            key["spec"]["rotation"] = json!({"overlap": {"holders": "Unknown", "maximum": "720h"}});
        });
        let said = text(&unknown, Some(&pods(1)));
        assert!(said.contains("(overlap.holders: Unknown)") && said.contains("  maximum   720h have passed"), "{said}");
        assert!(said.contains("\n1 pod holds key 42 now, until restarted:\n"), "{said}");
    }

    #[test]
    fn holders_are_unknown_where_another_server_receives() {
        let now = NOW.parse().unwrap();
        let plan = |key: &ClientKey| Plan::of(key, Some("GitLab"), seen(&pods(1)), now, None).text(now);
        let said = plan(&key(|_| {}));
        for line in [
            "A rotation makes another key and names it there as soon as GitLab has it.\n",
            "Who holds key 42 cannot be seen (GitLab receives what is sent with it), so it is accepted beside it until:\n",
            "  maximum   none: until it is revoked, with kubectl errors revoke shop\n",
            "\n1 pod holds key 42 now, until restarted:\n",
        ] {
            assert!(said.contains(line), "{said}");
        }
        // Silence cannot be proved there, whoever is seen.
        let visible = key(|key| {
            key["spec"]["rotation"] = json!({"overlap": {"holders": "Visible", "maximum": "720h"}});
        });
        let said = plan(&visible);
        assert!(said.contains("  maximum   720h have passed") && !said.contains("silence"), "{said}");
    }

    #[test]
    fn what_comes_first_is_said() {
        let waits = key(|key| {
            key["metadata"]["annotations"] = json!({PAUSED_ANNOTATION: "true"});
            key["status"]["retiring"] =
                json!({"keyID": "41", "publicKeyPrefix": "9f8e7d6c", "since": "2026-11-26T12:00:00Z", "holders": 5});
            key["status"]["conditions"] = json!([{"type": "Stalled", "status": "True", "reason": "SecretConflict",
                "message": "Secret shop-dsn is not ours.", "lastTransitionTime": NOW}]);
        });
        let said = text(&waits, Some(&[]));
        assert!(
            said.ends_with(
                "\nBefore anything begins:\n  \
                 ClientKey shop is paused: nothing happens while errortracking.dev/paused is \"true\".\n  \
                 ClientKey shop is stalled (SecretConflict): Secret shop-dsn is not ours.\n  \
                 Key 41 has been retiring for 3d, and 5 pods hold it. One rotation is under way at a time.\n"
            ),
            "{said}"
        );
        let new = key(|key| key["status"] = Value::Null);
        assert!(text(&new, None).starts_with("ClientKey web/shop has no key that could be rotated.\n"));
    }

    #[test]
    fn pods_that_take_the_service_binding_count() {
        let mut binding = key(|key| key["spec"]["serviceBinding"] = json!(true));
        let pod = json!({
            "metadata": {"name": "bound", "creationTimestamp": "2026-11-01T12:00:00Z"},
            "spec": {"containers": [{"name": "app", "volumeMounts": [{"name": "b", "mountPath": "/bindings/b"}]}],
                "volumes": [{"name": "b", "projected": {"sources": [{"secret": {"name": "shop-binding"}}]}}]},
        });
        let pods = [PodFacts::of(&serde_json::from_value(pod).unwrap())];
        let said = text(&binding, Some(&pods));
        assert!(said.contains("1 pod holds key 42 now"), "{said}");
        binding.spec.service_binding = false;
        assert!(text(&binding, Some(&pods)).contains("No pod of namespace web takes the Secret."));
    }

    #[test]
    fn runners_hold_what_their_configuration_names() {
        let binding = |name: &str, key: &str, way: &str, status: Value| -> RunnerBinding {
            let target = match way {
                "runnerRef" => json!({"name": name}),
                "configToml" => json!({"secretRef": {"name": "config"}, "workloadRef": {"name": name}}),
                _ => json!({"workloadRef": {"name": name}}),
            };
            let spec = json!({"clientKeyRef": {"name": key}, "runner": {way: target}});
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec, "status": status})).unwrap()
        };
        let has = |total: i32| json!({"observedKeyID": "42", "pods": {"total": total, "current": total}});
        let bindings = [
            binding("fleet", "shop", "configToml", has(5)),
            binding("builds", "shop", "runnerRef", has(0)),
            binding("new", "shop", "configToml", json!({})),
            binding("by-variable", "shop", "environment", has(2)),
            binding("other", "other", "runnerRef", has(3)),
        ];
        let now = NOW.parse().unwrap();
        let plan = |pods: Option<&[PodFacts]>, output| {
            Plan::of(&key(|_| {}), None, Seen { pods, bindings: &bindings }, now, output)
        };
        let said = plan(Some(&pods(4)), None).text(now);
        assert!(
            said.ends_with(
                "\n10 pods hold key 42 now, until restarted, or until a RunnerBinding says that they have the next one:\n\
                 KIND            NAME     PODS\n\
                 RunnerBinding   fleet    5\n\
                 StatefulSet     shop     3\n\
                 RunnerBinding   builds   1\n\
                 StatefulSet     worker   1\n"
            ),
            "{said}"
        );
        let wide = plan(Some(&pods(1)), Some(Output::Wide)).text(now);
        assert!(wide.contains("RunnerBinding   fleet    all 5   -\n"), "{wide}");
        let said = plan(None, None).text(now);
        assert!(
            said.contains("so who holds it now is not shown, but for runners:\nKIND            NAME     PODS\n"),
            "{said}"
        );
        assert_eq!(serde_json::to_value(plan(None, None)).unwrap().get("pods"), None);
    }

    #[test]
    fn a_plan_is_bounded_unless_all_is_asked_for() {
        let pod = |number: usize| {
            let pod = json!({
                "metadata": {"name": format!("pod-{number:02}"), "creationTimestamp": "2026-11-01T12:00:00Z"},
                "spec": {"containers": [{"name": "app", "envFrom": [{"secretRef": {"name": "shop-dsn"}}]}]},
            });
            PodFacts::of(&serde_json::from_value(pod).unwrap())
        };
        let pods: Vec<_> = (0..25).map(pod).collect();
        let said = text(&key(|_| {}), Some(&pods));
        assert!(said.contains("Pod    pod-19   1\n… and 5 pods of other workloads: -o wide names all.\n"), "{said}");
        let now = NOW.parse().unwrap();
        let wide = Plan::of(&key(|_| {}), None, seen(&pods), now, Some(Output::Wide)).text(now);
        assert!(wide.contains("KIND   NAME     POD      AGE\n"), "{wide}");
        assert!(wide.ends_with("Pod    pod-24   pod-24   28d\n"), "{wide}");
    }

    #[test]
    fn a_program_reads_the_same() {
        let plan = Plan::of(&key(|_| {}), None, seen(&pods(1)), NOW.parse().unwrap(), Some(Output::Json));
        assert_eq!(
            serde_json::to_value(plan).unwrap(),
            json!({
                "namespace": "web", "clientKey": "shop", "secretName": "shop-dsn", "endpoint": "Internal",
                "restartWorkloads": false,
                "active": {"keyID": "42", "publicKeyPrefix": "1a2b3c4d", "createdAt": "2026-09-27T12:00:00Z"},
                "overlap": {"holders": "Visible", "minimum": "168h", "silence": "168h"},
                "pods": 1, "heldBy": [{"kind": "StatefulSet", "name": "shop", "pods": 1}], "obstacles": [],
            })
        );
    }
}
