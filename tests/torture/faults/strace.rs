//! strace traces the system calls of a program and makes one of them fail.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::table::is_possible;
use crate::support::daemon::signal;

/// One fault: call, error, position and files.
#[derive(Debug, Clone)]
pub(super) struct Injection {
    pub(super) call: String,
    pub(super) errno: &'static str,
    /// In the syntax of strace: `3`, `3+`, `3..9`. strace counts per thread.
    pub(super) when: String,
    /// Only calls on these files. Empty: all calls.
    pub(super) paths: Vec<PathBuf>,
}

impl Injection {
    fn arguments(&self, command: &mut Command) {
        let Self { call, errno, when, paths } = self;
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:error={errno}:when={when}")]);
        only_on(paths, command);
    }
}

/// A command that runs `program` under strace and writes the trace to `to`. The program is a child of the test, not of
/// strace.
///
/// strace detaches from child processes at `execve`.
pub(super) fn run(to: &Path, injection: Option<&Injection>, paths: &[PathBuf], program: &Command) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-b", "execve", "-y", "-s", "64", "-o"]).arg(to);
    match injection {
        Some(injection) => injection.arguments(&mut command),
        None => only_on(paths, &mut command),
    }
    command.arg("--").arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if let Some(directory) = program.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

fn only_on(paths: &[PathBuf], command: &mut Command) {
    command.args(paths.iter().flat_map(|path| [OsStr::new("-P"), path.as_os_str()]));
}

/// A lasting fault: strace, attached to a running process.
pub(super) struct Attached {
    strace: Child,
    to: PathBuf,
}

impl Attached {
    /// Returns when the fault is in force. `None`: the process has ended.
    pub(super) fn to(pid: u32, injection: &Injection, to: &Path) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-b", "execve", "-y", "-s", "64", "-p", &pid.to_string(), "-o"]).arg(to);
        injection.arguments(&mut command);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let output = BufReader::new(strace.stderr.take()?);
        let (first, attached) = channel();
        // Read to the end, because strace prints a line for every new thread.
        std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok).filter(|line| line.contains(" attached"));
            lines.for_each(|_| {
                let _ = first.send(());
            });
        });
        if attached.recv().is_ok() {
            return Some(Self { strace, to: to.to_owned() });
        }
        let _ = strace.wait();
        None
    }

    /// The trace so far.
    pub(super) fn trace_so_far(&self) -> Vec<String> {
        lines(&self.to)
    }

    /// Ends the fault, and returns the trace.
    pub(super) fn end(mut self) -> Vec<String> {
        signal(self.strace.id(), Signal::TERM);
        let until = Instant::now() + Duration::from_secs(2);
        while self.strace.try_wait().is_ok_and(|status| status.is_none()) {
            // strace may wait for ever for a thread that is starting a process. If it is killed, the kernel detaches
            // all threads.
            if Instant::now() > until {
                let _ = self.strace.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        lines(&self.to)
    }
}

/// The calls of a trace, each in one line. strace splits a call if another thread's call comes between.
pub(super) fn lines(trace: &Path) -> Vec<String> {
    let text = fs::read(trace).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (mut unfinished, mut lines) = (BTreeMap::new(), Vec::new());
    for line in text.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if let Some(beginning) = line.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, beginning);
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            lines.push(format!("{}{end}", unfinished.remove(thread).unwrap_or_default()));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// The lines of the calls that strace made fail.
pub(super) fn failed_calls(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| error_text(line).is_some()).collect()
}

/// The system's text of an injected error, such as `Input/output error`.
pub(super) fn error_text(line: &str) -> Option<&str> {
    let (_, text) = line.strip_suffix(") (INJECTED)")?.rsplit_once(" (")?;
    Some(text)
}

/// Waits until strace has written the exit of this process, which it does after the process has ended.
pub(super) fn wait_for_exit(trace: &Path, pid: u32) {
    let until = Instant::now() + Duration::from_secs(10);
    let ended = |line: &str| line.starts_with(&format!("{pid} ")) && line.contains(" +++ ");
    while !fs::read_to_string(trace).is_ok_and(|text| text.lines().rev().any(ended)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The calls of one name in one thread: number and line.
type Calls = Vec<(u64, String)>;

/// The occurrences of one call in a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// The number of calls of all threads, after `main` starts.
    pub(super) total: u64,
    /// The number of calls of loader and libc in the first thread, before `main`.
    before: u64,
    /// Whether the call also occurs after the start.
    pub(super) while_running: bool,
    /// The calls of each thread.
    by_thread: Vec<Calls>,
}

impl Count {
    /// The numbers of the calls that can fail with this error, of the thread that has most of them.
    pub(super) fn can_fail_with(&self, errno: &str) -> Vec<u64> {
        let possible = |calls: &Calls| {
            calls.iter().filter(|(_, line)| is_possible(line, errno)).map(|(number, _)| *number).collect()
        };
        self.by_thread.iter().map(possible).max_by_key(Vec::len).unwrap_or_default()
    }
}

/// Every call of a scenario.
#[derive(Debug, Default)]
pub(super) struct Counts(pub(super) BTreeMap<String, Count>);

impl Counts {
    /// Reads the trace of a whole scenario. In a trace of all calls, `main` starts with the first `socketpair`, and
    /// the start ends with the first `accept4`. In a trace of own files, `main` starts with the first line, and the
    /// start ends with the first `renameat`.
    pub(super) fn of(trace: &Path, only_own: bool) -> Self {
        let (main, running) = if only_own { (None, "renameat") } else { (Some("socketpair"), "accept4") };
        let text = fs::read(trace).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut threads: BTreeMap<(&str, &str), (u64, Calls)> = BTreeMap::new();
        let mut counts: BTreeMap<String, Count> = BTreeMap::new();
        let (mut in_main, mut while_running) = (main.is_none(), false);
        for (thread, call, line) in text.lines().filter_map(call) {
            in_main |= Some(call) == main;
            while_running |= call == running;
            let count = counts.entry(call.to_owned()).or_default();
            count.while_running |= while_running;
            let (calls, injectable) = threads.entry((thread, call)).or_default();
            *calls += 1;
            if in_main {
                count.total += 1
            } else {
                count.before += 1
            }
            // An injection applies to every thread. In the first thread, it must not hit a call before `main`.
            if in_main && *calls > count.before {
                injectable.push((*calls, line.to_owned()));
            }
        }
        for ((_, call), (_, injectable)) in threads {
            counts.entry(call.to_owned()).or_default().by_thread.push(injectable);
        }
        counts.retain(|_, count| count.total > 0);
        Self(counts)
    }

    /// Replaces some calls by those of another scenario.
    pub(super) fn replace_calls(mut self, other: Self, is_replaced: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|call, _| !is_replaced(call));
        self.0.extend(other.0.into_iter().filter(|(call, _)| is_replaced(call)));
        self
    }
}

/// Thread, name and line of the call that starts in this line of a trace.
fn call(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some((thread, name, line))
}
