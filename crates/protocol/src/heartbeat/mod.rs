//! The heartbeat: the message that an agent sends to its daemon.

mod received;
mod sent;
mod status;
mod whole;

/// The environment variable in which a daemon gives a program the secret of its start.
pub const SECRET_VARIABLE: &str = "OPS_AGENT_START_SECRET";

/// The HTTP header in which a heartbeat presents the secret. On a socket it is the member `start_secret`.
pub const SECRET_HEADER: &str = "ops-start-secret";

pub use received::{InvalidHeartbeat, ReceivedHeartbeat, is_agent_id, is_object};
pub use sent::{Heartbeat, METHOD, Percent};
pub use status::WireStatus;
