//! What the tests share: real processes, real peers.

pub(crate) mod agent;
pub(crate) mod api;
pub(crate) mod http;
pub(crate) mod peer;
