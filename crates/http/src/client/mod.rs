//! The HTTP client under surf: hyper on smol, with limits on everything that a server sends.
//!
//! It has no tasks. A connection moves only while a caller waits for a response or reads its body, so a dropped call
//! leaves nothing behind. It has no deadline either: use [`within`](ops_runtime::clock::within) around the whole call.
//! The connection of a call that runs out of time is closed.

mod body;
mod connect;
mod connection;
mod convert;
mod error;
mod idle;
mod limited_stream;
mod lookup;
mod tcp;

use std::fmt;
use std::sync::Arc;

use http_client::http_types;
use http_client::{HttpClient, async_trait};

use body::Body;
use connect::Resolver;
use connection::Connection;
use idle::IdleConnections;

use crate::tls::{TlsClient, TlsError};

pub use convert::RawStatus;
pub use error::{RequestError, is_unreachable};
pub use limited_stream::ResponseTooLong;
pub use tcp::TcpTarget;

/// Limits on what a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// The size limit of a response head, in bytes. At least 8 KiB, which is hyper's minimum. Informational responses
    /// before it may have as many bytes together.
    pub head_bytes: usize,
    /// The size limit of a response body, in bytes. A longer body is an error, and the connection is closed.
    pub body_bytes: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self { head_bytes: 16 * 1024, body_bytes: 64 * 1024 }
    }
}

/// An HTTP/1.1 client for `http` addresses, and for `https` if it has CAs to trust. It keeps at most one idle
/// connection per authority.
///
/// Its errors are [`RequestError`]s inside of [`http_types::Error`]. It ignores proxy settings in the environment.
/// It refuses a URL with a user name or a password, as the configuration does.
pub struct Client {
    limits: ClientLimits,
    tls: Option<TlsClient>,
    resolver: Arc<Resolver>,
    idle: IdleConnections,
}

/// Shows whether a client waits for a name server. A call that runs out of time then has sent nothing.
pub struct Lookups(Arc<Resolver>);

impl Lookups {
    /// Whether a lookup is running, for a present call or for a dropped one.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.is_busy()
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lookups").field(&self.is_running()).finish()
    }
}

impl Client {
    /// A client for `http` addresses.
    #[must_use]
    pub fn new(limits: ClientLimits) -> Self {
        Self::secured(limits, None)
    }

    /// A client for `http` and, with `tls`, for `https` addresses.
    #[must_use]
    pub fn secured(limits: ClientLimits, tls: Option<TlsClient>) -> Self {
        Self { limits, tls, resolver: Arc::default(), idle: IdleConnections::default() }
    }

    /// A view of the client's lookups.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        Lookups(Arc::clone(&self.resolver))
    }

    async fn exchange(&self, request: http_types::Request) -> Result<http_types::Response, RequestError> {
        let (target, request) = convert::request(request).await?;
        if let Some(mut connection) = self.idle.take(&target.authority)
            && connection.is_open().await
        {
            match connection.send(request.clone()).await {
                Ok(response) => return Ok(self.convert(target.authority, connection, response)),
                Err(error) if error.is_parse() || ResponseTooLong::among_causes(&error).is_some() => {
                    return Err(error.into());
                }
                Err(error) if self.tls_error(&error).is_some() => return Err(self.error(error)),
                // The server closed the idle connection while the request was on its way: try a new connection.
                Err(_) => {}
            }
        }
        let stream = self.resolver.connect(&target, self.tls.as_ref()).await?;
        let mut connection = Connection::open(stream, self.limits).await?;
        let response = connection.send(request).await.map_err(|error| self.error(error))?;
        Ok(self.convert(target.authority, connection, response))
    }

    fn error(&self, error: hyper::Error) -> RequestError {
        self.tls_error(&error).map_or_else(|| error.into(), RequestError::Tls)
    }

    /// The TLS error among the causes, if there is one.
    fn tls_error(&self, error: &hyper::Error) -> Option<TlsError> {
        self.tls.as_ref()?.error_among_causes(error)
    }

    fn convert(
        &self,
        authority: String,
        connection: Connection,
        response: connection::HttpResponse,
    ) -> http_types::Response {
        let (head, body) = response.into_parts();
        let body = Body::new(body, self.limits.body_bytes, connection, authority, self.idle.clone());
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
