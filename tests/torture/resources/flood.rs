//! Heartbeats from a thousand agents to one daemon, over socket and HTTP at once, strays included.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MORE_RESIDENT, connection, eventually, local, metrics, mib, settled_memory, usage, within};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::{ask, call, metric};
use crate::support::agent::DEADLINE;
use crate::support::daemon::{DaemonDir, start_secret};

/// Accepted and refused heartbeats.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct HeartbeatCounts {
    accepted: u64,
    refused: u64,
}

/// The daemon's addresses, and the agents with their process IDs.
#[derive(Clone)]
struct Target {
    port: u16,
    socket: PathBuf,
    agents: Vec<(String, u64)>,
    /// The start secret of each agent.
    secrets: Vec<String>,
    rounds: usize,
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let dir = DaemonDir::new(&[]);
    let count = effort.pick(250, 1000);
    fs::write(dir.path().join("daemon.yaml"), configuration(count)).expect("a configuration");
    let mut daemon = dir.start();
    let (pid, port) = (daemon.pid(), daemon.port());
    // So many processes take longer to start.
    let Some(agents) = within(5 * DEADLINE, || all_running(&dir.socket(), count)) else {
        return findings.fail(format!("{count} agents do not reach the state running"));
    };
    let secrets = agents.iter().map(|(_, pid)| start_secret(u32::try_from(*pid).expect("a pid"))).collect();
    let target = Target { port, socket: dir.socket(), agents, secrets, rounds: effort.pick(10, 20) };
    // One heartbeat of each agent, so that memory that is allocated once is allocated.
    if let Err(error) = bare_lines(&Target { rounds: 1, ..target.clone() }) {
        findings.fail(format!("the first heartbeats are not accepted: {error}"));
    }
    // The allocator returns memory only when the daemon does something, such as checks of its agents.
    let before = (0..10).map(|_| memory_after_request(pid, port)).min().unwrap_or_default();
    let counters_before = counters(port);
    let started = Instant::now();
    let answered = flood(&target, findings);
    let took = started.elapsed().as_secs_f64();
    let peak = usage(pid).resident;
    let now = counters(port);
    let counted = HeartbeatCounts {
        accepted: now.accepted - counters_before.accepted,
        refused: now.refused - counters_before.refused,
    };
    if counted != answered {
        findings.fail(format!("the daemon counts {counted:?} heartbeats, the senders count {answered:?}"));
    }
    let _ = (0..10).map(|_| memory_after_request(pid, port)).min();
    let after = settled_memory(pid, before);
    if after > before + MORE_RESIDENT {
        findings.fail(format!("the daemon's memory is {} before the flood and {} after it", mib(before), mib(after)));
    }
    let total = answered.accepted + answered.refused;
    findings.tried(total, format!("heartbeats from {count} agents at once, strays included"));
    findings.note(format!(
        "{total} heartbeats in {took:.1} s: {} accepted, {} refused, none lost; the daemon's memory {} before, {} during, {} after",
        answered.accepted, answered.refused, mib(before), mib(peak), mib(after)
    ));
    if eventually(|| all_running(&dir.socket(), count)).is_none_or(|agents| agents != target.agents) {
        findings.fail("the flood changed the state of an agent or restarted it");
    }
    daemon.signal(rustix::process::Signal::TERM);
    if daemon.wait().code() != Some(0) {
        findings.fail("the daemon does not exit cleanly after the flood");
    }
}

/// A configuration with `count` programs. The test sends their heartbeats.
fn configuration(count: usize) -> String {
    let mut yaml =
        "daemon: { work_dir: state, http: { port: 0, limits: { connections_loopback: 1024 } } }\nagents:\n".to_owned();
    for number in 0..count {
        let _ = writeln!(yaml, "  - {{ id: agent-{number}, binary_path: /bin/sleep, args: ['1000'] }}");
    }
    yaml + "agent_defaults:\n  health_check: { interval: 2s, heartbeat_timeout: 1h, cpu_threshold: 100 }\n"
}

fn all_running(socket: &Path, count: usize) -> Option<Vec<(String, u64)>> {
    let answer = call(socket, "agents", &json!({}))?;
    let agents = answer["agents"].as_array()?.iter();
    let running = agents.filter(|agent| agent["state"] == "running" || agent["state"] == "starting");
    let running: Vec<_> =
        running.filter_map(|agent| Some((agent["agent_id"].as_str()?.to_owned(), agent["pid"].as_u64()?))).collect();
    (running.len() == count).then_some(running)
}

/// Sends a request, and reads the resident memory after a moment.
fn memory_after_request(pid: u32, port: u16) -> u64 {
    let _ = ask(local(port), "GET", "/health");
    thread::sleep(Duration::from_millis(100));
    usage(pid).resident
}

fn counters(port: u16) -> HeartbeatCounts {
    let text = metrics(port);
    let of = |result: &str| metric(&text, "ops_daemon_heartbeats_total", &[result]);
    HeartbeatCounts {
        accepted: of("result=\"accepted\""),
        refused: of("result=\"refused\"") + of("result=\"invalid\""),
    }
}

