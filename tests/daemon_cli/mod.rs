//! The commands for a running daemon, from outside.

mod completions;
mod control;
mod logs;
mod places;
mod reload;
mod status;
mod watch;

use std::process::Output;

/// What a command printed to standard output.
fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command printed to standard error.
fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
