//! `kubectl errors` against a console: what each command prints, and what it leaves in the database. The built program
//! runs as people run it.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    api_server::{ApiServer, Pod, secret},
    client, events,
    sign_in::{Cluster, with_rights},
    world::World,
};

const RIGHTS: &[&str] =
    &["ada get issues web/", "ada get events web/", "ada update issues web/", "bob get issues web/"];

/// What a run of the program ended with.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// How the program is called.
struct Plugin {
    /// Options that every call has.
    options: Vec<String>,
    /// In the environment.
    token: &'static str,
}

impl Plugin {
    /// At the console's own address, without a cluster.
    fn at(world: &World, token: &'static str) -> Self {
        Self { options: vec!["-n=web".to_owned(), format!("--console=http://{}", world.console)], token }
    }

    /// As somebody with that kubeconfig.
    fn with(kubeconfig: &str, token: &'static str) -> Self {
        Self { options: vec![format!("--kubeconfig={kubeconfig}")], token }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-errors"));
        // Nobody's own cluster is asked.
        command.env_clear().env("KUBECONFIG", "/nowhere/kubeconfig").stdin(Stdio::null());
        if !self.token.is_empty() {
            command.env("ERRORTRACKING_TOKEN", self.token);
        }
        command.args(line.split_whitespace()).args(&self.options);
        command
    }

    /// To its end, while the console of this test answers.
    async fn run(&self, line: &str) -> Said {
        let mut command = self.command(line);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// What it prints; it must succeed.
    async fn prints(&self, line: &str) -> String {
        let said = self.run(line).await;
        assert_eq!(said.code, 0, "{line}: {said:?}");
        said.out
    }

    /// How it complains; it must fail.
    async fn complains(&self, line: &str) -> String {
        let said = self.run(line).await;
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{line}: {said:?}");
        said.err
    }
}

/// Two errors: `SHOP-1`, a failed checkout, and `SHOP-2`.
async fn shop() -> (World, Cluster) {
    let (world, cluster) = with_rights(RIGHTS).await;
    world.send(&[events::message("Payment provider failed", "warning")]).await;
    (world, cluster)
}

/// The error as the console has it.
async fn stored(world: &World, number: u32) -> Value {
    let path = format!("/web/shop/issues/{number}.json");
    let headers = [("Host", "localhost"), ("Authorization", "Bearer ada")];
    let answer = client::send(world.console, "GET", &path, &headers, "").await;
    if answer.status == 303 {
        return json!(answer.header("location"));
    }
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str::<Value>(&answer.body).unwrap()["issue"].clone()
}

#[tokio::test]
async fn errors_are_listed_and_shown() {
    let (world, _cluster) = shop().await;
    let ada = Plugin::at(&world, "ada");
    let table = ada.prints("issues shop").await;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ISSUE", "LEVEL", "EVENTS", "USERS", "LAST", "SEEN", "AGE", "TITLE"], "{table}");
    assert_eq!(rows[1][..4], ["SHOP-2", "warning", "1", "0"], "{table}");
    assert_eq!(rows[2][..4], ["SHOP-1", "error", "1", "1"], "{table}");
    assert!(table.contains("CheckoutFailed") && !table.contains("CULPRIT"), "{table}");
    assert!(ada.prints("issues shop -o wide").await.contains("CULPRIT"));
    assert_eq!(ada.prints("issues shop -o name").await, "issue/SHOP-2\nissue/SHOP-1\n");
    assert_eq!(ada.prints("issues shop -o name --sort users").await, "issue/SHOP-1\nissue/SHOP-2\n");
    let listed: Value = serde_json::from_str(&ada.prints("issues shop -o json").await).unwrap();
    assert_eq!(listed["issues"][1]["shortID"], json!("SHOP-1"));
    assert_eq!((&listed["issues"][1]["namespace"], &listed["issues"][1]["project"]), (&json!("web"), &json!("shop")));
    assert!(ada.prints("issues shop -o yaml").await.contains("shortID: SHOP-1"));
    let first = ada.run("issues shop --limit 1 -o name").await;
    assert_eq!((first.code, first.out.as_str()), (0, "issue/SHOP-2\n"));
    assert_eq!(first.err, "The first 1 of 2 unresolved errors: --limit 0 lists all.\n");
    let none = ada.run("issues shop --status ignored").await;
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert_eq!(none.err, "No ignored errors found in web namespace.\n");

    let shown = ada.prints("show SHOP-1").await;
    for part in [
        "SHOP-1   CheckoutFailed",
        "Project:      web/shop\n",
        "Status:       unresolved\n",
        "Pod:          shop-7d4b9c-x2x\n",
        "User:         5 ada@example.org\n",
        "shop.errors.CheckoutFailed: the cart of customer 5 cannot be priced   (not handled)\n",
        "Caused by ZeroDivisionError: division by zero\n",
        "  shop/cart.py:18 in average\n",
        "  >    18      return sum(article.price for article in cart) / len(cart)\n",
        "a frame of a library",
        "Activity:\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(ada.prints("show shop/1 --all-frames").await.contains("flask/app.py:2190 in wsgi_app"));
    let shown: Value = serde_json::from_str(&ada.prints("show shop/1 -o json").await).unwrap();
    assert_eq!(shown["event"]["exceptions"][1]["type"], json!("ZeroDivisionError"));
    assert_eq!(ada.prints("show issue/SHOP-1 -o name").await, "issue/SHOP-1\n");

    let bob = Plugin::at(&world, "bob").prints("show SHOP-1").await;
    assert!(bob.contains("--subresource=events -n web") && !bob.contains("ada@example.org"), "{bob}");
}

#[tokio::test]
async fn long_lists_are_read_to_their_end() {
    let (world, _cluster) = with_rights(RIGHTS).await;
    let many: Vec<_> =
        (0..119).map(|number| events::message(&format!("failure {}", crate::letters(number)), "error")).collect();
    world.send(&many).await;
    let ada = Plugin::at(&world, "ada");
    for (limit, lines) in [("", 50), ("--limit 0", 120), ("--limit 60", 60), ("--limit 500", 120)] {
        let names = ada.prints(&format!("issues shop -o name {limit}")).await;
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), lines, "{limit}");
    }
}

