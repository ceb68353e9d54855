//! Every way in which a pod can hold the key before the one that its Secret names: after a rotation it is silent for ten
//! times the `silence`, and then its first event is stored. `make test-holders` goes through the whole table; the last
//! line is "holders: H of W ways, S sent, R refused".

use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::{
    rotation::{ask_for_rotation, refused},
    world::{
        INSTALLATION, Namespace, OPERATOR, SENDER, alone, beside_others, cluster, indented, kubectl, pause, sigkill,
        sql, test_image, wait_for,
    },
};

const LIMIT: Duration = Duration::from_mins(3);
/// `overlap.silence` and `overlap.minimum` of the keys.
const SILENCE: Duration = Duration::from_secs(3);
const SILENT_FOR: u32 = 10;

/// Reads its DSN once, when it starts, and sends with it when it is told to.
const SENDING: &str = r#"
export SENTRY_DSN="${SENTRY_DSN:-$(cat /dsn/SENTRY_DSN)}"
until [ -e /results/go ]; do sleep 0.2; done
echo "$(python3 /sender/sender.py once) $SENTRY_DSN" >/results/answer.new
mv /results/answer.new /results/answer
exec sleep infinity
"#;
const TELL: &str = "touch /results/go; until [ -e /results/answer ]; do sleep 0.2; done; cat /results/answer";

/// How a pod takes the Secret.
#[derive(Clone, Copy, Debug)]
enum Way {
    Env,
    EnvFrom,
    Volume,
    SubPath,
    Projected,
    InitContainer,
    Job,
}

const WAYS: [Way; 7] =
    [Way::Env, Way::EnvFrom, Way::Volume, Way::SubPath, Way::Projected, Way::InitContainer, Way::Job];

/// When it came by what it holds. Each has a key of its own.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It was created before the rotation.
    Before,
    /// It is created as soon as the Secret names the next key.
    Soon,
    /// Its container starts again while the kubelet does not know yet that the Secret has changed.
    Restarted,
    /// It is created while no operator runs and somebody has put the Secret back.
    PutBack,
}

impl Moment {
    const ALL: [Self; 4] = [Self::Before, Self::Soon, Self::Restarted, Self::PutBack];

    fn key(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Soon => "soon",
            Self::Restarted => "restarted",
            Self::PutBack => "put-back",
        }
    }

    fn secret(self) -> String {
        format!("{}-dsn", self.key())
    }
}

/// A key whose Secret nobody takes, with the same overlap: it ends.
const CONTROL: &str = "nobody";

#[test]
fn a_pod_that_was_silent_for_long_still_sends_with_the_key_that_it_holds() {
    let _turn = beside_others();
    let sent = go_through("holders-short", &[Way::EnvFrom, Way::InitContainer], &[Moment::Before]);
    assert_eq!((sent.len(), stored(&sent)), (2, 2));
}

#[test]
#[ignore = "make test-holders runs it: it takes minutes, and takes the operator away"]
fn whatever_way_a_pod_holds_a_key_it_sends_with_it_after_the_rotation() {
    let _turn = alone();
    let sent = go_through("holders", &WAYS, &Moment::ALL);
    println!(
        "holders: {} of {} ways, {} sent, {} refused",
        stored(&sent),
        WAYS.len() * Moment::ALL.len(),
        sent.len(),
        { sent.iter().filter(|answer| matches!(&*answer.status, "401" | "403")).count() }
    );
    assert_eq!(stored(&sent), WAYS.len() * Moment::ALL.len());
}

/// What was answered to the first event of a pod.
struct Answer {
    status: String,
}

fn stored(sent: &[Answer]) -> usize {
    sent.iter().filter(|answer| answer.status == "200").count()
}

