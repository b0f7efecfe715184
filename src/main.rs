//! The agent.

use std::process::ExitCode;

fn main() -> ExitCode {
    ops_agent::cli::agent::main(std::env::args_os())
}
