//! The server side of a TLS connection, from the first byte on.

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

use super::log_limits::HandshakeLogLimits;
use super::messages::{self, HandshakeFailure, Peer};
use crate::tls::error::{HANDSHAKE, ProtocolError};

/// A TLS connection on the server side.
///
/// The first read makes the handshake. So the handshake runs in the task of the connection, under its deadlines and
/// limits. A read fails with `ProtocolError` if there will be no TLS.
pub struct ServerTlsStream<S: AsyncRead + AsyncWrite + Unpin> {
    state: HandshakeState<S>,
    peer: IpAddr,
    log_limits: Rc<HandshakeLogLimits>,
}

enum HandshakeState<S> {
    /// No byte has arrived.
    New(S, Arc<ServerConfig>),
    Handshaking(Box<FallibleAccept<Peeked<S>>>),
    Open(Box<TlsStream<Peeked<S>>>),
    /// There will be no TLS. Writes go to the peer as plain bytes.
    Plain(S),
    /// The connection is over.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerTlsStream<S> {
    pub(super) const fn new(
        stream: S,
        config: Arc<ServerConfig>,
        peer: IpAddr,
        log_limits: Rc<HandshakeLogLimits>,
    ) -> Self {
        Self { state: HandshakeState::New(stream, config), peer, log_limits }
    }

    /// Continues the handshake. `false`: the peer closed the connection without sending anything.
    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            match &mut self.state {
                HandshakeState::New(stream, _) => {
                    let mut first = [0];
                    if ready!(Pin::new(stream).poll_read(cx, &mut first))? == 0 {
                        return Poll::Ready(Ok(false));
                    }
                    self.begin(first[0])?;
                }
                HandshakeState::Handshaking(accept) => match ready!(Pin::new(accept.as_mut()).poll(cx)) {
                    Ok(stream) => self.state = HandshakeState::Open(Box::new(stream)),
                    Err((error, peeked)) => {
                        self.state = HandshakeState::Plain(peeked.stream);
                        self.log(messages::kind(&error), &messages::explain(&error, Peer::Client).to_string());
                        return Poll::Ready(Err(ProtocolError::Handshake.into()));
                    }
                },
                HandshakeState::Open(_) => return Poll::Ready(Ok(true)),
                HandshakeState::Plain(_) | HandshakeState::Closed => return Poll::Ready(Ok(false)),
            }
        }
    }

    fn begin(&mut self, first: u8) -> io::Result<()> {
        let HandshakeState::New(stream, config) = mem::replace(&mut self.state, HandshakeState::Closed) else {
            return Ok(());
        };
        if first == HANDSHAKE {
            let accept = TlsAcceptor::from(config).accept(Peeked { first: Some(first), stream });
            self.state = HandshakeState::Handshaking(Box::new(accept.into_fallible()));
            return Ok(());
        }
        self.state = HandshakeState::Plain(stream);
        if first.is_ascii_uppercase() {
            self.log(HandshakeFailure::PlainHttp, "the client uses plain HTTP on an HTTPS port: use `https://` there");
            return Err(ProtocolError::PlainHttp.into());
        }
        self.log(HandshakeFailure::NotTls, "the client does not use TLS");
        Err(ProtocolError::Handshake.into())
    }

    fn log(&self, kind: HandshakeFailure, error: &str) {
        if let Some(count) = self.log_limits.count(kind) {
            tracing::warn!(peer = %self.peer, count, error, "TLS handshake with a client failed");
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ServerTlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            HandshakeState::Open(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
            HandshakeState::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            HandshakeState::New(..) | HandshakeState::Handshaking(_) | HandshakeState::Closed => {
                if ready!(self.poll_handshake(cx))? { self.poll_read(cx, buf) } else { Poll::Ready(Ok(0)) }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ServerTlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            HandshakeState::Open(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
            HandshakeState::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            // The peer cannot understand anything before the handshake is done.
            HandshakeState::New(..) | HandshakeState::Handshaking(_) | HandshakeState::Closed => {
                Poll::Ready(Ok(buf.len()))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            HandshakeState::Open(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
            HandshakeState::Plain(stream) => Pin::new(stream).poll_flush(cx),
            HandshakeState::New(..) | HandshakeState::Handshaking(_) | HandshakeState::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            HandshakeState::Open(stream) => Pin::new(stream.as_mut()).poll_close(cx),
            HandshakeState::Plain(stream) | HandshakeState::New(stream, _) => Pin::new(stream).poll_close(cx),
            HandshakeState::Handshaking(_) => {
                // Closed for its slowness. A connection that is displaced or drained is dropped without this call.
                self.log(HandshakeFailure::Unfinished, messages::UNFINISHED);
                self.state = HandshakeState::Closed;
                Poll::Ready(Ok(()))
            }
            HandshakeState::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for ServerTlsStream<S> {
    fn drop(&mut self) {
        // The close notification shows the peer that nothing is missing. The close does not wait for a peer without room for it.
        if let HandshakeState::Open(stream) = &mut self.state {
            drop(Pin::new(stream.as_mut()).poll_close(&mut Context::from_waker(Waker::noop())));
        }
    }
}

/// A stream whose first byte was read and is put back.
struct Peeked<S> {
    first: Option<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Peeked<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Peeked<S> {
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
