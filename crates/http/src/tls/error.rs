//! Errors of a TLS connection.

use std::io;

/// The first byte of a TLS connection: the record type of a handshake. No HTTP request begins with it.
pub(crate) const HANDSHAKE: u8 = 0x16;

/// Why a TLS handshake failed, or why a TLS connection ended. `Display` is the fact and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct TlsError {
    text: String,
    is_local: bool,
}

impl TlsError {
    /// An error that this side causes.
    #[cfg(feature = "tls")]
    pub(super) const fn local(text: String) -> Self {
        Self { text, is_local: true }
    }

    /// An error that the peer causes.
    #[cfg(feature = "tls")]
    pub(super) const fn remote(text: String) -> Self {
        Self { text, is_local: false }
    }

    /// Whether this side causes the error, as far as it can know: by its certificate, or because it has none.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.is_local
    }
}

/// Why no request can come from a new connection. A stream returns it inside of an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// The peer uses plain HTTP on a TLS port. It can read a plain response.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "only a TLS port can get plain HTTP"))]
    #[error("this port requires HTTPS, and the request is plain HTTP: use `https://`")]
    PlainHttp,
    /// The peer uses TLS on a plain port.
    #[error("this port requires plain HTTP, and the request uses TLS: use `http://`")]
    Tls,
    /// The handshake failed. The peer has got a TLS alert where possible.
    #[error("the TLS handshake failed")]
    Handshake,
}

impl ProtocolError {
    /// The protocol error inside of an [`io::Error`], if there is one.
    #[must_use]
    pub(crate) fn in_error(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<ProtocolError> for io::Error {
    fn from(error: ProtocolError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
