//! Resolves a host name and connects to it.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, vec};

use async_io::{Async, Timer};
use futures_lite::{AsyncRead, AsyncWrite, FutureExt};
use http_client::http_types::url::Host;

use super::error::RequestError;
use super::lookup;
use crate::tls::TlsClient;

/// How long an address of a host is tried before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A plain or TLS stream.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ClientStream for T {}

/// The server to connect to.
pub(super) struct ConnectTarget {
    /// Scheme, host and port. An idle connection serves only requests with the same authority.
    pub(super) authority: String,
    /// Whether to use TLS.
    pub(super) secure: bool,
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

/// Resolves host names.
#[derive(Default)]
pub(super) struct Resolver {
    /// Whether a call waits for a name server, or was dropped while it waited.
    is_busy: AtomicBool,
}

impl Resolver {
    /// Connects to the target, and makes the TLS handshake if the target is `https`.
    pub(super) async fn connect(
        &self,
        target: &ConnectTarget,
        tls: Option<&TlsClient>,
    ) -> Result<Box<dyn ClientStream>, RequestError> {
        let (stream, address) = self.reach(&target.host, target.port).await?;
        // hyper writes complete messages, so a delay to collect more data gains nothing.
        stream.get_ref().set_nodelay(true).map_err(|error| RequestError::NotConnected(address, error))?;
        match (target.secure, tls) {
            (false, _) => Ok(Box::new(stream)),
            (true, Some(tls)) => Ok(Box::new(tls.connect(&target.host, stream).await.map_err(RequestError::Tls)?)),
            (true, None) => Err(RequestError::Unsupported("no CAs are configured for `https`: use `http`".to_owned())),
        }
    }

    /// Opens a TCP connection.
    pub(super) async fn reach(&self, host: &Host<String>, port: u16) -> Result<Connected, RequestError> {
        let addresses = match host {
            Host::Ipv4(ip) => vec![SocketAddr::from((*ip, port))],
            Host::Ipv6(ip) => vec![SocketAddr::from((*ip, port))],
            Host::Domain(name) => self.lookup(name, port).await.map_err(RequestError::NoSuchHost)?,
        };
        race(addresses).await
    }

    /// Whether a call waits for a name server, or was dropped while it waited.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.is_busy.store(true, Ordering::Relaxed);
        let found = lookup::addresses(host, port).await;
        self.is_busy.store(false, Ordering::Relaxed);
        found
    }
}

/// Connects to the address that answers first. Each address has a head start over the next one, until it fails.
async fn race(addresses: Vec<SocketAddr>) -> Result<Connected, RequestError> {
    let mut race = Race {
        waiting: addresses.into_iter(),
        running: Vec::new(),
        next: Timer::after(HEAD_START),
        failure: RequestError::NoSuchHost(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
    };
    poll_fn(|cx| race.poll(cx)).await
}

pub(super) type Connected = (Async<TcpStream>, SocketAddr);

struct ConnectAttempt {
    address: SocketAddr,
    connecting: Pin<Box<dyn Future<Output = io::Result<Async<TcpStream>>> + Send>>,
}

struct Race {
    waiting: vec::IntoIter<SocketAddr>,
    running: Vec<ConnectAttempt>,
    next: Timer,
    failure: RequestError,
}

impl Race {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connected, RequestError>> {
        loop {
            let mut winner = None;
            self.running.retain_mut(|attempt| match attempt.connecting.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    winner = Some((stream, attempt.address));
                    false
                }
                Poll::Ready(Err(error)) => {
                    self.failure = RequestError::not_connected(attempt.address, error);
                    false
                }
                Poll::Pending => true,
            });
            if let Some(connected) = winner {
                return Poll::Ready(Ok(connected));
            }
            if !self.running.is_empty() && (self.waiting.len() == 0 || self.next.poll(cx).is_pending()) {
                return Poll::Pending;
            }
            let Some(address) = self.waiting.next() else {
                let polled_again = RequestError::NoSuchHost(io::ErrorKind::NotConnected.into());
                return Poll::Ready(Err(std::mem::replace(&mut self.failure, polled_again)));
            };
            self.running.push(ConnectAttempt { address, connecting: Box::pin(Async::<TcpStream>::connect(address)) });
            self.next.set_after(HEAD_START);
        }
    }
}
