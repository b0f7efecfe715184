//! `daemon start`, `stop`, `restart`, `logs` and `shutdown`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use statemachine::supervision::{ReasonCode, State};

use super::SocketArgs;
use super::request::{RequestError, request};
use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, print};
use crate::daemon::client::not_connected;
use ops_protocol::Command;
use ops_protocol::views::{AgentView, AgentsView, DaemonHealth, LogsView, MessageView, StateName};
use ops_runtime::clock;
use ops_runtime::program;

/// The time between two requests for the state while a command is carried out.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The arguments of `start`, `stop` and `restart`.
#[derive(Debug, Args)]
pub(super) struct ControlArgs {
    /// The ID of the agent
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    socket: SocketArgs,
    /// How long to wait for the result; 0s does not wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

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

/// Gives the daemon a command, and waits until it is carried out.
pub(super) fn run(command: Command, args: &ControlArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    carry_out(&socket, command, args).unwrap_or_else(|error| error.report())
}

fn carry_out(socket: &Path, command: Command, args: &ControlArgs) -> Result<ExitCode, RequestError> {
    let (id, program) = (&args.id, program::name());
    let params = json!({ "agent_id": id });
    let before: AgentView = request(socket, "agent", params.clone())?;
    let answer: MessageView = request(socket, command.as_str(), params.clone())?;
    if args.wait.is_zero() {
        return Ok(print(&format!("{}\n", answer.message)));
    }
    let deadline = clock::monotonic() + args.wait;
    loop {
        let AgentView { state, cause, pid, .. } = request(socket, "agent", params.clone())?;
        let is_new = command != Command::Restart || pid != before.pid;
        match (state, command) {
            (State::Stopped, Command::Stop) => return Ok(print(&format!("{id} is stopped\n"))),
            (State::Running, Command::Start | Command::Restart) if is_new => {
                let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
                return Ok(print(&format!("{id} is running{pid}\n")));
            }
            (State::Failed, _) => {
                return Ok(fail(&format!("{id} has failed: {cause}: see `{program} logs {id}`"), None, FAILED));
            }
            _ if clock::monotonic() >= deadline => {
                let text = format!(
                    "{id} is still {} after {:?}: {cause}: see `{program} why {id}`",
                    state.as_str(),
                    args.wait
                );
                return Ok(fail(&text, None, FAILED));
            }
            _ => sleep(POLL_INTERVAL),
        }
    }
}

/// Prints the last output lines of an agent.
pub(super) fn logs(args: &LogsArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match request::<LogsView>(&socket, "logs", json!({ "agent_id": args.id, "lines": args.lines })) {
        Ok(LogsView { lines }) => print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
        Err(error) => error.report(),
    }
}

/// Makes the daemon stop all agents and end, and waits until it has ended.
pub(super) fn shutdown(args: &SocketArgs) -> ExitCode {
    let socket = match args.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    // The kernel names the process that listens. A pidfd keeps naming this process after it has ended, and a pid does
    // not.
    let daemon = UnixStream::connect(&socket)
        .and_then(|stream| Ok(pidfd_open(socket_peercred(&stream)?.pid, PidfdFlags::empty())?));
    let daemon = match daemon {
        Ok(daemon) => daemon,
        Err(error) => return RequestError::from(not_connected(&socket, error)).report(),
    };
    let ended = pidfd_send_signal(&daemon, Signal::INT).and_then(|()| await_end(&socket, &daemon));
    match ended {
        Ok(left) if left.is_empty() => print("the daemon has ended\n"),
        Ok(left) => {
            let left = left.join(", ");
            fail(&format!("the daemon has ended, and SIGKILL did not end all processes of: {left}"), None, FAILED)
        }
        Err(error) => {
            let text = "cannot signal the daemon: run the command as root or as the daemon's user";
            fail(text, Some(&io::Error::from(error)), FAILED)
        }
    }
}

/// Waits until the daemon has ended. Returns the agents that could not be stopped, as the daemon showed them last.
fn await_end(socket: &Path, daemon: &OwnedFd) -> Result<Vec<String>, Errno> {
    let mut left = Vec::new();
    // A pidfd is readable once its process has ended.
    let mut end = [PollFd::new(daemon, PollFlags::IN)];
    let wait = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    while retry_on_intr(|| poll(&mut end, Some(&wait)))? == 0 {
        // Cheap, so that the agents are asked for only when one may be left.
        let has_failed = request(socket, "health", json!({}))
            .is_ok_and(|health: DaemonHealth| health.agents.contains_key(&StateName(State::Failed)));
        if let Some(AgentsView { agents, .. }) = has_failed.then(|| request(socket, "agents", json!({})).ok()).flatten()
        {
            let is_left = |agent: &AgentView| {
                agent.reason.as_ref().is_some_and(|reason| reason.code == ReasonCode::Unkillable.as_str())
            };
            left = agents.into_iter().filter(is_left).map(|agent| agent.agent_id).collect();
        }
    }
    Ok(left)
}