#[tokio::test]
async fn a_terminal_is_told_nothing_by_events() {
    let (world, _cluster) = with_rights(RIGHTS).await;
    let mut event = events::message("\u{1b}[2J\u{9b}31m\u{202e}evil\u{200b}\nSHOP-9   forged", "error");
    event["server_name"] = json!("pod\u{1b}]0;title\u{7}");
    event["tags"] = json!({"a": "\u{1b}[31m\u{2066}"});
    world.send(&[event]).await;
    world.send(&[events::hostile()]).await;
    let ada = Plugin::at(&world, "ada");
    for line in [
        "issues shop",
        "issues shop -o wide",
        "issues shop -o yaml",
        "issues shop -o json",
        "show SHOP-2",
        "show SHOP-2 -o json",
        "show SHOP-2 -o yaml",
        "show SHOP-3",
    ] {
        let out = ada.prints(line).await;
        let acts = |letter: char| {
            letter.is_control() && letter != '\n' || matches!(letter, '\u{202e}' | '\u{200b}' | '\u{2066}')
        };
        assert!(!out.contains(acts), "{line}: {out:?}");
        assert!(!out.lines().any(|row| row.starts_with("SHOP-9")), "{line}: {out}");
    }
    let document: Value = serde_json::from_str(&ada.prints("show SHOP-2 -o json").await).unwrap();
    assert_eq!(document["event"]["tags"]["a"], json!("\u{1b}[31m\u{2066}"), "a document keeps what was sent");
}

