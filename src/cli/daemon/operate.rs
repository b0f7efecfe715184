//! `daemon hold`, `release` and `signal`: what an operator does while looking into a program.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::SocketArgs;
use super::request::{RequestError, request};
use crate::cli::output::print;
use ops_protocol::Command;
use ops_protocol::views::{AgentsView, MessageView};

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

/// Suspends the restarts of agents for bad checks, or ends that.
pub(super) fn hold(command: Command, args: &HoldArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    set_holds(&socket, command, &args.ids).unwrap_or_else(|error| error.report())
}

fn set_holds(socket: &Path, command: Command, ids: &[String]) -> Result<ExitCode, RequestError> {
    let ids = match ids {
        [all] if all == "all" => {
            let AgentsView { agents, .. } = request(socket, "agents", json!({}))?;
            agents.into_iter().map(|agent| agent.agent_id).collect()
        }
        ids => ids.to_vec(),
    };
    let mut text = String::new();
    for id in ids {
        let _: MessageView = request(socket, command.as_str(), json!({ "agent_id": id }))?;
        let fact = if command == Command::Hold { "are held" } else { "are not held any more" };
        text.push_str(&format!("{id}: restarts for bad checks {fact}\n"));
    }
    Ok(print(&text))
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
