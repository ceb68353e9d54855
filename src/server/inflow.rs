//! What comes in on a connection, read a little at a time: hyper's buffers stay as small as they begin, and of the heads
//! that do not fit into them only a few are read at once.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
};
use tokio_util::sync::PollSemaphore;

use super::{
    limits::SMALL_HEAD_BYTES,
    presence::{Places, Presence},
};

/// What an HTTP/2 connection begins with; no method of HTTP/1 does.
const HTTP2_BEGINS: &[u8] = b"PRI";

/// The first bytes of a connection: as many as tell HTTP/2 from HTTP/1, or fewer if it ends.
pub(super) async fn beginning(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut read = [0; HTTP2_BEGINS.len()];
    let mut length = 0;
    while length < read.len() && HTTP2_BEGINS.starts_with(&read[..length]) {
        match stream.read(&mut read[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    Ok(Bytes::copy_from_slice(&read[..length]))
}

pub(super) fn is_http2(beginning: &[u8]) -> bool {
    beginning == HTTP2_BEGINS
}

/// The stream of one connection.
pub(super) struct Inflow {
    /// Read already.
    beginning: Bytes,
    stream: Take<TcpStream>,
    presence: Arc<Presence>,
    /// `None`: the heads are counted elsewhere.
    large_heads: Option<PollSemaphore>,
}

impl Inflow {
    /// The heads of HTTP/2 come in frames of one size, and are bounded as lists.
    pub fn http2(beginning: Bytes, stream: TcpStream, presence: Arc<Presence>) -> Self {
        Self { beginning, stream: stream.take(0), presence, large_heads: None }
    }

    pub fn http1(beginning: Bytes, stream: TcpStream, presence: Arc<Presence>, places: &Places) -> Self {
        let large_heads = Some(PollSemaphore::new(Arc::clone(&places.large_heads)));
        Self { large_heads, ..Self::http2(beginning, stream, presence) }
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        Pin::new(self.stream.get_mut())
    }
}

impl AsyncRead for Inflow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.beginning.is_empty() {
            let length = self.beginning.len().min(buffer.remaining());
            buffer.put_slice(&self.beginning.split_to(length));
            self.presence.has_read(length);
            return Poll::Ready(Ok(()));
        }
        let this = &mut *self;
        if let Some(large_heads) = &mut this.large_heads
            && !this.presence.may_read()
        {
            let place = ready!(large_heads.poll_acquire(context));
            this.presence.take_large_head(place.ok_or(io::ErrorKind::OutOfMemory)?);
        }
        let before = buffer.filled().len();
        this.stream.set_limit(SMALL_HEAD_BYTES as u64);
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        this.presence.has_read(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Inflow {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }
}
