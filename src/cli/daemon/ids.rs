//! The IDs of the running daemon's agents, for a completion. Silent if they cannot be had soon.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::cli::completions::IDS;
use crate::cli::output::print;
use crate::daemon::client::call;
use ops_config::load_daemon_socket;
use ops_protocol::heartbeat::is_agent_id;
use ops_protocol::views::AgentsView;

/// How long a completion waits.
const TIMEOUT: Duration = Duration::from_millis(300);

/// The commands that take `all` for all agents.
const TAKE_ALL: [&str; 5] = ["start", "stop", "restart", "hold", "release"];

/// Prints the IDs if the arguments are those of a completion: the words of the line without the program.
pub(super) fn answer(args: &[OsString]) -> Option<ExitCode> {
    let words: Vec<String> = match args.get(1) {
        Some(first) if first == IDS => args.iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect(),
        _ => return None,
    };
    let (sender, found) = mpsc::channel();
    let asked = words.clone();
    // A configuration may be on a disk that hangs. The thread ends with the process.
    let asking = thread::Builder::new().spawn(move || drop(sender.send(ids(&asked))));
    let mut ids = asking.ok().and_then(|_| found.recv_timeout(TIMEOUT).ok().flatten()).unwrap_or_default();
    if words.first().is_some_and(|command| TAKE_ALL.contains(&command.as_str())) {
        ids.push("all".to_owned());
    }
    ids.retain(|id| !words.contains(id));
    Some(print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>()))
}

/// The IDs that the daemon has. The line may name its socket or its configuration.
fn ids(words: &[String]) -> Option<Vec<String>> {
    let socket = match option(words, "--socket", "-s") {
        Some(socket) => PathBuf::from(socket),
        None => {
            let config = option(words, "--config", "-c").map(PathBuf::from);
            // What comes through a pipe can be read only once.
            let is_file = |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file());
            if config.as_ref().is_some_and(|config| !is_file(config)) {
                return None;
            }
            load_daemon_socket(config.as_deref()).ok()?
        }
    };
    let answer = smol::block_on(call(Path::new(&socket), "agents", json!({}), TIMEOUT)).ok()?;
    let AgentsView { agents, .. } = serde_json::from_value(answer).ok()?;
    Some(agents.into_iter().map(|agent| agent.agent_id).filter(|id| is_agent_id(id)).collect())
}

/// The value of an option.
fn option(words: &[String], long: &str, short: &str) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == long || word == short {
            return words.next().cloned();
        }
        if let Some(value) = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value.to_owned());
        }
    }
    None
}
