//! `kubectl errors` against the real API server: what each command writes and prints, through the built program. The key
//! is paused, so that the operator changes nothing beneath; at the end it obeys.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::world::{Namespace, beside_others, kubectl, test_image, wait_for};

const SOON: Duration = Duration::from_secs(30);
const PODS: Duration = Duration::from_mins(2);

/// What a run of the program ended with.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// Runs a program with nobody at a terminal.
fn run(program: &str, arguments: &[&str]) -> Said {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // kubectl finds its plugins there.
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_kubectl-errors")).parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output = command.env("PATH", path).output().expect(program);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said = Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) };
    println!("$ {program} {}\n{}{}", arguments.join(" "), said.out, said.err);
    said
}

fn errors(arguments: &[&str]) -> Said {
    run(env!("CARGO_BIN_EXE_kubectl-errors"), arguments)
}

/// In the namespace of the test.
struct Plugin<'a>(&'a Namespace);

impl Plugin<'_> {
    fn errors(&self, arguments: &[&str]) -> Said {
        errors(&[&["-n", &self.0.0], arguments].concat())
    }

    /// What it prints; it must succeed.
    fn prints(&self, arguments: &[&str]) -> String {
        let said = self.errors(arguments);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    }

    /// How it complains; it must fail.
    fn complains(&self, arguments: &[&str]) -> String {
        let said = self.errors(arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        said.err
    }

    fn annotation(&self, name: &str) -> String {
        self.0.get("etk/shop", &format!(".metadata.annotations.errortracking\\.dev/{name}"))
    }
}

#[test]
fn what_people_ask_for_is_written_and_printed() {
    let _turn = beside_others();
    let namespace = Namespace::new("plugin");
    namespace.project("shop", "{backend: {integrated: {ingest: {replicas: 0}}}}");
    namespace.key("shop", "{projectRef: {name: shop}}");
    namespace.wait_ready("etk/shop");
    namespace.kubectl(&["annotate", "etk/shop", "errortracking.dev/paused=true"]);
    wait_for("the key is paused", SOON, || {
        (namespace.condition("etk/shop", "Paused", "status") == "True").then_some(())
    });
    let plugin = Plugin(&namespace);
    lists(&plugin);
    dsn(&plugin);
    plan(&plugin);
    rotation(&plugin);
    revocation(&plugin);
    restoration(&plugin);
    rights(&plugin);
    ways_in(&plugin);
    obeyed(&plugin);
}

fn lists(plugin: &Plugin<'_>) {
    let Namespace(name) = plugin.0;
    let id = plugin.0.get("etk/shop", ".status.active.keyID");
    let prefix = plugin.0.get("etk/shop", ".status.active.publicKeyPrefix");
    let keys = plugin.prints(&["keys"]);
    let head = "NAME   PROJECT   READY   KEY ID";
    assert!(keys.starts_with(head), "{keys}");
    let row: Vec<_> = keys.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..8], ["shop", "shop", "True", &id, &prefix, "-", "-", "-"]);
    assert_eq!(plugin.prints(&["keys", "shop"]), plugin.prints(&["keys"]));
    let wide = plugin.prints(&["keys", "-o", "wide"]);
    assert!(wide.lines().all(|line| line.ends_with("SECRET") || line.ends_with("shop-dsn")), "{wide}");
    assert_eq!(plugin.prints(&["keys", "-o", "name"]), "clientkey.errortracking.dev/shop\n");
    let json: Value = serde_json::from_str(&plugin.prints(&["keys", "-o", "json"])).unwrap();
    assert_eq!((&json["kind"], &json["items"][0]["kind"]), (&json!("List"), &json!("ClientKey")));
    assert_eq!(json["items"][0]["status"]["active"]["keyID"], json!(id));
    assert!(json["items"][0]["metadata"].get("managedFields").is_none());
    let yaml = plugin.prints(&["keys", "-o", "yaml"]);
    assert!(
        yaml.contains("kind: ClientKey") && yaml.contains("name: shop-dsn") | yaml.contains("secretName: shop-dsn")
    );

    let none = plugin.errors(&["keys", "other"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert_eq!(none.err, format!("No ClientKeys found in {name} namespace.\n"));

    let everywhere = errors(&["keys", "-A"]);
    assert!(everywhere.out.starts_with("NAMESPACE"), "{everywhere:?}");
    assert!(everywhere.out.lines().any(|line| line.starts_with(name.as_str())), "{everywhere:?}");

    let status = plugin.prints(&["status"]);
    let rows: Vec<Vec<_>> = status.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows[1][0], rows[2][0]), ("etp/shop", "etk/shop"));
    assert_eq!(rows[2][1..3], ["True", "Paused"]);
    assert!(status.contains("Nothing is changed while the annotation errortracking.dev/paused"), "{status}");
    let names = plugin.prints(&["status", "-o", "name"]);
    assert_eq!(names, "errortrackingproject.errortracking.dev/shop\nclientkey.errortracking.dev/shop\n");
}

