//! `daemon status` and `daemon why`: what the daemon says, for people.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use serde_json::json;

use super::ask::{NoAnswer, ask};
use super::page::{overview, signals};
use super::{Whereabouts, WhyArgs};
use crate::cli::exit_code::FAILED;
use crate::cli::output::print;
use ops_protocol::views::{AgentView, AgentsView, DaemonHealth};

/// How often `--watch` asks.
const LOOK: Duration = Duration::from_secs(1);

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    at: Whereabouts,
    /// What to print
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Print again every second, until interrupted
    #[arg(long)]
    watch: bool,
}

/// What to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table that is aligned, and coloured on a terminal
    Human,
    /// All that the daemon says, as JSON
    Json,
}

/// Prints how all agents are. 0: all are well, or stopped because somebody wanted that.
pub(super) fn run(args: &Args) -> ExitCode {
    let socket = match args.at.find() {
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
            Err(no) => no.complain(),
        };
        if !args.watch {
            return code;
        }
        sleep(LOOK);
    }
}

fn text(socket: &Path, output: Output) -> Result<(String, bool), NoAnswer> {
    let daemon: DaemonHealth = ask(socket, "health", json!({}))?;
    let AgentsView { now, agents } = ask(socket, "agents", json!({}))?;
    let well = daemon.healthy && agents.iter().all(AgentView::is_well);
    let text = match output {
        Output::Human => overview(&daemon, &agents),
        Output::Json => {
            let all = json!({ "daemon": daemon, "now": now, "agents": agents });
            format!("{}\n", serde_json::to_string_pretty(&all).map_err(NoAnswer::Strange)?)
        }
    };
    Ok((text, well))
}

/// `false` if nobody reads any more.
fn show(text: &str, repaint: bool) -> bool {
    let color = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    let text = if color { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
    let text = if repaint {
        // Home, each line cleared behind its text, the rest of the screen cleared: in one piece, so it does not flicker.
        format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
    } else {
        text
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Prints the five signals of one agent, and what they add up to. 0: it is well.
pub(super) fn why(args: &WhyArgs) -> ExitCode {
    let socket = match args.at.find() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match ask::<AgentView>(&socket, "agent", json!({ "agent_id": args.id })) {
        Ok(agent) => {
            let printed = print(&signals(&agent));
            if agent.is_well() { printed } else { ExitCode::from(FAILED) }
        }
        Err(no) => no.complain(),
    }
}
