//! The daemon: one machine per supervised agent, processes, checks, heartbeat receivers, control.
