//! TLS for servers and clients: reads its files, makes the handshakes and explains errors.
//!
//! Only `enabled` uses rustls. A build without the feature `tls` has `disabled` in its place: the same types, but
//! without values. So no other code depends on the feature.

#[cfg(not(feature = "tls"))]
mod disabled;
#[cfg(feature = "tls")]
mod enabled;
mod error;
mod files;
mod material;

#[cfg(not(feature = "tls"))]
use disabled as backend;
#[cfg(feature = "tls")]
use enabled as backend;

pub(crate) use backend::HandshakeLogLimits;
pub use backend::{ServerTlsStream, TlsClient, TlsServer};
pub use error::TlsError;
pub(crate) use error::{HANDSHAKE, ProtocolError};
pub use files::{ClientFiles, FileProblem, IdentityFiles, Role, ServerFiles};
pub use material::Material;

/// Whether this build supports TLS. Otherwise a configuration that uses TLS is refused.
pub const AVAILABLE: bool = cfg!(feature = "tls");
