//! What carries out effects: status file, heartbeat, service manager. None of them knows another, nor any input.

pub mod heartbeat;
pub mod service_manager;
pub mod status_file;
