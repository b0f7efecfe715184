//! One process under observation: how it is asked, how it ends, and what it must never say.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take. It is long, since the machine is busy with many lives at once; it is the longest that a loss
/// costs.
pub(super) const DEADLINE: Duration = Duration::from_secs(25);

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(20);

/// Where a life went wrong, and how.
pub(super) type Trouble = (&'static str, String);

/// A process. It is killed when dropped.
pub(super) struct Body {
    child: Child,
    ended: Option<ExitStatus>,
    /// What it says, on standard output and standard error alike.
    said: PathBuf,
}

impl Body {
    pub(super) fn spawn(mut command: Command, said: &Path) -> Self {
        let file = File::create(said).expect("a file for what it says");
        let errors = file.try_clone().expect("a second hold on it");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().expect("a process");
        Self { child, ended: None, said: said.to_owned() }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours");
        }
        self.ended
    }

    /// Looks until it is so. `false`: it ended before, or it took too long.
    pub(super) fn until(&mut self, mut is_so: impl FnMut() -> bool) -> bool {
        let until = Instant::now() + DEADLINE;
        while !is_so() {
            if self.ended().is_some() || Instant::now() > until {
                return is_so();
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Waits for its end.
    pub(super) fn end_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + limit;
        while self.ended().is_none() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        self.ended
    }

    /// All that it has said outside of its log.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.said).unwrap_or_default()).into_owned()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What speaks against an end that nobody asked for: a signal, a code that is not documented, no word of the reason.
pub(super) fn disorder(status: ExitStatus, words: &str) -> Option<String> {
    match status.code() {
        None => Some(format!("it died of signal {}", status.signal().unwrap_or_default())),
        Some(0) => Some("it ended with code 0 though nobody had asked it to".to_owned()),
        Some(1 | 64 | 78) if words.trim().is_empty() => Some(format!("it ended with {status} without a word")),
        Some(1 | 64 | 78) => None,
        Some(code) => Some(format!("it ended with code {code}, which is not documented")),
    }
}

/// What must never be said.
pub(super) fn panic_in(text: &str) -> Option<&str> {
    text.lines().find(|line| line.contains("panicked"))
}

/// One request on a connection of its own, and the answer's code and text. `None` if there is none, whatever the reason.
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

/// The last that was said.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}
