//! The command lines.

pub mod check;
mod state_file;
pub mod status;
