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
use serde::Deserialize;
use serde_json::{Value, json};

use super::ask::{NoAnswer, ask, complain};
use super::{NOT_RUNNING, Whereabouts};
use crate::cli::{FAILED, print};
use crate::daemon::control::Command;
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

/// As much of an agent as tells what has come of it.
#[derive(Debug, Deserialize)]
struct Agent {
    state: String,
    cause: String,
    pid: Option<u32>,
}

/// Has the daemon carry out a wish, and waits for what comes of it.
pub(super) fn run(wish: Command, args: &ControlArgs) -> ExitCode {
    let socket = match args.at.find() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    carry_out(&socket, wish, args).unwrap_or_else(|no| no.complain())
}

fn carry_out(socket: &Path, wish: Command, args: &ControlArgs) -> Result<ExitCode, NoAnswer> {
    let whom = json!({ "agent_id": args.id });
    let id = &args.id;
    let before: Agent = ask(socket, "agent", whom.clone())?;
    let told: Value = ask(socket, wish.as_str(), whom.clone())?;
    if args.wait.is_zero() {
        return Ok(print(&format!("{}\n", told["message"].as_str().unwrap_or("done"))));
    }
    let until = clock::monotonic() + args.wait;
    loop {
        let Agent { state, cause, pid } = ask(socket, "agent", whom.clone())?;
        let another = wish != Command::Restart || pid != before.pid;
        match (state.as_str(), wish) {
            ("stopped", Command::Stop) => return Ok(print(&format!("{id} is stopped\n"))),
            ("running", Command::Start | Command::Restart) if another => {
                let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
                return Ok(print(&format!("{id} is running{pid}\n")));
            }
            ("failed", Command::Start | Command::Restart) => {
                return Ok(complain(&format!("{id} has failed: {cause}; see `daemon logs {id}`"), None, FAILED));
            }
            _ if clock::monotonic() >= until => {
                let text = format!("{id} is still {state} after {:?}: {cause}; see `daemon why {id}`", args.wait);
                return Ok(complain(&text, None, FAILED));
            }
            _ => sleep(LOOK),
        }
    }
}

/// Prints the last lines of an agent's output.
pub(super) fn logs(args: &LogsArgs) -> ExitCode {
    #[derive(Deserialize)]
    struct Lines {
        lines: Vec<String>,
    }
    let socket = match args.at.find() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match ask::<Lines>(&socket, "logs", json!({ "agent_id": args.id, "lines": args.lines })) {
        Ok(Lines { lines }) => print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
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
