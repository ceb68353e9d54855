//! What a body was before it was packed, within the memory that there is for it: on the spot where that takes little, on
//! a thread of its own where it does not.

use bytes::Bytes;

use super::{
    body::{BodyError, BodyReader, SMALL_BODY_BYTES},
    content::{Content, Decoded},
    large_bodies::{BodyMemory, Class, LargeBodies},
    path::Endpoint,
    refusal::Refusal,
    room::{Reservation, Room},
};
use crate::{
    dsn::PublicKey,
    protocol::encoding::{DecodeError, Encoding},
};

/// To inflate this much takes a few milliseconds at most.
pub const INLINE_INFLATED_BYTES: usize = 1 << 20;

/// What is inflated at first of what is not done on the spot. Hardly anything honest has more, and there is memory only
/// once for all that an envelope may have.
const MODEST_INFLATED_BYTES: usize = 8 << 20;

/// How the body of one request is to be decoded.
pub struct Decoding<'a> {
    pub reader: &'a BodyReader,
    pub large_bodies: &'a LargeBodies,
    pub key: Option<&'a PublicKey>,
    pub encoding: Encoding,
    pub endpoint: Endpoint,
    /// Most bytes after decoding.
    pub limit: usize,
}

impl Decoding<'_> {
    /// What `bytes` are; `memory` covers them, and what they become.
    pub async fn decode(&self, bytes: Bytes, memory: BodyMemory) -> Result<(Content, BodyMemory), Refusal> {
        let is_packed = self.encoding != Encoding::Identity;
        let inline = if is_packed { self.limit.min(INLINE_INFLATED_BYTES) } else { self.limit };
        if bytes.len() <= SMALL_BODY_BYTES
            && let Some(decoded) = up_to(inline, self.encoding, bytes.clone(), self.endpoint, self.limit)?
        {
            return self.covered(decoded, memory);
        }
        let modest = if is_packed { self.limit.min(MODEST_INFLATED_BYTES) } else { self.limit };
        let (decoded, memory) = self.on_thread(modest, self.key, bytes.clone(), memory).await?;
        if let Some(content) = decoded {
            return Ok((content, memory));
        }
        // It is more than any key's share.
        let (decoded, memory) = self.on_thread(self.limit, None, bytes, memory).await?;
        Ok((decoded.ok_or(DecodeError::TooLarge(self.limit))?, memory))
    }

    fn covered(&self, decoded: Decoded, mut memory: BodyMemory) -> Result<(Content, BodyMemory), Refusal> {
        let in_room = |room: &Room| reserved(room.reservation(self.key), decoded.unpacked_bytes);
        let small = (decoded.unpacked_bytes <= SMALL_BODY_BYTES).then(|| in_room(self.reader.small()).ok()).flatten();
        memory.inflated = Some(small.map_or_else(|| in_room(self.reader.large()), Ok)?);
        Ok((decoded.content, memory))
    }

    /// `None`: it is larger than `most` bytes, and may be.
    async fn on_thread(
        &self,
        most: usize,
        holder: Option<&PublicKey>,
        bytes: Bytes,
        mut memory: BodyMemory,
    ) -> Result<(Option<Content>, BodyMemory), Refusal> {
        // Who waits holds no more than what was sent.
        memory.inflated = None;
        self.large_bodies.wait_for_turn(&mut memory, Class::Large).await?;
        let most_inflated = if self.encoding == Encoding::Identity { 0 } else { most };
        memory.inflated = Some(reserved(self.reader.large().reservation(holder), most_inflated)?);
        let Self { encoding, endpoint, limit, .. } = *self;
        let work = move || up_to(most, encoding, bytes, endpoint, limit);
        let (decoded, mut memory) = self.large_bodies.run_on_thread(memory, Class::Large, work).await?;
        let Some(Decoded { content, unpacked_bytes }) = decoded else { return Ok((None, memory)) };
        if let Some(inflated) = &mut memory.inflated {
            inflated.resize(unpacked_bytes).map_err(BodyError::from)?;
        }
        if unpacked_bytes <= INLINE_INFLATED_BYTES {
            memory.turn = None;
        }
        Ok((Some(content), memory))
    }
}

