//! The HTTP surface, as a filter of warp: which requests there are, and that every one of them is
//! answered and counted.

use std::{convert::Infallible, sync::Arc};

use bytes::Buf;
use futures::Stream;
use http::HeaderMap;
use tracing::debug;
use warp::{
    Filter, Rejection,
    filters::{BoxedFilter, path::FullPath},
    reject::{MethodNotAllowed, Reject},
    reply::Response,
};

use super::{
    answer,
    path::Target,
    refusal::Refusal,
    refusal_log::RefusalLog,
    submission::{Ingest, Submission},
};

/// The path is none of ours.
#[derive(Debug)]
struct NoTarget;

impl Reject for NoTarget {}

/// What the filters share.
struct Shared {
    ingest: Ingest,
    log: RefusalLog,
}

impl Shared {
    fn refuse(&self, refusal: &Refusal, submission: Option<&Submission<'_>>) -> Response {
        // Events that reached the writers and were refused there are counted here too, once.
        self.ingest.metrics.outcomes.count(refusal.reason(), 1);
        self.log.refused(refusal, submission.and_then(Submission::key));
        answer::refused(refusal)
    }
}

/// `OPTIONS` and `POST` on `…/api/<project>/{envelope,store}/`; 404 and 405 for everything else.
pub fn routes(ingest: Ingest) -> BoxedFilter<(Response,)> {
    let metrics = ingest.metrics.clone();
    let shared = Arc::new(Shared { ingest, log: RefusalLog::default() });

    let target = warp::path::full().and_then(|path: FullPath| async move {
        Target::parse(path.as_str()).ok_or_else(|| warp::reject::custom(NoTarget))
    });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let preflight = target.and(warp::options()).map(|_| answer::preflight());
    let submit = target
        .and(warp::post())
        .and(with(&shared))
        .and(warp::header::headers_cloned())
        .and(query)
        .and(warp::body::stream())
        .then(submit);
    let refused = move |rejection: Rejection| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.refuse(&refusal_of(&rejection), None)) }
    };
    preflight
        .or(submit)
        .unify()
        .recover(refused)
        .unify()
        .map(move |response: Response| {
            metrics.answered(response.status());
            response
        })
        .boxed()
}

fn with(shared: &Arc<Shared>) -> impl Filter<Extract = (Arc<Shared>,), Error = Infallible> + Clone + use<> {
    let shared = Arc::clone(shared);
    warp::any().map(move || Arc::clone(&shared))
}

async fn submit<S, B>(target: Target, shared: Arc<Shared>, headers: HeaderMap, query: String, body: S) -> Response
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let mut submission = Submission::new(&shared.ingest, target, &headers, &query);
    match submission.accept(body).await {
        Ok(event_id) => answer::accepted(event_id),
        Err(refusal) => shared.refuse(&refusal, Some(&submission)),
    }
}

/// The filters above reject for two reasons; a path of ours comes before its method.
fn refusal_of(rejection: &Rejection) -> Refusal {
    debug!(?rejection, "No route.");
    if rejection.find::<NoTarget>().is_some() || rejection.find::<MethodNotAllowed>().is_none() {
        Refusal::NoRoute
    } else {
        Refusal::Method
    }
}
