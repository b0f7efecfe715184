//! TLS: authenticated peers are served, and others get an error and one log line.

mod checks;
mod files;
mod heartbeats;
mod hooks;
mod hostile;
mod renewal;
mod server;

use std::net::SocketAddr;

use crate::support::agent::{Agent, AgentDir};
use crate::support::pki::{Ca, VALID};

/// A directory with the CA `ca` and its certificates `server` and `client`.
pub(crate) fn agent_dir(extra: &str) -> (AgentDir, Ca) {
    let agent_dir = AgentDir::new(extra);
    let ca = Ca::new(agent_dir.path(), "ca");
    ca.sign("server", &["localhost", "127.0.0.1"], VALID);
    ca.sign("client", &["client"], VALID);
    (agent_dir, ca)
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
