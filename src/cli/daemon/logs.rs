//! `daemon logs`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use signal_hook::consts::SIGINT;
use signal_hook::flag::register_conditional_shutdown;

use super::SocketArgs;
use super::request::{RequestError, request};
use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, print};
use crate::daemon::client::ClientError;
use ops_protocol::views::LogsView;

/// The time between two looks at a log that is followed.
const INTERVAL: Duration = Duration::from_millis(500);

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
    /// Print new lines as they come, until Ctrl-C; also over rotations and restarts of agent and daemon
    #[arg(short, long)]
    follow: bool,
}

/// Prints the last output lines of an agent.
pub(super) fn run(args: &LogsArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    if args.follow {
        return follow(&socket, args).unwrap_or_else(|error| error.report());
    }
    match request::<LogsView>(&socket, "logs", json!({ "agent_id": args.id, "lines": args.lines })) {
        Ok(LogsView { lines, .. }) => print(&text(&lines)),
        Err(error) => error.report(),
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Prints new lines until Ctrl-C or until the reader of the output ends. Waits for a daemon that is gone meanwhile.
fn follow(socket: &Path, args: &LogsArgs) -> Result<ExitCode, RequestError> {
    // Whatever the command waits for, Ctrl-C ends it at once. Each line is written out before that.
    if let Err(error) = register_conditional_shutdown(SIGINT, 0, Arc::new(AtomicBool::new(true))) {
        return Ok(fail("cannot watch for signals", Some(&error), FAILED));
    }
    let mut position: Option<String> = None;
    let mut is_gone = false;
    let mut has_begun = false;
    loop {
        let params = json!({ "agent_id": args.id, "lines": args.lines, "follow": true, "after": position });
        match request::<LogsView>(socket, "logs", params) {
            Ok(LogsView { lines, skipped, next }) => {
                if is_gone {
                    note("the daemon is back");
                }
                if skipped {
                    note("some output is left out: it was removed, or there was too much of it");
                }
                (position, is_gone, has_begun) = (next, false, true);
                let mut stdout = io::stdout().lock();
                if stdout.write_all(text(&lines).as_bytes()).and_then(|()| stdout.flush()).is_err() {
                    return Ok(ExitCode::SUCCESS);
                }
            }
            Err(error) if has_begun && may_pass(&error) => {
                if !is_gone {
                    note(&format!("{error}; waiting for the daemon"));
                }
                is_gone = true;
            }
            Err(error) => return Err(error),
        }
        sleep(INTERVAL);
    }
}

/// Whether a daemon that is restarted explains the error.
const fn may_pass(error: &RequestError) -> bool {
    match error {
        RequestError::Client(
            ClientError::NotRunning(_)
            | ClientError::NotConnected { .. }
            | ClientError::Closed { .. }
            | ClientError::TimedOut { .. },
        ) => true,
        RequestError::Client(
            ClientError::NotPermitted { .. } | ClientError::Malformed { .. } | ClientError::Declined(_),
        )
        | RequestError::OtherVersion(_) => false,
    }
}

/// Prints something that is not output of the agent.
fn note(text: &str) {
    // Without standard error, only the output of the agent is left.
    let _ = writeln!(io::stderr(), "-- {text}");
}
