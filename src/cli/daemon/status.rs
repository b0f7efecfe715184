//! `daemon status` and `daemon why`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use serde_json::json;

use super::page::{checks, overview};
use super::request::{RequestError, request};
use super::{SocketArgs, WhyArgs};
use crate::cli::exit_code::FAILED;
use crate::cli::output::print;
use ops_protocol::views::{AgentView, AgentsView, DaemonHealth};

/// The time between two requests of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    socket: SocketArgs,
    /// The output format
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Print again every second until interrupted
    #[arg(long)]
    watch: bool,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table, with colors on a terminal
    Human,
    /// All data as JSON
    Json,
}

/// Prints the state of all agents. 0: every agent is running, or stopped on purpose.
pub(super) fn run(args: &Args) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    let repaint = args.watch && io::stdout().is_terminal() && args.output == Output::Human;
    loop {
        let code = match text(&socket, args.output) {
            Ok((text, well)) => {
                if !show(&text, repaint) {
                    return ExitCode::SUCCESS;
                }
                ExitCode::from(if well { 0 } else { FAILED })
            }
            Err(error) => error.report(),
        };
        if !args.watch {
            return code;
        }
        sleep(WATCH_INTERVAL);
    }
}

fn text(socket: &Path, output: Output) -> Result<(String, bool), RequestError> {
    let daemon: DaemonHealth = request(socket, "health", json!({}))?;
    let AgentsView { now, agents } = request(socket, "agents", json!({}))?;
    let well = daemon.healthy && agents.iter().all(AgentView::is_well);
    let text = match output {
        Output::Human => overview(&daemon, &agents),
        Output::Json => {
            let all = json!({ "daemon": daemon, "now": now, "agents": agents });
            format!("{}\n", serde_json::to_string_pretty(&all).map_err(RequestError::OtherVersion)?)
        }
    };
    Ok((text, well))
}

/// Returns `false` if standard output is closed.
fn show(text: &str, repaint: bool) -> bool {
    let color = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    let text = if color { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
    let text = if repaint {
        // Overwrites the previous page in one write, which avoids flicker: cursor to the top left, clear the rest of
        // each line, then clear the rest of the screen.
        format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
    } else {
        text
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Prints the checks of one agent and explains its state. 0: it is running, or stopped on purpose.
pub(super) fn why(args: &WhyArgs) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match request::<AgentView>(&socket, "agent", json!({ "agent_id": args.id })) {
        Ok(agent) => {
            let printed = print(&checks(&agent));
            if agent.is_well() { printed } else { ExitCode::from(FAILED) }
        }
        Err(error) => error.report(),
    }
}
