//! The command lines: their options, their output and their exit codes.

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod config_args;
pub(crate) mod daemon;
pub(crate) mod exit_code;
pub(crate) mod lifecycle;
pub(crate) mod man;
pub(crate) mod man_text;
pub(crate) mod output;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod screen;
#[cfg(feature = "simulate")]
pub(crate) mod simulate;
pub(crate) mod state_file;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod validate;
