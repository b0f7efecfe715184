//! Memory limits: the least memory with which the programs work, the most that the connection limits allow, and less.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::json;
use statemachine::lifecycle::State;

use super::{becomes_true, connection, eventually, is_healthy, local, mib, usage};
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

/// More than each program needs at the start, and the step of the search.
const PLENTY: u64 = 32 << 20;
const STEP: u64 = 512 << 10;

/// A memory cgroup, version 1 or 2.
struct MemoryCgroup {
    directory: PathBuf,
    limit: &'static str,
}

impl MemoryCgroup {
    fn new() -> Result<Self, String> {
        let name = format!("ops-agent-torture-{}", std::process::id());
        let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let (root, limit) = match unified.split_whitespace().any(|controller| controller == "memory") {
            true => ("/sys/fs/cgroup", "memory.max"),
            false => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        };
        let directory = Path::new(root).join(name);
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let cgroup = Self { directory, limit };
        cgroup.set_limit(PLENTY).map_err(|error| format!("{}: {error}", cgroup.directory.join(limit).display()))?;
        Ok(cgroup)
    }

    fn set_limit(&self, bytes: u64) -> std::io::Result<()> {
        fs::write(self.directory.join(self.limit), bytes.to_string())
    }

    /// A command that starts a program in the cgroup.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("echo $$ >{}/cgroup.procs && exec {program}", self.directory.display())]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        let _ = becomes_true(|| fs::remove_dir(&self.directory).is_ok());
    }
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let need = need_at_the_limits(findings);
    let cgroup = match MemoryCgroup::new() {
        Ok(cgroup) => cgroup,
        Err(error) => return findings.skip(format!("a memory cgroup: {error}")),
    };
    if effort == Effort::Full {
        let dir = AgentDir::new("");
        let agent = least_memory(&cgroup, |cgroup| agent_works(cgroup, &dir), findings);
        let daemon = least_memory(&cgroup, daemon_works, findings);
        findings.note(format!(
            "least cgroup memory with which the program works, shared pages not counted: agent {agent}, daemon {daemon}"
        ));
        super::address_space::run(findings);
    }
    too_many_bodies(&cgroup, need, effort.pick(2_000, 10_000), findings);
}

/// Searches the least memory with which a program starts.
fn least_memory(
    cgroup: &MemoryCgroup,
    start: impl Fn(&MemoryCgroup) -> Option<ExitStatus>,
    findings: &mut Findings,
) -> String {
    let (mut too_little, mut enough, mut tries) = (0, PLENTY, 0);
    let mut works = |cgroup: &MemoryCgroup| match start(cgroup) {
        None => true,
        Some(status) => {
            if !is_out_of_memory(status) {
                findings.fail(format!("with too little memory in a cgroup, a start ends with {status}"));
            }
            false
        }
    };
    while enough - too_little > STEP {
        let middle = too_little.midpoint(enough);
        // The page cache of the last start counts. The kernel drops it when the limit is lowered, which may take two
        // tries.
        if cgroup.set_limit(middle).or_else(|_| cgroup.set_limit(middle)).is_err() {
            break;
        }
        tries += 1;
        if works(cgroup) { enough = middle } else { too_little = middle }
    }
    let _ = cgroup.set_limit(PLENTY);
    findings.tried(tries, "starts in a memory cgroup, with enough and with too little memory");
    mib(enough)
}

fn agent_works(cgroup: &MemoryCgroup, dir: &AgentDir) -> Option<ExitStatus> {
    let _ = fs::remove_file(dir.status_file());
    let mut command = cgroup.command(&format!("{} run --config agent.yaml", programs::agent()));
    let mut child = command.current_dir(dir.path()).spawn().expect("a shell");
    wait_for_start(&mut child, || read_status(&dir.status_file()).is_ok_and(|file| file.state == State::Running))
}

fn daemon_works(cgroup: &MemoryCgroup) -> Option<ExitStatus> {
    let dir = DaemonDir::new(&[]);
    let mut command = cgroup.command(&format!("{} run --config daemon.yaml", programs::daemon()));
    let mut child = command.current_dir(dir.path()).spawn().expect("a shell");
    wait_for_start(&mut child, || call(&dir.socket(), "health", &json!({})).is_some())
}

/// Waits until `condition` holds (`None`) or the process exits. After the deadline it is killed; the status shows that.
fn wait_for_start(child: &mut Child, condition: impl Fn() -> bool) -> Option<ExitStatus> {
    let result = eventually(|| if condition() { Some(None) } else { child.try_wait().expect("a child").map(Some) });
    let _ = child.kill();
    let ended = child.wait().expect("a child");
    result.unwrap_or(Some(ended))
}

