//! Sources of connections.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};
use rustix::io::Errno;

use ops_runtime::port_holder::port_holder;

/// The peer address of all processes of this host.
const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The maximum number of connections that wait for an accept. The system may allow fewer.
const BACKLOG: i32 = 1024;

/// A source of connections.
pub trait Listener: 'static {
    /// The type of its connections.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Accepts a waiting connection. Returns the peer to which its limits apply.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if no connection waits; otherwise the error of accept(2).
    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)>;

    /// Waits until a connection may be waiting.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;
}

/// Binds a TCP address. Port 0 binds any free port.
///
/// # Errors
///
/// [`BindError`] with the address and the remedy.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        // The backlog of std is 128. In a larger burst, a connection would wait 1 s for its retransmission.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|error| BindError::new(address, error))
}

/// Prepares a bound TCP listener, from [`bind`] or from the service manager.
///
/// # Errors
///
/// If the reactor cannot register it.
pub fn listen_on(listener: TcpListener) -> io::Result<Async<TcpListener>> {
    Async::new(listener)
}

impl Listener for Async<TcpListener> {
    type Stream = TcpSocket;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, address) = self.get_ref().accept()?;
        // A response is one write. Nagle's algorithm would delay it by up to 40 ms.
        stream.set_nodelay(true)?;
        let peer = address.ip().to_canonical();
        Ok((TcpSocket(Async::new(stream)?), if peer.is_loopback() { THIS_HOST } else { peer }))
    }

    async fn readable(&self) -> io::Result<()> {
        Async::readable(self).await
    }
}

impl Listener for Async<UnixListener> {
    type Stream = Async<UnixStream>;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, _) = self.get_ref().accept()?;
        Ok((Async::new(stream)?, THIS_HOST))
    }

    async fn readable(&self) -> io::Result<()> {
        Async::readable(self).await
    }
}

/// A connected TCP socket. Closing it closes only the sending side: the peer reads the end and may still send.
#[derive(Debug)]
pub struct TcpSocket(Async<TcpStream>);

impl AsyncRead for TcpSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write)?))
    }
}

/// A TCP address cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program uses the port.
    #[error("port {} is in use on {}{}: stop the program that uses it, or choose another port", .0.port(), .0.ip(), by(.1))]
    InUse(SocketAddr, Option<String>),
    /// The address belongs to another host.
    #[error("no interface of this host has the address {}: choose one from `ip address`, or 0.0.0.0", .0.ip())]
    NotHere(SocketAddr),
    /// The port is one of the first 1024.
    #[error("permission denied for port {}: choose one from 1024 on, or grant CAP_NET_BIND_SERVICE", .0.port())]
    NotPermitted(SocketAddr),
    /// Another error of the system.
    #[error("cannot listen on {0}")]
    Other(SocketAddr, #[source] io::Error),
}

/// Who uses the port, if it is known.
fn by(holder: &Option<String>) -> String {
    holder.as_ref().map_or_else(String::new, |holder| format!(" by {holder}"))
}

impl BindError {
    fn new(address: SocketAddr, error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::ADDRINUSE) => Self::InUse(address, port_holder(address.port())),
            Some(Errno::ADDRNOTAVAIL) => Self::NotHere(address),
            Some(Errno::ACCESS | Errno::PERM) => Self::NotPermitted(address),
            _ => Self::Other(address, error),
        }
    }
}
