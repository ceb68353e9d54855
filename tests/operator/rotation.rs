//! A key is rotated under load of real SDKs, which do not repeat what is refused: nothing is lost. `make test-rotation`
//! has the operator restart the pods; the last line is "rotation: N sent, F refused, L lost, old key retired after S s".

use std::time::{Duration, Instant};

use super::world::{
    INSTALLATION, Namespace, alone, beside_others, indented, kubectl, pause, sql, test_image, try_kubectl, wait_for,
};

const SENDER: &str = include_str!("sdk_sender.py");
const LIMIT: Duration = Duration::from_mins(5);

/// Pods that send.
struct Load {
    pods: u32,
    /// Events a second, all pods together.
    rate: u32,
}

/// What came of a rotation.
struct Outcome {
    sent: u64,
    refused: u64,
    lost: u64,
    retired_after: Duration,
}

#[test]
fn a_rotation_under_load_loses_nothing() {
    let _turn = beside_others();
    let outcome = rotate("rotation-by-hand", &Load { pods: 2, rate: 40 }, false);
    assert!(outcome.sent > 200, "{} events", outcome.sent);
    assert_eq!((outcome.refused, outcome.lost), (0, 0));
}

#[test]
#[ignore = "make test-rotation runs it: it needs restartWorkloads.enabled, and takes minutes"]
fn a_rotation_with_restarts_loses_nothing() {
    let _turn = alone();
    let load = Load { pods: 5, rate: asked_rate().unwrap_or(500) };
    let Outcome { sent, refused, lost, retired_after } = rotate("rotation", &load, true);
    let seconds = retired_after.as_secs();
    println!("rotation: {sent} sent, {refused} refused, {lost} lost, old key retired after {seconds} s");
    assert_eq!((refused, lost), (0, 0));
}

