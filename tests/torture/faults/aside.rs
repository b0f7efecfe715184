//! Faults in the launchers of hooks and of checks: each call with which one prepares its program fails with each error that is
//! possible.
//!
//! Whatever fails, the agent runs on as the same process. The daemon reports the failed step, tells the next hook and runs the
//! next check, and keeps neither a process nor a descriptor.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::launcher::{AS_DAEMON, children};
use super::launcher_table::{CallOfLauncher, ROWS, calls_after_start, is_uninjected};
use super::results::{Outcome, ResultTable};
use super::strace;
use crate::Effort;
use crate::report::Findings;
use crate::resources::usage;
use crate::soak::query::call;
use crate::support::agent::{Agent, DEADLINE};
use crate::support::daemon::DaemonDir;
use crate::support::{find_program, programs};

/// How many daemons run in parallel. Each of them mostly waits.
const PARALLEL: usize = 4;

/// The time after which the full form starts no new trial.
const LIMIT: Duration = Duration::from_secs(120);

/// What a launcher runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hook,
    Check,
}

struct Trial {
    kind: Kind,
    of: CallOfLauncher,
    errno: &'static str,
}

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    if find_program("strace").is_none() {
        return findings.skip("faults of the launchers of hooks and checks: strace is not installed");
    }
    let mut trials = Vec::new();
    for kind in [Kind::Hook, Kind::Check] {
        let calls = match Site::start().and_then(|site| site.trace(kind)) {
            Ok(calls) => calls,
            Err(problem) => return findings.fail(format!("{kind:?}, without a fault: {problem}")),
        };
        for call in calls.iter().filter(|call| call.row().is_none() && !is_uninjected(call)) {
            findings.fail(format!(
                "a launcher calls {}, which has no row in the table of errors: {}",
                call.name, call.line
            ));
        }
        // The short form has one error of the first call of each row.
        let (errors, calls_of_a_row) = effort.pick((1, 1), (usize::MAX, usize::MAX));
        for row in ROWS {
            let of_row = calls.iter().filter(|call| call.row().is_some_and(|of| std::ptr::eq(of, row)));
            for call in of_row.take(calls_of_a_row) {
                trials.extend(row.errors.iter().take(errors).map(|errno| Trial { kind, of: call.clone(), errno }));
            }
        }
    }
    let (queue, table) = (Mutex::new(trials), Mutex::new(ResultTable::default()));
    let until = Instant::now() + LIMIT;
    let work = || {
        let mut site: Option<Site> = None;
        while Instant::now() < until {
            let Some(trial) = queue.lock().ok().and_then(|mut queue| queue.pop()) else { return };
            let started = site.take().map_or_else(Site::start, Ok);
            let tried = started.and_then(|site| Ok((site.with_fault(&trial)?, site)));
            let (failed_calls, outcome) = match tried {
                Ok((outcome, unharmed)) => {
                    site = Some(unharmed);
                    (1, outcome)
                }
                Err(how) => {
                    let Trial { kind, of, errno } = &trial;
                    (0, Outcome::Failed(format!("{kind:?}: {} {errno}: {how} [{}]", of.name, of.line)))
                }
            };
            if let Ok(mut table) = table.lock() {
                table.add(&trial.of.name, trial.errno, failed_calls, &outcome);
            }
        }
    };
    std::thread::scope(|scope| (0..PARALLEL).for_each(|_| drop(scope.spawn(work))));
    let (table, left) = (table.into_inner().unwrap_or_default(), queue.into_inner().unwrap_or_default());
    if table.totals().0 == 0 {
        findings.fail("no call of a launcher failed");
    }
    findings.tried(table.totals().0, "hooks and checks of whose launcher one call failed");
    if !left.is_empty() {
        findings.skip(format!("{} more faults, because the time limit was reached", left.len()));
    }
    table.failures().iter().for_each(|failure| findings.fail(failure.clone()));
    findings.table(table.markdown());
}