fn dsn(plugin: &Plugin<'_>) {
    let there = plugin.0.kubectl(&["get", "secret/shop-dsn", "-o", "go-template={{.data.SENTRY_DSN | base64decode}}"]);
    assert_eq!(plugin.prints(&["dsn", "shop"]), format!("{there}\n"));
    let Namespace(name) = plugin.0;
    assert_eq!(
        plugin.complains(&["dsn", "nothing"]),
        format!("error: there is no ClientKey nothing in namespace {name}\n")
    );
}

fn plan(plugin: &Plugin<'_>) {
    let Namespace(name) = plugin.0;
    let id = plugin.0.get("etk/shop", ".status.active.keyID");
    let nobody = plugin.prints(&["rotate", "shop", "--plan"]);
    assert!(nobody.contains(&format!("No pod of namespace {name} takes the Secret.")), "{nobody}");

    plugin.0.start_sender("shop-dsn");
    let image = test_image();
    plugin.0.apply(&format!(
        r"apiVersion: apps/v1
kind: Deployment
metadata: {{name: worker}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: worker}}}}
  template:
    metadata: {{labels: {{app: worker}}}}
    spec:
      terminationGracePeriodSeconds: 0
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: worker
        image: {image}
        imagePullPolicy: Never
        command: [sleep, infinity]
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        volumeMounts: [{{name: dsn, mountPath: /dsn}}]
      volumes: [{{name: dsn, secret: {{secretName: shop-dsn}}}}]
"
    ));
    let holders = wait_for("pods hold the key", PODS, || {
        Some(plugin.prints(&["rotate", "shop", "--plan"])).filter(|plan| plan.contains("3 pods hold"))
    });
    for line in [
        &format!("Secret shop-dsn of ClientKey {name}/shop names key {id} ("),
        "  minimum   168h have passed\n",
        "  silence   nothing was sent with it for 168h\n",
        "  maximum   none: a pod that stays keeps it alive\n",
        &format!(
            "3 pods hold key {id} now, until restarted:\n\
             KIND         NAME     PODS\n\
             Deployment   worker   2\n\
             Pod          sender   1\n"
        ),
        "  ClientKey shop is paused: nothing happens while errortracking.dev/paused is \"true\".\n",
    ] {
        assert!(holders.contains(line), "{holders}");
    }
    let plan: Value = serde_json::from_str(&plugin.prints(&["rotate", "shop", "--plan", "-o", "json"])).unwrap();
    assert_eq!((&plan["pods"], &plan["active"]["keyID"]), (&json!(3), &json!(id)));
    assert_eq!(plan["heldBy"][0], json!({"kind": "Deployment", "name": "worker", "pods": 2}));
    assert_eq!(plugin.annotation("rotate"), "", "a plan changed something");
}

fn rotation(plugin: &Plugin<'_>) {
    let said = plugin.errors(&["rotate", "shop"]);
    assert_eq!((said.code, said.out.as_str()), (0, "clientkey.errortracking.dev/shop rotation requested\n"));
    assert!(said.err.contains("ClientKey shop is paused"), "{said:?}");
    let requested = plugin.annotation("rotate");
    let time: jiff::Timestamp = requested.parse().unwrap();
    assert_eq!(time.subsec_nanosecond(), 0, "{requested}");
    assert!(requested.ends_with('Z'), "{requested}");
    let age = jiff::Timestamp::now().duration_since(time).abs();
    assert!(age < jiff::SignedDuration::from_secs(30), "{requested}");
    let managers = plugin.0.kubectl(&[
        "get",
        "etk/shop",
        "--show-managed-fields",
        "-o",
        "jsonpath={.metadata.managedFields[*].manager}",
    ]);
    assert!(managers.contains("kubectl-errors"), "{managers}");

    let late = plugin.complains(&["rotate", "shop", "--wait", "--timeout", "2s"]);
    assert!(late.contains("error: ClientKey shop was not rotated in time; the request stands: "), "{late}");
}

