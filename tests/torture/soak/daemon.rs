//! The daemon, which is started many times.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::fleet::Fleet;
use crate::support::agent::DEADLINE;
use crate::support::daemon::signal;

/// One run of the daemon. It is killed when dropped. The directory kills its agents.
pub(super) struct Daemon {
    child: Child,
    pub(super) log: PathBuf,
}

impl Daemon {
    /// Starts the daemon, and waits until it listens.
    pub(super) fn start(fleet: &Fleet<'_>, number: usize) -> Self {
        let log = log(fleet, number);
        let file = File::create(&log).expect("a log");
        let mut command = fleet.dir.command(&["run", "--config", "daemon.yaml"]);
        command.stdout(file.try_clone().expect("a descriptor")).stderr(file);
        let mut daemon = Self { child: command.spawn().expect("the daemon"), log };
        let until = Instant::now() + DEADLINE;
        while !daemon.has_logged("\"socket\":") {
            let ended = daemon.has_ended();
            let log = || fs::read_to_string(&daemon.log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < until, "the daemon does not listen: {ended:?}\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the daemon has exited.
    pub(super) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    pub(super) fn signal(&self, number: Signal) {
        signal(self.pid(), number);
    }

    /// The number of log lines that contain `words`.
    pub(super) fn count_lines(&self, words: &str) -> usize {
        fs::read_to_string(&self.log).map_or(0, |text| text.lines().filter(|line| line.contains(words)).count())
    }

    fn has_logged(&self, words: &str) -> bool {
        self.count_lines(words) > 0
    }

    /// Waits for the exit. `None`: the daemon does not exit before the deadline.
    pub(super) fn wait(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if let Some(status) = self.has_ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of the log of one run.
pub(super) fn log(fleet: &Fleet<'_>, number: usize) -> PathBuf {
    fleet.dir.path().join(format!("daemon-{number}.log"))
}
