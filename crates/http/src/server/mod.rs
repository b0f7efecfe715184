//! The HTTP server under tide: its own accept loop, hyper for the protocol, and limits on everything that a peer can
//! do.
//!
//! ```text
//! tls_accept ─ accept ─ connections (limits, room for new ones) ─ connection ─ hyper ─ request (checks) ─ Handler
//!                                                     └ conn_state (phase, deadline) ─ guarded_io, timer_queue
//! ```

mod accept;
mod body;
mod budget;
mod conn_state;
mod connection;
mod connections;
mod guarded_io;
mod handler;
mod head_scan;
mod limits;
mod listener;
mod refusal;
mod request;
mod serve;
mod tide;
mod timer_queue;
mod tls_accept;

pub use accept::{AcceptLoop, ListenerState};
pub use body::ResponseBody;
pub use handler::{Handler, PeerAddress};
pub use limits::ServerLimits;
pub use listener::{BindError, Listener, TcpSocket, bind, listen_on};
pub use refusal::Refusal;
pub use serve::{Server, serve};
pub use tide::{RouteResponse, Routes};
pub use tls_accept::{MaybeTlsStream, ServerIdentity, TlsAccept};
