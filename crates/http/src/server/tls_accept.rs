//! The way in: plain, or through a TLS handshake.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite, ready};

use super::Listener;
use crate::tls::{self, HANDSHAKE, HandshakeLogLimits, Unusable};

/// A listener whose connections begin with a TLS handshake, if there is a certificate to begin it with.
#[derive(Debug)]
pub struct TlsAccept<L> {
    listener: L,
    proof: Option<Proof>,
    log_limits: Rc<HandshakeLogLimits>,
}

/// What a server shows of itself. It can be replaced while the server runs: who is connected goes on as before.
#[derive(Debug, Clone)]
pub struct Proof(Rc<RefCell<tls::Server>>);

impl Proof {
    /// The first one.
    #[must_use]
    pub fn new(server: tls::Server) -> Self {
        Self(Rc::new(RefCell::new(server)))
    }

    /// From the next connection on.
    pub fn replace(&self, server: tls::Server) {
        *self.0.borrow_mut() = server;
    }
}

impl<L: Listener> TlsAccept<L> {
    /// In front of `listener`. Without a proof, connections are plain.
    #[must_use]
    pub fn new(listener: L, proof: Option<Proof>) -> Self {
        Self { listener, proof, log_limits: Rc::default() }
    }
}

impl<L: Listener> Listener for TlsAccept<L> {
    type Stream = Incoming<L::Stream>;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, peer) = self.listener.accept_now()?;
        let stream = match &self.proof {
            None => Incoming::Plain { stream, begun: false },
            Some(proof) => Incoming::Tls(Box::new(proof.0.borrow().meet(stream, peer, Rc::clone(&self.log_limits)))),
        };
        Ok((stream, peer))
    }

    fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.listener.readable()
    }
}

/// A connection, whichever way it came in.
pub enum Incoming<S: AsyncRead + AsyncWrite + Unpin> {
    /// As it is, but for one that begins with a TLS handshake: that one is [`Unusable`].
    Plain {
        /// The connection.
        stream: S,
        /// Whether its first byte was looked at.
        begun: bool,
    },
    /// Through a handshake.
    Tls(Box<tls::Incoming<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Incoming<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain { stream, begun } => {
                let read = ready!(Pin::new(stream).poll_read(cx, buf))?;
                if !mem::replace(begun, true) && buf[..read].first() == Some(&HANDSHAKE) {
                    return Poll::Ready(Err(Unusable::Tls.into()));
                }
                Poll::Ready(Ok(read))
            }
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Incoming<S> {
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
