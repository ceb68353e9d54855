//! Crash uploads of native programs: a form with a memory dump in it, or the dump alone. The dump is not
//! looked into; what the SDK says beside it becomes the event.

mod msgpack;
mod multipart;

use bytes::Bytes;
use serde_json::{Map, Value, json};

pub use self::multipart::MultipartError;
use self::multipart::Part;
use super::event::{MAX_BYTES, repaired};

/// The field that every crash reporter since Breakpad sends the dump in.
const DUMP_FIELD: &str = "upload_file_minidump";

/// Breadcrumbs kept of the two files that sentry-native rotates.
const MAX_BREADCRUMBS: usize = 100;

/// Values of all parts of one event together: each takes many times its bytes while it is read.
const MAX_VALUES: usize = 50_000;

/// Deepest `sentry[a][b]…`.
const MAX_KEYS: usize = 10;

/// A crash that was uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// JSON of the event, as `/store/` would take it.
    pub event: Vec<u8>,
    /// A slice of the body.
    pub dump: Bytes,
    /// Attachments and fields that say nothing about the event.
    pub other_parts: usize,
    /// Parts that should have been part of the event, and could not be read.
    pub unreadable_parts: usize,
}

/// Why an upload was refused. 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MinidumpError {
    #[error("empty request body")]
    Empty,
    #[error("invalid multipart data")]
    Multipart(#[from] MultipartError),
    #[error("missing minidump")]
    Missing,
    #[error("invalid minidump")]
    Invalid,
}

/// Reads the body of `/minidump/`.
pub fn parse(content_type: Option<&str>, body: &Bytes) -> Result<Upload, MinidumpError> {
    if body.is_empty() {
        return Err(MinidumpError::Empty);
    }
    let Some(boundary) = content_type.and_then(multipart::boundary) else {
        let (event, dump) = (Form::default().into_event(), checked(body)?);
        return Ok(Upload { event, dump, other_parts: 0, unreadable_parts: 0 });
    };
    let mut form = Form::default();
    let mut dump = None;
    for part in multipart::parse(&boundary, body)? {
        if part.name == DUMP_FIELD {
            dump = Some(checked(&part.body)?);
        } else {
            form.add(&part);
        }
    }
    let dump = dump.ok_or(MinidumpError::Missing)?;
    form.read_chunks();
    let Form { other_parts, unreadable_parts, .. } = form;
    Ok(Upload { event: form.into_event(), dump, other_parts, unreadable_parts })
}

/// A dump in either byte order, or what it may be packed in: gzip, xz, bzip2, zstd.
fn checked(dump: &Bytes) -> Result<Bytes, MinidumpError> {
    let magics: [&[u8]; 6] = [b"MDMP", b"PMDM", &[0x1f, 0x8b], b"\xfd7zXZ\0", b"BZh", &[0x28, 0xb5, 0x2f, 0xfd]];
    if magics.iter().any(|magic| dump.starts_with(magic)) { Ok(dump.clone()) } else { Err(MinidumpError::Invalid) }
}

/// What the fields beside the dump say.
#[derive(Default)]
struct Form {
    /// From the file `__sentry-event`.
    attached: Map<String, Value>,
    /// From the field `sentry`, which wins over the file.
    field: Map<String, Value>,
    /// From fields `sentry[a][b]`, which win over both.
    keys: Map<String, Value>,
    /// `sentry__1`, `sentry__2`: a long field in pieces.
    chunks: Vec<(u32, Bytes)>,
    breadcrumbs: Vec<Value>,
    /// Bytes and values of all parts of the event so far.
    bytes: usize,
    values: usize,
    other_parts: usize,
    unreadable_parts: usize,
}

