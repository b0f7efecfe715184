//! A stream that tells the connection's vitals what passes through it.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite, ready};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::conn_state::{ConnState, Phase};
use crate::tls::Unusable;

/// The stream as hyper sees it.
///
/// To what it cannot parse, hyper answers by itself, with a bare status, and then fails the connection. Nothing has
/// been asked in that moment as far as the vitals know, so those bytes are dropped here, and the connection says the
/// same in JSON.
pub(super) struct GuardedIo<S> {
    stream: S,
    conn_state: Rc<ConnState>,
    scratch: Scratch,
    gave_way: bool,
}

/// What is read goes through here, one and the same for all connections. hyper's own buffers are not initialised, and
/// filling 8 KiB with zeros for each read costs as much as all the rest of it.
pub(super) type Scratch = Rc<RefCell<Box<[u8]>>>;

impl<S> GuardedIo<S> {
    pub(super) fn new(stream: S, conn_state: Rc<ConnState>, scratch: Scratch) -> Self {
        Self { stream, conn_state, scratch, gave_way: false }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> Read for GuardedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // The answer is out, and the next request is hardly here yet: first the other connections have their turn. A busy
        // peer's is here after that, and neither a read in vain nor the reactor is needed for it.
        if self.conn_state.phase() == Phase::Idle && !mem::replace(&mut self.gave_way, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Self { stream, conn_state, scratch, gave_way } = &mut *self;
        let mut scratch = scratch.borrow_mut();
        let room = scratch.len().min(buf.remaining());
        let read = ready!(Pin::new(stream).poll_read(cx, &mut scratch[..room]))
            // hyper takes an error in the place of a request for an end.
            .inspect_err(|error| {
                Unusable::in_error(error).into_iter().for_each(|unusable| conn_state.give_up(unusable))
            })?;
        buf.put_slice(&scratch[..read]);
        if read > 0 && matches!(conn_state.phase(), Phase::New | Phase::Idle) {
            conn_state.enter(Phase::Head);
            *gave_way = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Write for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.conn_state.nothing_asked() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        if written < buf.len() && self.conn_state.phase() == Phase::Writing {
            self.conn_state.enter(Phase::Writing);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // hyper flushes the stream only once its own buffer is empty: the answer is out.
        if self.conn_state.phase() == Phase::Writing {
            self.conn_state.enter(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper is done with the stream, the connection may not be: it closes what it has nothing more to say on.
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