/// Sends over all three transports at once: JSON-RPC, bare lines, and HTTP with one connection for each agent.
fn flood(target: &Target, findings: &mut Findings) -> HeartbeatCounts {
    let senders: [fn(&Target) -> std::io::Result<HeartbeatCounts>; 3] = [over_the_socket, bare_lines, over_http];
    let threads: Vec<_> = senders
        .into_iter()
        .map(|send| {
            let target = target.clone();
            thread::spawn(move || send(&target))
        })
        .collect();
    let mut sum = HeartbeatCounts::default();
    for thread in threads {
        match thread.join() {
            Ok(Ok(counts)) => {
                sum =
                    HeartbeatCounts { accepted: sum.accepted + counts.accepted, refused: sum.refused + counts.refused }
            }
            Ok(Err(error)) => findings.fail(format!("the daemon does not answer a heartbeat: {error}")),
            Err(_) => findings.fail("the daemon answers a heartbeat in an unexpected way"),
        }
    }
    sum
}

/// For each agent two valid heartbeats and one stray: of another process, or of an unknown agent.
fn heartbeats(target: &Target) -> impl Iterator<Item = (Value, bool)> + '_ {
    target.agents.iter().enumerate().flat_map(|(number, (id, pid))| {
        let stray = if number % 2 == 0 { heartbeat(id, pid + 1_000_000) } else { heartbeat("unknown", *pid) };
        [(heartbeat(id, *pid), true), (heartbeat(id, *pid), true), (stray, false)]
    })
}

fn heartbeat(id: &str, pid: u64) -> Value {
    json!({ "agent_id": id, "pid": pid, "status": "running", "cpu": 5.0, "memory": 1_024_000,
            "timestamp": "2025-12-05T10:00:00.000Z", "version": "0.1.0", "state": "running", "incarnation": 7, "sequence": 1 })
}

fn over_the_socket(target: &Target) -> std::io::Result<HeartbeatCounts> {
    let mut stream = UnixStream::connect(&target.socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut counts = HeartbeatCounts::default();
    for _ in 0..target.rounds {
        let lines = heartbeats(target).map(|(params, _)| {
            format!("{}\n", json!({ "jsonrpc": "2.0", "id": 1, "method": "heartbeat", "params": params }))
        });
        let lines: String = lines.collect();
        let mut writer = stream.try_clone()?;
        let sender = thread::spawn(move || writer.write_all(lines.as_bytes()));
        for (_, is_valid) in heartbeats(target) {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            assert_eq!(line.contains("\"result\""), is_valid, "{line}");
            counts = counts.with(is_valid);
        }
        sender.join().expect("the writer does not panic")?;
    }
    stream.flush()?;
    Ok(counts)
}

/// The daemon does not answer bare lines. The answer to the last request shows that it has read all of them.
fn bare_lines(target: &Target) -> std::io::Result<HeartbeatCounts> {
    let mut stream = UnixStream::connect(&target.socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut counts = HeartbeatCounts::default();
    for _ in 0..target.rounds {
        for (id, pid) in &target.agents {
            writeln!(stream, "{}", heartbeat(id, *pid))?;
            counts = counts.with(true);
        }
    }
    stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"health\"}\n")?;
    BufReader::new(stream).read_line(&mut String::new())?;
    Ok(counts)
}

fn over_http(target: &Target) -> std::io::Result<HeartbeatCounts> {
    let connect = |number| -> std::io::Result<TcpStream> {
        let stream = connection(target.port, number)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut streams = (0..target.agents.len()).map(connect).collect::<std::io::Result<Vec<_>>>()?;
    // The heartbeats over the socket have proved each start, so from then on HTTP needs the secret.
    let secrets = target.secrets.iter().flat_map(|secret| [secret.as_str(), secret, ""]);
    let requests: Vec<_> = heartbeats(target)
        .zip(secrets)
        .map(|((params, is_valid), secret)| (request(&params.to_string(), secret), is_valid))
        .collect();
    let mut counts = HeartbeatCounts::default();
    for _ in 0..target.rounds {
        for part in 0..3 {
            let part = || requests.iter().skip(part).step_by(3);
            for (stream, (request, _)) in streams.iter_mut().zip(part()) {
                stream.write_all(request.as_bytes())?;
            }
            for (stream, (_, is_valid)) in streams.iter_mut().zip(part()) {
                let status = status(stream)?;
                assert_eq!(status == 200, *is_valid, "{status}");
                assert!([200, 400, 409].contains(&status), "{status}");
                counts = counts.with(*is_valid);
            }
        }
    }
    Ok(counts)
}

fn request(body: &str, secret: &str) -> String {
    let length = body.len();
    format!(
        "POST /heartbeat HTTP/1.1\r\nhost: daemon\r\ncontent-type: application/json\r\nops-start-secret: {secret}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// Reads a whole answer and returns its status. The body is one flat JSON object, so the answer ends at the first `}`.
fn status(stream: &mut TcpStream) -> std::io::Result<u16> {
    let (mut answer, mut length) = ([0; 2048], 0);
    while !answer[..length].ends_with(b"}") {
        match stream.read(&mut answer[length..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    let head = String::from_utf8_lossy(&answer[..length]);
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

impl HeartbeatCounts {
    fn with(self, accepted: bool) -> Self {
        Self { accepted: self.accepted + u64::from(accepted), refused: self.refused + u64::from(!accepted) }
    }
}