/// A daemon with one agent that a program checks, and with a hook. It starts both programs through a script that may make a call
/// fail.
struct Site {
    /// The daemon ends before its directory.
    daemon: Agent,
    dir: DaemonDir,
    /// The agent.
    pid: u64,
}

impl Site {
    fn start() -> Result<Self, String> {
        let dir = DaemonDir::new(&[]);
        let path = dir.path();
        fs::write(path.join("daemon.yaml"), CONFIGURATION).expect("a configuration");
        let launcher = path.join("launcher.sh");
        fs::write(&launcher, script(path)).expect("a script");
        fs::set_permissions(&launcher, Permissions::from_mode(0o755)).expect("permissions");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(AS_DAEMON).arg(&launcher).args(["run", "--config", "daemon.yaml"]);
        command.current_dir(path).env_clear().stdin(Stdio::null());
        let mut site = Self { daemon: Agent::spawn(command), dir, pid: 0 };
        site.wait("that the check passes", || site.verdict().0 == "ok")?;
        site.pid = site.agent()["pid"].as_u64().ok_or("the agent has no pid")?;
        site.expect_hook()?;
        Ok(site)
    }

    /// Runs a program once under strace. Returns the calls of its launcher.
    fn trace(self, kind: Kind) -> Result<Vec<CallOfLauncher>, String> {
        let told = self.hooks();
        self.inject(kind, "-b execve -e trace=all");
        self.trigger(kind);
        let is_whole = |lines: &[String]| match kind {
            Kind::Hook => self.hooks() != told,
            Kind::Check => lines.last().is_some_and(|line| line.contains("+++ exited")),
        };
        let found = std::cell::RefCell::new(Vec::new());
        self.wait("the whole trace", || {
            let lines = strace::lines(&self.trace_file());
            let is_whole = is_whole(&lines);
            found.replace(lines);
            is_whole
        })?;
        Ok(calls_after_start(&found.take()))
    }

    /// Runs a program with one fault in its launcher, and then without.
    fn with_fault(&self, trial: &Trial) -> Result<Outcome, String> {
        let Trial { kind, of, errno } = trial;
        let row = of.row().ok_or("it has no row")?;
        let (told, descriptors) = (self.hooks(), usage(self.daemon.pid()).descriptors);
        let detach = if of.name == "execve" { "" } else { "-b execve" };
        self.inject(*kind, &format!("{detach} -e inject={}:error={errno}:when={}", of.name, of.number));
        self.trigger(*kind);
        let is_hit = || fs::read_to_string(self.trace_file()).is_ok_and(|trace| trace.contains("(INJECTED)"));
        let was_hit = std::cell::Cell::new(false);
        self.wait("what becomes of the program", || {
            was_hit.set(was_hit.get() || is_hit());
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
        let _ = fs::remove_file(self.fault_file(*kind));
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
            usage(self.daemon.pid()).descriptors <= descriptors
        })?;
        self.wait("that the agent is the only child of the daemon", || children(self.daemon.pid()) == [self.pid])
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
            call(&self.dir.socket(), "hold", &json!({ "agent_id": "b" }));
        }
    }

    fn agent(&self) -> Value {
        call(&self.dir.socket(), "agent", &json!({ "agent_id": "b" })).unwrap_or_default()
    }

    fn health(&self) -> Value {
        call(&self.dir.socket(), "health", &json!({})).unwrap_or_default()
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

    /// Lets strace trace the next launchers of this kind with these options.
    fn inject(&self, kind: Kind, options: &str) {
        let _ = fs::remove_file(self.trace_file());
        let unfinished = self.dir.path().join("fault.new");
        fs::write(&unfinished, format!("{options}\n")).expect("a file");
        fs::rename(unfinished, self.fault_file(kind)).expect("a file");
    }

    fn fault_file(&self, kind: Kind) -> PathBuf {
        self.dir.path().join(format!("fault.{kind:?}"))
    }

    fn trace_file(&self) -> PathBuf {
        self.dir.path().join("trace")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.daemon.signal(Signal::INT);
        let _ = self.daemon.wait_within(DEADLINE);
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
