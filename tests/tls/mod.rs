//! TLS: authenticated peers are served, and others get an error and one log line.

mod checks;
mod files;
mod heartbeats;
mod hostile;
mod renewal;
mod server;

use std::net::SocketAddr;

use crate::support::agent::{Agent, AgentDir};
use crate::support::pki::{Ca, VALID};

/// A directory with the CA `ca` and its certificates `server` and `client`.
pub(crate) fn home(extra: &str) -> (AgentDir, Ca) {
    let home = AgentDir::new(extra);
    let ca = Ca::new(home.path(), "ca");
    ca.sign("server", &["localhost", "127.0.0.1"], VALID);
    ca.sign("client", &["client"], VALID);
    (home, ca)
}

/// An HTTPS API.
pub(crate) const HTTPS: &str = "http: { port: 0, tls: { cert: server.pem, key: server.key } }\n";

/// The same, with a required client certificate of `ca`.
pub(crate) const MUTUAL: &str = "http: { port: 0, tls: { cert: server.pem, key: server.key, client_ca: ca.pem } }\n";

pub(crate) fn address(agent: &mut Agent) -> SocketAddr {
    ([127, 0, 0, 1], agent.port()).into()
}

/// The next log line about a failed handshake.
pub(crate) fn handshake_failure(agent: &mut Agent) -> String {
    agent.wait_for_message("TLS handshake with a client failed")["error"].as_str().unwrap().to_owned()
}
