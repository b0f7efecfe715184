//! Commands for one agent or several: `daemon start`, `stop`, `restart`, `hold` and `release`.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use statemachine::supervision::State;

use super::SocketArgs;
use super::request::{RequestError, request};
use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, print};
use crate::daemon::client::ClientError;
use ops_protocol::Command;
use ops_protocol::views::{AgentView, AgentsView, MessageView};
use ops_runtime::clock;
use ops_runtime::program;

/// The time between two requests for the state while a command is carried out.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The number of agents from which one request for all is cheaper than one for each.
const MANY: usize = 8;

/// The word that stands for all agents.
const ALL: &str = "all";

/// The arguments of `start`, `stop` and `restart`.
#[derive(Debug, Args)]
pub(super) struct ControlArgs {
    /// The IDs of the agents. `all`: start those that the configuration enables, stop all, restart those that are meant to run
    #[arg(value_name = "ID", required = true)]
    pub(super) ids: Vec<String>,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
    /// How long to wait for the result of all; 0s does not wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(super) wait: Duration,
}

/// The arguments of `stop`.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    control: ControlArgs,
    /// First stop the agents that depend on them; without this, a stop is refused while they run
    #[arg(long)]
    with_dependents: bool,
}

/// What became of the command for one agent.
enum Progress {
    /// It is carried out. The pid is that before the command.
    Given(Option<u32>),
    /// It has succeeded: the fact.
    Done(String),
    /// It has failed: the fact, and the exit code.
    Failed(String, u8),
}

/// Gives the daemon a command for each agent, and waits until all are carried out. Prints a line for each, in their order.
pub(super) fn run(command: Command, args: &ControlArgs) -> ExitCode {
    report(command, args, false)
}

/// Stops agents, and waits until they are stopped.
pub(super) fn stop(args: &StopArgs) -> ExitCode {
    report(Command::Stop, &args.control, args.with_dependents)
}

fn report(command: Command, args: &ControlArgs, with_dependents: bool) -> ExitCode {
    let socket = match args.socket.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    carry_out(&socket, command, args, with_dependents).unwrap_or_else(|error| error.report())
}

fn carry_out(
    socket: &Path,
    command: Command,
    args: &ControlArgs,
    with_dependents: bool,
) -> Result<ExitCode, RequestError> {
    let deadline = clock::monotonic() + args.wait;
    let ids = selected(socket, command, &args.ids)?;
    if ids.is_empty() {
        return Ok(print(&format!("there is no agent to {}\n", command.as_str())));
    }
    let order = |id: &str| match with_dependents {
        true => json!({ "agent_id": id, "with_dependents": true }),
        false => json!({ "agent_id": id }),
    };
    let give_one = |id: &str| give(socket, command, id, &order(id), args.wait.is_zero());
    let mut all: Vec<(String, Progress)> = Vec::new();
    for id in ids {
        let given = give_one(&id)?;
        all.push((id, given));
    }
    if command == Command::Stop {
        stop_what_was_refused(&mut all, give_one)?;
    }
    let (mut shown, mut worst) = (0, 0);
    loop {
        while let Some((id, progress)) = all.get(shown)
            && let Some(code) = show(id, progress, args.ids.len() > 1 || args.ids.iter().any(|id| id == ALL))
        {
            (shown, worst) = (shown + 1, worst.max(code));
        }
        if shown == all.len() {
            return Ok(ExitCode::from(worst));
        }
        look(socket, command, &mut all, (clock::monotonic() >= deadline).then_some(args.wait))?;
        if all.iter().any(|(_, progress)| matches!(progress, Progress::Given(_))) {
            sleep(POLL_INTERVAL);
        }
    }
}

/// A stop is refused while agents run that depend on this one. They may be among those that were stopped after it.
fn stop_what_was_refused(
    all: &mut [(String, Progress)],
    give_one: impl Fn(&str) -> Result<Progress, RequestError>,
) -> Result<(), RequestError> {
    loop {
        let mut has_changed = false;
        for (id, progress) in all.iter_mut().filter(|(_, progress)| matches!(progress, Progress::Failed(..))) {
            let given = give_one(id)?;
            has_changed |= !matches!(given, Progress::Failed(..));
            *progress = given;
        }
        if !has_changed {
            return Ok(());
        }
    }
}