#[test]
fn a_server_that_is_killed_before_the_secret_names_the_next_key_has_no_event_refused() {
    let _turn = alone();
    let load = asked_rate().map_or(Load { pods: 2, rate: 40 }, |rate| Load { pods: 5, rate });
    let (namespace, project) = begin("rotation-outage", &load, false);
    let secret = || namespace.get("secret/app-dsn", ".data.SENTRY_DSN");
    let old = secret();
    let (before, began) = (stored(&project), Instant::now());
    pause(Duration::from_secs(5));
    let rate = (stored(&project) - before) * 1000 / u64::try_from(began.elapsed().as_millis()).unwrap();
    ask_for_rotation(&namespace, "app");
    // As SIGKILL the signal leaves everything to the recovery, and it reaches the first process of the container.
    let minted = format!("{} AND state = 'minted'", keys_of(&project, "count(*)"));
    let kill =
        format!(r#"until [ "$(psql -U postgres -d errortracking -Atc "{minted}")" = 1 ]; do :; done; kill -QUIT 1"#);
    let pod = format!("{INSTALLATION}-postgresql-0");
    let _ = try_kubectl(&["exec", "-n", INSTALLATION, &pod, "--", "sh", "-c", &kill]);
    assert_eq!(secret(), old, "the server went before the Secret named the next key");
    println!("{:6.1} s  the next key is made, and Postgres is killed", began.elapsed().as_secs_f64());
    wait_for("the Secret names the next key", LIMIT, || (secret() != old).then_some(()));
    pause(Duration::from_secs(5));
    namespace.kubectl(&["rollout", "restart", "deploy/app"]);
    wait_for("the old key retires", LIMIT, || {
        (namespace.condition("etk/app", "Rotating", "reason") == "Idle").then_some(())
    });
    let states = sql(&keys_of(&project, "string_agg(state, ' ' ORDER BY ordinal)"));
    assert_eq!(states, "retired published", "the key that was made before the outage is the one that is published");
    let (sent, unanswered) = end(&namespace, &project);
    let refused = refused(&namespace);
    println!("outage: {sent} sent, {rate}/s before it, {refused} refused, {unanswered} met no Postgres");
    assert_eq!(refused, 0);
    kubectl(&["rollout", "status", "-n", INSTALLATION, "statefulset/error-tracking-postgresql", "--timeout=120s"]);
}

/// Events a second, if somebody asks for another number.
fn asked_rate() -> Option<u32> {
    std::env::var("ROTATION_RATE").ok().and_then(|rate| rate.parse().ok())
}

/// What the keys of the object are, as a query.
fn keys_of(project: &str, columns: &str) -> String {
    format!("SELECT {columns} FROM errortracking.client_keys WHERE project_id = {project} AND name = 'app'")
}

fn stored(project: &str) -> u64 {
    sql(&format!("SELECT count(*) FROM project_{project}.events")).parse().unwrap_or(0)
}

/// A project whose key `app` has pods that send all the time.
fn begin(name: &str, load: &Load, restarts: bool) -> (Namespace, String) {
    let namespace = Namespace::new(name);
    let project = namespace.ready_project("shop", 2);
    let rotation = format!("{{overlap: {{minimum: 5s, silence: 5s}}, restartWorkloads: {restarts}}}");
    namespace.key("app", &format!("{{projectRef: {{name: shop}}, rotation: {rotation}}}"));
    namespace.wait_ready("etk/app");
    start(&namespace, load);
    wait_for("the first events", LIMIT, || (stored(&project) > u64::from(load.rate)).then_some(()));
    (namespace, project)
}

/// Ends the pods that send: how many events they sent, and how many of them are not stored.
fn end(namespace: &Namespace, project: &str) -> (u64, u64) {
    namespace.kubectl(&["scale", "deploy/app", "--replicas=0"]);
    wait_for("the senders end", LIMIT, || {
        namespace.kubectl(&["get", "pods", "-l", "app=app", "-o", "name"]).is_empty().then_some(())
    });
    wait_for("the last event of each sender", LIMIT, || counted(project))
}

/// One rotation while the pods send, which are restarted by the operator or as somebody would by hand.
fn rotate(name: &str, load: &Load, by_operator: bool) -> Outcome {
    let (namespace, project) = begin(name, load, by_operator);
    let began = Instant::now();
    let tell = |what: &str| println!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
    let now = namespace.get("etk/app", ".status.active.createdAt");
    tell(&format!("the active key is of {now}; a rotation is asked for"));
    ask_for_rotation(&namespace, "app");
    let states = keys_of(&project, "string_agg(state, ' ' ORDER BY ordinal)");
    let published = || (sql(&states) == "overlap published").then_some(());
    wait_for("the Secret names the next key", LIMIT, published);
    tell("the Secret names the next key");
    if !by_operator {
        pause(Duration::from_secs(2));
        namespace.kubectl(&["rollout", "restart", "deploy/app"]);
        tell("the pods are restarted by hand");
    }
    let mut said = String::new();
    wait_for("the old key retires", LIMIT, || {
        let message = namespace.condition("etk/app", "Rotating", "message");
        if message != said {
            tell(&message);
            said = message;
        }
        (namespace.condition("etk/app", "Rotating", "reason") == "Idle").then_some(())
    });
    let retired_after = began.elapsed();
    tell("the old key has retired");
    assert_eq!(sql(&format!("{} AND revoked_at IS NOT NULL", keys_of(&project, "count(*)"))), "1");
    pause(Duration::from_secs(3));
    let (sent, lost) = end(&namespace, &project);
    tell(&format!("{sent} events were sent, {lost} are not stored"));
    Outcome { sent, refused: refused(&namespace), lost, retired_after }
}

/// As `kubectl errors rotate` does.
pub fn ask_for_rotation(namespace: &Namespace, key: &str) {
    let date = String::from_utf8(std::process::Command::new("date").args(["-u", "+%FT%TZ"]).output().unwrap().stdout);
    let asked = format!("errortracking.dev/rotate={}", date.unwrap().trim());
    namespace.kubectl(&["annotate", "etk", key, &asked]);
}

/// Events that were sent and that are not stored, once every sender has told how many it sent.
fn counted(project: &str) -> Option<(u64, u64)> {
    let ids = "replace(event_id::text, '-', '') AS id";
    let answer = sql(&format!(
        "SELECT count(*), count(sent), coalesce(sum(sent), 0), coalesce(sum(stored), 0) FROM (
            SELECT left(id, 8), max(('x' || right(id, 16))::bit(64)::bigint) FILTER (WHERE substr(id, 9, 8) = '00000001')
                AS sent, count(*) FILTER (WHERE substr(id, 9, 8) = '00000000') AS stored
            FROM (SELECT {ids} FROM project_{project}.events) AS e GROUP BY 1
         ) AS s"
    ));
    let numbers: Vec<u64> = answer.split('|').filter_map(|number| number.trim().parse().ok()).collect();
    let [senders, ended, sent, stored] = numbers.as_slice() else { return None };
    (senders == ended).then(|| (*sent, sent - stored))
}

/// Answers with which ingest refused a key, of the pods that live.
pub fn refused(namespace: &Namespace) -> u64 {
    let pods = namespace.kubectl(&["get", "pods", "-l", "errortracking.dev/project=shop", "-o", "name"]);
    let mut refused = 0;
    for pod in pods.lines().filter_map(|pod| pod.strip_prefix("pod/")) {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:8081/proxy/metrics", namespace.0);
        let metrics = try_kubectl(&["get", "--raw", &path]).unwrap();
        let lines = metrics.lines().filter(|line| line.starts_with("errortracking_ingest_requests_total"));
        let lines = lines.filter(|line| line.contains("status=\"401\"") || line.contains("status=\"403\""));
        refused += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    refused
}

fn start(namespace: &Namespace, load: &Load) {
    let (image, script) = (test_image(), indented(SENDER));
    let (pods, rate) = (load.pods, f64::from(load.rate) / f64::from(load.pods));
    namespace.apply(&format!(
        r"apiVersion: v1
kind: ConfigMap
metadata: {{name: sdk-sender}}
data:
  sdk_sender.py: |
{script}---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  replicas: {pods}
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app}}}}
    spec:
      terminationGracePeriodSeconds: 90
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: app
        image: {image}
        imagePullPolicy: Never
        command: [python3, /sender/sdk_sender.py, '{rate}']
        envFrom: [{{secretRef: {{name: app-dsn}}}}]
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        volumeMounts: [{{name: sender, mountPath: /sender}}]
      volumes: [{{name: sender, configMap: {{name: sdk-sender}}}}]
"
    ));
    namespace.kubectl(&["rollout", "status", "deploy/app", "--timeout=120s"]);
}
