//! What a caller may see, as Kubernetes decides it: a `SubjectAccessReview` on a subresource of the project's object.
//!
//! Those subresources are in no API; they exist for roles to name. An answer is believed for [`FRESH`], so that a right
//! that was taken away ends within that time. Used by `context` before anything of a project is read.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    auth::{Caller, Right},
    recent::Recent,
    sign_in::Unreviewed,
};
use crate::{
    crd::GROUP,
    store::console::{ProjectAddress, User},
};

/// How long an answer is believed.
const FRESH: Duration = Duration::from_secs(15);

/// How long one answer of the API server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reviews under way at once for one list of projects.
const AT_ONCE: usize = 16;

/// Answers that are remembered. A user who may see everything costs one a page, one who may see single projects two for
/// each project.
const MAX_REMEMBERED: usize = 50_000;

/// Decides for every page.
#[derive(Clone)]
pub enum Rights {
    /// Whoever reached the loopback: for development.
    Everything,
    Kubernetes(Arc<Reviews>),
}

pub struct Reviews {
    client: Client,
    remembered: Recent<Question, bool>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    /// Digest of everything that a review says of the user.
    user: [u8; 32],
    right: Right,
    scope: Scope,
}

/// As in a review: an empty namespace means all of them, an empty name every object of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Cluster,
    Namespace(String),
    Project(ProjectAddress),
    /// The same, of a project that there is. Remembered apart: what a list has asked must not make the refusal of a page
    /// quicker than that of one that there is not.
    Listed(ProjectAddress),
}

impl Rights {
    #[must_use]
    pub fn of_kubernetes(client: Client) -> Self {
        Self::Kubernetes(Arc::new(Reviews { client, remembered: Recent::new(FRESH, MAX_REMEMBERED) }))
    }

    /// Whether the caller has the right in that project, whether or not there is such a project. A right in its whole
    /// namespace, or in the whole cluster, is one in it.
    pub async fn permit(&self, caller: &Caller, right: Right, project: &ProjectAddress) -> Result<bool, Unreviewed> {
        match (self, caller) {
            (_, Caller::Nobody) => Ok(right == Right::None),
            // Who nobody knows changes nothing: history names everybody.
            (Self::Everything, _) => Ok(!matches!(right, Right::UpdateIssues | Right::DeleteIssues)),
            // Without reviews nobody is signed in; with them a caller has a name.
            (Self::Kubernetes(_), Caller::Everybody) => Ok(false),
            (Self::Kubernetes(reviews), Caller::User(user)) => {
                reviews.ask(user, digest(user), right, Scope::Project(project.clone())).await
            }
        }
    }

    /// Whether the caller has the right in every project of a namespace.
    pub async fn permit_in(&self, caller: &Caller, right: Right, namespace: &str) -> Result<bool, Unreviewed> {
        match (self, caller) {
            (Self::Everything, Caller::Everybody | Caller::User(_)) => Ok(true),
            (Self::Kubernetes(reviews), Caller::User(user)) => {
                let who = digest(user);
                Ok(reviews.ask(user, who, right, Scope::Cluster).await?
                    || reviews.ask(user, who, right, Scope::Namespace(namespace.to_owned())).await?)
            }
            _ => Ok(false),
        }
    }

    /// Those of `projects` in which the caller has the right. Asks about the cluster first, then about each namespace,
    /// and about single projects only where both say no.
    pub async fn permitted(
        &self,
        caller: &Caller,
        right: Right,
        projects: BTreeSet<ProjectAddress>,
    ) -> Result<BTreeSet<ProjectAddress>, Unreviewed> {
        let (reviews, user) = match (self, caller) {
            (Self::Everything, Caller::Everybody | Caller::User(_)) => return Ok(projects),
            (Self::Kubernetes(reviews), Caller::User(user)) => (reviews, user),
            _ => return Ok(BTreeSet::new()),
        };
        let who = digest(user);
        if reviews.ask(user, who, right, Scope::Cluster).await? {
            return Ok(projects);
        }
        let namespaces: BTreeSet<String> = projects.iter().map(|project| project.namespace.clone()).collect();
        let turns = Semaphore::new(AT_ONCE);
        let ask = async |scope: Scope| {
            let _turn = turns.acquire().await;
            reviews.ask(user, who, right, scope).await
        };
        let asking = namespaces.iter().map(|namespace| ask(Scope::Namespace(namespace.clone())));
        let answers = try_join_all(asking).await?;
        let open: BTreeSet<&String> =
            namespaces.iter().zip(answers).filter(|(_, yes)| *yes).map(|(name, _)| name).collect();
        let (mut permitted, single): (BTreeSet<_>, BTreeSet<_>) =
            projects.into_iter().partition(|project| open.contains(&project.namespace));
        let answers = try_join_all(single.iter().map(|project| ask(Scope::Listed(project.clone())))).await?;
        permitted.extend(single.into_iter().zip(answers).filter(|(_, yes)| *yes).map(|(project, _)| project));
        Ok(permitted)
    }
}

impl Reviews {
    async fn ask(&self, user: &User, who: [u8; 32], right: Right, scope: Scope) -> Result<bool, Unreviewed> {
        let Some((verb, subresource)) = right.review() else { return Ok(true) };
        let question = Question { user: who, right, scope };
        if let Some(permitted) = self.remembered.get(&question) {
            return Ok(permitted);
        }
        let review = review(user, verb, subresource, &question.scope);
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let asked = timeout(PATIENCE, api.create(&parameters, &review));
        let answered = asked.await.map_err(|_| Unreviewed::Silent)??;
        let status = answered.status.unwrap_or_default();
        let permitted = status.allowed && !status.denied.unwrap_or(false);
        self.remembered.insert(question, permitted);
        Ok(permitted)
    }
}

fn review(user: &User, verb: &str, subresource: &str, scope: &Scope) -> SubjectAccessReview {
    let (namespace, name) = match scope {
        Scope::Cluster => (None, None),
        Scope::Namespace(namespace) => (Some(namespace.clone()), None),
        Scope::Project(project) | Scope::Listed(project) => {
            (Some(project.namespace.clone()), Some(project.name.clone()))
        }
    };
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone()),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                version: Some("*".to_owned()),
                resource: Some("errortrackingprojects".to_owned()),
                subresource: Some(subresource.to_owned()),
                verb: Some(verb.to_owned()),
                namespace,
                name,
                ..ResourceAttributes::default()
            }),
            non_resource_attributes: None,
        },
        ..SubjectAccessReview::default()
    }
}

/// Of all that a review says of the user: nobody gets the answers of another.
fn digest(user: &User) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update(text.len().to_be_bytes());
        hasher.update(text);
    };
    add(&user.name);
    add(&user.uid);
    add(&user.groups.len().to_string());
    for group in &user.groups {
        add(group);
    }
    for (key, values) in &user.extra {
        add(key);
        add(&values.len().to_string());
        for value in values {
            add(value);
        }
    }
    hasher.finalize().into()
}
