//! Where connections come from.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};

/// The peer that all of this host's processes count as.
const THIS_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How many connections may wait to be accepted. The system may allow less.
const BACKLOG: i32 = 1024;

/// A source of connections.
pub trait Listener: 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;

    /// Takes a connection that waits, and says which peer's account it is on.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] if none waits; otherwise what accept(2) says.
    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)>;

    /// Waits until one does.
    fn readable(&self) -> impl Future<Output = io::Result<()>>;
}

/// Binds a TCP address. Port 0 takes any free one.
///
/// # Errors
///
/// [`BindError`] with the address and what to do.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        // std's own is 128: in a larger burst, a connection would wait a second for its retransmission.
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    });
    bound.map_err(|source| BindError { address, source })
}

/// Prepares a bound TCP listener, made by [`bind`] or handed in by the service manager.
///
/// # Errors
///
/// If the reactor cannot watch it.
pub fn listen_on(listener: TcpListener) -> io::Result<Async<TcpListener>> {
    Async::new(listener)
}

/// The same for a Unix socket.
///
/// # Errors
///
/// If the reactor cannot watch it.
pub fn listen_on_unix(listener: UnixListener) -> io::Result<Async<UnixListener>> {
    Async::new(listener)
}

impl Listener for Async<TcpListener> {
    type Stream = Socket<TcpStream>;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, address) = self.get_ref().accept()?;
        // An answer is one write: held back, it would wait 40 ms for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        let peer = address.ip().to_canonical();
        Ok((Socket(Async::new(stream)?), if peer.is_loopback() { THIS_HOST } else { peer }))
    }

    async fn readable(&self) -> io::Result<()> {
        Async::readable(self).await
    }
}

impl Listener for Async<UnixListener> {
    type Stream = Socket<UnixStream>;

    fn accept_now(&self) -> io::Result<(Self::Stream, IpAddr)> {
        let (stream, _) = self.get_ref().accept()?;
        Ok((Socket(Async::new(stream)?), THIS_HOST))
    }

    async fn readable(&self) -> io::Result<()> {
        Async::readable(self).await
    }
}

/// A connected socket. Closing it ends one direction, as TCP means it: the peer reads the end and may still write.
#[derive(Debug)]
pub struct Socket<T>(Async<T>);

impl<T: AsFd> AsyncRead for Socket<T>
where
    Async<T>: AsyncRead,
{
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsFd> AsyncWrite for Socket<T>
where
    Async<T>: AsyncWrite,
{
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

/// The address cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.address.ip(), self.address.port());
        // Named one by one where there is something to say beyond what the system says.
        if self.source.kind() == io::ErrorKind::AddrInUse {
            write!(
                f,
                "port {port} is taken: something else listens on {}; stop it, or choose another port",
                self.address
            )
        } else if self.source.kind() == io::ErrorKind::AddrNotAvailable {
            write!(
                f,
                "no interface of this host has the address {host}: choose one that `ip address` shows, or 0.0.0.0"
            )
        } else if self.source.kind() == io::ErrorKind::PermissionDenied {
            write!(f, "this user may not listen on port {port}: choose one from 1024 on, or grant CAP_NET_BIND_SERVICE")
        } else {
            write!(f, "cannot listen on {}", self.address)
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