#[tokio::test]
async fn what_is_decided_is_stored() {
    let (world, _cluster) = shop().await;
    let ada = Plugin::at(&world, "ada");
    assert_eq!(ada.prints("resolve SHOP-1 --in-release shop@2").await, "issue/SHOP-1 resolved\n");
    assert_eq!(stored(&world, 1).await["rule"], json!({"resolvedIn": "shop@2"}));
    assert_eq!(ada.prints("resolve shop/1 --in-release shop@2").await, "issue/SHOP-1 unchanged\n");
    assert_eq!(ada.prints("reopen SHOP-1 -o name").await, "issue/SHOP-1\n");
    assert_eq!(stored(&world, 1).await["status"], json!("unresolved"));
    assert_eq!(ada.prints("resolve SHOP-1 SHOP-2").await, "issue/SHOP-1 resolved\nissue/SHOP-2 resolved\n");
    for number in [1, 2] {
        assert_eq!(stored(&world, number).await["status"], json!("resolved"));
    }
    assert_eq!(ada.prints("resolve SHOP-1 --in-next-release").await, "issue/SHOP-1 resolved\n");
    assert_eq!(stored(&world, 1).await["rule"], json!({"resolvedInNextRelease": true}));
    assert_eq!(ada.prints("resolve SHOP-1 --in-current-release").await, "issue/SHOP-1 resolved\n");
    assert_eq!(stored(&world, 1).await["rule"], json!({"resolvedIn": "shop@1.4.2"}));

    assert_eq!(ada.prints("ignore SHOP-1 --events 100").await, "issue/SHOP-1 ignored\n");
    assert_eq!(stored(&world, 1).await["rule"], json!({"ignoredUntilEvents": 101}));
    ada.prints("ignore SHOP-1 --users 10").await;
    assert_eq!(stored(&world, 1).await["rule"], json!({"ignoredUntilUsers": 11}));
    ada.prints("ignore SHOP-1 --for 2d").await;
    let until: jiff::Timestamp = stored(&world, 1).await["rule"]["ignoredUntil"].as_str().unwrap().parse().unwrap();
    let hours = until.duration_since(jiff::Timestamp::now()).as_secs_f64() / 3600.0;
    assert!((47.9..48.1).contains(&hours), "{hours}");
    ada.prints("ignore SHOP-1").await;
    let issue = stored(&world, 1).await;
    assert_eq!((&issue["status"], issue.get("rule")), (&json!("ignored"), None));

    assert_eq!(ada.prints("merge SHOP-2 --into SHOP-1").await, "issue/SHOP-2 merged\n");
    assert_eq!(stored(&world, 2).await, json!("../../../web/shop/issues/1.json"));
    assert_eq!(stored(&world, 1).await["merged"], json!(1));
    // The number of one that was merged leads to the other.
    assert!(ada.prints("show SHOP-2").await.starts_with("SHOP-1   "));
    let elsewhere = ada.complains("merge SHOP-1 --into OTHER-1").await;
    assert_eq!(elsewhere, "error: an error of project shop cannot be merged into one of other\n");
}

#[tokio::test]
async fn what_could_not_be_done_is_said_and_the_rest_is_done() {
    let (world, _cluster) = shop().await;
    let ada = Plugin::at(&world, "ada");
    let said = ada.run("resolve SHOP-1 SHOP-99").await;
    assert_eq!((said.code, said.out.as_str()), (1, "issue/SHOP-1 resolved\n"));
    assert_eq!(said.err, "SHOP-99: there is no such error any more\nerror: 1 of 2 were not resolved\n");
    assert_eq!(stored(&world, 1).await["status"], json!("resolved"));

    let bob = Plugin::at(&world, "bob");
    let refused = bob.complains("resolve SHOP-2").await;
    assert!(
        refused.contains("kubectl auth can-i update errortrackingprojects/shop --subresource=issues -n web"),
        "{refused}"
    );
    assert_eq!(stored(&world, 2).await["status"], json!("unresolved"));
    let eve = Plugin::at(&world, "eve");
    assert!(eve.complains("issues shop").await.contains("There is no such project, or you may not see it"));
    assert!(eve.complains("show SHOP-1").await.contains("There is no such project, or you may not see it"));
    assert!(ada.complains("show SHOP-99").await.contains("There is no error at this address"));
    let wrong = Plugin::at(&world, "mallory").complains("issues shop").await;
    assert!(wrong.contains("not valid for the audience errortracking") && !wrong.contains("mallory"), "{wrong}");
    let nobody = Plugin::at(&world, "").complains("issues shop").await;
    assert!(nobody.contains("kubectl create token NAME --namespace web --audience errortracking"), "{nobody}");

    world.network.close().await;
    let away = ada.complains("issues shop").await;
    assert!(away.contains("Errors cannot be shown until it does."), "{away}");
    let closed: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let nowhere = Plugin { options: vec!["-n=web".to_owned(), format!("--console=http://{closed}")], token: "ada" };
    let unreachable = nowhere.complains("issues shop").await;
    assert!(unreachable.starts_with("error: the console at http://127.0.0.1:1 cannot be reached: "), "{unreachable}");
}