/// A rotation for each moment with a pod for each way, and what their first events are answered.
fn go_through(name: &str, ways: &[Way], moments: &[Moment]) -> Vec<Answer> {
    let namespace = Namespace::new(name);
    let project = namespace.ready_project("shop", 1);
    let silence = SILENCE.as_secs();
    let overlap = format!("{{minimum: {silence}s, silence: {silence}s}}");
    let keys: Vec<_> = moments.iter().map(|moment| moment.key()).chain([CONTROL]).collect();
    for key in &keys {
        namespace.key(key, &format!("{{projectRef: {{name: shop}}, rotation: {{overlap: {overlap}}}}}"));
    }
    for key in &keys {
        namespace.wait_ready(&format!("etk/{key}"));
    }
    namespace.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: sender}}\ndata:\n  sender.py: |\n{}",
        indented(SENDER)
    ));
    let old: Vec<_> = moments.iter().map(|moment| dsn(&namespace, &moment.secret())).collect();
    for moment in moments.iter().filter(|moment| matches!(moment, Moment::Before | Moment::Restarted)) {
        start(&namespace, ways, *moment);
        await_pods(&namespace, ways, *moment);
    }
    // A request of the second in which a key was made does nothing.
    pause(Duration::from_secs(1));
    rotate(&namespace, CONTROL);
    for (moment, old) in moments.iter().zip(&old) {
        match moment {
            Moment::Before => rotate(&namespace, moment.key()),
            Moment::Soon => {
                ask_for_rotation(&namespace, moment.key());
                let manifests = manifests(ways, *moment);
                while dsn(&namespace, &moment.secret()) == *old {
                    pause(Duration::from_millis(20));
                }
                namespace.try_create(&manifests).unwrap();
                tell_how_soon(&namespace, &project, *moment);
            }
            Moment::Restarted => {
                let cut = Cut::new();
                rotate(&namespace, moment.key());
                sigkill(&namespace.0, &format!("{}-", moment.key()), "app");
                // The kubelet looks every second.
                pause(Duration::from_secs(5));
                drop(cut);
                wait_for("every container has started again", LIMIT, || {
                    let path = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
                    let selector = format!("moment={}", moment.key());
                    let restarts = namespace.kubectl(&["get", "pods", "-l", &selector, "-o", path]);
                    (restarts.split(' ').filter(|count| *count != "0").count() == ways.len()).then_some(())
                });
            }
            Moment::PutBack => {
                rotate(&namespace, moment.key());
                let next = dsn(&namespace, &moment.secret());
                let away = OperatorAway::new();
                let patch = json!({"data": {"SENTRY_DSN": old}}).to_string();
                namespace.kubectl(&["patch", "secret", &moment.secret(), "--type=merge", "-p", &patch]);
                start(&namespace, ways, *moment);
                await_pods(&namespace, ways, *moment);
                drop(away);
                wait_for("the Secret is put right", LIMIT, || {
                    (dsn(&namespace, &moment.secret()) == next).then_some(())
                });
            }
        }
        await_pods(&namespace, ways, *moment);
    }
    let silent_since = Instant::now();
    await_retirement(&namespace, &project, &[CONTROL]);
    println!("every pod is silent for {:?}", SILENCE * SILENT_FOR);
    pause((SILENCE * SILENT_FOR).saturating_sub(silent_since.elapsed()));

    let mut sent = Vec::new();
    for (moment, old) in moments.iter().zip(&old) {
        sent.extend(send(&namespace, ways, *moment, old));
    }
    let count = sql(&format!("SELECT count(*) FROM project_{project}.events"));
    assert_eq!(count, stored(&sent).to_string(), "what was answered with 200 is stored");
    assert_eq!(refused(&namespace), 0);
    // It was the pods that the keys waited for.
    namespace.kubectl(&["delete", "pods,jobs", "-l", "moment", "--wait=false"]);
    await_retirement(&namespace, &project, &keys);
    sent
}

/// Asks for a rotation, and waits until the Secret names the next key.
fn rotate(namespace: &Namespace, key: &str) {
    let secret = format!("{key}-dsn");
    let before = dsn(namespace, &secret);
    ask_for_rotation(namespace, key);
    wait_for(&format!("Secret {secret} names the next key"), LIMIT, || {
        (dsn(namespace, &secret) != before).then_some(())
    });
}

