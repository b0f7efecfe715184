//! A stream that tells the connection's vitals what passes through it.

use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite, ready};

use super::vitals::{Phase, Vitals};

/// The stream as hyper sees it.
///
/// To what it cannot parse, hyper answers by itself, with a bare status, and then fails the connection. Nothing has
/// been asked in that moment as far as the vitals know, so those bytes are dropped here, and the connection says the
/// same in JSON.
pub(super) struct GuardedIo<S> {
    stream: S,
    vitals: Rc<Vitals>,
    gave_way: bool,
}

impl<S> GuardedIo<S> {
    pub(super) fn new(stream: S, vitals: Rc<Vitals>) -> Self {
        Self { stream, vitals, gave_way: false }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        // The answer is out, and the next request is hardly here yet: first the other connections have their turn. A busy
        // peer's is here after that, and neither a read in vain nor the reactor is needed for it.
        if self.vitals.phase() == Phase::Idle && !mem::replace(&mut self.gave_way, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if read > 0 && matches!(self.vitals.phase(), Phase::New | Phase::Idle) {
            self.vitals.enter(Phase::Head);
            self.gave_way = false;
        }
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.vitals.nothing_asked() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        if written < buf.len() && self.vitals.phase() == Phase::Writing {
            self.vitals.enter(Phase::Writing);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // hyper flushes the stream only once its own buffer is empty: the answer is out.
        if self.vitals.phase() == Phase::Writing {
            self.vitals.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper is done with the stream, the connection may not be: it closes what it has nothing more to say on.
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
