//! A stream that limits the size of a response as it is sent, with informational responses and chunk framing.
//!
//! hyper limits one head, but not the number of informational responses before it, and not the length of a chunk's size
//! line.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};

use super::connect::ClientStream;
use crate::read_turn::ReadTurn;

/// The server has sent this many bytes, and the head or the body of its response is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is not complete after {0} bytes")]
pub struct ResponseTooLong(pub usize);

impl ResponseTooLong {
    /// This error among the causes of hyper's, if it is there.
    pub(super) fn among_causes(error: &hyper::Error) -> Option<Self> {
        let first = std::error::Error::source(error);
        std::iter::successors(first, |error| error.source())
            .find_map(|error| error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref().copied())
    }
}

/// How many bytes may still be read. The connection and its stream share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowance(Arc<AllowanceState>);

#[derive(Debug, Default)]
struct AllowanceState {
    limit: AtomicUsize,
    left: AtomicUsize,
}

impl Allowance {
    /// Begins to count again.
    pub(super) fn reset(&self, limit: usize) {
        self.0.limit.store(limit, Ordering::Relaxed);
        self.0.left.store(limit, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.left.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        let limit = self.0.limit.load(Ordering::Relaxed);
        Err(io::Error::new(io::ErrorKind::FileTooLarge, ResponseTooLong(limit)))
    }

    fn take(&self, bytes: usize) {
        let left = self.0.left.load(Ordering::Relaxed);
        self.0.left.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }
}

/// The stream as hyper sees it.
pub(super) struct LimitedStream {
    stream: Box<dyn ClientStream>,
    allowance: Allowance,
    turn: ReadTurn,
}

impl LimitedStream {
    pub(super) fn new(stream: Box<dyn ClientStream>, allowance: Allowance) -> Self {
        Self { stream, allowance, turn: ReadTurn::default() }
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let Self { stream, allowance, turn } = self.get_mut();
        allowance.check()?;
        let read = ready!(turn.poll(cx, |cx| Pin::new(stream).poll_read(cx, into)))?;
        allowance.take(read);
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_close(cx)
    }
}
