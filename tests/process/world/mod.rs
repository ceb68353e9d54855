//! A World is an installation of its own: a release with its namespace, rights and database, and operators that the
//! test starts, stops, freezes and kills. An operator looks at every namespace, so there is one World at a time.
//! Everything that belongs to it goes with it, also when the test fails.

#![allow(dead_code, unused_imports, reason = "not every program uses every part")]

mod audit;
mod chart;
mod objects;
mod operator;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use error_tracking_operator::store::Connection;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool, Row as _, ValueRef as _};
use tokio::sync::{Mutex, MutexGuard};

pub use self::{
    audit::{Mark, Request},
    chart::Chart,
    objects::{Namespace, condition_of, is_ready, manifest, resource},
    operator::Operator,
};
use crate::support::postgres::Database;
pub use crate::support::proxy::{Mode, Proxy};

/// One World at a time in this process; programs take a cluster each.
static TURN: Mutex<()> = Mutex::const_new(());
static WORLDS: AtomicU32 = AtomicU32::new(0);

/// Marks the namespaces and roles of a World, so that the next one removes what a killed program left.
const WORLD_LABEL: &str = "errortracking.dev/test-world";

pub struct World {
    /// Of the release and of its namespace.
    pub name: String,
    /// As the cluster's administrator.
    pub client: Client,
    pub chart: Chart,
    pub database: Database,
    pool: PgPool,
    /// What the operator reaches Kubernetes through.
    pub api_server: Proxy,
    /// What the operator reaches Postgres through.
    pub postgres: Proxy,
    /// Whether the operator goes past the proxies.
    direct: bool,
    /// Kubeconfigs and logs.
    folder: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Rights, namespace and database of an installation; no operator runs yet.
    pub async fn new() -> Self {
        Self::make(&[], &[], false).await
    }

    /// Of an installation that serves some namespaces only, which [`World::served`] names.
    pub async fn of_namespaces(values: &[&str], suffixes: &[&str]) -> Self {
        Self::make(values, suffixes, false).await
    }

    /// With values of the chart, as `operator.concurrency=2`.
    pub async fn with_values(values: &[&str]) -> Self {
        Self::make(values, &[], false).await
    }

    /// Without the proxies, which would take a part of what is measured.
    pub async fn direct() -> Self {
        Self::make(&[], &[], true).await
    }

