//! Tells the daemon that the agent lives: over HTTP, over a Unix socket, or over whichever of the two answers.
//!
//! When to send, and what a failure means for the agent, is not decided here.

pub(crate) mod failure;
pub(crate) mod http;
pub(crate) mod scheduler;
pub(crate) mod socket;

use std::time::Duration;

pub(crate) use failure::Failure;

use self::http::Http;
use self::socket::Socket;
use ops_config::agent::HeartbeatConfig;
use ops_http::tls::TlsClient;
use ops_protocol::heartbeat::Heartbeat;
use ops_runtime::clock;

/// The way to the daemon. It has no tasks: everything happens inside of [`Sender::send`].
///
/// Where both an address and a socket are given, HTTP is tried first each time and the socket takes over while HTTP
/// answers 404 or nobody listens there. Asking HTTP first each time costs a refused connect, and needs no memory of who
/// was there last: a daemon that begins to listen gets the next heartbeat.
#[derive(Debug)]
pub struct Sender {
    http: Option<Http>,
    socket: Option<Socket>,
    last: Route,
}

/// The two ways to a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `POST` to an address.
    Http,
    /// A line on a Unix socket.
    Socket,
}

/// The daemon has acknowledged a heartbeat; or, where its framing knows no answers, was connected and had room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// The way that it took.
    pub route: Route,
}

/// When an attempt has to be over, on the monotonic clock, and how long it had.
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
    /// A sender without connections. `tls` is needed for an `https` address.
    #[must_use]
    pub fn new(config: &HeartbeatConfig, tls: Option<TlsClient>) -> Self {
        let last = if config.url.is_some() { Route::Http } else { Route::Socket };
        Self {
            http: config.url.clone().map(|url| Http::new(url, tls)),
            socket: config.socket.as_ref().map(Socket::new),
            last,
        }
    }

    /// Where heartbeats go, for people and without credentials: the way of the last one that was delivered, or the
    /// first to be tried.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        let http = self.http.as_ref().map(Http::endpoint);
        let socket = self.socket.as_ref().map(Socket::endpoint);
        let (preferred, other) = match self.last {
            Route::Http => (http, socket),
            Route::Socket => (socket, http),
        };
        preferred.or(other).unwrap_or_default()
    }

    /// Sends one heartbeat and waits for the daemon to acknowledge it, all within `limit`.
    ///
    /// Dropping the future gives the attempt up; the next one does not suffer from it.
    ///
    /// # Errors
    ///
    /// [`Failure`], whatever the reason. The heartbeat may have arrived even so.
    pub async fn send(&mut self, beat: &Heartbeat, limit: Duration) -> Result<Delivered, Failure> {
        let deadline = Deadline::after(limit);
        let over_http = match &self.http {
            Some(http) => match http.send(beat, deadline).await {
                Ok(()) => return Ok(self.delivered(Route::Http)),
                Err(failure) => Some(failure),
            },
            None => None,
        };
        match (&mut self.socket, over_http) {
            (Some(socket), None) => socket.send(beat, deadline).await?,
            (Some(socket), Some(first)) if first.leaves_it_to_the_socket() => {
                socket.send(beat, deadline).await.map_err(|failure| failure.after(first))?;
            }
            (_, Some(failure)) => return Err(failure),
            (None, None) => return Err(Failure::nowhere()),
        }
        Ok(self.delivered(Route::Socket))
    }

    const fn delivered(&mut self, route: Route) -> Delivered {
        self.last = route;
        Delivered { route }
    }
}