#[tokio::test]
async fn something_else_than_a_console_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let console = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>";
            let _ = stream.write_all(answer).await;
        }
    });
    let other = Plugin { options: vec!["-n=web".to_owned(), format!("--console=http://{console}")], token: "ada" };
    let said = other.complains("issues shop").await;
    assert!(said.contains("404 Not Found and not as one of this version does"), "{said}");
}

fn console_pod(namespace: &'static str, hosts: &'static [&'static str], leads_to: SocketAddr) -> Pod {
    let labels = "app.kubernetes.io/name=error-tracking-console";
    Pod { namespace, name: "error-tracking-console-1", labels, port: "http", hosts, leads_to }
}

fn project_object(name: &str) -> Value {
    json!({
        "apiVersion": "errortracking.dev/v1alpha1", "kind": "ErrorTrackingProject",
        "metadata": {"name": name, "namespace": "web"}, "spec": {"backend": {"integrated": {}}},
    })
}

const PROJECTS: &str = "/apis/errortracking.dev/v1alpha1/namespaces/web/errortrackingprojects";

#[tokio::test]
async fn the_console_is_found_and_reached_through_the_api_server() {
    let (world, _cluster) = shop().await;
    for (namespace, asked_for_all) in [("error-tracking", false), ("elsewhere", true)] {
        let server = ApiServer::start(&[console_pod(namespace, &[], world.console)]).await;
        let items = [project_object("shop"), project_object("later")];
        server.put(PROJECTS, json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}));
        let kubeconfig = server.kubeconfig();
        let plugin = Plugin::with(kubeconfig.path(), "");
        let said = plugin.run("issues --service-account ada -o name").await;
        assert_eq!((said.code, said.out.as_str()), (0, "issue/SHOP-2\nissue/SHOP-1\n"), "{said:?}");
        // The console says the same of one that is not there and one that may not be seen.
        assert!(said.err.starts_with("Project later is left out: There is no such project"), "{}", said.err);
        let asked = server.asked();
        let forwards = asked.iter().filter(|asked| asked.contains("/portforward")).count();
        assert_eq!(forwards, 1, "one connection for all requests: {asked:?}");
        let all = asked.iter().any(|asked| asked.starts_with("GET /api/v1/pods?"));
        assert_eq!(all, asked_for_all, "{asked:?}");
        assert!(asked.contains(&"POST /api/v1/namespaces/web/serviceaccounts/ada/token".to_owned()), "{asked:?}");

        plugin.prints("resolve SHOP-1 --service-account ada").await;
        assert_eq!(stored(&world, 1).await["status"], json!("resolved"));
        plugin.prints("reopen SHOP-1 --service-account ada").await;
        let file = std::env::temp_dir().join(format!("token-{}-{namespace}", std::process::id()));
        std::fs::write(&file, "ada\n").unwrap();
        let by_file = format!("issues shop -o name --console-namespace {namespace} --token-file {}", file.display());
        assert_eq!(plugin.prints(&by_file).await.lines().count(), 2);
        std::fs::remove_file(&file).unwrap();
        assert!(plugin.complains(&by_file).await.contains("the token cannot be read"));
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let (world, _cluster) = shop().await;
    let server = ApiServer::start(&[console_pod("error-tracking", &[], world.console)]).await;
    let kubeconfig = server.kubeconfig();
    let plugin = Plugin::with(kubeconfig.path(), "ada");
    let forward = "GET /api/v1/namespaces/error-tracking/pods/error-tracking-console-1/portforward";
    server.forbid(forward);
    assert_eq!(
        plugin.complains("issues shop").await,
        "error: you may not forward a port of a pod in namespace error-tracking: that needs get and create on \
         pods/portforward\n"
    );
    server.forbid("GET /api/v1/namespaces/error-tracking/pods");
    server.forbid("GET /api/v1/pods");
    let hidden = plugin.complains("issues shop").await;
    for part in [
        "not in namespace error-tracking as far as you may see",
        "you may not list pods in all namespaces",
        "--console-namespace",
    ] {
        assert!(hidden.contains(part), "{part}: {hidden}");
    }
    let named = plugin.complains("issues shop --console-namespace error-tracking").await;
    assert_eq!(named, "error: you may not list pods in namespace error-tracking\n");
    assert_eq!(
        plugin.complains("issues shop --console-namespace other").await,
        "error: no pod of the console is ready in namespace other\n"
    );
    // Whoever may make a pod can give it the console's labels, and would be shown the token.
    let two = [console_pod("errors", &[], world.console), console_pod("trap", &[], world.console)];
    let several = ApiServer::start(&two).await;
    let several = several.kubeconfig();
    let refused = Plugin::with(several.path(), "ada").complains("issues shop").await;
    assert!(refused.contains("several namespaces (errors, trap): say by --console-namespace"), "{refused}");

    server.forbid("POST /api/v1/namespaces/web/serviceaccounts/ada/token");
    let console = format!("--console=http://{}", world.console);
    let token = Plugin { options: vec![format!("--kubeconfig={}", kubeconfig.path()), console], token: "" };
    assert_eq!(
        token.complains("issues shop --service-account ada").await,
        "error: you may not create serviceaccounts/token in namespace web\n"
    );
}

