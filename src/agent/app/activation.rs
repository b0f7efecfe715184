//! Socket activation: a listener that the service manager has bound.

use std::net::TcpListener;

use listenfd::ListenFd;

/// The first TCP listener that the service manager passed, if any.
pub(super) fn listener() -> Option<TcpListener> {
    let mut passed = ListenFd::from_env();
    match passed.take_tcp_listener(0) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "the service manager passed a socket that is no TCP listener: the agent binds `http.port`");
            None
        }
    }
}
