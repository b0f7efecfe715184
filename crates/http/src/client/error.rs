//! Why a request got no response.

use std::io;
use std::net::SocketAddr;

use super::limited_stream::ResponseTooLong;
use crate::tls::TlsError;

/// Why a request got no response. `Display` is one fact. The cause is in `source()`.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request cannot be sent: the fact and the remedy.
    #[error("{0}")]
    Unsupported(String),
    /// The host name has no address.
    #[error("the host name cannot be resolved")]
    NoSuchHost(#[source] io::Error),
    /// No program listens at this address, the last one that was tried.
    #[error("connection refused by {0}")]
    Refused(SocketAddr),
    /// The connection to this address, the last one that was tried, failed for another reason.
    #[error("cannot connect to {0}")]
    NotConnected(SocketAddr, #[source] io::Error),
    /// The TLS handshake failed, or TLS ended the connection.
    #[error(transparent)]
    Tls(TlsError),
    /// The peer closed or broke the connection before it had sent a response.
    #[error("the connection was closed without a response")]
    Closed(#[source] hyper::Error),
    /// The response is not HTTP, or its head is over the limit.
    #[error("the response is not HTTP")]
    NotHttp(#[source] hyper::Error),
    /// The peer sends informational responses without end.
    #[error(transparent)]
    TooLong(ResponseTooLong),
}

impl RequestError {
    /// The error of a connection to `address`.
    pub(super) fn not_connected(address: SocketAddr, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            Self::Refused(address)
        } else {
            Self::NotConnected(address, error)
        }
    }

    /// Whether no server is there: the host name has no address, or no program listens on the port.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::NoSuchHost(_) | Self::Refused(_) => true,
            Self::NotConnected(_, error) => is_unreachable(error.kind()),
            Self::Unsupported(_) | Self::Tls(_) | Self::Closed(_) | Self::NotHttp(_) | Self::TooLong(_) => false,
        }
    }
}

/// Whether an error of a connect means that no server is there. Other errors may come from a server in trouble.
#[must_use]
pub fn is_unreachable(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotFound
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
    )
}

impl From<hyper::Error> for RequestError {
    fn from(error: hyper::Error) -> Self {
        match ResponseTooLong::among_causes(&error) {
            Some(too_long) => Self::TooLong(too_long),
            None if error.is_parse() => Self::NotHttp(error),
            None => Self::Closed(error),
        }
    }
}
