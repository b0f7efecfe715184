//! Sends heartbeats to the daemon, over HTTP or over a Unix socket.
//!
//! [`scheduler`] decides when to send. The event loop decides what a failure means for the agent.

pub(crate) mod failure;
pub(crate) mod http;
pub(crate) mod scheduler;
pub(crate) mod socket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use failure::Failure;

use self::http::Http;
use self::socket::Socket;
use ops_config::agent::HeartbeatConfig;
use ops_http::tls::TlsClient;
use ops_protocol::heartbeat::{Heartbeat, SECRET_VARIABLE};
use ops_runtime::clock;

/// Sends heartbeats. It has no tasks: all work is done inside [`Sender::send`].
///
/// If both an address and a socket are configured, HTTP is tried first. The socket is tried if HTTP returns 404 or if
/// nothing listens there. Each heartbeat tries HTTP first again: that costs a refused connection, and a daemon that starts
/// to listen gets the next heartbeat.
#[derive(Debug)]
pub struct Sender {
    http: Option<Http>,
    socket: Option<Socket>,
    last: Transport,
}

/// The secret of this start, which the daemon gave to the agent in its environment. With it, a heartbeat proves that the agent
/// sent it.
#[derive(Clone)]
pub struct StartSecret(Arc<str>);

impl StartSecret {
    /// The secret in the environment of this process, if a daemon started it.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        let secret = std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty())?;
        Some(Self(secret.into()))
    }
}

impl From<&str> for StartSecret {
    fn from(secret: &str) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for StartSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartSecret(…)")
    }
}

/// The transport of heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `POST` to an address.
    Http,
    /// A line on a Unix socket.
    Socket,
}

/// The daemon acknowledged a heartbeat. With a framing without responses: the daemon was connected and had room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Its transport.
    pub transport: Transport,
}

/// When an attempt has to end, on the monotonic clock, and its limit.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Duration,
    limit: Duration,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self { at: clock::monotonic().saturating_add(limit), limit }
    }

    fn left(self) -> Duration {
        self.at.saturating_sub(clock::monotonic())
    }
}

impl Sender {
    /// A sender without connections. `tls` is needed for an `https` address. `secret` is what the daemon gave to the agent.
    #[must_use]
    pub fn new(config: &HeartbeatConfig, tls: Option<TlsClient>, secret: Option<StartSecret>) -> Self {
        let last = if config.url.is_some() { Transport::Http } else { Transport::Socket };
        Self {
            http: config.url.clone().map(|url| Http::new(url, tls, secret.clone())),
            socket: config.socket.as_ref().map(|socket| Socket::new(socket, secret)),
            last,
        }
    }

    /// The destination of the last delivered heartbeat, or the first that will be tried. Without credentials.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        let http = self.http.as_ref().map(Http::endpoint);
        let socket = self.socket.as_ref().map(Socket::endpoint);
        let (preferred, other) = match self.last {
            Transport::Http => (http, socket),
            Transport::Socket => (socket, http),
        };
        preferred.or(other).unwrap_or_default()
    }

    /// Sends one heartbeat and waits for the daemon to acknowledge it, all within `limit`.
    ///
    /// Dropping the future abandons the attempt, without effect on the next one.
    ///
    /// # Errors
    ///
    /// [`Failure`] without an acknowledgement in time. The heartbeat may have arrived nevertheless.
    pub async fn send(&mut self, heartbeat: &Heartbeat, limit: Duration) -> Result<Delivered, Failure> {
        let deadline = Deadline::after(limit);
        let over_http = match &self.http {
            Some(http) => match http.send(heartbeat, deadline).await {
                Ok(()) => return Ok(self.delivered(Transport::Http)),
                Err(failure) => Some(failure),
            },
            None => None,
        };
        match (&mut self.socket, over_http) {
            (Some(socket), None) => socket.send(heartbeat, deadline).await?,
            (Some(socket), Some(first)) if first.allows_the_socket() => {
                socket.send(heartbeat, deadline).await.map_err(|failure| failure.after(first))?;
            }
            (_, Some(failure)) => return Err(failure),
            (None, None) => return Err(Failure::not_configured()),
        }
        Ok(self.delivered(Transport::Socket))
    }

    const fn delivered(&mut self, transport: Transport) -> Delivered {
        self.last = transport;
        Delivered { transport }
    }
}
