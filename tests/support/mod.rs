//! What the tests share: real processes, real peers.

pub(crate) mod peer;
