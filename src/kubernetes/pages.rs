//! Lists in pages that are bounded by bytes. Tenants choose how large their objects are, and the API server counts
//! objects: 500 of a megabyte each would be more than the memory of the process. An answer that is larger than a page
//! may be is dropped, and asked for again with fewer objects. The objects of a page are read one at a time.

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, ObjectMeta},
    client::Body,
    core::{ListMeta, Request, Status},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Objects of the first page: of the largest that the API server stores they are 75 MB, which are not read to the end.
const FIRST: u32 = 50;
/// Most objects in a page.
const MOST: u32 = 500;
/// Bytes that a page should have, and those at which reading it is given up. One object alone is read to its end: the
/// API server bounds it.
const WANTED_BYTES: usize = 2 << 20;
const MOST_BYTES: usize = 2 * WANTED_BYTES;

/// Pages that are in memory at once, of all lists.
static TURNS: Semaphore = Semaphore::const_new(2);

/// What is asked for of each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    Whole,
    /// The API server sends nothing else, as of Secrets whose values nobody needs.
    Metadata,
}

/// What tells one object, and one version of it, from another; people may have put 256 KiB beside it.
#[must_use]
pub fn identity(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
        generation: metadata.generation,
        creation_timestamp: metadata.creation_timestamp.clone(),
        deletion_timestamp: metadata.deletion_timestamp.clone(),
        ..ObjectMeta::default()
    }
}

/// Reads every object that `api` lists, one after the other.
pub async fn list_each(
    api: &Api<DynamicObject>,
    contents: Contents,
    mut each: impl FnMut(DynamicObject),
) -> Result<(), kube::Error> {
    let (mut size, mut parameters) = (PageSize::default(), ListParams::default());
    loop {
        let page = Page::read(api, contents, &parameters, &mut size, Turn::wait().await).await?;
        parameters.continue_token = page.take(&mut size, &mut each)?.continue_.filter(|token| !token.is_empty());
        if parameters.continue_token.is_none() {
            return Ok(());
        }
    }
}

/// How many objects the next page should have.
#[derive(Debug)]
pub struct PageSize(u32);

impl Default for PageSize {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl PageSize {
    /// A page was read: the next one has about as many bytes as it should.
    fn adapt(&mut self, objects: usize, bytes: usize) {
        let fitting = WANTED_BYTES / (bytes / objects.max(1)).max(1);
        self.0 = u32::try_from(fitting).unwrap_or(MOST).clamp(1, MOST.min(self.0.saturating_mul(4)));
    }

