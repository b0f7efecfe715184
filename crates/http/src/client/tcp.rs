//! Opens TCP connections, with the look-ups and the attempts of the HTTP client.

use std::sync::Arc;

use http_client::http_types::url::Host;

use super::connect::Resolver;
use super::{Lookups, RequestError};

/// A host and a port to which connections are opened.
pub struct TcpTarget {
    resolver: Arc<Resolver>,
    host: Host<String>,
    port: u16,
}

impl TcpTarget {
    /// The port of this host.
    #[must_use]
    pub fn new(host: Host<String>, port: u16) -> Self {
        Self { resolver: Arc::default(), host, port }
    }

    /// A view of its lookups.
    #[must_use]
    pub fn lookups(&self) -> Lookups {
        Lookups(Arc::clone(&self.resolver))
    }

    /// Opens a connection, and closes it. It has no deadline.
    ///
    /// # Errors
    ///
    /// If no address of the host accepts one.
    pub async fn connect(&self) -> Result<(), RequestError> {
        self.resolver.reach(&self.host, self.port).await.map(drop)
    }
}
