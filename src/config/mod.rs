//! What the configuration files say, and everything that is wrong with them in one go.

pub mod agent;
