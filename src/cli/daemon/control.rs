//! `daemon start`, `stop`, `restart`, `logs` and `shutdown`.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::json;
use statemachine::supervision::State;

use super::ask::{NoAnswer, ask, complain};
use super::{NOT_RUNNING, Whereabouts};
use crate::cli::exit_code::FAILED;
use crate::cli::output::print;
use ops_protocol::Command;
use ops_protocol::views::{AgentView, LogsView, MessageView};
use ops_runtime::clock;

/// Between two looks at what has come of it.
const LOOK: Duration = Duration::from_millis(100);

/// What `start`, `stop` and `restart` take.
#[derive(Debug, Args)]
pub(super) struct ControlArgs {
    /// The agent
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    at: Whereabouts,
    /// How long to wait until it is so; 0s does not wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// What `logs` takes.
#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// The agent
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    at: Whereabouts,
    /// How many lines
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    lines: usize,
}

/// Gives the daemon a command, and waits until it is carried out.
pub(super) fn run(command: Command, args: &ControlArgs) -> ExitCode {
    let socket = match args.at.find() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    carry_out(&socket, command, args).unwrap_or_else(|no| no.complain())
}

fn carry_out(socket: &Path, command: Command, args: &ControlArgs) -> Result<ExitCode, NoAnswer> {
    let whom = json!({ "agent_id": args.id });
    let id = &args.id;
    let before: AgentView = ask(socket, "agent", whom.clone())?;
    let answer: MessageView = ask(socket, command.as_str(), whom.clone())?;
    if args.wait.is_zero() {
        return Ok(print(&format!("{}\n", answer.message)));
    }
    let until = clock::monotonic() + args.wait;
    loop {
        let AgentView { state, cause, pid, .. } = ask(socket, "agent", whom.clone())?;
        let another = command != Command::Restart || pid != before.pid;
        match (state, command) {
            (State::Stopped, Command::Stop) => return Ok(print(&format!("{id} is stopped\n"))),
            (State::Running, Command::Start | Command::Restart) if another => {
                let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
                return Ok(print(&format!("{id} is running{pid}\n")));
            }
            (State::Failed, Command::Start | Command::Restart) => {
                return Ok(complain(&format!("{id} has failed: {cause}; see `daemon logs {id}`"), None, FAILED));
            }
            _ if clock::monotonic() >= until => {
                let text =
                    format!("{id} is still {} after {:?}: {cause}; see `daemon why {id}`", state.as_str(), args.wait);
                return Ok(complain(&text, None, FAILED));
            }
            _ => sleep(LOOK),
        }
    }
}

/// Prints the last lines of an agent's output.
pub(super) fn logs(args: &LogsArgs) -> ExitCode {
    let socket = match args.at.find() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match ask::<LogsView>(&socket, "logs", json!({ "agent_id": args.id, "lines": args.lines })) {
        Ok(LogsView { lines }) => print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
        Err(no) => no.complain(),
    }
}

/// Has the daemon stop everything, and waits for its end.
pub(super) fn shutdown(at: &Whereabouts) -> ExitCode {
    let socket = match at.find() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    // Whom the kernel names at the other end is the one, whatever an answer would say. Held by a descriptor, since a number
    // alone may be another's by the time of the signal.
    let daemon = UnixStream::connect(&socket)
        .and_then(|stream| Ok(pidfd_open(socket_peercred(&stream)?.pid, PidfdFlags::empty())?));
    let daemon = match daemon {
        Ok(daemon) => daemon,
        Err(error) => {
            return complain(&format!("no daemon answers at {}", socket.display()), Some(&error), NOT_RUNNING);
        }
    };
    // It is readable once the process has ended.
    let mut end = [PollFd::new(&daemon, PollFlags::IN)];
    let ended = pidfd_send_signal(&daemon, Signal::INT).and_then(|()| retry_on_intr(|| poll(&mut end, None)));
    match ended {
        Ok(_) => print("the daemon has ended: see its log for agents that did not\n"),
        Err(error) => {
            let text = "the daemon cannot be signalled: run the command as root or as the daemon's user";
            complain(text, Some(&io::Error::from(error)), FAILED)
        }
    }
}
