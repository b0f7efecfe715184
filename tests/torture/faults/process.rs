//! A process under test: requests to it, its exit, and output that is never allowed.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The time limit of every wait. It is long, because many processes under test run at the same time.
pub(super) const DEADLINE: Duration = Duration::from_secs(25);

/// The time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The step of a scenario that failed, and how.
pub(super) type StepError = (&'static str, String);

/// A process under test. It is killed when dropped.
pub(super) struct Process {
    child: Child,
    ended: Option<ExitStatus>,
    /// The file that takes standard output and standard error.
    output: PathBuf,
}

impl Process {
    pub(super) fn spawn(mut command: Command, output: &Path) -> Self {
        let file = File::create(output).expect("a file");
        let errors = file.try_clone().expect("a descriptor");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().expect("a process");
        Self { child, ended: None, output: output.to_owned() }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has exited.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child process");
        }
        self.ended
    }

    /// Waits until `condition` holds. `false`: the process exits before, or the deadline passes.
    pub(super) fn wait_until(&mut self, mut condition: impl FnMut() -> bool) -> bool {
        let until = Instant::now() + DEADLINE;
        while !condition() {
            if self.ended().is_some() || Instant::now() > until {
                return condition();
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        true
    }

    /// Waits for the exit. `None`: the process does not exit within `limit`.
    pub(super) fn end_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < until {
            std::thread::sleep(POLL_INTERVAL);
        }
        self.ended
    }

    /// The output to standard output and standard error.
    pub(super) fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.output).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why an exit without a request is not allowed: a signal, an undocumented exit code, or no error message.
pub(super) fn exit_problem(status: ExitStatus, output: &str) -> Option<String> {
    match status.code() {
        None => Some(format!("it was killed by signal {}", status.signal().unwrap_or_default())),
        Some(0) => Some("it exited with code 0 without a request to stop".to_owned()),
        Some(1 | 64 | 78) if output.trim().is_empty() => Some(format!("it exited with {status} without a message")),
        Some(1 | 64 | 78) => None,
        Some(code) => Some(format!("it exited with code {code}, which is not documented")),
    }
}

/// The first line that reports a panic.
pub(super) fn panic_in(text: &str) -> Option<&str> {
    text.lines().find(|line| line.contains("panicked"))
}

/// Sends one request on a new connection. Returns status and body, or `None` if there is no answer.
pub(super) fn ask(port: u16, method: &str, path: &str, accept: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split(' ').nth(1)?.parse().ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some((code, body.to_owned()))
}

/// The last three lines.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}
