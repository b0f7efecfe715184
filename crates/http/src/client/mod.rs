//! The HTTP client under surf: hyper on smol, with limits on all that a peer decides.
//!
//! It has no tasks of its own: a connection moves only while somebody waits for its request or reads its answer, so a
//! call that is dropped leaves nothing behind. It has no deadline either: race the whole call with one, as
//! [`within`](ops_runtime::clock::within) does, and the connection of a call that lost is closed.

mod connect;
mod convert;
mod error;
mod exchange;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http_client::http_types;
use http_client::{HttpClient, async_trait};

use connect::Resolver;
use exchange::Connection;

use super::tls;

pub use convert::WireStatus;
pub use error::{Error, is_nobody_there};

/// What a peer may make the client hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// The longest response head, in bytes. At least 8 KiB, which is hyper's own minimum.
    pub head_bytes: usize,
    /// The longest response body, in bytes. Reading beyond it fails, and no more is taken from the peer.
    pub body_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { head_bytes: 16 * 1024, body_bytes: 64 * 1024 }
    }
}

/// An HTTP/1.1 client for `http` and, if told whom to trust, `https` addresses. It keeps at
/// most one idle connection per authority.
///
/// Errors are [`Error`]s inside of [`http_types::Error`]. Proxy settings in the environment are not looked at.
/// Credentials in a URL are sent as basic authorization, and never as part of an address.
pub struct Client {
    limits: ClientLimits,
    tls: Option<tls::Client>,
    resolver: Arc<Resolver>,
    kept: Kept,
}

/// Tells of a client whether it waits for a name server: a call that is out of time then has sent nothing yet.
pub struct Lookups(Arc<Resolver>);

impl Lookups {
    /// Whether a name is being looked up, for a call or still for one that was dropped.
    #[must_use]
    pub fn under_way(&self) -> bool {
        self.0.is_busy()
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lookups").field(&self.under_way()).finish()
    }
}

impl Client {
    /// A client without connections.
    #[must_use]
    pub fn new(limits: ClientLimits) -> Self {
        Self::secured(limits, None)
    }

    /// The same, for `https` addresses too.
    #[must_use]
    pub fn secured(limits: ClientLimits, tls: Option<tls::Client>) -> Self {
        Self { limits, tls, resolver: Arc::default(), kept: Kept::default() }
    }

    /// Its look-ups of names, to be watched from outside.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        Lookups(Arc::clone(&self.resolver))
    }

    async fn exchange(&self, request: http_types::Request) -> Result<http_types::Response, Error> {
        let (target, request) = convert::request(request).await?;
        if let Some(mut connection) = self.kept.take(&target.authority)
            && connection.is_open().await
        {
            match connection.send(request.clone()).await {
                Ok(answer) => return Ok(self.answer(target.authority, connection, answer)),
                // It spoke, so it is not the case below.
                Err(error) if error.is_parse() => return Err(Error::Garbled(error)),
                // So did this one, and what it said counts.
                Err(error) if self.said(&error).is_some() => return Err(self.failure(error)),
                // The peer gave the connection up while the request was on its way, as peers do with idle ones.
                Err(_) => {}
            }
        }
        let stream = self.resolver.connect(&target, self.tls.as_ref()).await?;
        let mut connection = Connection::open(stream, self.limits.head_bytes).await?;
        let answer = connection.send(request).await.map_err(|error| self.failure(error))?;
        Ok(self.answer(target.authority, connection, answer))
    }

    fn failure(&self, error: hyper::Error) -> Error {
        self.said(&error).map_or_else(|| error.into(), Error::Tls)
    }

    /// What the peer's TLS said before it closed the connection.
    fn said(&self, error: &hyper::Error) -> Option<tls::Fault> {
        self.tls.as_ref()?.fault_among_causes(error)
    }

    fn answer(
        &self,
        authority: String,
        connection: Connection,
        answer: exchange::HttpResponse,
    ) -> http_types::Response {
        let (head, body) = answer.into_parts();
        let body = exchange::Body::new(body, self.limits.body_bytes, connection, authority, self.kept.clone());
        convert::response(&head, body)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send(&self, request: http_types::Request) -> Result<http_types::Response, http_types::Error> {
        self.exchange(request).await.map_err(|error| http_types::Error::new(502, error))
    }
}

/// Idle connections that may serve once more, one per authority.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<HashMap<String, Connection>>>);

impl Kept {
    /// Takes a connection out: whoever has it has it alone.
    fn take(&self, authority: &str) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(authority)
    }

    fn put(&self, authority: String, connection: Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(authority, connection);
    }
}