/// The IDs without repetitions. `all` stands for the agents that the command makes sense for.
fn selected(socket: &Path, command: Command, given: &[String]) -> Result<Vec<String>, RequestError> {
    if given.iter().any(|id| id == ALL) {
        let AgentsView { agents, .. } = request(socket, "agents", json!({}))?;
        let fits = |agent: &AgentView| match command {
            Command::Start => agent.enabled,
            Command::Stop | Command::Hold | Command::Release => true,
            Command::Restart => agent.enabled && agent.wanted,
        };
        return Ok(agents.into_iter().filter(fits).map(|agent| agent.agent_id).collect());
    }
    let mut ids: Vec<String> = Vec::new();
    for id in given {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    Ok(ids)
}

/// Gives the command for one agent. A refusal concerns this agent alone, and any other error all of them.
fn give(socket: &Path, command: Command, id: &str, order: &Value, at_once: bool) -> Result<Progress, RequestError> {
    let given = || -> Result<Progress, RequestError> {
        let before: AgentView = request(socket, "agent", json!({ "agent_id": id }))?;
        let answer: MessageView = request(socket, command.as_str(), order.clone())?;
        Ok(match command {
            Command::Hold => Progress::Done(format!("{id}: restarts for bad checks are held")),
            Command::Release => Progress::Done(format!("{id}: restarts for bad checks are not held any more")),
            _ if at_once => Progress::Done(answer.message.into_owned()),
            Command::Start | Command::Stop | Command::Restart => Progress::Given(before.pid),
        })
    };
    match given() {
        Err(RequestError::Client(ClientError::Declined(error))) => Ok(Progress::Failed(error.message, FAILED)),
        other => other,
    }
}

/// Prints a result, and returns its exit code. `None`: there is none yet.
fn show(id: &str, progress: &Progress, several: bool) -> Option<u8> {
    match progress {
        Progress::Given(_) => None,
        Progress::Done(fact) => {
            print(&format!("{fact}\n"));
            Some(0)
        }
        Progress::Failed(fact, code) => {
            // The fact may not name the agent.
            let of = if several && !fact.contains(id) { format!("{id}: ") } else { String::new() };
            fail(&format!("{of}{fact}"), None, *code);
            Some(*code)
        }
    }
}

/// Asks for the agents whose command is being carried out. `late`: the time that is over.
fn look(
    socket: &Path,
    command: Command,
    all: &mut [(String, Progress)],
    late: Option<Duration>,
) -> Result<(), RequestError> {
    let waiting: Vec<&str> =
        all.iter().filter(|(_, progress)| matches!(progress, Progress::Given(_))).map(|(id, _)| id.as_str()).collect();
    let mut views: HashMap<String, Option<AgentView>> = HashMap::new();
    if waiting.len() > MANY {
        let AgentsView { agents, .. } = request(socket, "agents", json!({}))?;
        views = agents.into_iter().map(|agent| (agent.agent_id.clone(), Some(agent))).collect();
    } else {
        for id in waiting {
            views.insert(id.to_owned(), view(socket, json!({ "agent_id": id }))?);
        }
    }
    for (id, progress) in all {
        if let Progress::Given(before) = progress {
            *progress = match views.remove(id).flatten() {
                Some(agent) => judge(id, command, *before, &agent, late),
                None => Progress::Failed(format!("{id} is no longer configured"), FAILED),
            };
        }
    }
    Ok(())
}

/// `None`: the agent was removed meanwhile.
fn view(socket: &Path, params: Value) -> Result<Option<AgentView>, RequestError> {
    match request(socket, "agent", params) {
        Ok(agent) => Ok(Some(agent)),
        Err(RequestError::Client(ClientError::Declined(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the command is carried out.
fn judge(id: &str, command: Command, before: Option<u32>, agent: &AgentView, late: Option<Duration>) -> Progress {
    let AgentView { state, cause, pid, .. } = agent;
    let program = program::name();
    let is_new = command != Command::Restart || *pid != before;
    match (state, command) {
        (State::Stopped, Command::Stop) => Progress::Done(format!("{id} is stopped")),
        (State::Running, Command::Start | Command::Restart) if is_new => {
            let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
            Progress::Done(format!("{id} is running{pid}"))
        }
        (State::Failed, _) => Progress::Failed(format!("{id} has failed: {cause}: see `{program} logs {id}`"), FAILED),
        (state, _) => match late {
            Some(wait) => {
                let state = state.as_str();
                Progress::Failed(
                    format!("{id} is still {state} after {wait:?}: {cause}: see `{program} why {id}`"),
                    FAILED,
                )
            }
            None => Progress::Given(before),
        },
    }
}
