//! Too little memory: the least with which each works, what the caps let it need, and what happens below that.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::json;
use statemachine::lifecycle::State;

use super::{comes, connection, eventually, is_well, local, mib, vitals};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::call;
use crate::support::agent::{AgentDir, DEADLINE};
use crate::support::daemon::DaemonDir;
use crate::support::http::get;
use crate::support::programs;

/// The default of `http.limits.connections`, and of `body_bytes`.
const CONNECTIONS: usize = 1024;
const BODY: usize = 64 * 1024;

/// More than any of them needs at the start, and how fine the search is.
const PLENTY: u64 = 32 << 20;
const STEP: u64 = 512 << 10;

/// A memory cgroup of our own, of either version.
struct Cage {
    directory: PathBuf,
    limit: &'static str,
}

impl Cage {
    fn new() -> Result<Self, String> {
        let name = format!("ops-agent-torture-{}", std::process::id());
        let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let (root, limit) = match unified.split_whitespace().any(|controller| controller == "memory") {
            true => ("/sys/fs/cgroup", "memory.max"),
            false => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let directory = Path::new(root).join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let cage = Self { directory, limit };
        cage.allow(PLENTY).map_err(|error| format!("{}: {error}", cage.directory.join(limit).display()))?;
        Ok(cage)
    }

    fn allow(&self, bytes: u64) -> std::io::Result<()> {
        fs::write(self.directory.join(self.limit), bytes.to_string())
    }

    /// Starts it inside.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("echo $$ >{}/cgroup.procs && exec {program}", self.directory.display())]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        let _ = comes(|| fs::remove_dir(&self.directory).is_ok());
    }
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let need = need_at_the_caps(findings);
    let cage = match Cage::new() {
        Ok(cage) => cage,
        Err(error) => return findings.could_not(format!("limit memory by a cgroup: {error}")),
    };
    if effort == Effort::Full {
        let home = AgentDir::new("");
        let agent = least(&cage, |cage| agent_works(cage, &home), findings);
        let daemon = least(&cage, daemon_works, findings);
        findings.saw(format!(
            "least memory of a cgroup in which one comes to work, pages that others share not counted: agent {agent}, daemon {daemon}"
        ));
        super::address_space::run(findings);
    }
    crowded(&cage, need, effort.pick(2_000, 10_000), findings);
}

/// The least memory with which it works.
fn least(cage: &Cage, start: impl Fn(&Cage) -> Option<ExitStatus>, findings: &mut Findings) -> String {
    let (mut too_little, mut enough, mut tries) = (0, PLENTY, 0);
    let mut works = |cage: &Cage| match start(cage) {
        None => true,
        Some(status) => {
            if !is_for_want_of_memory(status) {
                findings.lost(format!("with too little memory in a cgroup, a start ends by {status}"));
            }
            false
        }
    };
    while enough - too_little > STEP {
        let middle = too_little.midpoint(enough);
        // What the last one has left in the cache counts, and goes when the limit comes down; it may take two tries.
        if cage.allow(middle).or_else(|_| cage.allow(middle)).is_err() {
            break;
        }
        tries += 1;
        if works(cage) { enough = middle } else { too_little = middle }
    }
    let _ = cage.allow(PLENTY);
    findings.tried(tries, "start in a memory cgroup, with more and with less than is needed");
    mib(enough)
}

fn agent_works(cage: &Cage, home: &AgentDir) -> Option<ExitStatus> {
    let _ = fs::remove_file(home.status_file());
    let mut command = cage.command(&format!("{} run --config agent.yaml", programs::agent()));
    let mut child = command.current_dir(home.path()).spawn().expect("a shell");
    runs(&mut child, || read_status(&home.status_file()).is_ok_and(|file| file.state == State::Running))
}

fn daemon_works(cage: &Cage) -> Option<ExitStatus> {
    let site = DaemonDir::new(&[]);
    let mut command = cage.command(&format!("{} run --config daemon.yaml", programs::daemon()));
    let mut child = command.current_dir(site.path()).spawn().expect("a shell");
    runs(&mut child, || call(&site.socket(), "health", &json!({})).is_some())
}

/// `None`: it comes to that. Otherwise how it ended, which is our kill if it did neither.
fn runs(child: &mut Child, so: impl Fn() -> bool) -> Option<ExitStatus> {
    let came = eventually(|| if so() { Some(None) } else { child.try_wait().expect("a child").map(Some) });
    let _ = child.kill();
    let ended = child.wait().expect("a child");
    came.unwrap_or(Some(ended))
}

