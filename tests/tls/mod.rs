//! TLS: who proves who it is gets what is asked for, who does not is told why in one line, and nothing worse happens.

mod checks;
mod files;
mod heartbeats;
mod hostile;
mod renewal;
mod server;

use std::net::SocketAddr;

use crate::support::agent::{Agent, AgentDir};
use crate::support::pki::{Ca, VALID};

/// A directory with `ca`, and `server` and `client` that it has signed.
pub(crate) fn home(extra: &str) -> (AgentDir, Ca) {
    let home = AgentDir::new(extra);
    let ca = Ca::new(home.path(), "ca");
    ca.sign("server", &["localhost", "127.0.0.1"], VALID);
    ca.sign("client", &["client"], VALID);
    (home, ca)
}

/// An API over TLS.
pub(crate) const HTTPS: &str = "http: { port: 0, tls: { cert: server.pem, key: server.key } }\n";

/// The same, for those with a certificate of `ca` alone.
pub(crate) const MUTUAL: &str = "http: { port: 0, tls: { cert: server.pem, key: server.key, client_ca: ca.pem } }\n";

pub(crate) fn address(agent: &mut Agent) -> SocketAddr {
    ([127, 0, 0, 1], agent.port()).into()
}

/// The next line about a handshake that came to nothing.
pub(crate) fn complaint(agent: &mut Agent) -> String {
    agent.wait_for_message("TLS handshake with a client failed")["error"].as_str().unwrap().to_owned()
}
