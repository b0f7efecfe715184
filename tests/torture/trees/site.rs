//! A daemon with agents that are trees, and processes that are none of its business.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::programs::{self, Programs, TreeProgram};
use super::watcher::{Strangers, Watched, Watcher};
use crate::process_list::{Process, in_directory};
use crate::report::Findings;
use crate::soak::query::call;
use crate::support::agent::{Agent, DEADLINE};
use crate::support::daemon::{DaemonDir, signal};

/// The time after which a process that outlasts SIGTERM is killed here, so that a stop does not take 30 s.
const STUBBORN_FOR: Duration = Duration::from_secs(1);

/// How many of the last disturbances a failure shows.
const LAST: usize = 12;

/// The time between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// One agent.
struct TreeAgent {
    id: String,
    programs: Programs,
    program: TreeProgram,
    watched: Arc<Watched>,
}

/// A daemon with its agents.
pub(super) struct Site {
    /// The daemon ends before its directory.
    daemon: Option<Agent>,
    watcher: Watcher,
    agents: Vec<TreeAgent>,
    strangers: Strangers,
    /// What was done to it, for people.
    log: Vec<String>,
    dir: DaemonDir,
}

impl Site {
    /// Starts the daemon, and waits until all agents run.
    pub(super) fn start(rng: &mut Rng, agents: usize, findings: &mut Findings) -> Self {
        let dir = DaemonDir::new(&[]);
        let leader = programs::leader(dir.path());
        if let Err(error) = &leader {
            findings.skip(format!("a process whose first thread ends: {error}"));
        }
        let agent = |number: usize| {
            let id = format!("tree-{number}");
            let programs = Programs::new(&dir.path().join(&id), leader.as_deref().ok());
            let mains = programs.directory().join("mains");
            let program = programs.random(rng, &mains, number == 0);
            fs::write(programs.directory().join("main.sh"), &program.script).expect("a script");
            let watched = Arc::new(Watched { id: id.clone(), directory: programs.directory().to_owned(), mains });
            TreeAgent { id, programs, program, watched }
        };
        let agents: Vec<TreeAgent> = (0..agents).map(agent).collect();
        for agent in &agents {
            findings.note(format!("{}: {}", agent.id, agent.program.kinds.join(", ")));
        }
        fs::write(dir.path().join("daemon.yaml"), configuration(&agents)).expect("a configuration");
        let watcher = Watcher::start(agents.iter().map(|agent| Arc::clone(&agent.watched)).collect());
        let strangers = Strangers::start(dir.path());
        let mut site = Self { daemon: None, watcher, agents, strangers, log: Vec::new(), dir };
        site.start_daemon();
        if let Err(problem) = site.settle_all() {
            findings.fail(format!("at the start: {problem}"));
        }
        site
    }

    pub(super) fn agents(&self) -> usize {
        self.agents.len()
    }

    pub(super) fn describe(&self, index: usize) -> String {
        let agent = &self.agents[index];
        format!("{} ({})", agent.id, agent.program.kinds.join(", "))
    }

    /// Notes a disturbance.
    pub(super) fn log(&mut self, what: String) {
        self.log.push(what);
    }

    pub(super) fn last_disturbances(&self) -> String {
        let last: Vec<&str> = self.log.iter().rev().take(LAST).rev().map(String::as_str).collect();
        last.join("; ")
    }

    /// The pids of all processes of an agent.
    pub(super) fn members(&self, index: usize) -> Vec<u32> {
        let mut pids: Vec<u32> = self.processes(index).iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        pids
    }

    fn processes(&self, index: usize) -> Vec<Process> {
        in_directory(self.agents[index].programs.directory())
    }

    /// The program and the pid of all processes of all agents.
    pub(super) fn all_members(&self) -> Vec<(PathBuf, u32)> {
        let all = (0..self.agents()).flat_map(|index| self.processes(index));
        all.map(|process| (process.program, process.pid)).collect()
    }

    /// The main process of an agent that runs.
    pub(super) fn main_of(&self, index: usize) -> Result<u32, String> {
        self.agents[index].watched.main().map(|main| main.pid).ok_or_else(|| "it has no main process".to_owned())
    }

    pub(super) fn start_daemon(&mut self) {
        self.daemon = Some(self.dir.start());
    }

