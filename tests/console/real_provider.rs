//! Sign-in at a real OpenID provider, npm's `oidc-provider` in `tests/oidc`: the browser's whole way, its pages
//! included. `hack/test-oidc.sh` runs it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use error_tracking_operator::console::OidcOptions;
use regex::Regex;

use crate::{
    client::{Answer, send},
    events,
    provider::ClientSecret,
    sign_in::{Cluster, page},
    world::{World, free_address},
};

/// An obvious fake.
const CLIENT_SECRET: &str = "not-a-secret";

struct RealProvider {
    program: Child,
    /// Open for as long as it runs: a warning that nobody takes would end it.
    _says: BufReader<ChildStdout>,
}

impl RealProvider {
    fn start(address: SocketAddr, console: SocketAddr, algorithm: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        let mut command = Command::new("node");
        command.arg("provider.mjs").current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::null()).envs([
            ("PORT", address.port().to_string()),
            ("REDIRECT_URI", format!("http://{console}/-/oidc/callback")),
            ("CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("ALGORITHM", algorithm.to_owned()),
        ]);
        let mut program = command.spawn().unwrap();
        let mut says = BufReader::new(program.stdout.take().unwrap());
        assert!(says.by_ref().lines().any(|line| line.unwrap() == "listening"), "the provider has ended");
        Self { program, _says: says }
    }
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        let _ended = self.program.kill().and_then(|()| self.program.wait());
    }
}

/// A browser without pages: it keeps cookies, and follows redirects until a page or another address comes.
#[derive(Default)]
struct Browser {
    /// By host, then by name.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// Where the last answer came from.
    place: String,
}

impl Browser {
    async fn ask(&mut self, method: &str, place: &str, form: &str) -> Answer {
        let (host, path) = place.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let cookies = self.cookies.entry(host.to_owned()).or_default();
        let sent: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let sent = sent.join("; ");
        let headers = [("Host", host), ("Cookie", &sent), ("Content-Type", "application/x-www-form-urlencoded")];
        let answer = send(host.parse().unwrap(), method, &format!("/{path}"), &headers, form).await;
        for cookie in answer.headers("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        place.clone_into(&mut self.place);
        answer
    }

    /// On to where an answer leads, and where that leads.
    async fn follow(&mut self, mut answer: Answer, until: &str) -> Answer {
        while answer.status == 303 {
            let to = answer.header("location").to_owned();
            let host = self.place.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            let to = if to.starts_with('/') { format!("{host}{to}") } else { to };
            if !to.starts_with("http://") || to.contains(until) {
                self.place = to;
                return answer;
            }
            answer = self.ask("GET", &to, "").await;
        }
        answer
    }

    /// Signs in under that name, and agrees: the address that leads back to the console.
    async fn sign_in(&mut self, console: SocketAddr, name: &str) -> String {
        let start = format!("http://{console}/-/oidc/start?to=web%2Fshop%2Fissues%2F1");
        let mut answer = self.ask("GET", &start, "").await;
        let form = Regex::new(r#"action="([^"]+)" method="post""#).unwrap();
        for prompt in [format!("prompt=login&login={name}&password=any"), "prompt=consent".to_owned()] {
            answer = self.follow(answer, "/-/oidc/callback").await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let action = form.captures(&answer.body).unwrap()[1].to_owned();
            answer = self.ask("POST", &action, &prompt).await;
        }
        self.follow(answer, "/-/oidc/callback").await;
        self.place.clone()
    }
}

/// A line for each of what must hold, and the last one for all.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn check(&mut self, what: &str, holds: bool, seen: &Answer) {
        if holds {
            self.passed += 1;
            println!("passed: {what}");
        } else {
            self.failed += 1;
            println!("FAILED: {what}: {} {}", seen.status, seen.body);
        }
    }
}

#[tokio::test]
#[ignore = "needs node and the packages of tests/oidc: hack/test-oidc.sh"]
async fn people_sign_in_at_a_real_provider() {
    let mut tally = Tally::default();
    for algorithm in ["RS256", "ES256"] {
        let (address, secret) = (free_address(), ClientSecret::new(CLIENT_SECRET, None));
        let (cluster, client) = Cluster::start(&["web get issues web/", "web get events web/"]);
        let options = OidcOptions {
            issuer: Some(format!("http://{address}")),
            name: None,
            client_id: Some("console".to_owned()),
            secret: Some(secret.0.clone()),
            scopes: ["openid", "email", "groups"].map(str::to_owned).to_vec(),
            username_claim: "email".to_owned(),
            username_prefix: "oidc:".to_owned(),
            groups_claim: "groups".to_owned(),
            groups_prefix: String::new(),
        };
        let world = World::with_provider(client, options).await;
        world.send(&[events::checkout()]).await;
        // The console is there first: it asks nothing before somebody signs in.
        let _provider = RealProvider::start(address, world.console, algorithm);

        let mut ada = Browser::default();
        let back = ada.sign_in(world.console, "ada").await;
        let arrived = ada.ask("GET", &back, "").await;
        let there = arrived.status == 303 && arrived.header("location") == "../../web/shop/issues/1";
        tally.check(&format!("{algorithm}: the way leads back to the page that was asked for"), there, &arrived);
        let cookie = arrived.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let shown = page(&world, &cookie, "/web/shop/issues/1").await;
        let named = shown.body.contains("oidc:ada@example.org") && shown.body.contains("CheckoutFailed");
        tally.check(&format!("{algorithm}: the group may see the error"), shown.status == 200 && named, &shown);
        let asked = cluster.asked().contains(&"oidc:ada@example.org get issues web/shop".to_owned());
        tally.check(&format!("{algorithm}: Kubernetes is asked about user and group"), asked, &shown);
        let hidden = page(&world, &cookie, "/web/shop/keys").await;
        tally.check(&format!("{algorithm}: nothing else is shown"), hidden.status == 404, &hidden);
        let again = ada.ask("GET", &back, "").await;
        tally.check(&format!("{algorithm}: a code counts once"), matches!(again.status, 401 | 502), &again);

        let mut stranger = Browser::default();
        let back = stranger.sign_in(world.console, "bob.pay").await;
        let mut without = Browser::default();
        let lost = without.ask("GET", &back, "").await;
        tally.check(&format!("{algorithm}: another browser cannot end a sign-in"), lost.status == 401, &lost);
        let arrived = stranger.ask("GET", &back, "").await;
        let cookie = arrived.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        let hidden = page(&world, &cookie, "/web/shop/issues/1").await;
        let refused = arrived.status == 303 && hidden.status == 404;
        tally.check(&format!("{algorithm}: another group sees nothing of the project"), refused, &hidden);

        let mut eve = Browser::default();
        let back = eve.sign_in(world.console, "eve.system:masters").await;
        let refused = eve.ask("GET", &back, "").await;
        let said = refused.status == 401 && refused.body.contains("begins with system:");
        tally.check(&format!("{algorithm}: nobody becomes system:masters"), said, &refused);
    }
    println!("oidc: {} passed, {} failed", tally.passed, tally.failed);
    assert_eq!(tally.failed, 0);
}
