//! Looks at all processes all the time: what no daemon may let happen, also for a moment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use crate::process_list::{Process, in_directory};
use crate::support::daemon::signal;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(5);

/// An agent that is watched.
pub(super) struct Watched {
    pub(super) id: String,
    /// The directory of its programs.
    pub(super) directory: PathBuf,
    /// The file to which each main process writes its pid.
    pub(super) mains: PathBuf,
}

impl Watched {
    /// The latest main process, if it lives.
    pub(super) fn main(&self) -> Option<Process> {
        let mains = fs::read_to_string(&self.mains).unwrap_or_default();
        let main = Process::of(mains.lines().last()?.parse().ok()?)?;
        main.program.starts_with(&self.directory).then_some(main)
    }

    /// A process of an earlier start that lives beside the latest main process.
    fn older(&self) -> Option<(Process, Process)> {
        let main = self.main()?;
        let secret = main.secret();
        // A chain has younger processes than the main process, and still the secret of an earlier start.
        let is_older = |process: &Process| {
            let other = process.secret().filter(|_| secret.is_some());
            process.start < main.start || other.is_some_and(|other| Some(&other) != secret.as_ref())
        };
        let older = in_directory(&self.directory).into_iter().find(is_older)?;
        // Both were seen alive, and then one after the other was alive again: so they lived at the same time.
        (main.is_alive() && older.is_alive()).then_some((main, older))
    }
}

/// Watches until it is dropped.
pub(super) struct Watcher {
    thread: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    violations: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    pub(super) fn start(agents: Vec<Arc<Watched>>) -> Self {
        let (is_over, violations) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (over, seen) = (Arc::clone(&is_over), Arc::clone(&violations));
        let watch = move || {
            while !over.load(Ordering::Relaxed) {
                for agent in &agents {
                    if let Some((main, older)) = agent.older() {
                        let text =
                            format!("{} has the main process {main:?} beside {older:?} of an earlier start", agent.id);
                        seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                    }
                }
                std::thread::sleep(INTERVAL);
            }
        };
        Self { thread: Some(std::thread::spawn(watch)), is_over, violations }
    }

    /// What it has seen since the last call.
    pub(super) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *self.violations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Processes of other programs. Any signal changes one of them: it dies, or it continues.
pub(super) struct Strangers(Vec<(Child, char)>);

impl Strangers {
    /// Some of them claim to be an agent of the daemon in `directory`, but without a valid secret.
    pub(super) fn start(directory: &Path) -> Self {
        let label = format!("tree-0@{}", directory.join("state").display());
        let start = |is_labelled: bool, is_stopped: bool| {
            let mut command = Command::new("setsid");
            command.args(["sleep", "100000"]).stdin(Stdio::null());
            if is_labelled {
                command
                    .env("OPS_AGENT_SUPERVISED_AS", &label)
                    .env("OPS_AGENT_START_SECRET", "0123456789abcdef.fedcba9876543210");
            }
            let child = command.spawn().expect("setsid");
            if is_stopped {
                signal(child.id(), Signal::STOP);
            }
            (child, if is_stopped { 'T' } else { 'S' })
        };
        Self(
            [(false, false), (false, true), (true, false), (true, true)].map(|(label, stop)| start(label, stop)).into(),
        )
    }

    /// Those that are not as they were.
    pub(super) fn disturbed(&self) -> Vec<String> {
        let state = |child: &Child| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next())
        };
        let others = self.0.iter().filter(|(child, expected)| state(child) != Some(*expected));
        others
            .map(|(child, expected)| {
                format!("process {} of another program was {expected} and is {:?}", child.id(), state(child))
            })
            .collect()
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        for (child, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
