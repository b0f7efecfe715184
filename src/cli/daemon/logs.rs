//! `daemon logs`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::SocketArgs;
use super::request::request;
use crate::cli::output::print;
use ops_protocol::views::LogsView;

/// The arguments of `logs`.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The ID of the agent
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    socket: SocketArgs,
    /// The number of lines
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    lines: usize,
}

/// Prints the last output lines of an agent.
pub(super) fn run(args: &LogsArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match request::<LogsView>(&socket, "logs", json!({ "agent_id": args.id, "lines": args.lines })) {
        Ok(LogsView { lines }) => print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
        Err(error) => error.report(),
    }
}