fn revocation(plugin: &Plugin<'_>) {
    let active = plugin.0.get("etk/shop", ".status.active.keyID");
    let which = plugin.complains(&["revoke", "shop"]);
    assert!(which.contains("has no retiring key") && which.contains(&format!("revoke shop {active}")), "{which}");
    let asks = plugin.complains(&["revoke", "shop", &active]);
    assert!(asks.contains("is the active key") && asks.contains("--yes"), "{asks}");
    assert_eq!(plugin.annotation("revoke"), "", "it was not confirmed");

    let retiring = r#"{"status":{"retiring":{"keyID":"9999","publicKeyPrefix":"1a2b3c4d","since":"2026-11-28T10:00:00Z","holders":3}}}"#;
    plugin.0.kubectl(&["patch", "etk/shop", "--subresource=status", "--type=merge", "--patch", retiring]);
    let keys = plugin.prints(&["keys"]);
    assert!(keys.lines().nth(1).unwrap().contains("9999       3"), "{keys}");
    let done = plugin.prints(&["revoke", "shop"]);
    assert_eq!(done, "clientkey.errortracking.dev/shop revocation of key 9999 requested\n");
    assert_eq!(plugin.annotation("revoke"), "9999");
    let too_soon = plugin.complains(&["revoke", "shop", &active, "--yes"]);
    assert!(too_soon.contains("key 9999 is still to be revoked"), "{too_soon}");

    plugin.0.kubectl(&[
        "patch",
        "etk/shop",
        "--subresource=status",
        "--type=merge",
        "--patch",
        r#"{"status":{"retiring":null}}"#,
    ]);
    assert_eq!(
        plugin.prints(&["revoke", "shop", &active, "--yes", "-o", "name"]),
        "clientkey.errortracking.dev/shop\n"
    );
    assert_eq!(plugin.annotation("revoke"), active);
    plugin.0.kubectl(&["annotate", "etk/shop", "errortracking.dev/revoke-"]);
}

fn restoration(plugin: &Plugin<'_>) {
    let done = plugin.errors(&["restore", "shop", "7"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (0, "clientkey.errortracking.dev/shop restoration of key 7 requested\n")
    );
    assert_eq!(plugin.annotation("restore"), "7");
    // What it says about the end of it works as it stands.
    let end = done.err.lines().find_map(|line| line.strip_prefix("To end it: kubectl ")).unwrap();
    let other = plugin.complains(&["restore", "shop", "8"]);
    assert!(other.contains("Key 7 is restored by the same annotation"), "{other}");
    assert_eq!(plugin.annotation("restore"), "7");
    let yaml = plugin.prints(&["restore", "shop", "8", "--yes", "-o", "yaml"]);
    assert!(yaml.contains("errortracking.dev/restore: ") && yaml.contains("kind: ClientKey"), "{yaml}");
    assert_eq!(plugin.annotation("restore"), "8");
    kubectl(&end.split_whitespace().collect::<Vec<_>>());
    assert_eq!(plugin.annotation("restore"), "");
}

/// Somebody who may read keys, and nothing else.
fn rights(plugin: &Plugin<'_>) {
    let Namespace(name) = plugin.0;
    plugin.0.kubectl(&["create", "serviceaccount", "reader"]);
    plugin.0.kubectl(&["create", "role", "reader", "--verb=get", "--resource=clientkeys.errortracking.dev"]);
    let account = format!("--serviceaccount={name}:reader");
    plugin.0.kubectl(&["create", "rolebinding", "reader", "--role=reader", &account]);
    let token = plugin.0.kubectl(&["create", "token", "reader"]);
    let mut config: Value =
        serde_json::from_str(&kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])).unwrap();
    config["users"][0]["user"] = json!({"token": token});
    config["contexts"][0]["name"] = json!("reading");
    config["contexts"][0]["context"]["namespace"] = json!(name);
    config["current-context"] = json!("reading");
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(format!("reader-{}.kubeconfig", std::process::id()));
    std::fs::write(&path, config.to_string()).unwrap();
    let path = path.to_str().unwrap();
    let as_reader = |arguments: &[&str]| errors(&[&["--kubeconfig", path], arguments].concat());
    for (arguments, complaint) in [
        (&["rotate", "shop"][..], format!("error: you may not patch clientkeys in namespace {name}\n")),
        (&["keys"], format!("error: you may not list clientkeys in namespace {name}\n")),
        (&["keys", "-A"], "error: you may not list clientkeys in all namespaces\n".to_owned()),
        (&["status"], format!("error: you may not list errortrackingprojects in namespace {name}\n")),
        (&["dsn", "shop"], format!("error: you may not get secrets in namespace {name}\n")),
    ] {
        let said = as_reader(arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
        assert!(said.err.ends_with(&complaint), "{said:?}");
    }
    let plan = as_reader(&["rotate", "shop", "--plan", "--context", "reading"]);
    let blind = format!("You may not list pods in namespace {name}, so who holds it now is not shown.");
    assert!(plan.code == 0 && plan.out.contains(&blind), "{plan:?}");

    let said = as_reader(&["keys", "--context", "elsewhere"]);
    assert!(said.code == 1 && said.err.contains("--context"), "{said:?}");
    config["users"][0]["user"] = json!({"token": "nobody's"});
    std::fs::write(path, config.to_string()).unwrap();
    let said = as_reader(&["keys"]);
    assert_eq!(said.err, "error: the API server does not accept your credentials: sign in again\n");
    config["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:9");
    std::fs::write(path, config.to_string()).unwrap();
    let said = as_reader(&["keys"]);
    assert!(said.code == 1 && said.err.starts_with("error: the API server could not be asked: "), "{said:?}");
    std::fs::remove_file(path).unwrap();
    let said = as_reader(&["keys"]);
    assert!(said.code == 1 && said.err.contains("--kubeconfig"), "{said:?}");
}

