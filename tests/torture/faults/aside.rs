//! Faults in the launchers of hooks and of checks: each call with which one prepares its program fails with each error that is
//! possible.
//!
//! Whatever fails, the agent runs on as the same process. The daemon reports the failed step, tells the next hook and runs the
//! next check, and keeps neither a process nor a descriptor.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::launcher::children;
use super::launcher_table::{CallOfLauncher, calls_after_start};
use super::launcher_trials::{TracedDaemon, Trial, trials, try_all};
use super::results::Outcome;
use super::strace;
use crate::Effort;
use crate::report::Findings;
use crate::resources::usage;
use crate::soak::query::call;
use crate::support::agent::DEADLINE;
use crate::support::{find_program, programs};

/// The time after which the full form starts no new trial.
const LIMIT: Duration = Duration::from_secs(120);

/// What a launcher runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hook,
    Check,
}

impl Kind {
    /// The file with the options of strace.
    const fn file(self) -> &'static str {
        match self {
            Self::Hook => "fault.Hook",
            Self::Check => "fault.Check",
        }
    }
}

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    if find_program("strace").is_none() {
        return findings.skip("faults of the launchers of hooks and checks: strace is not installed");
    }
    let mut all = Vec::new();
    for kind in [Kind::Hook, Kind::Check] {
        let calls = match Site::start().and_then(|site| site.trace(kind)) {
            Ok(calls) => calls,
            Err(problem) => return findings.fail(format!("{kind:?}, without a fault: {problem}")),
        };
        all.extend(trials(kind, &calls, effort, findings));
    }
    let what = "hooks and checks of whose launcher one call failed";
    let one =
        |site: &Site, trial: &Trial<Kind>| site.with_fault(trial).map_err(|how| format!("{:?}: {how}", trial.kind));
    try_all(all, LIMIT, what, findings, Site::start, one);
}

/// A daemon with one agent that a program checks, and with a hook. It starts both programs through a script that may make a call
/// fail.
struct Site {
    traced: TracedDaemon,
    /// The agent.
    pid: u64,
}

impl Site {
    fn start() -> Result<Self, String> {
        let mut site = Self { traced: TracedDaemon::start(CONFIGURATION, script), pid: 0 };
        site.wait("that the check passes", || site.verdict().0 == "ok")?;
        site.pid = site.agent()["pid"].as_u64().ok_or("the agent has no pid")?;
        site.expect_hook()?;
        Ok(site)
    }

    /// Runs a program once under strace. Returns the calls of its launcher.
    fn trace(self, kind: Kind) -> Result<Vec<CallOfLauncher>, String> {
        let told = self.hooks();
        self.traced.trace(kind.file(), "-b execve -e trace=all");
        self.trigger(kind);
        let is_whole = |lines: &[String]| match kind {
            Kind::Hook => self.hooks() != told,
            Kind::Check => lines.last().is_some_and(|line| line.contains("+++ exited")),
        };
        let found = std::cell::RefCell::new(Vec::new());
        self.wait("the whole trace", || {
            let lines = strace::lines(&self.traced.trace_file());
            let is_whole = is_whole(&lines);
            found.replace(lines);
            is_whole
        })?;
        Ok(calls_after_start(&found.take()))
    }

    /// Runs a program with one fault in its launcher, and then without.
    fn with_fault(&self, trial: &Trial<Kind>) -> Result<Outcome, String> {
        let Trial { kind, of, .. } = trial;
        let row = of.row().ok_or("it has no row")?;
        let (told, descriptors) = (self.hooks(), usage(self.traced.daemon.pid()).descriptors);
        self.traced.inject(kind.file(), trial);
        self.trigger(*kind);
        let was_hit = std::cell::Cell::new(false);
        self.wait("what becomes of the program", || {
            was_hit.set(was_hit.get() || self.traced.is_hit());
            let has_ended = match kind {
                Kind::Hook => self.hooks() != told,
                Kind::Check => self.verdict().0 == "unknown" || row.may_be_harmless,
            };
            was_hit.get() && has_ended
        })?;
        let problem = match kind {
            Kind::Hook if self.hooks().1 > told.1 => self.health()["hooks"]["last_failure"]["reason"].clone(),
            Kind::Check if self.verdict().0 == "unknown" => self.verdict().1.into(),
            Kind::Hook | Kind::Check => Value::Null,
        };
        self.traced.let_be(kind.file());
        let outcome = match problem.as_str() {
            None if row.may_be_harmless => Outcome::NoEffect,
            None => return Err("the program runs in spite of it".to_owned()),
            Some(text) => {
                let named = row.reported_as.iter().filter(|part| text.contains(**part));
                let named: BTreeSet<String> = named.map(|part| (*part).to_owned()).collect();
                if named.is_empty() && !row.may_be_harmless {
                    return Err(format!("the reason is {text:?}, which does not have {:?}", row.reported_as));
                }
                Outcome::Reported(named)
            }
        };
        self.expect_recovery(descriptors)?;
        Ok(outcome)
    }

