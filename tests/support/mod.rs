//! What the tests share: real processes, real peers.
<<<<<<< HEAD
=======

pub(crate) mod api;
pub(crate) mod http;
pub(crate) mod peer;
>>>>>>> 32f4af1 (Show what becomes of heartbeats when daemons misbehave)