/// What is printed while it goes on.
struct Running(Child);

impl Running {
    fn start(plugin: &Plugin, line: &str) -> (Self, tokio::sync::mpsc::Receiver<String>) {
        let mut child = plugin.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, received) = tokio::sync::mpsc::channel(100);
        let out: Box<dyn std::io::Read + Send> = Box::new(child.stdout.take().unwrap());
        let err: Box<dyn std::io::Read + Send> = Box::new(child.stderr.take().unwrap());
        for stream in [out, err] {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = lines.blocking_send(line);
                }
            });
        }
        (Self(child), received)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn errors_are_printed_as_they_happen() {
    let (world, _cluster) = shop().await;
    let ada = Plugin::at(&world, "ada");
    let (_tail, mut tailed) = Running::start(&ada, "tail shop");
    let (_watch, mut watched) = Running::start(&ada, "issues shop -w");
    assert_eq!(tailed.recv().await.unwrap(), "Waiting for errors of project shop.");
    for row in ["ISSUE", "SHOP-2", "SHOP-1"] {
        let line = watched.recv().await.unwrap();
        assert!(line.starts_with(row), "{line}");
    }
    world.send(&[events::checkout(), events::checkout(), events::message("Out of stock", "error")]).await;
    let mut lines = [tailed.recv().await.unwrap(), tailed.recv().await.unwrap()];
    lines.sort_by_key(|line| !line.contains("SHOP-1"));
    assert!(lines[0].contains(" SHOP-1 error CheckoutFailed") && lines[0].ends_with("(+2, 3 events)"), "{lines:?}");
    assert!(lines[1].contains(" SHOP-3 error Out of stock") && lines[1].ends_with("(new, 1 events)"), "{lines:?}");
    let mut rows = [watched.recv().await.unwrap(), watched.recv().await.unwrap()];
    rows.sort();
    assert!(rows[0].starts_with("SHOP-1 ") && rows[1].starts_with("SHOP-3 "), "{rows:?}");
}

#[tokio::test]
async fn errors_of_a_pod_are_listed() {
    let (world, _cluster) = shop().await;
    let ada = Plugin::at(&world, "ada");
    assert_eq!(ada.prints("issues shop -o name --pod shop-7d4b9c-x2x").await, "issue/SHOP-1\n");
    let none = ada.run("issues shop --pod shop-7d4b9c-gone").await;
    assert_eq!((none.code, none.err.as_str()), (0, "No unresolved errors found in web namespace.\n"));
    assert_eq!(ada.run("issues shop --pod a:b").await.code, 2);
    // Of a pod and a status, and not more.
    ada.prints("resolve SHOP-1").await;
    assert_eq!(ada.prints("issues shop -o name --pod shop-7d4b9c-x2x").await, "");
    assert_eq!(ada.prints("issues shop -o name --pod shop-7d4b9c-x2x --status resolved").await, "issue/SHOP-1\n");
}