    /// The agent was left alone, the next check and the next hook succeed, and nothing is left of the failed one.
    fn expect_recovery(&self, descriptors: u64) -> Result<(), String> {
        self.wait("that the check passes again", || self.verdict().0 == "ok")?;
        self.expect_hook()?;
        let agent = self.agent();
        if agent["state"] != "running" || agent["pid"] != self.pid || agent["restarts"] != 0 {
            return Err(format!("the agent was not left alone: {agent}"));
        }
        self.wait("that the daemon has as many descriptors as before", || {
            usage(self.traced.daemon.pid()).descriptors <= descriptors
        })?;
        self.wait("that the agent is the only child of the daemon", || children(self.traced.daemon.pid()) == [self.pid])
    }

    /// Tells the hook, which has to succeed.
    fn expect_hook(&self) -> Result<(), String> {
        let (told, _) = self.hooks();
        self.trigger(Kind::Hook);
        self.wait("that the hook was told", || self.hooks().0 > told)
    }

    /// A check is due all the time.
    fn trigger(&self, kind: Kind) {
        if kind == Kind::Hook {
            call(&self.traced.dir.socket(), "hold", &json!({ "agent_id": "b" }));
        }
    }

    fn agent(&self) -> Value {
        call(&self.traced.dir.socket(), "agent", &json!({ "agent_id": "b" })).unwrap_or_default()
    }

    fn health(&self) -> Value {
        call(&self.traced.dir.socket(), "health", &json!({})).unwrap_or_default()
    }

    /// How many hooks succeeded and failed.
    fn hooks(&self) -> (u64, u64) {
        let hooks = &self.health()["hooks"];
        let number = |key: &str| hooks[key].as_u64().unwrap_or_default();
        (number("ok"), number("failed"))
    }

    /// The verdict of the check, and its detail.
    fn verdict(&self) -> (String, String) {
        let checks = self.agent()["signals"].as_array().cloned().unwrap_or_default();
        let check = checks.into_iter().find(|check| check["check"] == "exec").unwrap_or_default();
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        (text("verdict"), text("detail"))
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) -> Result<(), String> {
        let until = Instant::now() + DEADLINE;
        while !is_so() {
            if Instant::now() > until {
                return Err(format!("it is not seen {what}: {} {}", self.agent(), self.health()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

const CONFIGURATION: &str = "daemon: { work_dir: state, http: { port: 0 } }\nagents:\n  - id: b\n    binary_path: /bin/sleep\n\
    \x20   args: [\"100000\"]\n    health_check: { exec: [/bin/sleep, \"0\"], interval: 500ms, heartbeat_timeout: 0, \
    start_grace: 0s, cpu_threshold: 0, memory_threshold: 0 }\n\
    hooks: [{ on: [held], exec: [/bin/sleep, \"0\"] }]\n";

/// The launcher, under strace while there is a file with its options for what it runs. The variable of a hook has no start secret.
fn script(directory: &Path) -> String {
    let (here, daemon) = (directory.display(), programs::daemon());
    let tool = |name| find_program(name).unwrap_or_default().display().to_string();
    let (strace, variable) = (tool("strace"), "OPS_AGENT_START_SECRET");
    format!(
        "#!/bin/sh\nkind=Agent\n[ \"${variable}\" = none ] && kind=Hook\n[ \"$1\" = launch-check ] && kind=Check\n\
         [ -e {here}/fault.$kind ] && read -r fault <{here}/fault.$kind || exec {daemon} \"$@\"\n\
         exec {strace} -D $fault -y -s 64 -o {here}/trace {daemon} \"$@\"\n"
    )
}
