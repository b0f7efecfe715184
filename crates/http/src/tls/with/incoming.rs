//! A server's end of a connection, from the first byte on.

use std::future::Future;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::rustls::server::ServerConfig;
use futures_rustls::server::TlsStream;
use futures_rustls::{FallibleAccept, TlsAcceptor};

use super::super::{HANDSHAKE, Unusable};
use super::log_limits::HandshakeLogLimits;
use super::messages::{self, Kind, Peer};

/// A connection that a client began.
///
/// Whoever reads first makes the handshake, so it runs in the connection's own task, under its deadline and within its
/// place among the connections. A read says [`Unusable`] where nothing comes of it.
pub struct Incoming<S: AsyncRead + AsyncWrite + Unpin> {
    state: State<S>,
    peer: IpAddr,
    log_limits: Rc<HandshakeLogLimits>,
}

enum State<S> {
    /// Nothing has come yet.
    New(S, Arc<ServerConfig>),
    Shaking(Box<FallibleAccept<Begun<S>>>),
    Open(Box<TlsStream<Begun<S>>>),
    /// There will be no TLS here. What is said from here on goes out as it is.
    Bare(S),
    /// It broke.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Incoming<S> {
    pub(super) const fn new(
        stream: S,
        config: Arc<ServerConfig>,
        peer: IpAddr,
        log_limits: Rc<HandshakeLogLimits>,
    ) -> Self {
        Self { state: State::New(stream, config), peer, log_limits }
    }

    /// Goes on with the handshake. `false`: the peer went without a word.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            match &mut self.state {
                State::New(stream, _) => {
                    let mut first = [0];
                    if ready!(Pin::new(stream).poll_read(cx, &mut first))? == 0 {
                        return Poll::Ready(Ok(false));
                    }
                    self.begin(first[0])?;
                }
                State::Shaking(accept) => match ready!(Pin::new(accept.as_mut()).poll(cx)) {
                    Ok(stream) => self.state = State::Open(Box::new(stream)),
                    Err((error, begun)) => {
                        self.state = State::Bare(begun.stream);
                        self.tell(messages::kind(&error), &messages::fault(&error, Peer::Client).to_string());
                        return Poll::Ready(Err(Unusable::NoHandshake.into()));
                    }
                },
                State::Open(_) => return Poll::Ready(Ok(true)),
                State::Bare(_) | State::Gone => return Poll::Ready(Ok(false)),
            }
        }
    }

    fn begin(&mut self, first: u8) -> io::Result<()> {
        let State::New(stream, config) = mem::replace(&mut self.state, State::Gone) else { return Ok(()) };
        if first == HANDSHAKE {
            let accept = TlsAcceptor::from(config).accept(Begun { first: Some(first), stream });
            self.state = State::Shaking(Box::new(accept.into_fallible()));
            return Ok(());
        }
        self.state = State::Bare(stream);
        if first.is_ascii_uppercase() {
            self.tell(Kind::PlainHttp, "the client speaks plain HTTP: it has to use `https://`");
            return Err(Unusable::PlainHttp.into());
        }
        self.tell(Kind::NotTls, "what the client says is not TLS");
        Err(Unusable::NoHandshake.into())
    }

    fn tell(&self, kind: Kind, error: &str) {
        if let Some(count) = self.log_limits.one_more(kind) {
            tracing::warn!(peer = %self.peer, count, error, "no TLS connection with a client");
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Incoming<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            State::Bare(stream) => Pin::new(stream).poll_read(cx, buf),
            State::New(..) | State::Shaking(_) | State::Gone => {
                if ready!(self.poll_handshake(cx))? {
                    self.poll_read(cx, buf)
                } else {
                    Poll::Ready(Ok(0))
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Incoming<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            State::Bare(stream) => Pin::new(stream).poll_write(cx, buf),
            // Before the handshake there is nothing that could be said so that the peer would understand it.
            State::New(..) | State::Shaking(_) | State::Gone => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            State::Bare(stream) => Pin::new(stream).poll_flush(cx),
            State::New(..) | State::Shaking(_) | State::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(stream) => Pin::new(stream.as_mut()).poll_close(cx),
            State::Bare(stream) | State::New(stream, _) => Pin::new(stream).poll_close(cx),
            State::Shaking(_) => {
                // Whoever is dropped has to make room for another, or for the end: that is not its doing.
                self.tell(Kind::Unfinished, messages::UNFINISHED);
                self.state = State::Gone;
                Poll::Ready(Ok(()))
            }
            State::Gone => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Incoming<S> {
    fn drop(&mut self) {
        // So that the peer can tell an end from a cut. Whoever has no room for it is not waited for.
        if let State::Open(stream) = &mut self.state {
            drop(Pin::new(stream.as_mut()).poll_close(&mut Context::from_waker(Waker::noop())));
        }
    }
}

/// A stream whose first byte was looked at.
struct Begun<S> {
    first: Option<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(into) = buf.first_mut()
            && let Some(first) = self.first.take()
        {
            *into = first;
            return Poll::Ready(Ok(1));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