    async fn make(values: &[&str], served: &[&str], direct: bool) -> Self {
        let turn = TURN.lock().await;
        let client = administrator().await;
        remove_worlds(&client).await;
        let name = format!("w{}-{}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("error-tracking-{name}"));
        std::fs::create_dir_all(&folder).unwrap();

        make_namespace(&client, &name, &name).await;
        let served: Vec<_> = served.iter().map(|suffix| format!("{name}-{suffix}")).collect();
        for namespace in &served {
            make_namespace(&client, namespace, &name).await;
        }
        let namespaces = format!("watchNamespaces={{{}}}", served.join(","));
        let values: Vec<_> =
            values.iter().copied().chain((!served.is_empty()).then_some(namespaces.as_str())).collect();
        let chart = Chart::render(&name, &values);
        chart.install_rights(&client).await;

        let database = Database::create().await;
        let address = format!("{}:{}", database.connection.host, database.connection.port);
        let (api_server, postgres) = (Proxy::start(&api_server_address()), Proxy::start(&address));
        let pool = database.superuser();
        let world = Self { name, client, chart, database, pool, api_server, postgres, direct, folder, _turn: turn };
        world.publish_database(&world.connection()).await;
        world
    }

    /// The operator's login, through the proxy.
    #[must_use]
    pub fn connection(&self) -> Connection {
        if self.direct {
            return self.database.connection.clone();
        }
        Connection { port: self.postgres.address.port(), ..self.database.connection.clone() }
    }

    /// Writes the Secret with the operator's login.
    pub async fn publish_database(&self, connection: &Connection) {
        let values = json!({
            "host": connection.host,
            "port": connection.port.to_string(),
            "dbname": connection.dbname,
            "username": connection.username,
            "password": connection.password.expose_secret(),
        });
        self.home().apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.chart.database_secret}, "stringData": values,
        }))
        .await;
    }

    /// Stores objects of one kind as a version did whose schema allowed more: the rules of their definition are loosened
    /// for the moment of the writes.
    pub async fn store_unchecked(&self, namespace: &Namespace, objects: &[Value]) {
        let Some((first, others)) = objects.split_first() else { return };
        let plural = resource(first["kind"].as_str().unwrap()).plural;
        let definition = self.chart.definition(&plural);
        let mut loose = definition.clone();
        for version in loose["spec"]["versions"].as_array_mut().unwrap() {
            version["schema"] =
                json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
            version.as_object_mut().unwrap().remove("selectableFields");
        }
        self.chart.apply(&self.client, &loose, true).await;
        // The API server takes a moment to serve the new schema.
        for attempt in 0.. {
            match namespace.try_apply(first).await {
                Ok(_) => break,
                Err(error) if attempt > 50 => panic!("{error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        let store = async |object| {
            namespace.try_apply(object).await.unwrap();
        };
        stream::iter(others).for_each_concurrent(4, store).await;
        self.chart.apply(&self.client, &definition, true).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// The namespace that the operator runs in.
    #[must_use]
    pub fn home(&self) -> Namespace {
        Namespace::of(&self.client, &self.name)
    }

    /// Makes a namespace for projects and keys.
    pub async fn namespace(&self, suffix: &str) -> Namespace {
        let name = format!("{}-{suffix}", self.name);
        make_namespace(&self.client, &name, &self.name).await;
        Namespace::of(&self.client, &name)
    }

    /// A namespace of [`World::of_namespaces`].
    #[must_use]
    pub fn served(&self, suffix: &str) -> Namespace {
        Namespace::of(&self.client, &format!("{}-{suffix}", self.name))
    }

    /// A namespace that [`World::namespace`] made.
    #[must_use]
    pub fn namespace_named(&self, suffix: &str) -> Namespace {
        Namespace::of(&self.client, &format!("{}-{suffix}", self.name))
    }

    /// Leaves the objects in the cluster, which ends next, instead of removing one after the other.
    pub fn abandon(self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        std::mem::forget(self);
    }

    /// Starts an operator, as the pod `operator-0`.
    pub async fn start(&self) -> Operator {
        self.start_as("operator-0", &[]).await
    }

    /// Starts an operator under a pod's name, with further variables of the environment.
    pub async fn start_as(&self, pod: &str, variables: &[(&str, &str)]) -> Operator {
        Operator::start(self, pod, variables, &self.token().await)
    }

    /// An operator that leads and whose caches are filled.
    pub async fn start_and_lead(&self) -> Operator {
        let operator = self.start().await;
        operator.leads().await;
        operator
    }

    /// Starts an operator again that has ended, as the kubelet does. Whether it had.
    pub async fn revive(&self, operator: &mut Operator) -> bool {
        let ended = operator.has_ended();
        if ended {
            *operator = self.start_as(&operator.pod.clone(), &[]).await;
        }
        ended
    }

    /// As if the project of this number had received something: what was never used is not retained.
    pub async fn store_something(&self, project: &str) {
        let aside = format!(
            "INSERT INTO project_{project}.quarantine (event_id, received_at, reason, payload)
             VALUES (gen_random_uuid(), now(), 'kept', 'x')"
        );
        self.sql(&aside).await;
    }

    /// Rows of the answer as the superuser, columns by `|`, in the database of this World.
    pub async fn sql(&self, query: &str) -> String {
        let rows = sqlx::raw_sql(AssertSqlSafe(query.to_owned())).fetch_all(&self.pool).await;
        let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
        let text = |row: &sqlx::postgres::PgRow| {
            // The simple protocol answers in text, whatever the type.
            let columns = (0..row.len()).map(|column| {
                let value = row.try_get_raw(column).unwrap();
                if value.is_null() { String::new() } else { value.as_str().unwrap().to_owned() }
            });
            columns.collect::<Vec<_>>().join("|")
        };
        rows.iter().map(text).collect::<Vec<_>>().join("\n")
    }

    /// Statements as the superuser.
    pub async fn execute(&self, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// The database's time in whole seconds, as a commit would name it.
    pub async fn now(&self) -> String {
        self.sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')").await
    }

    /// As if the keys of objects of this name had been made a minute earlier: a request of the same second does nothing.
    pub async fn age_keys(&self, name: &str) {
        self.execute(&format!(
            "UPDATE errortracking.client_keys SET created_at = created_at - interval '1 minute' WHERE name = '{name}'"
        ))
        .await;
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// User name of the operator at the API server.
    #[must_use]
    pub fn account(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.name, self.chart.service_account)
    }

    /// A place in the cluster's audit log.
    #[must_use]
    #[expect(clippy::unused_self, reason = "a mark is of the cluster that the World is in")]
    pub fn mark(&self) -> Mark {
        Mark::now(&cluster_folder())
    }

    /// A place in the audit log at which everything that was under way is written: two seconds passed without a write.
    pub async fn at_rest(&self) -> Mark {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let mark = self.mark();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let writes = self.writes_since(&mark);
            if writes.is_empty() {
                return self.mark();
            }
            assert!(Instant::now() < deadline, "the operator does not come to rest: {writes:?}");
        }
    }

    /// What the operator has asked the API server for since `mark`.
    #[must_use]
    pub fn requests_since(&self, mark: &Mark) -> Vec<Request> {
        let account = self.account();
        mark.requests().into_iter().filter(|request| request.user == account).collect()
    }

    /// What one of several operators has written since `mark`, the Lease aside.
    #[must_use]
    pub fn writes_of(&self, operator: &Operator, mark: &Mark) -> Vec<Request> {
        self.writes_since(mark).into_iter().filter(|write| write.credential.ends_with(&operator.credential)).collect()
    }

    /// What the operator has written since `mark`, its Lease aside.
    #[must_use]
    pub fn writes_since(&self, mark: &Mark) -> Vec<Request> {
        self.requests_since(mark)
            .into_iter()
            .filter(|request| request.is_write() && request.resource != "leases")
            .collect()
    }

    /// A token of the chart's `ServiceAccount`. Each operator gets its own, which tells them apart in the audit log.
    async fn token(&self) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.name);
        // Nobody renews it, as the kubelet would; the longest measurement takes hours.
        let spec = TokenRequestSpec { expiration_seconds: Some(12 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let answer = accounts.create_token_request(&self.chart.service_account, &PostParams::default(), &request).await;
        answer.unwrap().status.unwrap().token.unwrap()
    }

    /// A kubeconfig for the operator, through the proxy.
    fn kubeconfig(&self, token: &str) -> String {
        let admin = Kubeconfig::read().expect("KUBECONFIG names the kubeconfig of a local cluster");
        let authority = admin.clusters[0].cluster.as_ref().unwrap().certificate_authority.clone().unwrap();
        let address = if self.direct { api_server_address() } else { self.api_server.address.to_string() };
        let server = format!("https://{address}");
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": authority}}],
            "users": [{"name": "operator", "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "operator", "namespace": self.name}}],
            "current-context": "local",
        })
        .to_string()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A runtime of its own: this one may be unwinding.
        let cleaned = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { remove_worlds(&administrator().await).await });
        });
        let _ = cleaned.join();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Looks until `found` gives a value; prints how long it took.
pub async fn eventually<T>(what: &str, limit: Duration, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = found().await {
            println!("{what}: {:.2} s", started.elapsed().as_secs_f64());
            return value;
        }
        assert!(started.elapsed() < limit, "waited {limit:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn administrator() -> Client {
    let mut config = Config::from_kubeconfig(&KubeConfigOptions::default())
        .await
        .expect("KUBECONFIG names the kubeconfig of a local cluster: eval \"$(hack/cluster.sh env --name NAME)\"");
    // A local cluster is not reached through the machine's proxy.
    config.proxy_url = None;
    Client::try_from(config).unwrap()
}

fn api_server_address() -> String {
    let admin = Kubeconfig::read().unwrap();
    let server = admin.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
    server.trim_start_matches("https://").to_owned()
}

/// Where the local cluster keeps its files.
pub fn cluster_folder() -> PathBuf {
    let kubeconfig = PathBuf::from(std::env::var_os("KUBECONFIG").expect("KUBECONFIG is set"));
    kubeconfig.parent().unwrap().to_owned()
}

async fn make_namespace(client: &Client, name: &str, world: &str) {
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {WORLD_LABEL: world}}});
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource("Namespace"));
    api.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
}

/// Removes every World of the cluster: no operator of one runs any more.
async fn remove_worlds(client: &Client) {
    for kind in ["RunnerBinding", "ClientKey", "ErrorTrackingProject"] {
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
        // The first World finds no custom resource definitions.
        let Ok(objects) = all.list(&ListParams::default()).await else { continue };
        for object in objects {
            let (namespace, name) = (object.metadata.namespace.unwrap(), object.metadata.name.unwrap());
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource(kind));
            let _ = api.delete(&name, &DeleteParams::default()).await;
            let free = json!({"metadata": {"finalizers": null}});
            let _ = api.patch(&name, &PatchParams::default(), &Patch::Merge(&free)).await;
        }
    }
    let ours = ListParams::default().labels(WORLD_LABEL);
    for kind in ["Namespace", "ClusterRoleBinding", "ClusterRole"] {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
        for object in api.list(&ours).await.unwrap() {
            let _ = api.delete(&object.metadata.name.unwrap(), &DeleteParams::default()).await;
        }
    }
}
