//! What the tests share: real processes, real peers.
