//! The daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    ops_agent::cli::daemon::main(std::env::args_os())
}
