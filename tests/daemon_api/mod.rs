//! What the daemon's APIs accept, show and refuse, over real sockets.

mod events;
mod http;
mod page;
mod socket;
mod wire;

/// A heartbeat as an agent sends it.
pub(crate) fn heartbeat(id: &str, pid: u32, incarnation: u64) -> String {
    format!(
        r#"{{"agent_id":"{id}","pid":{pid},"status":"running","cpu":5.0,"memory":1024,"timestamp":"2025-12-05T10:00:00Z","version":"1","state":"running","incarnation":{incarnation},"sequence":9}}"#
    )
}
