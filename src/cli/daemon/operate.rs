//! `daemon hold`, `release` and `signal`: what an operator does while looking into a program.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::SocketArgs;
use super::control::{self, ControlArgs};
use super::request::request;
use crate::cli::output::print;
use ops_protocol::Command;
use ops_protocol::views::MessageView;

/// The arguments of `hold` and `release`.
#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    /// The IDs of the agents, or `all`
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    socket: SocketArgs,
}

/// The arguments of `signal`.
#[derive(Debug, Args)]
pub(super) struct SignalArgs {
    /// The ID of the agent
    #[arg(value_name = "ID")]
    id: String,
    /// The signal, such as HUP, SIGUSR1 or 10
    #[arg(value_name = "SIGNAL")]
    signal: String,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Suspends the restarts of agents for bad checks, or ends that. There is nothing to wait for.
pub(super) fn hold(command: Command, args: HoldArgs) -> ExitCode {
    let HoldArgs { ids, socket } = args;
    control::run(command, &ControlArgs { ids, socket, wait: Duration::ZERO })
}

/// Has a signal sent to the main process of an agent.
pub(super) fn signal(args: &SignalArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let params = json!({ "agent_id": args.id, "signal": args.signal });
    match request::<MessageView>(&socket, "signal", params) {
        Ok(MessageView { message }) => print(&format!("{message}\n")),
        Err(error) => error.report(),
    }
}