/// An end that has words; SIGKILL, by which the kernel makes room in a cgroup; SIGABRT, which is how Rust ends where an
/// allocation fails. Anything else is a mistake of ours.
fn is_for_want_of_memory(status: ExitStatus) -> bool {
    let by = |signal: Signal| status.signal() == Some(signal.as_raw());
    status.code() == Some(1) || by(Signal::KILL) || by(Signal::ABORT)
}

/// As many connections as there may be, each with as large a body as there may be, but for its end.
fn need_at_the_caps(findings: &mut Findings) -> u64 {
    let home = AgentDir::new(&full_house());
    let mut agent = home.start();
    let (pid, port) = (agent.pid(), agent.port());
    let before = vitals(pid).resident;
    let crowd: Vec<_> = (0..CONNECTIONS).map_while(|number| full_of_a_body(port, number).ok()).collect();
    if crowd.len() < CONNECTIONS || !comes(|| all_is_read(port)) {
        findings.lost(format!("of {CONNECTIONS} large bodies, {} were taken, or not all of them read", crowd.len()));
    }
    let most = vitals(pid).resident;
    findings.saw(format!(
        "memory at the default limits, with {CONNECTIONS} connections that have sent all but the last byte of {BODY}: {}, from {}",
        mib(most), mib(before)
    ));
    drop(crowd);
    if agent.stop() != Some(0) {
        findings.lost("an agent that was full of bodies does not stop in order");
    }
    most
}

/// All of loopback is one peer, which then may have as many as all together, and as slow as the machine is.
fn full_house() -> String {
    let limits = format!("connections_loopback: {CONNECTIONS}, head_timeout: 1h, body_timeout: 1h");
    format!("http: {{ port: 0, limits: {{ {limits} }} }}\n")
}

/// A request of which the last byte is missing.
fn all_but_its_end() -> Vec<u8> {
    let mut text = format!("POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: {BODY}\r\n\r\n").into_bytes();
    text.resize(text.len() + BODY - 1, b'x');
    text
}

/// A connection on which that was sent, however long it took.
fn full_of_a_body(port: u16, number: usize) -> std::io::Result<TcpStream> {
    let mut stream = connection(port, number)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(&all_but_its_end())?;
    Ok(stream)
}

/// Whether nothing is under way to this port, and nothing waits there, as the kernel has it.
fn all_is_read(port: u16) -> bool {
    let port = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let waits = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, queues) = (fields.next()?, fields.next()?, fields.nth(1)?);
        let (unsent, unread) = queues.split_once(':')?;
        let is_none = |queue: &str| queue.bytes().all(|digit| digit == b'0');
        Some(local.ends_with(&port) && !is_none(unread) || remote.ends_with(&port) && !is_none(unsent))
    };
    !table.is_empty() && !table.lines().skip(1).any(|line| waits(line).unwrap_or(true))
}

fn gather(port: u16, count: usize) -> Vec<TcpStream> {
    let text = all_but_its_end();
    let send = |number| {
        let mut stream = connection(port, number).ok()?;
        stream.set_nonblocking(true).ok()?;
        let _ = stream.write(&text);
        Some(stream)
    };
    (0..count).map_while(send).collect()
}

/// With a little more than the caps let it need, it has to survive whoever comes.
fn crowded(cage: &Cage, need: u64, crowd: usize, findings: &mut Findings) {
    // What the kernel keeps for the sockets counts as well.
    let limit = need * 3 / 2;
    if let Err(error) = cage.allow(limit) {
        return findings.could_not(format!("allow {limit} bytes: {error}"));
    }
    let home = AgentDir::new(&full_house());
    let mut command = cage.command(&format!("{} run --config agent.yaml", programs::agent()));
    let mut child = command.current_dir(home.path()).spawn().expect("a shell");
    let status = home.status_file();
    let Some(port) = eventually(|| read_status(&status).ok()?.http.map(|address| address.port())) else {
        findings.lost("an agent with memory for its caps does not start");
        return end(child);
    };
    let peers = gather(port, crowd);
    let answer = get(local(port), "/livez").status;
    if answer != 200 {
        findings.lost(format!("with {} and {} large bodies, /livez answers {answer}", mib(limit), peers.len()));
    }
    let most = vitals(child.id()).resident;
    drop(peers);
    if !comes(|| is_well(port)) || child.try_wait().expect("a child").is_some() {
        findings.lost(format!("{crowd} large bodies end an agent that has {}", mib(limit)));
    }
    findings
        .tried(crowd as u64, format!("large bodies that lack their end, to an agent in a cgroup of {}", mib(limit)));
    findings.saw(format!("in a cgroup of {}, {crowd} large bodies take it to {}, and it lives", mib(limit), mib(most)));
    end(child);
}

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}