/// Exit code 1 comes with an error message. SIGKILL comes from the kernel's OOM killer, SIGABRT from a
/// failed allocation in Rust. Any other exit is a fault of the program.
fn is_out_of_memory(status: ExitStatus) -> bool {
    let by = |signal: Signal| status.signal() == Some(signal.as_raw());
    status.code() == Some(1) || by(Signal::KILL) || by(Signal::ABORT)
}

/// Opens as many connections as the limit allows, each with the largest body but without its last byte. Returns the
/// memory.
fn need_at_the_limits(findings: &mut Findings) -> u64 {
    let dir = AgentDir::new(&raised_limits());
    let mut agent = dir.start();
    let (pid, port) = (agent.pid(), agent.port());
    let before = usage(pid).resident;
    let connections: Vec<_> = (0..CONNECTIONS).map_while(|number| send_unfinished_body(port, number).ok()).collect();
    if connections.len() < CONNECTIONS || !becomes_true(|| queues_are_empty(local(port))) {
        findings.fail(format!(
            "of {CONNECTIONS} large bodies, {} were sent, or not all of them were read",
            connections.len()
        ));
    }
    let peak = usage(pid).resident;
    findings.note(format!(
        "memory with {CONNECTIONS} connections, each with all but the last byte of a body of {BODY} bytes: {}, before: {}",
        mib(peak), mib(before)
    ));
    drop(connections);
    if agent.stop() != Some(0) {
        findings.fail("an agent with many large bodies does not exit cleanly");
    }
    peak
}

/// Loopback is one peer, so its limit is raised to the total. The timeouts are longer than the test on a slow machine.
fn raised_limits() -> String {
    let limits = format!("connections_loopback: {CONNECTIONS}, head_timeout: 1h, body_timeout: 1h");
    format!("http: {{ port: 0, limits: {{ {limits} }} }}\n")
}

/// A request without its last byte.
fn unfinished_request() -> Vec<u8> {
    let mut text = format!("POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: {BODY}\r\n\r\n").into_bytes();
    text.resize(text.len() + BODY - 1, b'x');
    text
}

/// Connects and sends the whole unfinished request.
fn send_unfinished_body(port: u16, number: usize) -> std::io::Result<TcpStream> {
    let mut stream = connection(port, number)?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(&unfinished_request())?;
    Ok(stream)
}

/// Whether the kernel has no unsent and no unread bytes for this address. The port alone would not do: the kernel may
/// give it to a client with another loopback address, and clients do not read their answers.
fn queues_are_empty(address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else { return false };
    let text = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let has_bytes = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, queues) = (fields.next()?, fields.next()?, fields.nth(1)?);
        let (unsent, unread) = queues.split_once(':')?;
        let is_empty = |queue: &str| queue.bytes().all(|digit| digit == b'0');
        Some(local == text && !is_empty(unread) || remote == text && !is_empty(unsent))
    };
    !table.is_empty() && !table.lines().skip(1).any(|line| has_bytes(line).unwrap_or(true))
}

fn open_unfinished(port: u16, count: usize) -> Vec<TcpStream> {
    let text = unfinished_request();
    let send = |number| {
        let mut stream = connection(port, number).ok()?;
        stream.set_nonblocking(true).ok()?;
        let _ = stream.write(&text);
        Some(stream)
    };
    (0..count).map_while(send).collect()
}

/// With half more than the need at the limits, an agent has to survive any number of connections.
fn too_many_bodies(cgroup: &MemoryCgroup, need: u64, count: usize, findings: &mut Findings) {
    // The socket buffers of the kernel count as well.
    let limit = need * 3 / 2;
    if let Err(error) = cgroup.set_limit(limit) {
        return findings.skip(format!("a cgroup limit of {limit} bytes: {error}"));
    }
    let dir = AgentDir::new(&raised_limits());
    let mut command = cgroup.command(&format!("{} run --config agent.yaml", programs::agent()));
    let mut child = command.current_dir(dir.path()).spawn().expect("a shell");
    let status = dir.status_file();
    let Some(port) = eventually(|| read_status(&status).ok()?.http.map(|address| address.port())) else {
        findings.fail("an agent with enough memory for its limits does not start");
        return kill(child);
    };
    let peers = open_unfinished(port, count);
    let answer = get(local(port), "/livez").status;
    if answer != 200 {
        findings.fail(format!("with {} and {} large bodies, /livez answers {answer}", mib(limit), peers.len()));
    }
    let peak = usage(child.id()).resident;
    drop(peers);
    if !becomes_true(|| is_healthy(port)) || child.try_wait().expect("a child").is_some() {
        findings.fail(format!("{count} large bodies end an agent with {} of memory", mib(limit)));
    }
    findings.tried(count as u64, format!("unfinished large bodies, to an agent in a cgroup of {}", mib(limit)));
    findings.note(format!(
        "in a cgroup of {}, an agent with {count} large bodies uses {} and continues",
        mib(limit),
        mib(peak)
    ));
    kill(child);
}

fn kill(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}
