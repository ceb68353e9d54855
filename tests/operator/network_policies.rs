//! Which links the `NetworkPolicy`s of chart and operator let through, where somebody enforces them. `make
//! test-network-policies` runs it; the last line is "network policies: H of L links as they must be".

use serde_json::{Value, json};

use crate::world::{INSTALLATION, Namespace, alone, kubectl, test_image, wait_for};

/// Tries a TCP connection from a pod: "open", or why not.
const CONNECT: &str = "
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4).close()
    print('open')
except OSError as error:
    print(error)
";
/// Where the pods of this test listen, which no policy names.
const OTHER_PORT: &str = "9000";
const LISTEN: [&str; 4] = ["python3", "-m", "http.server", OTHER_PORT];

/// A link, and whether it must be let through.
struct Link {
    what: &'static str,
    from: &'static str,
    host: String,
    port: &'static str,
    open: bool,
}

/// A pod that listens, and from which links are tried.
fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "app", "image": test_image(), "imagePullPolicy": "Never", "command": LISTEN,
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

fn address(namespace: &str, selector: &str) -> String {
    kubectl(&["get", "pod", "-n", namespace, "-l", selector, "-o", "jsonpath={.items[0].status.podIP}"])
}

#[test]
#[ignore = "make test-network-policies runs it: it needs a cluster that enforces them"]
fn only_the_links_that_are_needed_are_open() {
    let _turn = alone();
    let (tenant, elsewhere) = (Namespace::new("policies"), Namespace::new("elsewhere"));
    tenant.ready_project("shop", 1);
    // Of the ingest pods' labels, since their image has no program to try a link with.
    let labels = tenant.get("deploy/shop-ingest", ".spec.template.metadata.labels");
    tenant.apply(&pod("inside", &serde_json::from_str(&labels).unwrap()).to_string());
    elsewhere.apply(&pod("outside", &json!({"app": "outside"})).to_string());
    for (namespace, name) in [(&tenant, "pod/inside"), (&elsewhere, "pod/outside")] {
        namespace.kubectl(&["wait", "--for=condition=Ready", name, "--timeout=60s"]);
    }
    let installed = |name: &str| address(INSTALLATION, &format!("app.kubernetes.io/name=error-tracking-{name}"));
    let inside = tenant.get("pod/inside", ".status.podIP");
    let outside = elsewhere.get("pod/outside", ".status.podIP");
    let ingest = address(&tenant.0, "app.kubernetes.io/name=error-tracking-ingest,pod-template-hash");
    let node = kubectl(&["get", "node", "-o", "jsonpath={.items[0].status.addresses[0].address}"]);
    let postgres = format!("{INSTALLATION}-postgresql.{INSTALLATION}.svc");
    let api = || "kubernetes.default.svc".to_owned();

    let link = |what, from, host: &str, port, open| Link { what, from, host: host.to_owned(), port, open };
    let links = [
        link("events, by the Service", "outside", &format!("shop-ingest.{}.svc", tenant.0), "80", true),
        link("events, to the pod", "outside", &ingest, "8080", true),
        link("metrics of ingest", "outside", &ingest, "8081", true),
        link("another port of an ingest pod", "outside", &inside, OTHER_PORT, false),
        link("that port, within the pod", "inside", "127.0.0.1", OTHER_PORT, true),
        link("Postgres, from ingest", "inside", &postgres, "5432", true),
        link("the API server, from ingest", "inside", &api(), "443", false),
        link("the API server's own address, from ingest", "inside", &node, "6443", false),
        link("another pod, from ingest", "inside", &outside, OTHER_PORT, false),
        link("an address outside of the cluster, from ingest", "inside", &host_of(&node), "22222", false),
        link("the operator's metrics", "outside", &installed("operator"), "8081", true),
        link("Postgres, from somebody else", "outside", &postgres, "5432", false),
        // That the others are reached shows that it is the policies that keep ingest away.
        link("the API server, from somebody else", "outside", &api(), "443", true),
        link("the API server's own address, from somebody else", "outside", &node, "6443", true),
        link("an address outside of the cluster, from somebody else", "outside", &host_of(&node), "22222", true),
        link("itself, by its address", "outside", &outside, OTHER_PORT, true),
    ];
    let listener = std::net::TcpListener::bind((host_of(&node), 22222)).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let connect = |link: &Link| {
        let namespace = if link.from == "inside" { &tenant } else { &elsewhere };
        namespace.kubectl(&["exec", link.from, "--", "python3", "-c", CONNECT, &link.host, link.port])
    };
    // They follow a pod within a moment.
    wait_for("the policies hold for the new pods", std::time::Duration::from_mins(1), || {
        (connect(&links[3]) != "open").then_some(())
    });
    let mut held = 0;
    for link in &links {
        let found = connect(link);
        let is_right = (found == "open") == link.open;
        held += usize::from(is_right);
        let verdict = if is_right { "" } else { "   WRONG" };
        println!("{:55} {:45} {found}{verdict}", link.what, format!("{}:{}", link.host, link.port));
    }
    // What works with these links does: the project is Ready, and an event is stored.
    tenant.start_sender("shop-dsn");
    assert_eq!(tenant.send(&["once"]), "200");
    println!("network policies: {held} of {} links as they must be", links.len());
    assert_eq!(held, links.len());
}

/// The machine that the node runs on, which is outside of the cluster: the other end of its link.
fn host_of(node: &str) -> String {
    let (network, _) = node.rsplit_once('.').unwrap();
    format!("{network}.1")
}