fn ways_in(plugin: &Plugin<'_>) {
    let Namespace(name) = plugin.0;
    let by_kubectl = run("kubectl", &["errors", "keys", "-n", name, "-o", "name"]);
    assert_eq!((by_kubectl.code, by_kubectl.out.as_str()), (0, "clientkey.errortracking.dev/shop\n"), "{by_kubectl:?}");
    for (arguments, code) in [(&["rotate"][..], 2), (&["rotate", "../x"], 2), (&["--help"], 0), (&["--version"], 0)] {
        assert_eq!(errors(arguments).code, code, "{arguments:?}");
    }
    // kubectl asks what comes next under another name of the program.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("completion-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let link = folder.join("kubectl_complete-errors");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kubectl-errors"), &link).unwrap();
    let id = plugin.0.get("etk/shop", ".status.active.keyID");
    for (words, answer) in [
        (&["-n", name, "rotate", "sh"][..], "shop\n:4\n".to_owned()),
        (&["-n", name, "revoke", "shop", ""], format!("{id}\tactive\n:4\n")),
        (&["-n", name, "keys", ""], "shop\n:4\n".to_owned()),
        (&["stat"], "status\tShow projects and keys: ready or not, why, and what is to be done\n:4\n".to_owned()),
    ] {
        assert_eq!(run(link.to_str().unwrap(), words).out, answer);
    }
    std::fs::remove_dir_all(&folder).unwrap();
    // A shell asks by itself, once it has the script.
    let script = errors(&["completion", "bash"]).out;
    let press_tab = |words: &str, count: usize| {
        let call = format!("COMP_WORDS=(kubectl-errors {words}) COMP_CWORD={count}; _kubectl_errors");
        run("bash", &["-c", &format!("{script}\n{call}; echo \"${{COMPREPLY[@]}}\"")]).out
    };
    assert_eq!(press_tab("ro", 1), "rotate\n");
    assert_eq!(press_tab("rotate --pl", 2), "--plan\n");
    assert_eq!(press_tab(&format!("rotate -n {name} ''"), 4), "shop\n");
    assert_eq!(press_tab("keys --output = w", 4), "wide\n");
}

/// The operator does what was asked for.
fn obeyed(plugin: &Plugin<'_>) {
    let former = plugin.0.get("etk/shop", ".status.active.keyID");
    let dsn = plugin.prints(&["dsn", "shop"]);
    plugin.0.kubectl(&["annotate", "etk/shop", "errortracking.dev/rotate-", "errortracking.dev/paused-"]);
    let said = plugin.prints(&["rotate", "shop", "--wait", "--timeout", "90s"]);
    let active = plugin.0.get("etk/shop", ".status.active.keyID");
    assert_ne!(active, former);
    let done = format!("clientkey.errortracking.dev/shop rotated: Secret shop-dsn names key {active}");
    assert!(said.starts_with(&done), "{said}");
    assert_ne!(plugin.prints(&["dsn", "shop"]), dsn);
    wait_for("the list has who holds the key before", SOON, || {
        let keys = plugin.prints(&["keys"]);
        let row: Vec<_> = keys.lines().nth(1)?.split_whitespace().collect();
        (row[3] == active && row[5..7] == [former.as_str(), "3"]).then_some(())
    });
    let plan = plugin.prints(&["rotate", "shop", "--plan"]);
    assert!(plan.contains(&format!("Key {former} has been retiring for ")), "{plan}");

    let revoked = plugin.prints(&["revoke", "shop"]);
    assert!(revoked.ends_with(&format!("revocation of key {former} requested\n")), "{revoked}");
    wait_for("the key before is gone", SOON, || {
        plugin.0.get("etk/shop", ".status.retiring.keyID").is_empty().then_some(())
    });
    let both = plugin.prints(&["revoke", "shop", &active, "--yes"]);
    assert!(both.ends_with(&format!("revocation of key {active} requested\n")), "{both}");
    wait_for("the active key has a successor", SOON, || {
        (plugin.0.get("etk/shop", ".status.active.keyID") != active).then_some(())
    });
}
