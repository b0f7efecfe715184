//! Ten thousand misbehaving connections to one agent, and its memory and descriptors afterwards.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::{MORE_RESIDENT, becomes_true, connection, is_healthy, local, mib, settled_memory, usage};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::ask;
use crate::support::agent::AgentDir;
use crate::support::http::get;

const CONNECTIONS: usize = 10_000;

/// The default of `http.limits.connections_loopback`: all of loopback is one peer.
const LIMIT: u64 = 512;

/// Descriptors that the agent needs for itself, with those for a write of the status file.
const OWN_DESCRIPTORS: u64 = 40;

/// How many probes are sent while the connections are open.
const PROBES: u32 = 20;

/// One kind of peer.
struct Kind {
    name: &'static str,
    /// The bytes that it sends before it stops.
    request: Vec<u8>,
    /// It has a small receive buffer and does not read.
    slow: bool,
    /// The number of connections. Fewer where the agent has to answer each request.
    count: usize,
}

fn kinds() -> [Kind; 4] {
    let ask = b"GET /metrics HTTP/1.1\r\nhost: agent\r\naccept: text/plain\r\n\r\n";
    let mut body = b"POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: 65536\r\n\r\n".to_vec();
    body.resize(body.len() + 60_000, b'x');
    [
        Kind {
            name: "half-sent heads",
            request: b"GET /health HTTP/1.1\r\nhost:".to_vec(),
            slow: false,
            count: CONNECTIONS,
        },
        Kind { name: "readers that do not read", request: ask.repeat(4), slow: true, count: 600 },
        Kind { name: "idle connections", request: Vec::new(), slow: false, count: CONNECTIONS },
        Kind { name: "unfinished bodies", request: body, slow: false, count: CONNECTIONS },
    ]
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    at_the_limit(effort, findings);
    if effort == Effort::Full {
        with_raised_limits(findings);
    }
}

/// With default limits: the agent closes most connections to make room for new ones.
fn at_the_limit(effort: Effort, findings: &mut Findings) {
    let dir = AgentDir::new("state: { refresh: 1s }\n");
    let mut agent = dir.start();
    let (pid, port) = (agent.pid(), agent.port());
    let mut rows = String::new();
    // One request of each kind, so that memory that is allocated once is allocated.
    let _ = (ask(local(port), "GET", "/livez"), ask(local(port), "GET", "/metrics"));
    let before = usage(pid);
    for kind in kinds().into_iter().take(effort.pick(2, 4)) {
        let Some(connections) = open_all(port, &kind, findings) else { return };
        let slowest = probe(port, kind.name, findings);
        let loaded = usage(pid);
        if loaded.descriptors > LIMIT + OWN_DESCRIPTORS {
            findings.fail(format!("{}: {} descriptors are open, the limit is {LIMIT}", kind.name, loaded.descriptors));
        }
        drop(connections);
        if !becomes_true(|| usage(pid).descriptors <= before.descriptors + 3) {
            findings.fail(format!("{}: descriptors stay open after all connections are closed", kind.name));
        }
        let after = settled_memory(pid, before.resident);
        if after > before.resident + MORE_RESIDENT {
            let (before, after) = (mib(before.resident), mib(after));
            findings.fail(format!("{}: memory is {before} before and {after} afterwards", kind.name));
        }
        if !becomes_true(|| is_healthy(port)) {
            findings.fail(format!("{}: the agent is not Running afterwards", kind.name));
        }
        findings.tried(kind.count as u64, format!("concurrent connections: {}", kind.name));
        let (start, peak, end) = (mib(before.resident), mib(loaded.resident), mib(after));
        rows.push_str(&format!(
            "| {} {} | {start} | {peak} | {end} | {} ms |\n",
            kind.count,
            kind.name,
            slowest.as_millis()
        ));
    }
    findings.table(format!(
        "| connections | memory before | during | after | slowest of {PROBES} probes |\n|---|---|---|---|---|\n{rows}"
    ));
    if agent.stop() != Some(0) {
        findings.fail("the agent does not exit cleanly after the connections");
    }
}

/// With raised limits: the agent closes no connection. The tables of tasks and sockets grow by half a megabyte and
/// keep their size. So the first round may leave twice [`MORE_RESIDENT`], and the second round must add nothing.
fn with_raised_limits(findings: &mut Findings) {
    let limits = "connections: 20000, connections_loopback: 20000, head_timeout: 1h, idle_timeout: 1h";
    let dir = AgentDir::new(&format!("http: {{ port: 0, limits: {{ {limits} }} }}\nstate: {{ refresh: 1s }}\n"));
    let mut agent = dir.start();
    let (pid, port) = (agent.pid(), agent.port());
    let _ = (get(local(port), "/livez"), get(local(port), "/metrics"));
    let before = usage(pid);
    let [kind, ..] = kinds();
    let mut results = Vec::new();
    for _ in 0..2 {
        let Some(connections) = open_all(port, &kind, findings) else { return };
        if !becomes_true(|| usage(pid).descriptors >= before.descriptors + CONNECTIONS as u64) {
            let held = usage(pid).descriptors;
            return findings.skip(format!("{CONNECTIONS} concurrent connections: only {held} descriptors are open"));
        }
        probe(port, "10,000 open connections", findings);
        let peak = usage(pid).resident;
        drop(connections);
        if !becomes_true(|| usage(pid).descriptors <= before.descriptors + 3) {
            findings.fail("descriptors stay open after 10,000 connections are closed");
        }
        results.push((peak, settled_memory(pid, before.resident)));
        findings.tried(CONNECTIONS as u64, "concurrent connections with raised limits");
    }
    let [(first_peak, first), (second_peak, second)] = results[..] else { return };
    let text = format!(
        "{CONNECTIONS} concurrent connections: memory {} before; {} during, {} after; {} and {} the second time",
        mib(before.resident),
        mib(first_peak),
        mib(first),
        mib(second_peak),
        mib(second)
    );
    if first > before.resident + 2 * MORE_RESIDENT || second > first + MORE_RESIDENT {
        findings.fail(text)
    } else {
        findings.note(text)
    }
    if agent.stop() != Some(0) {
        findings.fail("the agent does not exit cleanly after 10,000 connections");
    }
}

/// Opens all connections. The agent may close some of them meanwhile.
fn open_all(port: u16, kind: &Kind, findings: &mut Findings) -> Option<Vec<TcpStream>> {
    let mut connections = Vec::with_capacity(kind.count);
    for number in 0..kind.count {
        let mut stream = match connection(port, number) {
            Ok(stream) => stream,
            Err(error) if error == rustix::io::Errno::MFILE => {
                findings.skip(format!("{} concurrent connections: {error}", kind.count));
                return None;
            }
            Err(error) => {
                findings.fail(format!("{}: connection {number} is not accepted: {error}", kind.name));
                return None;
            }
        };
        stream.set_nonblocking(true).ok()?;
        if kind.slow {
            set_socket_recv_buffer_size(&stream, 2048).ok()?;
        }
        // The agent may not read all of it.
        let _ = stream.write(&kind.request);
        connections.push(stream);
    }
    Some(connections)
}

/// Sends probes from this host, and returns the time of the slowest answer.
fn probe(port: u16, load: &str, findings: &mut Findings) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..PROBES {
        let started = Instant::now();
        let answer = get(local(port), "/livez").status;
        slowest = slowest.max(started.elapsed());
        if answer != 200 {
            findings.fail(format!("with {load}, /livez answers {answer} to a probe"));
        }
    }
    findings.tried(PROBES.into(), format!("/livez with {load}"));
    slowest
}
