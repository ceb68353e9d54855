//! What every handler gets beside the request: who asks, when, where from, and the way to the data, which leads past
//! the rights. Made by `web` once the caller is known; used by `handlers`.

use http::HeaderMap;
use jiff::Timestamp;

use super::{
    auth::{Caller, Right},
    databases::{Databases, Found},
    moved,
    pages::Shell,
    problem::Problem,
    query::Reader,
    rights::Rights,
    sign_in::{Scopes, SignIn},
    trends::Trends,
    web::origin::{Host, Hosts},
};
use crate::store::console::{Change, Project, ProjectAddress, Snapshot, Wanted};

pub struct Context {
    pub caller: Caller,
    /// What the caller's token may be used for; it covers the route's right.
    pub scopes: Scopes,
    /// What the route needs of the caller in each project that it shows.
    pub right: Right,
    pub rights: Rights,
    pub databases: Databases,
    pub trends: Trends,
    pub shell: Shell,
    pub now: Timestamp,
    pub asked: Asked,
    pub sign_in: SignIn,
}

/// What was asked, for the few handlers that need more than their own part of it.
pub struct Asked {
    /// Path and query as they came.
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub hosts: Hosts,
}

impl Asked {
    /// `None` cannot be: `web` answers no request without one.
    pub fn host(&self) -> Result<Host<'_>, Problem> {
        self.hosts.of(&self.headers).ok_or(Problem::ForeignForm)
    }
}

impl Context {
    /// What `read` makes of the project at that address, with a view of the database that it is kept in. The right is
    /// asked for first, by the address alone: a project that the caller may not see and one that does not exist are
    /// refused by the same words after the same work.
    pub async fn read<T, R>(
        &self,
        address: &ProjectAddress,
        read: impl FnOnce(Snapshot, Project) -> R,
    ) -> Result<T, Problem>
    where
        R: Future<Output = Result<T, Problem>>,
    {
        let Some(Found { database, snapshot, project }) = self.find(address).await? else {
            let refused = || Problem::NoProject(address.clone(), self.right);
            return Err(self.moved(address).await?.unwrap_or_else(refused));
        };
        database.in_time(read(snapshot, project)).await
    }

    /// What `change` does in the project at that address; rolled back unless it commits. Refused as [`Self::read`] is.
    pub async fn change<T, R>(
        &self,
        address: &ProjectAddress,
        change: impl FnOnce(Change, Project) -> R,
    ) -> Result<T, Problem>
    where
        R: Future<Output = Result<T, Problem>>,
    {
        let Some(Found { database, snapshot, project }) = self.find(address).await? else {
            return Err(Problem::NoProject(address.clone(), self.right));
        };
        snapshot.end().await?;
        let changing = async { change(database.begin_change().await?, project).await };
        database.in_time(changing).await
    }

    /// The project, if the caller has the route's right there and it exists.
    async fn find(&self, address: &ProjectAddress) -> Result<Option<Found>, Problem> {
        if !self.rights.permit(&self.caller, self.right, address).await? {
            return Ok(None);
        }
        let found = self.databases.find(&Wanted::Address(address.clone())).await?;
        if let Some(found) = &found {
            tracing::Span::current().record("project", found.project.id.get());
        }
        Ok(found)
    }

    /// Whose queries the caller writes, now.
    pub fn reader(&self) -> Reader<'_> {
        let me = match &self.caller {
            Caller::User(user) => Some(user.name.as_str()),
            Caller::Nobody | Caller::Everybody => None,
        };
        Reader { me, now: self.now }
    }

    /// Whether the caller has another right than the route's in a project that `read` has found.
    pub async fn also(&self, right: Right, address: &ProjectAddress) -> Result<bool, Problem> {
        Ok(self.scopes.cover(right) && self.rights.permit(&self.caller, right, address).await?)
    }

    /// Addresses of a version before had the number of the project in them: where the caller may see that project, its
    /// page is elsewhere now.
    async fn moved(&self, address: &ProjectAddress) -> Result<Option<Problem>, Problem> {
        let Some(id) = moved::number(address) else { return Ok(None) };
        let Some(found) = self.databases.find(&Wanted::Number(id)).await? else { return Ok(None) };
        let now = found.project.address();
        let permitted = self.rights.permit(&self.caller, self.right, &now).await?;
        let place = moved::place(&self.asked.path, &self.asked.query, &now).filter(|_| permitted);
        Ok(place.map(Problem::Moved))
    }
}