#[tokio::test]
async fn a_token_is_made_for_a_program() {
    let (world, _cluster) = shop().await;
    let ada = Plugin::at(&world, "ada");
    let said = ada.run("token ci --scope event:read,event:write --days 7").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.starts_with("It ends on 20") && said.err.ends_with(", and is not shown again.\n"), "{said:?}");
    let token: &'static str = said.out.trim_end().to_owned().leak();
    assert!(token.starts_with("et_") && token.len() == 46, "{} characters", token.len());
    let ci = Plugin::at(&world, token);
    assert_eq!(ci.prints("resolve SHOP-2").await, "issue/SHOP-2 resolved\n");
    assert_eq!(stored(&world, 2).await["status"], json!("resolved"));
    let refused = ci.complains("token more --scope event:read").await;
    assert!(refused.contains("token"), "no token makes tokens: {refused}");
    let made: Value = serde_json::from_str(&ada.prints("token report --scope project:read -o json").await).unwrap();
    assert!(made["token"].as_str().unwrap().starts_with("et_") && made["expiresAt"].is_string());
    let reads = Plugin::at(&world, made["token"].as_str().unwrap().to_owned().leak());
    assert_eq!(reads.prints("issues shop -o name").await, "issue/SHOP-1\n");
    assert!(reads.run("resolve SHOP-1").await.code == 1);
}

#[tokio::test]
async fn a_browser_is_led_to_the_console() {
    let (world, _cluster) = shop().await;
    let server = ApiServer::start(&[console_pod("error-tracking", &["errors.example"], world.console)]).await;
    let kubeconfig = server.kubeconfig();
    let plugin = Plugin::with(kubeconfig.path(), "");
    assert_eq!(plugin.prints("open SHOP-1 --print").await, "https://errors.example/web/shop/issues/1\n");
    assert_eq!(plugin.prints("open shop --print").await, "https://errors.example/web/shop/issues\n");
    assert_eq!(Plugin::at(&world, "").prints("open --print").await, format!("http://{}/\n", world.console));

    let server = ApiServer::start(&[console_pod("error-tracking", &[], world.console)]).await;
    let kubeconfig = server.kubeconfig();
    let (_open, mut lines) = Running::start(&Plugin::with(kubeconfig.path(), ""), "open SHOP-1 --print");
    let mut said = [lines.recv().await.unwrap(), lines.recv().await.unwrap()];
    said.sort_by_key(|line| !line.starts_with("http"));
    let (address, path) = said[0].strip_prefix("http://").unwrap().split_once('/').unwrap();
    assert_eq!(
        (path, said[1].as_str()),
        ("web/shop/issues/1", "The console is there until this command is interrupted.")
    );
    for _ in 0..2 {
        let page = client::get(address.parse().unwrap(), "/-/login").await;
        assert!(page.status == 200 && page.body.contains("Kubernetes token"), "{}", page.body);
    }
}

