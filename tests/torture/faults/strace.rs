//! strace as an instrument: which calls a program makes, and how to make one of them fail.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::table::can_happen;
use crate::support::daemon::signal;

/// One fault: a call, what it says, which of them, and on which files.
#[derive(Debug, Clone)]
pub(super) struct Injection {
    pub(super) call: String,
    pub(super) errno: &'static str,
    /// As strace has it: `3`, `3+`, `3..9`. strace counts for each thread by itself.
    pub(super) when: String,
    /// Only calls that touch one of these. Empty: all.
    pub(super) paths: Vec<PathBuf>,
}

impl Injection {
    fn arguments(&self, command: &mut Command) {
        let Self { call, errno, when, paths } = self;
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:error={errno}:when={when}")]);
        only_on(paths, command);
    }
}

/// `strace`, set up to run `program` as a child of ours rather than of strace's, and to write what it sees to `to`.
///
/// What the program starts itself is let go of when it becomes another program.
pub(super) fn run(to: &Path, what: Option<&Injection>, paths: &[PathBuf], program: &Command) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-b", "execve", "-y", "-s", "64", "-o"]).arg(to);
    match what {
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

/// A fault that lasts for as long as this lives: strace, attached to a process that runs already.
pub(super) struct Attached {
    strace: Child,
    to: PathBuf,
}

impl Attached {
    /// Comes back once the fault is in force. `None`: the process is gone.
    pub(super) fn to(pid: u32, injection: &Injection, to: &Path) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-b", "execve", "-y", "-s", "64", "-p", &pid.to_string(), "-o"]).arg(to);
        injection.arguments(&mut command);
        let mut strace = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().ok()?;
        let said = BufReader::new(strace.stderr.take()?);
        let (first, attached) = channel();
        // Read to its end: it tells of every new thread.
        std::thread::spawn(move || {
            let lines = said.lines().map_while(Result::ok).filter(|line| line.contains(" attached"));
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

    /// The calls so far.
    pub(super) fn so_far(&self) -> Vec<String> {
        lines(&self.to)
    }

    /// Ends the fault, and gives the calls that were made meanwhile.
    pub(super) fn end(mut self) -> Vec<String> {
        signal(self.strace.id(), Signal::TERM);
        let until = Instant::now() + Duration::from_secs(2);
        while self.strace.try_wait().is_ok_and(|status| status.is_none()) {
            // It waits for ever for a thread that is just starting a process. Without it, the kernel lets all of them go.
            if Instant::now() > until {
                let _ = self.strace.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        lines(&self.to)
    }
}

/// The calls of a trace, each in one line: where another thread came between, strace writes it down in two.
pub(super) fn lines(trace: &Path) -> Vec<String> {
    let text = fs::read(trace).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (mut begun, mut lines) = (BTreeMap::new(), Vec::new());
    for line in text.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if let Some(beginning) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, beginning);
        } else if let Some((_, end)) = line.split_once(" resumed>") {
            lines.push(format!("{}{end}", begun.remove(thread).unwrap_or_default()));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Those that were made to fail.
pub(super) fn struck(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| reason(line).is_some()).collect()
}

/// What a call was made to say, in the words that the program has for it too: `Input/output error`.
pub(super) fn reason(line: &str) -> Option<&str> {
    let (_, words) = line.strip_suffix(") (INJECTED)")?.rsplit_once(" (")?;
    Some(words)
}

/// Waits until strace has written down the end of this process, which it does after the process is gone.
pub(super) fn settled(trace: &Path, pid: u32) {
    let until = Instant::now() + Duration::from_secs(10);
    let ended = |line: &str| line.starts_with(&format!("{pid} ")) && line.contains(" +++ ");
    while !fs::read_to_string(trace).is_ok_and(|text| text.lines().rev().any(ended)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Calls of one name that a thread makes: which one it is, and its line.
type Calls = Vec<(u64, String)>;

/// How a call was made in a life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// How often, by all threads together, from `main` on.
    pub(super) total: u64,
    /// How often by the first thread before `main`: by loader and libc.
    before: u64,
    /// Whether it is made once connections are taken, too, and not only on the way up.
    pub(super) at_work: bool,
    /// Those of each thread, since strace counts for each.
    by_thread: Vec<Calls>,
}

impl Count {
    /// Which ones, of those that a thread makes, can be made to say this. Of the thread that makes most of them.
    pub(super) fn can_say(&self, errno: &str) -> Vec<u64> {
        let can =
            |made: &Calls| made.iter().filter(|(_, line)| can_happen(line, errno)).map(|(number, _)| *number).collect();
        self.by_thread.iter().map(can).max_by_key(Vec::len).unwrap_or_default()
    }
}

/// Every call of a life.
#[derive(Debug, Default)]
pub(super) struct Counts(pub(super) BTreeMap<String, Count>);

impl Counts {
    /// Reads a trace of a whole life, of all calls or of those on its own files. `main` begins with the first pair of
    /// sockets, and with the first file of its own; the work with the first connection, and with the first file replaced.
    pub(super) fn of(trace: &Path, only_own: bool) -> Self {
        let (main, work) = if only_own { (None, "renameat") } else { (Some("socketpair"), "accept4") };
        let text = fs::read(trace).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut threads: BTreeMap<(&str, &str), (u64, Calls)> = BTreeMap::new();
        let mut counts: BTreeMap<String, Count> = BTreeMap::new();
        let (mut begun, mut at_work) = (main.is_none(), false);
        for (thread, call, line) in text.lines().filter_map(call) {
            begun |= Some(call) == main;
            at_work |= call == work;
            let count = counts.entry(call.to_owned()).or_default();
            count.at_work |= at_work;
            let (made, ours) = threads.entry((thread, call)).or_default();
            *made += 1;
            if begun {
                count.total += 1
            } else {
                count.before += 1
            }
            // What strace is told of one thread holds for the first one too, which must not fail before `main`.
            if begun && *made > count.before {
                ours.push((*made, line.to_owned()));
            }
        }
        for ((_, call), (_, ours)) in threads {
            counts.entry(call.to_owned()).or_default().by_thread.push(ours);
        }
        counts.retain(|_, count| count.total > 0);
        Self(counts)
    }

    /// With some calls as they are in another life.
    pub(super) fn but_for(mut self, other: Self, some: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|call, _| !some(call));
        self.0.extend(other.0.into_iter().filter(|(call, _)| some(call)));
        self
    }
}

/// Thread, name and text of the call that begins in this line of a trace, if one does.
fn call(line: &str) -> Option<(&str, &str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some((thread, name, line))
}