/// `None`: it is larger than `most` bytes, and may have up to `limit`.
fn up_to(
    most: usize,
    encoding: Encoding,
    bytes: Bytes,
    endpoint: Endpoint,
    limit: usize,
) -> Result<Option<Decoded>, Refusal> {
    match Decoded::new(encoding, bytes, most, endpoint) {
        Err(Refusal::Decode(DecodeError::TooLarge(_))) if most < limit => Ok(None),
        decoded => decoded.map(Some),
    }
}

fn reserved(mut reservation: Reservation, bytes: usize) -> Result<Reservation, BodyError> {
    reservation.resize(bytes)?;
    Ok(reservation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::{
        body::{LARGE_BODIES_BYTES, SMALL_BODIES_BYTES},
        content::MAX_ENVELOPE_BYTES,
    };

    /// An envelope with an attachment of so many bytes.
    fn packed(bytes: usize) -> Bytes {
        let header = format!("{{}}\n{{\"type\":\"attachment\",\"length\":{bytes}}}\n");
        let envelope = [header.as_bytes(), &vec![b'a'; bytes]].concat();
        zstd::encode_all(envelope.as_slice(), 1).unwrap().into()
    }

    fn decoding<'a>(reader: &'a BodyReader, large_bodies: &'a LargeBodies, key: &'a PublicKey) -> Decoding<'a> {
        let (encoding, endpoint) = (Encoding::Zstd, Endpoint::Envelope);
        Decoding { reader, large_bodies, key: Some(key), encoding, endpoint, limit: MAX_ENVELOPE_BYTES }
    }

    #[tokio::test]
    async fn what_is_inflated_is_covered_until_it_is_dropped() {
        let (reader, large_bodies) = (BodyReader::default(), LargeBodies::default());
        let key = PublicKey::from_random([1; 16]);
        let memory = || BodyMemory::new(reader.small().reservation(Some(&key)));
        for (name, bytes, has_turn) in [
            ("small", SMALL_BODY_BYTES / 2, false),
            ("on the spot", SMALL_BODY_BYTES * 2, false),
            ("on a thread", 2 * INLINE_INFLATED_BYTES, true),
            ("more than at first", 2 * MODEST_INFLATED_BYTES, true),
            ("more than a key's share", MAX_ENVELOPE_BYTES - (1 << 10), true),
        ] {
            let decoding = decoding(&reader, &large_bodies, &key);
            let (_content, memory) = decoding.decode(packed(bytes), memory()).await.expect(name);
            let is_small = bytes < SMALL_BODY_BYTES;
            let (free, of) = if is_small {
                (reader.small().free_bytes(), SMALL_BODIES_BYTES)
            } else {
                (reader.large().free_bytes(), LARGE_BODIES_BYTES)
            };
            assert!((bytes..bytes + 100).contains(&(of - free)), "{name}: {}", of - free);
            assert_eq!(memory.turn.is_some(), has_turn, "{name}");
            drop(memory);
            assert_eq!(reader.large().free_bytes(), LARGE_BODIES_BYTES, "{name}");
        }
        let refused = decoding(&reader, &large_bodies, &key).decode(packed(MAX_ENVELOPE_BYTES), memory()).await;
        assert!(matches!(refused, Err(Refusal::Decode(DecodeError::TooLarge(MAX_ENVELOPE_BYTES)))));
        assert_eq!(reader.large().free_bytes(), LARGE_BODIES_BYTES);
    }

    #[tokio::test]
    async fn without_memory_nothing_is_inflated_and_nothing_is_kept() {
        let (reader, large_bodies) = (BodyReader::default(), LargeBodies::default());
        let key = PublicKey::from_random([1; 16]);
        let _others = reserved(reader.large().reservation(None), LARGE_BODIES_BYTES - MODEST_INFLATED_BYTES).unwrap();
        let decode = async |bytes| {
            let memory = BodyMemory::new(reader.small().reservation(Some(&key)));
            decoding(&reader, &large_bodies, &key).decode(packed(bytes), memory).await
        };
        assert!(decode(MODEST_INFLATED_BYTES / 2).await.is_ok());
        assert!(matches!(decode(2 * MODEST_INFLATED_BYTES).await, Err(Refusal::Body(BodyError::Overloaded))));
        assert!(decode(MODEST_INFLATED_BYTES / 2).await.is_ok(), "the turn and the memory are free again");
    }
}
