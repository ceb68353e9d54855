//! What a server takes on, and how long it waits. Each role names its own numbers.

use std::time::Duration;

/// Bounds of one listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections at a time.
    pub connections: usize,
    pub when_full: WhenFull,
    /// For the head of a request, and so how long a kept-alive connection may rest.
    pub head_timeout: Duration,
    pub versions: Versions,
}

/// What becomes of a client while all connections are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits in the listener's backlog until one ends.
    Wait,
    /// Its connection is closed at once: it will try again anyway.
    Close,
}

/// Versions of HTTP that are spoken.
#[derive(Clone, Copy, Debug)]
pub enum Versions {
    Http1,
    Http1And2 {
        /// Requests that one HTTP/2 connection may have under way.
        streams: u32,
        /// An HTTP/2 connection is sent away after this, with what is under way answered. Pings keep it alive however
        /// long it rests, and clients that nobody uses any more would take all the slots.
        max_age: Duration,
    },
}
