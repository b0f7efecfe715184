//! What the trials of launchers have in common: a daemon that starts them through a script, and many such daemons side by side.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::launcher::AS_DAEMON;
use super::launcher_table::{CallOfLauncher, ROWS, is_uninjected};
use super::results::{Outcome, ResultTable};
use crate::Effort;
use crate::report::Findings;
use crate::support::agent::{Agent, DEADLINE};
use crate::support::daemon::DaemonDir;

/// How many daemons run in parallel. Each of them mostly waits.
const PARALLEL: usize = 4;

/// One fault in a launcher of this kind.
pub(super) struct Trial<K> {
    pub(super) kind: K,
    pub(super) of: CallOfLauncher,
    pub(super) errno: &'static str,
}

/// The faults for these calls. A call without a row is a failure.
pub(super) fn trials<K: Copy>(
    kind: K,
    calls: &[CallOfLauncher],
    effort: Effort,
    findings: &mut Findings,
) -> Vec<Trial<K>> {
    for CallOfLauncher { name, line, .. } in calls.iter().filter(|call| call.row().is_none() && !is_uninjected(call)) {
        findings.fail(format!("a launcher calls {name}, which has no row in the table of errors: {line}"));
    }
    // The short form has one error of the first call of each row.
    let (errors, calls_of_a_row) = effort.pick((1, 1), (usize::MAX, usize::MAX));
    let mut trials = Vec::new();
    for row in ROWS {
        let of_row = calls.iter().filter(|call| call.row().is_some_and(|of| std::ptr::eq(of, row)));
        for call in of_row.take(calls_of_a_row) {
            trials.extend(row.errors.iter().take(errors).map(|errno| Trial { kind, of: call.clone(), errno }));
        }
    }
    trials
}

/// Tries all faults, several at the same time, until `limit`. A site on which a trial failed is not used again. `what` was tried.
pub(super) fn try_all<K: Send + Sync, S>(
    trials: Vec<Trial<K>>,
    limit: Duration,
    what: &str,
    findings: &mut Findings,
    start: impl Fn() -> Result<S, String> + Sync,
    one: impl Fn(&S, &Trial<K>) -> Result<Outcome, String> + Sync,
) {
    let (queue, table) = (Mutex::new(trials), Mutex::new(ResultTable::default()));
    let until = Instant::now() + limit;
    let work = || {
        let mut site: Option<S> = None;
        while Instant::now() < until {
            let Some(trial) = queue.lock().ok().and_then(|mut queue| queue.pop()) else { return };
            let started = site.take().map_or_else(&start, Ok);
            let tried = started.and_then(|site| Ok((one(&site, &trial)?, site)));
            let Trial { of: CallOfLauncher { name, line, .. }, errno, .. } = &trial;
            let (failed_calls, outcome) = match tried {
                Ok((outcome, unharmed)) => {
                    site = Some(unharmed);
                    (1, outcome)
                }
                Err(how) => (0, Outcome::Failed(format!("{name} {errno}: {how} [{line}]"))),
            };
            if let Ok(mut table) = table.lock() {
                table.add(name, errno, failed_calls, &outcome);
            }
        }
    };
    std::thread::scope(|scope| (0..PARALLEL).for_each(|_| drop(scope.spawn(work))));
    let (table, left) = (table.into_inner().unwrap_or_default(), queue.into_inner().unwrap_or_default());
    if table.totals().0 == 0 {
        findings.fail("no call of a launcher failed");
    }
    findings.tried(table.totals().0, what);
    if !left.is_empty() {
        findings.skip(format!("{} more faults, because the time limit was reached", left.len()));
    }
    table.failures().iter().for_each(|failure| findings.fail(failure.clone()));
    findings.table(table.markdown());
}

/// A daemon whose launchers start through a script, which lets strace trace them while there is a file with its options.
pub(super) struct TracedDaemon {
    /// The daemon ends before its directory.
    pub(super) daemon: Agent,
    pub(super) dir: DaemonDir,
}

impl TracedDaemon {
    /// `script` makes the text of the script for a directory.
    pub(super) fn start(configuration: &str, script: impl Fn(&Path) -> String) -> Self {
        let dir = DaemonDir::new(&[]);
        let path = dir.path();
        // The agent may run as another user, who has to pass.
        fs::set_permissions(path, Permissions::from_mode(0o711)).expect("permissions");
        fs::write(path.join("daemon.yaml"), configuration).expect("a configuration");
        let launcher = path.join("launcher.sh");
        fs::write(&launcher, script(path)).expect("a script");
        fs::set_permissions(&launcher, Permissions::from_mode(0o755)).expect("permissions");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(AS_DAEMON).arg(&launcher).args(["run", "--config", "daemon.yaml"]);
        command.current_dir(path).env_clear().stdin(Stdio::null());
        Self { daemon: Agent::spawn(command), dir }
    }

    /// Lets strace trace the next launchers with these options, by this file.
    pub(super) fn trace(&self, by: &str, options: &str) {
        let _ = fs::remove_file(self.trace_file());
        let unfinished = self.dir.path().join("fault.new");
        fs::write(&unfinished, format!("{options}\n")).expect("a file");
        fs::rename(unfinished, self.dir.path().join(by)).expect("a file");
    }

    /// Lets one call fail in the next launchers.
    pub(super) fn inject<K>(&self, by: &str, trial: &Trial<K>) {
        let CallOfLauncher { name, number, .. } = &trial.of;
        // With this option, strace detaches when the program is executed: before the call could fail.
        let detach = if name == "execve" { "" } else { "-b execve" };
        self.trace(by, &format!("{detach} -e inject={name}:error={}:when={number}", trial.errno));
    }

    /// Lets the next launchers be, again.
    pub(super) fn let_be(&self, by: &str) {
        let _ = fs::remove_file(self.dir.path().join(by));
    }

    /// Whether the fault has happened.
    pub(super) fn is_hit(&self) -> bool {
        fs::read_to_string(self.trace_file()).is_ok_and(|trace| trace.contains("(INJECTED)"))
    }

    pub(super) fn trace_file(&self) -> PathBuf {
        self.dir.path().join("trace")
    }
}

impl Drop for TracedDaemon {
    fn drop(&mut self) {
        self.daemon.signal(Signal::INT);
        let _ = self.daemon.wait_within(DEADLINE);
    }
}
