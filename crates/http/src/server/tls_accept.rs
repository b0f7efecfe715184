//! Accepts plain connections or TLS connections.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite, ready};

use super::listener::Listener;
use crate::tls::{HANDSHAKE, HandshakeLogLimits, ProtocolError, ServerTlsStream, TlsServer};

/// A listener whose connections use TLS if the server has an identity.
#[derive(Debug)]
pub struct TlsAccept<L> {
    listener: L,
    identity: Option<ServerIdentity>,
    log_limits: Rc<HandshakeLogLimits>,
}

/// The TLS identity of a server. It can be replaced while the server runs. Open connections keep the old one.
#[derive(Debug, Clone)]
pub struct ServerIdentity(Rc<RefCell<TlsServer>>);

impl ServerIdentity {
    /// The identity at the start.
    #[must_use]
    pub fn new(server: TlsServer) -> Self {
        Self(Rc::new(RefCell::new(server)))
    }

    /// Uses another identity from the next connection on.
    pub fn replace(&self, server: TlsServer) {
        *self.0.borrow_mut() = server;
    }
}

impl<L: Listener> TlsAccept<L> {
    /// Wraps `listener`. Without an identity, connections are plain.
    #[must_use]
    pub fn new(listener: L, identity: Option<ServerIdentity>) -> Self {
        Self { listener, identity, log_limits: Rc::default() }
    }
}

impl<L: Listener> Listener for TlsAccept<L> {
    type Stream = MaybeTlsStream<L::Stream>;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, peer) = self.listener.accept_now()?;
        let stream = match &self.identity {
            None => MaybeTlsStream::Plain { stream, begun: false },
            Some(identity) => {
                let stream = identity.0.borrow().accept(stream, peer, Rc::clone(&self.log_limits));
                MaybeTlsStream::Tls(Box::new(stream))
            }
        };
        Ok((stream, peer))
    }

    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.listener.readable()
    }
}

/// A plain or TLS connection.
pub enum MaybeTlsStream<S: AsyncRead + AsyncWrite + Unpin> {
    /// A plain connection. If it begins with a TLS handshake, reads fail with `ProtocolError::Tls`.
    Plain {
        /// The connection.
        stream: S,
        /// Whether the first byte was checked.
        begun: bool,
    },
    /// A TLS connection.
    Tls(Box<ServerTlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MaybeTlsStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain { stream, begun } => {
                let read = ready!(Pin::new(stream).poll_read(cx, buf))?;
                if !mem::replace(begun, true) && buf[..read].first() == Some(&HANDSHAKE) {
                    return Poll::Ready(Err(ProtocolError::Tls.into()));
                }
                Poll::Ready(Ok(read))
            }
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MaybeTlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain { stream, .. } => Pin::new(stream).poll_close(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_close(cx),
        }
    }
}