    pub(super) fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon");
        daemon.signal(Signal::KILL);
        daemon.wait();
    }

    /// Ends the daemon alone.
    pub(super) fn end_daemon(&mut self) -> Result<(), String> {
        let code = self.daemon.take().expect("a daemon").stop();
        if code == Some(0) { Ok(()) } else { Err(format!("the daemon exits with {code:?}")) }
    }

    /// Ends the daemon with all agents.
    pub(super) fn shut_down(&mut self, limit: Duration) -> Result<(), String> {
        let mut daemon = self.daemon.take().expect("a daemon");
        daemon.signal(Signal::INT);
        let Some(ended) = daemon.wait_within(limit) else { return Err("it does not end".to_owned()) };
        if ended.success() {
            return Ok(());
        }
        let end: Vec<String> = daemon.rest_of_the_log().iter().rev().take(LAST).map(ToString::to_string).collect();
        Err(format!("it ends with {ended}; the end of its log, newest first: {}", end.join(" ")))
    }

    /// Sends a command for an agent.
    pub(super) fn ask(&self, command: &str, index: usize) -> Result<(), String> {
        let params = json!({ "agent_id": self.agents[index].id });
        let accepted = call(&self.dir.socket(), command, &params).is_some();
        if accepted { Ok(()) } else { Err(format!("`{command}` is not accepted; {}", self.view(index))) }
    }

    fn view(&self, index: usize) -> Value {
        call(&self.dir.socket(), "agent", &json!({ "agent_id": self.agents[index].id })).unwrap_or_default()
    }

    /// Waits until the agent runs, not with the main process `before`, and nothing of an earlier start is left.
    pub(super) fn settle(&self, index: usize, before: Option<u32>) -> Result<(), String> {
        let TreeAgent { watched, .. } = &self.agents[index];
        let is_settled = |view: &Value| {
            let main = watched.main().map(|main| main.pid);
            view["state"] == "running"
                && main.is_some()
                && main != before
                && view["pid"].as_u64() == main.map(u64::from)
                // The daemon has looked at the whole tree.
                && view["memory_bytes"].is_u64()
        };
        self.wait_until(index, "running", is_settled)
    }

    /// The same for all agents.
    pub(super) fn settle_all(&self) -> Result<(), String> {
        (0..self.agents()).try_for_each(|index| {
            self.settle(index, None).map_err(|problem| format!("{}: {problem}", self.describe(index)))
        })
    }

    /// Stops the agent, expects that no process of it is left, and starts it.
    pub(super) fn stop_and_start(&self, index: usize) -> Result<(), String> {
        self.ask("stop", index)?;
        self.wait_until(index, "stopped", |view| view["state"] == "stopped")?;
        let left: Vec<Process> = self.processes(index).into_iter().filter(Process::is_alive).collect();
        if !left.is_empty() {
            return Err(format!("it is stopped, and these processes are left: {left:?}"));
        }
        self.ask("start", index)?;
        self.settle(index, None)
    }

    fn wait_until(&self, index: usize, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<(), String> {
        let TreeAgent { programs, .. } = &self.agents[index];
        let begun = Instant::now();
        loop {
            let view = self.view(index);
            if is_so(&view) {
                return Ok(());
            }
            if begun.elapsed() > DEADLINE {
                let left = self.processes(index);
                return Err(format!("it is not {what} in time, but {view}; its processes: {left:?}"));
            }
            if begun.elapsed() > STUBBORN_FOR && view["state"] == "stopping" {
                let all = self.processes(index);
                all.iter().filter(|it| programs.may_outlast_sigterm(it)).for_each(|it| signal(it.pid, Signal::KILL));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Reports what the watcher has seen, and whether there was anything.
    pub(super) fn report_violations(&mut self, findings: &mut Findings) -> bool {
        let mut seen = self.watcher.take_violations();
        seen.extend(self.strangers.disturbed());
        seen.iter().for_each(|violation| findings.fail(violation.clone()));
        !seen.is_empty()
    }
}

impl Drop for Site {
    /// Kills what a failed run leaves. A chain of processes may need some rounds.
    fn drop(&mut self) {
        drop(self.daemon.take());
        let until = Instant::now() + STUBBORN_FOR;
        while Instant::now() < until {
            let left = self.all_members();
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(|(_, pid)| signal(pid, Signal::KILL));
        }
    }
}

/// Whether the next daemon cannot find all processes of an agent once its main process has ended: one has neither a parent nor
/// a variable that tells.
pub(super) fn is_hidden_from_the_next_daemon(site: &Site, index: usize) -> bool {
    site.agents[index].program.hides
}

fn configuration(agents: &[TreeAgent]) -> String {
    let checks = "interval: 200ms, heartbeat_timeout: 0, cpu_threshold: 100, threshold_duration: 10m, start_grace: 0s";
    let restart = "backoff_base: 100ms, backoff_max: 100ms, max_retries: 1000000";
    let entry = |TreeAgent { id, programs, .. }: &TreeAgent| {
        let (shell, script) = (programs.shell(), programs.directory().join("main.sh"));
        format!("  - {{ id: {id}, binary_path: {}, args: [{}] }}\n", shell.display(), script.display())
    };
    format!(
        "daemon: {{ work_dir: state, http: {{ port: 0 }} }}\n\
         agent_defaults: {{ health_check: {{ {checks} }}, restart: {{ {restart} }} }}\nagents:\n{}",
        agents.iter().map(entry).collect::<String>()
    )
}
