//! The heartbeat: the message that an agent sends to its daemon.

mod received;
mod sent;
mod status;

pub use received::{InvalidHeartbeat, ReceivedHeartbeat, is_agent_id, is_object};
pub use sent::{Heartbeat, METHOD, Percent};
pub use status::WireStatus;
