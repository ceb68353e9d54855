//! What a decoded body is, by the endpoint that it came to.

use bytes::Bytes;

use super::{path::Endpoint, refusal::Refusal};
use crate::protocol::{
    encoding::{self, Encoding},
    envelope::{self, Envelope, ItemKind},
    event::MAX_BYTES as MAX_EVENT_BYTES,
};

/// Largest envelope after decompression; Sentry's documented limit.
pub const MAX_ENVELOPE_BYTES: usize = 100 << 20;

/// Largest `/store/` body after decompression: an event in base64, with room for line ends.
pub const MAX_STORE_BYTES: usize = 2 * MAX_EVENT_BYTES;

/// A decoded body, and how much more memory it takes than it took on the wire.
pub struct Decoded {
    pub content: Content,
    pub unpacked_bytes: usize,
}

pub enum Content {
    Envelope(Envelope),
    Event(Bytes),
    Security(Bytes),
    NetworkErrors(Bytes),
    Minidump(Bytes),
}

impl Content {
    /// Bytes that have to be understood.
    pub fn len(&self) -> usize {
        match self {
            Self::Envelope(envelope) => {
                envelope.items.iter().filter(|item| !skipped(&item.kind)).map(|item| item.payload.len()).sum()
            }
            Self::Event(body) | Self::Security(body) | Self::NetworkErrors(body) | Self::Minidump(body) => body.len(),
        }
    }
}

/// Items that nobody looks into.
fn skipped(kind: &ItemKind) -> bool {
    let read = matches!(
        kind,
        ItemKind::Event
            | ItemKind::Security
            | ItemKind::Session
            | ItemKind::Sessions
            | ItemKind::ClientReport
            | ItemKind::UserReport
            | ItemKind::Feedback
    );
    !read
}

impl Decoded {
    /// Decodes `bytes`, to at most `limit` of them.
    pub fn new(encoding: Encoding, bytes: Bytes, limit: usize, endpoint: Endpoint) -> Result<Self, Refusal> {
        let body = encoding::decode(encoding, bytes, limit)?;
        let inflated = if encoding == Encoding::Identity { 0 } else { body.len() };
        let content = match endpoint {
            Endpoint::Envelope => Content::Envelope(envelope::parse(&body)?),
            Endpoint::Security => Content::Security(body),
            Endpoint::Nel => Content::NetworkErrors(body),
            Endpoint::Minidump => Content::Minidump(body),
            Endpoint::Store => {
                let event = encoding::store_body(body.clone(), MAX_EVENT_BYTES)?;
                // Of base64 it is another copy.
                let unpacked = if event.as_ptr() == body.as_ptr() { 0 } else { event.len() };
                return Ok(Self { content: Content::Event(event), unpacked_bytes: inflated + unpacked });
            }
        };
        Ok(Self { content, unpacked_bytes: inflated })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_body_unpacks_to_is_known() {
        let plain = br#"{"message":"hello"}"#;
        let gzip = |plain: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            std::io::Write::write_all(&mut encoder, plain).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        let base64 = Bytes::from_static(b"eyJtZXNzYWdlIjoiaGVsbG8ifQ==");
        for (name, encoding, bytes, expected) in [
            ("plain", Encoding::Identity, Bytes::from_static(plain), 0),
            ("gzip", Encoding::Gzip, gzip(plain), plain.len()),
            ("base64", Encoding::Identity, base64.clone(), plain.len()),
            ("gzip of base64", Encoding::Gzip, gzip(&base64), base64.len() + plain.len()),
        ] {
            let decoded = Decoded::new(encoding, bytes, MAX_STORE_BYTES, Endpoint::Store).unwrap();
            assert_eq!(decoded.unpacked_bytes, expected, "{name}");
        }
    }
}
