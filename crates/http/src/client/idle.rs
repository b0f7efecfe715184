//! Idle connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::connection::Connection;

/// Idle connections that may serve another request: at most one per authority.
#[derive(Clone, Default)]
pub(super) struct IdleConnections(Arc<Mutex<HashMap<String, Connection>>>);

impl IdleConnections {
    /// Takes a connection out, so that no other request uses it.
    pub(super) fn take(&self, authority: &str) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(authority)
    }

    /// Puts a connection back.
    pub(super) fn put(&self, authority: String, connection: Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(authority, connection);
    }
}
