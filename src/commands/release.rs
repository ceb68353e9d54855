//! Takes the operator's finalizers off every object, for `helm uninstall`: with the operator gone, nobody else would,
//! and no namespace with a project in it could be deleted. Nothing else is changed; the next installation finds all.

use std::time::Duration;

use futures::{StreamExt, future::join_all, stream};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep};

use super::{CommandError, Installation, client};
use crate::{
    crd::FINALIZER,
    kubernetes::{
        KubeError, Namespaces,
        pages::{Contents, identity, list_each},
    },
    operator::{kinds::KINDS, objects::apply::set_finalizer},
};

/// Who holds the Lease meanwhile.
const HOLDER: &str = "release";
/// How long nobody leads afterwards, unless this is called again. Long enough for helm to remove the Deployment; a new
/// installation waits for the rest of it.
const LEASE_SECONDS: i32 = 60;
/// A leader looks at its Lease every 2 s; what it had begun is written by then.
const LEADER_STOPS: Duration = Duration::from_secs(4);
/// All must be done within a minute: a hook that does not end holds the uninstallation up.
const LIMIT: Duration = Duration::from_secs(50);
/// Objects under way at once.
const CONCURRENCY: usize = 16;
const RETRY: Duration = Duration::from_millis(500);

/// Take the operator's finalizers off every project and key, before the operator is uninstalled.
#[derive(Clone, Debug, clap::Args)]
pub struct Release {
    #[command(flatten)]
    installation: Installation,
}

/// Does it, and says how many on standard output.
pub async fn release(command: Release) -> Result<(), CommandError> {
    let client = client().await?;
    let Installation { namespace, lease_name, namespaces } = &command.installation;
    let end = Instant::now() + LIMIT;
    if take_lease(&client, namespace, lease_name, end).await? {
        sleep(LEADER_STOPS).await;
    }
    let mut freed = 0;
    loop {
        let mut left = 0;
        for total in join_all(KINDS.iter().map(|kind| free(&client, namespaces, (kind.resource)(), end))).await {
            let total = total?;
            freed += total.freed;
            left += total.left;
        }
        if left == 0 {
            println!("Took the finalizer off {freed} objects. For {LEASE_SECONDS} s no operator leads.");
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(CommandError::Refused(format!(
                "took the finalizer off {freed} objects, and {left} still have it: call this again"
            )));
        }
        sleep(RETRY).await;
    }
}

/// Whether somebody else led until now.
async fn take_lease(client: &Client, namespace: &str, name: &str, end: Instant) -> Result<bool, CommandError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let failed = || KubeError::on("take", "Lease", &format!("{namespace}/{name}"));
    loop {
        let found = api.get_opt(name).await.map_err(failed())?;
        let before = found.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(HOLDER.into()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(before.lease_transitions.unwrap_or_default() + 1),
            ..LeaseSpec::default()
        };
        let written = if let Some(found) = found {
            api.replace(name, &PostParams::default(), &Lease { spec: Some(spec), ..found }).await.map(|_| ())
        } else {
            let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await.map(|_| ())
        };
        match written {
            Ok(()) => {
                let holder = before.holder_identity.unwrap_or_default();
                return Ok(!holder.is_empty() && holder != HOLDER);
            }
            // The leader has renewed it just now.
            Err(kube::Error::Api(status)) if status.code == 409 && Instant::now() < end => sleep(RETRY / 5).await,
            Err(error) => return Err(failed()(error).into()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Freed {
    freed: usize,
    left: usize,
}

/// Goes once over all objects of a kind. Without the kind there is nothing to do.
async fn free(
    client: &Client,
    namespaces: &Namespaces,
    resource: ApiResource,
    end: Instant,
) -> Result<Freed, CommandError> {
    let mut total = Freed::default();
    for (namespace, api) in namespaces.apis(client, &resource) {
        let freed = free_listed(client, &api, namespace.is_some(), &resource, end).await?;
        total.freed += freed.freed;
        total.left += freed.left;
    }
    Ok(total)
}

async fn free_listed(
    client: &Client,
    api: &Api<DynamicObject>,
    of_namespace: bool,
    resource: &ApiResource,
    end: Instant,
) -> Result<Freed, CommandError> {
    let mut held = Vec::new();
    let listed = list_each(api, Contents::Metadata, |object| {
        if object.finalizers().iter().any(|name| name == FINALIZER) {
            held.push(ObjectMeta { finalizers: object.metadata.finalizers.clone(), ..identity(&object.metadata) });
        }
    });
    match listed.await {
        // No such kind, or no such namespace and no role in it.
        Err(kube::Error::Api(status)) if status.code == 404 || (of_namespace && status.code == 403) => {
            return Ok(Freed::default());
        }
        listed => listed.map_err(KubeError::on("list", resource.plural.clone(), ""))?,
    }
    let free = async |metadata: ObjectMeta| {
        Instant::now() < end && set_finalizer(client, resource, &metadata, false).await.is_ok()
    };
    let results: Vec<bool> = stream::iter(held).map(free).buffer_unordered(CONCURRENCY).collect().await;
    let freed = results.iter().filter(|freed| **freed).count();
    Ok(Freed { freed, left: results.len() - freed })
}
