//! The audit log of the local cluster: what was asked of the API server, and by whom.

use std::{
    fmt,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A place in the log.
pub struct Mark {
    log: PathBuf,
    inode: u64,
    offset: u64,
}

/// A request that was answered, or a watch that has begun.
#[derive(Clone, Debug)]
pub struct Request {
    pub user: String,
    /// "JTI=" and the id of the token.
    pub credential: String,
    pub verb: String,
    pub group: String,
    /// With the subresource, as "clientkeys/status".
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub code: u64,
    /// RFC 3339, when it arrived.
    pub at: String,
}

impl Request {
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, resource, namespace, name, code, at, .. } = self;
        write!(formatter, "{at} {verb} {resource} {namespace}/{name}: {code}")
    }
}

impl Mark {
    pub(super) fn now(cluster: &Path) -> Self {
        let log = cluster.join("logs/audit.log");
        let metadata = std::fs::metadata(&log).expect("the cluster of KUBECONFIG has an audit log");
        Self { log, inode: metadata.ino(), offset: metadata.len() }
    }

    /// Every request since, in the order of their answers.
    pub fn requests(&self) -> Vec<Request> {
        let mut file = File::open(&self.log).unwrap();
        assert_eq!(file.metadata().unwrap().ino(), self.inode, "the audit log was turned over");
        file.seek(SeekFrom::Start(self.offset)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // The last line may be half written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().filter_map(request).collect()
    }
}

fn request(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // A watch is answered twice: when it begins and when it ends.
    let (stage, verb) = (text(&event["stage"]), text(&event["verb"]));
    if (stage == "ResponseStarted") != (verb == "watch") || stage == "Panic" {
        return None;
    }
    let object = &event["objectRef"];
    let mut resource = text(&object["resource"]);
    if let Some(subresource) = object["subresource"].as_str() {
        resource = format!("{resource}/{subresource}");
    }
    Some(Request {
        user: text(&event["user"]["username"]),
        credential: text(&event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0]),
        verb,
        group: text(&object["apiGroup"]),
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        at: text(&event["requestReceivedTimestamp"]),
    })
}