impl Form {
    fn add(&mut self, part: &Part) {
        if is_of_event(&part.name) {
            self.bytes += part.body.len();
        }
        let left = MAX_VALUES.saturating_sub(self.values);
        let read = match part.name.as_str() {
            name if self.bytes > MAX_BYTES && is_of_event(name) => None,
            "sentry" => self.json_object(&part.body).map(|object| self.field.extend(object)),
            "__sentry-event" => msgpack::object(&part.body, left).map(|(object, values)| {
                self.values += values;
                self.attached.extend(object);
            }),
            "__sentry-breadcrumb1" | "__sentry-breadcrumb2" => {
                msgpack::values(&part.body, left).map(|(breadcrumbs, values)| {
                    self.values += values;
                    self.breadcrumbs.extend(breadcrumbs);
                })
            }
            name => match (name.strip_prefix("sentry__").map(str::parse), name.strip_prefix("sentry[")) {
                (Some(Ok(number)), _) => {
                    self.chunks.push((number, part.body.clone()));
                    Some(())
                }
                (_, Some(keys)) => self.add_key(keys, &part.body),
                _ => {
                    self.other_parts += 1;
                    return;
                }
            },
        };
        if read.is_none() {
            self.unreadable_parts += 1;
        }
    }

    /// What strict parsers refuse is mended, as in an event that comes alone.
    fn json_object(&mut self, text: &[u8]) -> Option<Map<String, Value>> {
        // At most: a comma in a text counts as well.
        self.values += text.iter().filter(|byte| matches!(byte, b'{' | b'[' | b',')).count();
        if self.values > MAX_VALUES {
            return None;
        }
        serde_json::from_slice(text).ok().or_else(|| serde_json::from_slice(&repaired(text)?).ok())
    }

    /// `tags][version]` with its text.
    fn add_key(&mut self, keys: &str, text: &[u8]) -> Option<()> {
        let keys: Vec<&str> = keys.strip_suffix(']')?.split("][").collect();
        let (last, outer) = keys.split_last()?;
        if keys.len() > MAX_KEYS || keys.iter().any(|key| key.is_empty()) {
            return None;
        }
        let mut object = &mut self.keys;
        for key in outer {
            object = object.entry(*key).or_insert_with(|| json!({})).as_object_mut()?;
        }
        object.insert((*last).to_owned(), String::from_utf8_lossy(text).into());
        Some(())
    }

    fn read_chunks(&mut self) {
        let mut chunks = std::mem::take(&mut self.chunks);
        if chunks.is_empty() {
            return;
        }
        chunks.sort_by_key(|(number, _)| *number);
        let length: usize = chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        let whole = || chunks.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect::<Vec<u8>>();
        match (length <= MAX_BYTES).then(whole).and_then(|whole| self.json_object(&whole)) {
            Some(object) => self.field.extend(object),
            None => self.unreadable_parts += chunks.len(),
        }
    }

    /// A fatal error of a native program, unless the SDK says otherwise.
    fn into_event(mut self) -> Vec<u8> {
        let mut event = self.attached;
        event.extend(self.field);
        merge(&mut event, self.keys);
        if !self.breadcrumbs.is_empty() && !event.contains_key("breadcrumbs") {
            let time = |breadcrumb: &Value| breadcrumb.get("timestamp").and_then(Value::as_str).map(str::to_owned);
            self.breadcrumbs.sort_by_key(time);
            let newest = self.breadcrumbs.len().saturating_sub(MAX_BREADCRUMBS);
            event.insert("breadcrumbs".to_owned(), self.breadcrumbs.split_off(newest).into());
        }
        let mut default = |name: &str, value: Value| {
            if event.get(name).is_none_or(Value::is_null) {
                event.insert(name.to_owned(), value);
            }
        };
        default("level", "fatal".into());
        default("platform", "native".into());
        let mechanism = json!({"type": "minidump", "handled": false});
        default("exception", json!({"values": [{"type": "Minidump", "mechanism": mechanism}]}));
        Value::Object(event).to_string().into_bytes()
    }
}

fn is_of_event(name: &str) -> bool {
    ["sentry[", "sentry__", "__sentry-"].iter().any(|prefix| name.starts_with(prefix)) || name == "sentry"
}

/// Objects are merged, anything else is replaced.
fn merge(event: &mut Map<String, Value>, keys: Map<String, Value>) {
    for (key, value) in keys {
        match (event.get_mut(&key), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            (_, value) => {
                event.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