/// Prints how long after the Secret was written the pods were created, by the API server's clock, which has seconds.
fn tell_how_soon(namespace: &Namespace, project: &str, moment: Moment) {
    let (selector, path) = (format!("moment={}", moment.key()), "jsonpath={.items[*].metadata.creationTimestamp}");
    let created = namespace.kubectl(&["get", "pods", "-l", &selector, "-o", path]);
    let last = created.split(' ').max().unwrap();
    let published = format!(
        "SELECT extract(epoch FROM '{last}'::timestamptz - max(published_at))::int FROM errortracking.client_keys
         WHERE project_id = {project} AND name = '{}'",
        moment.key()
    );
    println!("the last pod of {moment:?} was created {} s after the Secret was written", sql(&published));
}

/// As the Secret has it, in base64.
fn dsn(namespace: &Namespace, secret: &str) -> String {
    namespace.get(&format!("secret/{secret}"), ".data.SENTRY_DSN")
}

fn await_retirement(namespace: &Namespace, project: &str, keys: &[&str]) {
    for key in keys {
        wait_for(&format!("the key before that of {key} ends"), LIMIT, || {
            let ended = sql(&format!(
                "SELECT count(*) FROM errortracking.client_keys
                 WHERE project_id = {project} AND name = '{key}' AND state = 'retired'"
            ));
            (ended == "1" && namespace.condition(&format!("etk/{key}"), "Rotating", "reason") == "Idle").then_some(())
        });
    }
}

fn start(namespace: &Namespace, ways: &[Way], moment: Moment) {
    namespace.try_create(&manifests(ways, moment)).unwrap();
}

fn await_pods(namespace: &Namespace, ways: &[Way], moment: Moment) {
    let selector = format!("moment={}", moment.key());
    wait_for(&format!("the pods of {moment:?} run"), LIMIT, || {
        let path = "jsonpath={.items[*].status.containerStatuses[*].ready}";
        let ready = namespace.kubectl(&["get", "pods", "-l", &selector, "-o", path]);
        (ready.split(' ').filter(|ready| *ready == "true").count() == ways.len()).then_some(())
    });
}

/// Has each pod send its first event, and tells with which key it did.
fn send(namespace: &Namespace, ways: &[Way], moment: Moment, old: &str) -> Vec<Answer> {
    let old = String::from_utf8(BASE64_STANDARD.decode(old).unwrap()).unwrap();
    let pods: Vec<_> = ways
        .iter()
        .map(|way| {
            let selector = format!("moment={},way={}", moment.key(), way.label());
            namespace.kubectl(&["get", "pods", "-l", &selector, "-o", "name"])
        })
        .collect();
    let ask = |pod: &str| namespace.kubectl(&["exec", pod, "-c", "app", "--", "sh", "-c", TELL]);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = pods.iter().map(|pod| scope.spawn(move || ask(pod))).collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let told = ways.iter().zip(answers).map(|(way, answer)| {
        let (status, dsn) = answer.split_once(' ').unwrap();
        let key = if dsn == old { "the key before" } else { "the next key" };
        println!("{:10} {:14} {key:15} {status}", format!("{moment:?}"), way.label());
        let holds_old = !matches!(moment, Moment::Soon);
        assert!(!holds_old || dsn == old, "{moment:?} {way:?} holds the key before");
        Answer { status: status.to_owned() }
    });
    told.collect()
}

