//! What can go wrong between a request and the head of its answer.

use std::{fmt, io};

use crate::tls;

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// The request cannot be made, and why.
    Unsupported(String),
    /// The host's name leads to no address.
    NoSuchHost(io::Error),
    /// No connection came about.
    NotConnected(io::Error),
    /// There was a connection, but TLS did not come about on it, or was broken off.
    Tls(tls::Fault),
    /// The peer closed or broke the connection instead of answering.
    Broken(hyper::Error),
    /// The peer's answer is not HTTP, or its head is too long.
    Garbled(hyper::Error),
}

impl Error {
    /// Whether it looks as if nobody were there: the name leads nowhere, or nobody listens behind it.
    #[must_use]
    pub fn is_nobody_there(&self) -> bool {
        match self {
            Self::NoSuchHost(_) => true,
            Self::NotConnected(error) => is_nobody_there(error.kind()),
            Self::Unsupported(_) | Self::Tls(_) | Self::Broken(_) | Self::Garbled(_) => false,
        }
    }
}

/// Whether a failed connect means that nobody is there, rather than that somebody is unwell.
#[must_use]
pub fn is_nobody_there(kind: io::ErrorKind) -> bool {
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

impl From<hyper::Error> for Error {
    fn from(error: hyper::Error) -> Self {
        if error.is_parse() { Self::Garbled(error) } else { Self::Broken(error) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) => f.write_str(why),
            Self::NoSuchHost(_) => f.write_str("the host's name leads to no address"),
            Self::NotConnected(_) => f.write_str("no connection came about"),
            Self::Tls(fault) => write!(f, "{fault}"),
            Self::Broken(_) => f.write_str("the connection was closed instead of an answer"),
            Self::Garbled(_) => f.write_str("the answer is not HTTP"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unsupported(_) | Self::Tls(_) => None,
            Self::NoSuchHost(error) | Self::NotConnected(error) => Some(error),
            Self::Broken(error) | Self::Garbled(error) => Some(error),
        }
    }
}
