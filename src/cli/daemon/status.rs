//! `daemon status`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use serde_json::json;

use super::order::{Sort, sort};
use super::page::{Space, overview};
use super::request::{ANSWER_TIMEOUT, RequestError, request_within};
use super::{SocketArgs, watch};
use crate::cli::exit_code::FAILED;
use crate::cli::output::fail;
use crate::cli::screen;
use ops_protocol::Timestamp;
use ops_protocol::views::{AgentView, AgentsView, DaemonHealth};

/// The time between two requests of `--watch`.
pub(super) const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The IDs of the agents to show. Default: all
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    socket: SocketArgs,
    /// The output format
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// What the list is sorted by. Default: the worst state first, and in JSON the ID
    #[arg(long, value_enum, value_name = "COLUMN")]
    sort: Option<Sort>,
    /// Print again every second until interrupted; on a terminal, until `q` is pressed
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

/// What the daemon said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) daemon: DaemonHealth,
    pub(super) now: Timestamp,
    /// The selected agents, in order.
    pub(super) agents: Vec<AgentView>,
    /// The IDs that no agent has.
    unknown: Vec<String>,
    /// Whether all is well with what was asked for.
    well: bool,
}

impl Args {
    /// Asks the daemon.
    pub(super) fn ask(&self, socket: &Path, timeout: Duration) -> Result<Answer, RequestError> {
        let daemon: DaemonHealth = request_within(timeout, socket, "health", json!({}))?;
        let AgentsView { now, mut agents } = request_within(timeout, socket, "agents", json!({}))?;
        let is_known = |id: &&String| agents.iter().any(|agent| agent.agent_id == **id);
        let unknown: Vec<String> = self.ids.iter().filter(|id| !is_known(id)).cloned().collect();
        if !self.ids.is_empty() {
            agents.retain(|agent| self.ids.contains(&agent.agent_id));
        }
        let usual = if self.output == Output::Json { Sort::Id } else { Sort::State };
        sort(&mut agents, self.sort.unwrap_or(usual));
        let daemon_counts = !self.ids.is_empty() || daemon.healthy;
        let well = daemon_counts && unknown.is_empty() && agents.iter().all(AgentView::is_well);
        Ok(Answer { daemon, now, agents, unknown, well })
    }

    fn text(&self, answer: &Answer) -> Result<String, RequestError> {
        let Answer { daemon, now, agents, .. } = answer;
        match self.output {
            Output::Human => {
                let columns = screen::size().map(|size| size.columns);
                Ok(overview(daemon, agents, Space { columns, rows: None }).join("\n") + "\n")
            }
            Output::Json => {
                let all = json!({ "daemon": daemon, "now": now, "agents": agents });
                Ok(serde_json::to_string_pretty(&all).map_err(RequestError::OtherVersion)? + "\n")
            }
        }
    }
}

/// Prints the state of the agents. 0: each is running, or stopped on purpose.
pub(super) fn run(args: &Args) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    if args.watch && io::stdout().is_terminal() && args.output == Output::Human {
        return watch::run(args, &socket);
    }
    loop {
        let code = match args.ask(&socket, ANSWER_TIMEOUT).and_then(|answer| Ok((args.text(&answer)?, answer))) {
            Ok((text, answer)) => {
                if !show(&text) {
                    return ExitCode::SUCCESS;
                }
                result(&answer)
            }
            Err(error) => error.report(),
        };
        if !args.watch {
            return code;
        }
        sleep(WATCH_INTERVAL);
    }
}

fn result(answer: &Answer) -> ExitCode {
    match answer.unknown.as_slice() {
        [] => ExitCode::from(if answer.well { 0 } else { FAILED }),
        ids => {
            let ids: Vec<String> = ids.iter().map(|id| format!("{id:?}")).collect();
            fail(&format!("there is no agent {}", ids.join(" or ")), None, FAILED)
        }
    }
}

/// Returns `false` if standard output is closed.
fn show(text: &str) -> bool {
    let color = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    let text = if color { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() };
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}
