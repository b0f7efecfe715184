//! Socket activation: a listener that the service manager has bound for us.

use std::net::TcpListener;

use listenfd::ListenFd;

/// The first TCP listener that was handed in, if any.
pub(super) fn listener() -> Option<TcpListener> {
    let mut handed_in = ListenFd::from_env();
    match handed_in.take_tcp_listener(0) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "what the service manager handed in is no TCP listener; binding `http.port` instead");
            None
        }
    }
}