fn manifests(ways: &[Way], moment: Moment) -> String {
    let items: Vec<_> = ways.iter().map(|way| way.manifest(moment)).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

impl Way {
    fn label(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::EnvFrom => "env-from",
            Self::Volume => "volume",
            Self::SubPath => "sub-path",
            Self::Projected => "projected",
            Self::InitContainer => "init-container",
            Self::Job => "job",
        }
    }

    fn manifest(self, moment: Moment) -> Value {
        let metadata = json!({
            "name": format!("{}-{}", moment.key(), self.label()),
            "labels": {"moment": moment.key(), "way": self.label()},
        });
        let mut spec = pod_spec();
        self.take(&moment.secret(), &mut spec);
        if matches!(self, Self::Job) {
            spec["restartPolicy"] = "OnFailure".into();
            let template = json!({"metadata": {"labels": metadata["labels"]}, "spec": spec});
            return json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template},
            });
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }

    /// Adds to a pod how it takes the Secret.
    fn take(self, secret: &str, spec: &mut Value) {
        let volume = |source: Value| {
            let mut volume = json!({"name": "dsn"});
            volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            volume
        };
        let whole = volume(json!({"secret": {"secretName": secret}}));
        let mut mount = json!({"name": "dsn", "mountPath": "/dsn"});
        let volume = match self {
            Self::Env => {
                let key = json!({"secretKeyRef": {"name": secret, "key": "SENTRY_DSN"}});
                spec["containers"][0]["env"] = json!([{"name": "SENTRY_DSN", "valueFrom": key}]);
                return;
            }
            Self::EnvFrom | Self::Job => {
                spec["containers"][0]["envFrom"] = json!([{"secretRef": {"name": secret}}]);
                return;
            }
            Self::Volume => whole,
            Self::SubPath => {
                mount = json!({"name": "dsn", "mountPath": "/dsn/SENTRY_DSN", "subPath": "SENTRY_DSN"});
                whole
            }
            Self::Projected => volume(json!({"projected": {"sources": [{"secret": {"name": secret}}]}})),
            Self::InitContainer => {
                let mut first = spec["containers"][0].clone();
                first["name"] = "first".into();
                first["command"] = json!(["cp", "/dsn/SENTRY_DSN", "/copy/SENTRY_DSN"]);
                first["volumeMounts"] = json!([mount, {"name": "copy", "mountPath": "/copy"}]);
                spec["initContainers"] = json!([first]);
                spec["volumes"].as_array_mut().unwrap().push(json!({"name": "copy", "emptyDir": {}}));
                mount = json!({"name": "copy", "mountPath": "/dsn"});
                whole
            }
        };
        spec["volumes"].as_array_mut().unwrap().push(volume);
        spec["containers"][0]["volumeMounts"].as_array_mut().unwrap().push(mount);
    }
}

/// A pod that sends when it is told to, and takes no Secret yet.
fn pod_spec() -> Value {
    json!({
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "app",
            "image": test_image(),
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", SENDING],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [
                {"name": "sender", "mountPath": "/sender"},
                {"name": "results", "mountPath": "/results"},
            ],
        }],
        "volumes": [{"name": "sender", "configMap": {"name": "sender"}}, {"name": "results", "emptyDir": {}}],
    })
}

/// While it is there the kubelet hears nothing from the API server.
struct Cut;

impl Cut {
    fn new() -> Self {
        cluster("cut", &["kubelet"]).unwrap();
        Self
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        cluster("mend", &[]).unwrap();
    }
}

/// While it is there no operator runs.
struct OperatorAway;

impl OperatorAway {
    fn new() -> Self {
        scale_operator(0);
        kubectl(&["wait", "-n", INSTALLATION, "--for=delete", "pod", "-l", OPERATOR_PODS, "--timeout=90s"]);
        Self
    }
}

const OPERATOR_PODS: &str = "app.kubernetes.io/name=error-tracking-operator";

fn scale_operator(replicas: u8) {
    kubectl(&["scale", "-n", INSTALLATION, &format!("deploy/{OPERATOR}"), &format!("--replicas={replicas}")]);
}

impl Drop for OperatorAway {
    fn drop(&mut self) {
        scale_operator(2);
        kubectl(&["rollout", "status", "-n", INSTALLATION, &format!("deploy/{OPERATOR}"), "--timeout=120s"]);
    }
}
