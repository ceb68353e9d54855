//! What clients put on the wire: envelopes, and bodies in every coding.

use std::{fmt::Write as _, io::Write as _};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};

use crate::client::Request;

/// Header lines of an envelope and of each item, with the length that belongs there.
pub fn envelope(header: &str, items: &[(&str, &str)]) -> Vec<u8> {
    let mut envelope = header.to_owned();
    for (kind, payload) in items {
        write!(envelope, "\n{{\"type\":\"{kind}\",\"length\":{}}}\n{payload}", payload.len()).unwrap();
    }
    envelope.push('\n');
    envelope.into_bytes()
}

/// An envelope with one event, under an id of its own.
pub fn event_envelope(id: &str, event: &str) -> Vec<u8> {
    envelope(&format!("{{\"event_id\":\"{id}\"}}"), &[("event", event)])
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
    encoder.write_all(plain).unwrap();
    encoder.into_inner()
}

pub fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

/// The names of the codings that a request may have.
pub const CODINGS: [&str; 5] = ["identity", "gzip", "deflate", "br", "zstd"];

/// `request` with its body in this coding, and the header that says so.
pub fn coded(request: Request, coding: &'static str) -> Request {
    let plain = request.body();
    let body = match coding {
        "identity" => return request,
        "gzip" => gzip(plain),
        "deflate" => zlib(plain),
        "br" => brotli(plain),
        "zstd" => zstd(plain),
        other => panic!("no coding {other}"),
    };
    request.with_body(body).header("Content-Encoding", coding)
}

/// As raven clients send: no header says what it is.
pub fn raven(event: &str) -> [(&'static str, Vec<u8>); 2] {
    let base64 = |bytes: &[u8]| STANDARD.encode(bytes).into_bytes();
    [("base64", base64(event.as_bytes())), ("base64 of zlib", base64(&zlib(event.as_bytes())))]
}

/// A form as browsers and crash reporters send it.
pub fn form(boundary: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in parts {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
        body.extend(head.bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").bytes());
    body
}
