//! A stream that updates the state of its connection.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite, ready};
use hyper::rt::{Read, ReadBufCursor, Write};

use super::conn_state::{ConnState, Phase};
use super::head_scan::HeadScan;
use crate::read_turn::ReadTurn;
use crate::tls::ProtocolError;

/// The stream as hyper sees it.
///
/// When hyper cannot parse a request, it writes a bare status line and then fails the connection. No request is
/// complete then, so this stream drops those bytes, and the connection sends its own error response in JSON.
pub(super) struct GuardedIo<S> {
    stream: S,
    conn_state: Rc<ConnState>,
    scratch: Scratch,
    yielded: bool,
    turn: ReadTurn,
    head_scan: HeadScan,
}

/// A read buffer that all connections share. hyper's own buffers are uninitialised, and zeroing 8 KiB for each read
/// would double its cost.
pub(super) type Scratch = Rc<RefCell<Box<[u8]>>>;

impl<S> GuardedIo<S> {
    pub(super) fn new(stream: S, conn_state: Rc<ConnState>, scratch: Scratch) -> Self {
        Self { stream, conn_state, scratch, yielded: false, turn: ReadTurn::default(), head_scan: HeadScan::new() }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// While a response is a stream, hyper does not read. The peer may only wait: once it closes its side or sends more, the
    /// stream ends, so a peer that has gone does not hold its place until the next write.
    fn check_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut scratch = self.scratch.borrow_mut();
        match Pin::new(&mut self.stream).poll_read(cx, &mut scratch) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(_)) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Ready(Err(error)) => Err(error),
        }
    }
}

impl<S: AsyncRead + Unpin> Read for GuardedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // After a response, the other connections run first. A busy peer's next request has arrived by then, which
        // saves an empty read and a wait in the reactor.
        if self.conn_state.phase() == Phase::Idle && !mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Self { stream, conn_state, scratch, yielded, turn, head_scan } = &mut *self;
        let mut scratch = scratch.borrow_mut();
        let room = scratch.len().min(buf.remaining());
        let read = ready!(turn.poll(cx, |cx| Pin::new(stream).poll_read(cx, &mut scratch[..room])))
            // hyper treats an error between two requests as the end of the stream, so the error is kept here.
            .inspect_err(|error| {
                ProtocolError::in_error(error).into_iter().for_each(|error| conn_state.set_protocol_error(error))
            })?;
        buf.put_slice(&scratch[..read]);
        conn_state.with_heads(|heads| head_scan.feed(&scratch[..read], heads));
        if read > 0 && matches!(conn_state.phase(), Phase::New | Phase::Idle) {
            conn_state.enter(Phase::Head);
            *yielded = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.conn_state.has_no_request() {
            return Poll::Ready(Ok(buf.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.conn_state.wrote(polled.is_ready());
        let written = ready!(polled)?;
        if written < buf.len() && self.conn_state.phase() == Phase::Writing {
            self.conn_state.enter(Phase::Writing);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.conn_state.wrote(polled.is_ready());
        ready!(polled)?;
        // hyper flushes the stream only when its own buffer is empty, so the response is sent.
        let phase = self.conn_state.phase();
        if phase == Phase::Writing {
            self.conn_state.hold(0);
            self.conn_state.enter(Phase::Idle);
        } else if phase == Phase::Streaming {
            self.conn_state.hold(0);
            self.check_peer(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper is done with the stream, but the connection may still send an error response. It closes the stream
        // itself.
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