    /// A page was too large, or its answer did not come. Returns whether a smaller one can be asked for.
    pub fn lower(&mut self) -> bool {
        let larger = self.0 > 1;
        self.0 = (self.0 / 4).max(1);
        larger
    }
}

/// Leave to have a page in memory. The others wait until it is dropped.
pub struct Turn(#[expect(dead_code, reason = "it is given back when it is dropped")] Option<SemaphorePermit<'static>>);

impl Turn {
    pub async fn wait() -> Self {
        // Never closed.
        Self(TURNS.acquire().await.ok())
    }
}

/// The answer to one request of a list.
pub struct Page {
    body: Vec<u8>,
    _turn: Turn,
}

#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMeta,
    /// `null`: an empty list of metadata.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

impl Page {
    /// The next page of a list that `parameters` describe but for the limit, which is `size`.
    pub async fn read(
        api: &Api<DynamicObject>,
        contents: Contents,
        parameters: &ListParams,
        size: &mut PageSize,
        turn: Turn,
    ) -> Result<Self, kube::Error> {
        let client = api.clone().into_client();
        loop {
            let parameters = parameters.clone().limit(size.0);
            let request = Request::new(api.resource_url());
            let request = match contents {
                Contents::Whole => request.list(&parameters),
                Contents::Metadata => request.list_metadata(&parameters),
            };
            let most = if size.0 > 1 { MOST_BYTES } else { usize::MAX };
            let request = request.map_err(kube::Error::BuildRequest)?;
            if let Some(body) = read_at_most(&client, request, most).await? {
                return Ok(Self { body, _turn: turn });
            }
            size.lower();
        }
    }

    /// Reads the objects one after the other; where the list goes on, and its version.
    pub fn take(&self, size: &mut PageSize, mut each: impl FnMut(DynamicObject)) -> Result<ListMeta, kube::Error> {
        let list: List<'_> = serde_json::from_slice(&self.body).map_err(kube::Error::SerdeError)?;
        let items = list.items.unwrap_or_default();
        size.adapt(items.len(), self.body.len());
        for item in items {
            each(serde_json::from_str(item.get()).map_err(kube::Error::SerdeError)?);
        }
        Ok(list.metadata)
    }
}

/// The body of the answer; `None`: it is larger.
async fn read_at_most(
    client: &Client,
    request: http::Request<Vec<u8>>,
    most: usize,
) -> Result<Option<Vec<u8>>, kube::Error> {
    let answer = client.send(request.map(Body::from)).await?;
    let status = answer.status();
    let mut frames = answer.into_body();
    let mut body = Vec::new();
    while let Some(frame) = frames.frame().await {
        let data: Bytes = frame?.into_data().unwrap_or_default();
        if body.len() + data.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&data);
    }
    if status.is_success() {
        return Ok(Some(body));
    }
    let refusal = serde_json::from_slice(&body).unwrap_or_else(|_| {
        Status::failure(&String::from_utf8_lossy(&body), status.canonical_reason().unwrap_or_default())
            .with_code(status.as_u16())
    });
    Err(kube::Error::Api(Box::new(refusal)))
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use k8s_openapi::api::core::v1::Secret;
    use kube::api::ApiResource;
    use serde_json::json;
    use tower::service_fn;

    use super::*;

    /// An API server with objects of these sizes; the largest answer that was read from it.
    fn server(sizes: Vec<usize>) -> (Api<DynamicObject>, Arc<AtomicUsize>) {
        let largest = Arc::new(AtomicUsize::new(0));
        let answered = largest.clone();
        let answer = move |request: http::Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let parameters: std::collections::HashMap<String, String> =
                form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let from: usize = parameters.get("continue").map_or(0, |token| token.parse().unwrap());
            let to = sizes.len().min(from + parameters["limit"].parse::<usize>().unwrap());
            let items: Vec<_> = (from..to)
                .map(|n| {
                    let annotations = json!({"note": "n".repeat(sizes[n])});
                    json!({"metadata": {"namespace": "web", "name": n.to_string(), "annotations": annotations}})
                })
                .collect();
            let next = if to < sizes.len() { to.to_string() } else { String::new() };
            let items = if items.is_empty() { json!(null) } else { items.into() };
            let list = json!({"metadata": {"resourceVersion": "7", "continue": next}, "items": items}).to_string();
            let answered = answered.clone();
            async move {
                // Only what fits is taken in.
                if list.len() <= MOST_BYTES || to - from == 1 {
                    answered.fetch_max(list.len(), Ordering::Relaxed);
                }
                Ok::<_, Infallible>(http::Response::new(Body::from(list.into_bytes())))
            }
        };
        let client = Client::new(service_fn(answer), "default");
        (Api::all_with(client, &ApiResource::erase::<Secret>(&())), largest)
    }

    async fn names(api: &Api<DynamicObject>) -> (Vec<String>, usize) {
        let (mut size, mut parameters, mut found, mut pages) = (PageSize::default(), ListParams::default(), vec![], 0);
        loop {
            let page = Page::read(api, Contents::Whole, &parameters, &mut size, Turn::wait().await).await.unwrap();
            let list = page.take(&mut size, |object| found.push(object.metadata.name.unwrap())).unwrap();
            pages += 1;
            match list.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return (found, pages),
            }
        }
    }

    #[tokio::test]
    async fn a_page_is_bounded_by_bytes_whatever_the_objects() {
        let large = 1 << 20;
        for (case, sizes, most_pages) in [
            ("small ones", vec![100; 1_200], 5),
            ("large ones", vec![large; 40], 40),
            ("large ones behind small ones", [vec![10; 900], vec![large; 40]].concat(), 50),
            ("one that is larger than a page", vec![10, 3 * MOST_BYTES, 10], 4),
            ("none", vec![], 1),
        ] {
            let expected: Vec<_> = (0..sizes.len()).map(|n| n.to_string()).collect();
            let biggest = sizes.iter().copied().max().unwrap_or_default();
            let (api, largest) = server(sizes);
            let (found, pages) = names(&api).await;
            assert_eq!(found, expected, "{case}");
            assert!(pages <= most_pages, "{case}: {pages} pages");
            let largest = largest.load(Ordering::Relaxed);
            assert!(largest <= MOST_BYTES.max(biggest + 1_000), "{case}: {largest} bytes at once");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_words_of_the_api_server() {
        let answer = |_: http::Request<Body>| async {
            let status = json!({"kind": "Status", "status": "Failure", "code": 403, "message": "may not list"});
            let answer = http::Response::builder().status(403).body(Body::from(status.to_string().into_bytes()));
            Ok::<_, Infallible>(answer.unwrap())
        };
        let api: Api<DynamicObject> =
            Api::all_with(Client::new(service_fn(answer), "default"), &ApiResource::erase::<Secret>(&()));
        let (parameters, mut size) = (ListParams::default(), PageSize::default());
        let read = Page::read(&api, Contents::Whole, &parameters, &mut size, Turn::wait().await).await;
        let Err(kube::Error::Api(status)) = read else { panic!("it was refused") };
        assert_eq!((status.code, &*status.message), (403, "may not list"));
    }
}
