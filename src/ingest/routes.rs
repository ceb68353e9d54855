//! The HTTP surface, as a filter of warp: which requests there are, and that every one of them is
//! answered and counted.

use std::{convert::Infallible, sync::Arc, time::Instant};

use bytes::Buf;
use futures::Stream;
use http::HeaderMap;
use tracing::{Instrument, Span, debug, debug_span};
use warp::{
    Filter, Rejection,
    filters::{BoxedFilter, path::FullPath},
    reject::{MethodNotAllowed, Reject},
    reply::Response,
};

use super::{
    answer,
    outcomes::Category,
    path::{Endpoint, Target},
    refusal::Refusal,
    refusal_log::RefusalLog,
    submission::{Ingest, Submission},
};
use crate::server::{Crowded, Peer};

/// The path is none of ours.
#[derive(Debug)]
struct NoTarget;

impl Reject for NoTarget {}

/// More requests are under way than there is memory for their heads.
#[derive(Debug)]
struct OneTooMany;

impl Reject for OneTooMany {}

/// What the filters share.
struct Shared {
    ingest: Ingest,
    log: RefusalLog,
}

impl Shared {
    /// A span that is on costs a request some microseconds, and one that is off nothing.
    fn span(&self, target: Target) -> Span {
        debug_span!("request", project = self.ingest.project.get(), endpoint = target.endpoint.name())
    }

    fn refuse(&self, refusal: &Refusal, submission: Option<&Submission<'_>>) -> Response {
        if !submission.is_some_and(Submission::counted) {
            let category = submission.map_or(Category::Default, Submission::category);
            let key = submission.and_then(Submission::known_key);
            self.ingest.metrics.outcomes.count(key, category, refusal.reason(), 1);
        }
        self.log.refused(refusal, self.ingest.project, submission.and_then(Submission::key));
        answer::refused(refusal)
    }
}

/// `OPTIONS` and `POST` on `…/api/<project>/<endpoint>/`, and `GET` on `store`; 404 and 405 for everything else.
pub fn routes(ingest: Ingest) -> BoxedFilter<(Response,)> {
    let metrics = ingest.metrics.clone();
    let shared = Arc::new(Shared { ingest, log: RefusalLog::default() });

    let target = warp::path::full().and_then(|path: FullPath| async move {
        Target::parse(path.as_str()).ok_or_else(|| warp::reject::custom(NoTarget))
    });
    let by_image = warp::path::full().and_then(|path: FullPath| async move {
        let of_image = |target: &Target| target.endpoint == Endpoint::Store;
        Target::parse(path.as_str()).filter(of_image).ok_or_else(warp::reject::reject)
    });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let peer = warp::ext::optional::<Peer>();
    let preflight = target.and(warp::options()).map(|_| answer::preflight());
    let pixel = by_image
        .and(warp::get())
        .and(with(&shared))
        .and(warp::header::headers_cloned())
        .and(peer)
        .and(query)
        .then(submit_by_image);
    let submit = target
        .and(warp::post())
        .and(with(&shared))
        .and(warp::header::headers_cloned())
        .and(peer)
        .and(query)
        .and(warp::body::stream())
        .then(submit);
    let refused = move |rejection: Rejection| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.refuse(&refusal_of(&rejection), None)) }
    };
    // Before anything is copied of the head.
    let not_crowded = warp::ext::optional::<Crowded>().and_then(|crowded: Option<Crowded>| async move {
        if crowded.is_some() { Err(warp::reject::custom(OneTooMany)) } else { Ok(()) }
    });
    let taken = preflight.or(submit).unify().or(pixel).unify();
    let answer = not_crowded.untuple_one().and(taken).recover(refused).unify();
    // What comes first in a filter is done when the head of the request is there.
    warp::any()
        .map(Instant::now)
        .and(answer)
        .map(move |started: Instant, response: Response| {
            metrics.answered(response.status(), started.elapsed());
            response
        })
        .boxed()
}

fn with(shared: &Arc<Shared>) -> impl Filter<Extract = (Arc<Shared>,), Error = Infallible> + Clone + use<> {
    let shared = Arc::clone(shared);
    warp::any().map(move || Arc::clone(&shared))
}

async fn submit<S, B>(
    target: Target,
    shared: Arc<Shared>,
    headers: HeaderMap,
    peer: Option<Peer>,
    query: String,
    body: S,
) -> Response
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let answering = async {
        let mut submission = Submission::new(&shared.ingest, target, &headers, peer, &query);
        match submission.accept(body).await {
            Ok(accepted) => answer::accepted(&accepted),
            Err(refusal) => shared.refuse(&refusal, Some(&submission)),
        }
    };
    answering.instrument(shared.span(target)).await
}

async fn submit_by_image(
    target: Target,
    shared: Arc<Shared>,
    headers: HeaderMap,
    peer: Option<Peer>,
    query: String,
) -> Response {
    let answering = async {
        let mut submission = Submission::new(&shared.ingest, target, &headers, peer, &query);
        match submission.accept_query().await {
            Ok(accepted) => answer::accepted(&accepted),
            Err(refusal) => shared.refuse(&refusal, Some(&submission)),
        }
    };
    answering.instrument(shared.span(target)).await
}

/// The filters above reject for three reasons; a path of ours comes before its method.
fn refusal_of(rejection: &Rejection) -> Refusal {
    debug!(?rejection, "No route.");
    if rejection.find::<OneTooMany>().is_some() {
        Refusal::Crowded
    } else if rejection.find::<NoTarget>().is_some() || rejection.find::<MethodNotAllowed>().is_none() {
        Refusal::NoRoute
    } else {
        Refusal::Method
    }
}