#[tokio::test]
async fn a_ticket_signs_a_browser_in_once() {
    let (world, _cluster) = shop().await;
    let server = ApiServer::start(&[console_pod("error-tracking", &["errors.example"], world.console)]).await;
    let kubeconfig = server.kubeconfig();
    let plugin = Plugin::with(kubeconfig.path(), "");
    let url = plugin.prints("login SHOP-1 --print --service-account ada").await;
    let path = url.trim_end().strip_prefix("https://errors.example").unwrap();
    let ticket = path.split(['=', '&']).nth(1).unwrap();

    let public = ("Host", "errors.example");
    for _ in 0..2 {
        let page = client::send(world.console, "GET", path, &[public], "").await;
        assert!(page.status == 200 && page.body.contains("Sign in as ada</button>"), "{}", page.body);
        assert_eq!(page.header("set-cookie"), "", "a link begins nothing");
    }
    let form = format!("ticket={ticket}&to=web%2Fshop%2Fissues%2F1");
    let origin = ("Origin", "https://errors.example");
    let foreign =
        client::send(world.console, "POST", "/-/ticket", &[public, ("Origin", "https://a.example")], &form).await;
    assert_eq!((foreign.status, foreign.header("set-cookie")), (403, ""));
    let begun = client::send(world.console, "POST", "/-/ticket", &[public, origin], &form).await;
    assert_eq!((begun.status, begun.header("location")), (303, "../web/shop/issues/1"));
    let cookie = begun.header("set-cookie").split(';').next().unwrap();
    let shown = client::send(world.console, "GET", "/web/shop/issues/1", &[public, ("Cookie", cookie)], "").await;
    assert!(shown.status == 200 && shown.body.contains(r#"<span class="muted">ada</span>"#), "{}", shown.body);

    for (method, path, form) in [
        ("POST", "/-/ticket", form.as_str()),
        ("GET", path, ""),
        ("GET", "/-/ticket", ""),
        ("GET", "/-/ticket?ticket=x", ""),
        ("POST", "/-/ticket", "ticket=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        let over = client::send(world.console, method, path, &[public, origin], form).await;
        assert_eq!((over.status, over.header("set-cookie")), (410, ""), "{method} {path} {form}");
        assert!(over.body.contains("kubectl errors login"), "{}", over.body);
    }
    let elsewhere = plugin.prints("login --print --service-account ada").await;
    let ticket = elsewhere.split(['=', '&']).nth(1).unwrap();
    let form = format!("ticket={ticket}&to=https%3A%2F%2Fattacker.example");
    let begun = client::send(world.console, "POST", "/-/ticket", &[public, origin], &form).await;
    assert_eq!((begun.status, begun.header("location")), (303, "../"));

    // A session alone gets no ticket, nor does a token that does not count.
    let with_cookie = [public, origin, ("Cookie", cookie)];
    assert_eq!(client::send(world.console, "POST", "/-/ticket.json", &with_cookie, "").await.status, 401);
    assert_eq!(client::send(world.console, "POST", "/-/ticket.json", &[public], "").await.status, 403);
    let refused = Plugin::at(&world, "mallory").complains("login --print").await;
    assert!(refused.contains("not valid for the audience"), "{refused}");
}

#[tokio::test]
async fn a_test_event_arrives_and_is_listed() {
    let (world, _cluster) = with_rights(RIGHTS).await;
    let (ingest, mut received) = ingest().await;
    let labels = "app.kubernetes.io/name=error-tracking-ingest,errortracking.dev/project=shop";
    let pod = Pod { namespace: "web", name: "shop-ingest-1", labels, port: "ingest", hosts: &[], leads_to: ingest };
    let server = ApiServer::start(&[pod]).await;
    let key = json!({
        "apiVersion": "errortracking.dev/v1alpha1", "kind": "ClientKey",
        "metadata": {"name": "shop", "namespace": "web"}, "spec": {"projectRef": {"name": "shop"}},
        "status": {"secretName": "shop-dsn"},
    });
    server.put("/apis/errortracking.dev/v1alpha1/namespaces/web/clientkeys/shop", key);
    server.put(&format!("{PROJECTS}/shop"), project_object("shop"));
    let public_key = "0123456789abcdef0123456789abcdef";
    let dsn = format!("http://{public_key}@shop-ingest.web.svc/{}", world.project);
    server.put("/api/v1/namespaces/web/secrets/shop-dsn", secret("shop", &dsn));
    let kubeconfig = server.kubeconfig();
    let plugin = Plugin::with(kubeconfig.path(), "");
    let said = plugin.run("send-test shop").await;
    assert_eq!(said.code, 0, "{said:?}");
    let (head, event) = received.recv().await.unwrap();
    assert!(head.starts_with(&format!("POST /api/{}/store/ HTTP/1.1\r\n", world.project)), "{head}");
    assert!(head.contains(&format!("sentry_key={public_key}")), "{head}");
    assert_eq!(said.out, format!("event {} stored\n", event["event_id"].as_str().unwrap()));
    assert_eq!(said.err, "To see it: kubectl errors issues shop -n web\n");
    assert!(!format!("{said:?}").contains(public_key), "the key is told");
    let ids = world.send(std::slice::from_ref(&event)).await;
    assert_eq!(json!(ids[0].to_string()), event["event_id"]);
    assert!(Plugin::at(&world, "ada").prints("issues shop").await.contains("Test event of kubectl errors"));

    received.close();
    let refused = plugin.complains("send-test shop").await;
    assert_eq!(refused, "error: ingest does not take the event: 403 Forbidden: no such key\n");
    server.put("/api/v1/namespaces/web/secrets/shop-dsn", secret("other", &dsn));
    assert!(plugin.complains("send-test shop").await.contains("is not that of ClientKey shop"));
}

/// Ingest as far as a client sees it: it takes events while somebody receives them.
async fn ingest() -> (SocketAddr, tokio::sync::mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(10);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let (head, event) = loop {
                let read = stream.read_buf(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request);
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&*text, ""));
                if let Ok(event) = serde_json::from_str::<Value>(body) {
                    break (head.to_owned(), event);
                }
                assert!(read > 0, "{text}");
            };
            let (status, body) = match sender.send((head, event)).await {
                Ok(()) => ("200 OK", "{}"),
                Err(_) => ("403 Forbidden", "no such key"),
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, receiver)
}
