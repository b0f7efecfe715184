//! `daemon shutdown`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

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
use ops_protocol::views::{AgentView, AgentsView, DaemonHealth, StateName};

/// Makes the daemon stop all agents and end, and waits until it has ended.
pub(super) fn run(args: &SocketArgs) -> ExitCode {
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
