//! What a tenant does with the login of its ingest pods, which it can read from their Secret.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Attack, Bystander, Outcome};
use crate::world::{INSTALLATION, Namespace, pause, sql};

pub const ATTACKS: &[Attack] = &[
    Attack { name: "large objects and temporary tables in every database that lets the login in", make: litters },
    Attack { name: "a login that holds 90 sessions", make: holds_sessions },
    Attack { name: "a login that is changed again and again while its sessions stay", make: changes_its_login },
    Attack { name: "a project that asks for 100 pods", make: asks_for_many_pods },
];

/// Longest that a deletion may take.
const GONE: Duration = Duration::from_secs(30);

/// A pod of the tenant's own that has psql, and the login of its project as the Secret has it.
struct Login<'a> {
    namespace: &'a Namespace,
    role: String,
    password: String,
}

impl<'a> Login<'a> {
    fn of(namespace: &'a Namespace, project: &str) -> Self {
        let value = |key: &str| {
            let encoded = namespace.get(&format!("secret/{project}-database"), &format!(".data.{key}"));
            String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
        };
        if !namespace.exists("pod/sender") {
            namespace.start_sender(&format!("{project}-database"));
        }
        Self { namespace, role: value("username"), password: value("password") }
    }

    fn shell(&self, script: &str) -> Result<String, String> {
        let host = format!("{INSTALLATION}-postgresql.{INSTALLATION}.svc");
        let environment =
            format!("export PGHOST={host} PGUSER={} PGPASSWORD={} PGDATABASE=errortracking;", self.role, self.password);
        self.namespace.try_kubectl(&["exec", "sender", "--", "sh", "-c", &format!("{environment} {script}")])
    }

    /// Of this login and those that came after it.
    fn sessions(&self) -> i64 {
        sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE '{}%'", self.role)).parse().unwrap()
    }

    /// Asks for 90 sessions at once; the most that there are then, those of the pods included.
    fn hold_sessions(&self) -> i64 {
        self.shell("for n in $(seq 90); do psql -qAtc 'SELECT pg_sleep(20)' >/dev/null 2>&1 & done; exit 0").unwrap();
        let began = Instant::now();
        let mut most = 0;
        while began.elapsed() < Duration::from_secs(5) {
            most = most.max(self.sessions());
            pause(Duration::from_millis(500));
        }
        most
    }
}

fn litters(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("litterer");
    namespace.project("shop", "{deletionPolicy: Delete, backend: {integrated: {ingest: {replicas: 1}}}}");
    namespace.wait_ready("etp/shop");
    let id = namespace.get("etp/shop", ".status.projectID");
    let login = Login::of(&namespace, "shop");
    let mut entered = Vec::new();
    for database in ["postgres", "template1"] {
        if login.shell(&format!("psql -d {database} -qAtc 'SELECT lo_creat(-1)'")).is_ok() {
            entered.push(database);
        }
    }
    // In the operator's own database it may log in: what it leaves there goes with it.
    let _ = login.shell("psql -qAtc 'SELECT lo_creat(-1)'");
    if login.shell("psql -qAtc 'CREATE TEMPORARY TABLE litter ()'").is_ok() {
        entered.push("temporary tables");
    }
    namespace.kubectl(&["delete", "etp/shop", "--timeout=60s"]);
    let waited = bystander.waits_for_a_project();
    let began = Instant::now();
    let left = || sql(&format!("SELECT count(*) FROM pg_roles WHERE rolname ~ '^et_[0-9a-f]+_{id}_ingest'"));
    while left() != "0" && began.elapsed() < GONE {
        pause(Duration::from_secs(1));
    }
    let held = match (entered.is_empty(), &*left()) {
        (true, "0") => Ok("no other database lets it in, and the login is gone".to_owned()),
        (_, left) => Err(format!("it got {entered:?}, and {left} logins of it are left")),
    };
    Outcome { held, waited }
}

fn holds_sessions(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("holder");
    namespace.ready_project("shop", 2);
    let held = Login::of(&namespace, "shop").hold_sessions();
    let waited = bystander.waits_for_a_key().max(bystander.waits_for_a_project());
    let told = format!("it has {held} sessions");
    Outcome { held: if held <= 12 { Ok(told) } else { Err(told) }, waited }
}

fn changes_its_login(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("changer");
    namespace.ready_project("shop", 2);
    let first = Login::of(&namespace, "shop");
    let mut most = 0;
    for _ in 0..4 {
        let before = Login::of(&namespace, "shop");
        most = most.max(before.hold_sessions()).max(first.sessions());
        namespace.kubectl(&["delete", "secret/shop-database"]);
        let began = Instant::now();
        while namespace.get("secret/shop-database", ".data.username").is_empty() && began.elapsed() < GONE {
            pause(Duration::from_millis(100));
        }
        most = most.max(first.sessions());
    }
    let waited = bystander.waits_for_a_key().max(bystander.waits_for_a_project());
    let told = format!("its logins had {most} sessions together");
    Outcome { held: if most <= 24 { Ok(told) } else { Err(told) }, waited }
}

fn asks_for_many_pods(bystander: &Bystander) -> Outcome {
    let namespace = Namespace::new("greedy");
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 100}}}}");
    let waited = bystander.waits_for_a_project().max(bystander.waits_for_a_key());
    let told = namespace.condition("etp/shop", "Stalled", "message");
    let reason = namespace.condition("etp/shop", "Stalled", "reason");
    let pods = namespace.get("deploy/shop-ingest", ".spec.replicas");
    let held = if reason == "LimitExceeded" && pods.is_empty() {
        Ok(told)
    } else {
        Err(format!("{pods} pods were asked for; {reason}: {told}"))
    };
    Outcome { held, waited }
}
