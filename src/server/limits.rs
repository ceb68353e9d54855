//! What a server takes on, how long it waits, and what its connections may hold in memory. Each role names its own
//! numbers.

use std::time::Duration;

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections at a time.
    pub connections: usize,
    pub when_full: WhenFull,
    /// For the head of a request, and so how long a kept-alive connection may rest.
    pub head_timeout: Duration,
    /// Heads beyond [`SMALL_HEAD_BYTES`] at a time. Others wait to be read, or are refused as [`super::Crowded`].
    pub large_heads: usize,
    pub versions: Versions,
}

/// What becomes of a client while all connections are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The connection that has been idle the longest ends for it. While none is idle, it waits until one ends.
    Wait,
    /// Its connection is closed at once: it will try again anyway.
    Close,
}

/// Versions of HTTP that are spoken.
#[derive(Clone, Copy, Debug)]
pub enum Versions {
    Http1,
    Http1And2 {
        /// How many of the connections may speak HTTP/2. For one more the idlest of these ends.
        connections: usize,
        /// Requests that one HTTP/2 connection may have under way.
        streams: u32,
        /// Requests that all of them may have under way beyond one each. More are refused as [`super::Crowded`].
        more_requests: usize,
        /// An HTTP/2 connection is sent away after this, with what is under way answered. Pings keep it alive however
        /// long it rests, and clients that nobody uses any more would take all the slots.
        max_age: Duration,
    },
}

/// Longest head of HTTP/1, which may hold an event in its query.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most that is read at a time, and longest head that every connection may have. One byte less than hyper's buffer: it
/// doubles one that a read fills, and keeps it.
pub(super) const SMALL_HEAD_BYTES: usize = BUFFER_BYTES - 1;

/// A head with more headers, or a longer address, takes more memory than it was on the wire and is not small either.
pub(super) const SMALL_HEAD_HEADERS: usize = 40;
pub(super) const SMALL_ADDRESS_BYTES: usize = 1 << 10;

/// Longest list of headers of HTTP/2; auth, trace and baggage headers take a few KiB.
pub(super) const MAX_HEADER_LIST_BYTES: u32 = 16 << 10;

/// What may be under way to us on one HTTP/2 connection. Before it knows our settings a client may send as much.
pub(super) const WINDOW_BYTES: u32 = (64 << 10) - 1;

/// Largest frame of HTTP/2, and most of an answer that waits.
pub(super) const FRAME_BYTES: u32 = 16 << 10;

/// First size of hyper's buffers for reading and writing.
const BUFFER_BYTES: usize = 8 << 10;

/// A header in a map: twice as many as there are have room, and the map is copied once.
const HEADER_BYTES: usize = 256;

/// The task of a connection and the future of its request.
const TASK_BYTES: usize = 6 << 10;

/// A request beside the buffers of its connection.
const REQUEST_BYTES: usize = SMALL_HEAD_HEADERS * HEADER_BYTES + 2 * SMALL_ADDRESS_BYTES + TASK_BYTES;

/// A small head that came byte by byte, in a buffer that doubled; what is read behind it; an answer; a request.
const CONNECTION_BYTES: usize = (2 + 1 + 1) * BUFFER_BYTES + REQUEST_BYTES;

/// What a large head takes more: its buffer that doubled, its address again, headers beyond those of a small one. hyper
/// takes a hundred of HTTP/1; of HTTP/2 each counts for 33 bytes and more.
const LARGE_HEAD_BYTES: usize = 3 * MAX_HEAD_BYTES + MAX_HEADER_LIST_BYTES as usize / 33 * HEADER_BYTES;

/// What HTTP/2 takes more than HTTP/1: what is under way, a frame in a buffer that doubled, a list of headers that is not
/// complete, the two tables of headers.
const HTTP2_BYTES: usize =
    WINDOW_BYTES as usize + 2 * FRAME_BYTES as usize + 2 * MAX_HEADER_LIST_BYTES as usize + (16 << 10);

impl Limits {
    /// What connections and heads of requests may hold together, in bytes. Bodies come on top, once they are read.
    #[must_use]
    pub const fn memory(&self) -> usize {
        let http2 = match self.versions {
            Versions::Http1 => 0,
            Versions::Http1And2 { connections, more_requests, .. } => {
                connections * HTTP2_BYTES + more_requests * (SMALL_HEAD_BYTES + REQUEST_BYTES)
            }
        };
        self.connections * CONNECTION_BYTES + self.large_heads * LARGE_HEAD_BYTES + http2
    }
}
