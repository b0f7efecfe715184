//! Ten thousand connections to one agent, of every unpleasant kind, and what is left when they are gone.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::{MORE_RESIDENT, comes, connection, is_well, local, mib, settled, vitals};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::ask;
use crate::support::agent::AgentDir;
use crate::support::http::get;

const CROWD: usize = 10_000;

/// The default of `http.limits.connections_loopback`: all of loopback is one peer.
const CAP: u64 = 512;

/// What the agent has open for itself, a thread's writing of the status file included.
const OWN: u64 = 40;

/// How many well-behaved peers ask while the crowd is there.
const PROBES: u32 = 20;

/// One kind of peer: what to call it, and what it says before it falls silent.
struct Kind {
    name: &'static str,
    says: Vec<u8>,
    /// Takes as little as it can of what it asks for.
    slow: bool,
    /// How many of them come. What has to be answered costs a debug build much time.
    count: usize,
}

fn kinds() -> [Kind; 4] {
    let ask = b"GET /metrics HTTP/1.1\r\nhost: agent\r\naccept: text/plain\r\n\r\n";
    let mut body = b"POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: 65536\r\n\r\n".to_vec();
    body.resize(body.len() + 60_000, b'x');
    [
        Kind { name: "half-sent heads", says: b"GET /health HTTP/1.1\r\nhost:".to_vec(), slow: false, count: CROWD },
        Kind { name: "readers that do not read", says: ask.repeat(4), slow: true, count: 600 },
        Kind { name: "idle connections", says: Vec::new(), slow: false, count: CROWD },
        Kind { name: "bodies that lack their end", says: body, slow: false, count: CROWD },
    ]
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    at_the_cap(effort, findings);
    if effort == Effort::Full {
        all_at_once(findings);
    }
}

/// Most of them have to make room for the next.
fn at_the_cap(effort: Effort, findings: &mut Findings) {
    let home = AgentDir::new("state: { refresh: 1s }\n");
    let mut agent = home.start();
    let (pid, port) = (agent.pid(), agent.port());
    let mut rows = String::new();
    // One request of each kind, so that what is needed once is there.
    let _ = (ask(local(port), "GET", "/livez"), ask(local(port), "GET", "/metrics"));
    let before = vitals(pid);
    for kind in kinds().into_iter().take(effort.pick(2, 4)) {
        let Some(crowd) = gather(port, &kind, findings) else { return };
        let slowest = probe(port, kind.name, findings);
        let crowded = vitals(pid);
        if crowded.descriptors > CAP + OWN {
            findings.lost(format!("{}: {} descriptors are open, the cap is {CAP}", kind.name, crowded.descriptors));
        }
        drop(crowd);
        if !comes(|| vitals(pid).descriptors <= before.descriptors + 3) {
            findings.lost(format!("{}: descriptors stay open when the crowd has gone", kind.name));
        }
        let after = settled(pid, before.resident);
        if after > before.resident + MORE_RESIDENT {
            let (before, after) = (mib(before.resident), mib(after));
            findings.lost(format!("{}: memory is {after} afterwards, and was {before}", kind.name));
        }
        if !comes(|| is_well(port)) {
            findings.lost(format!("{}: the agent is not Running afterwards", kind.name));
        }
        findings.tried(kind.count as u64, format!("connections at once: {}", kind.name));
        let (start, most, end) = (mib(before.resident), mib(crowded.resident), mib(after));
        rows.push_str(&format!(
            "| {} {} | {start} | {most} | {end} | {} ms |\n",
            kind.count,
            kind.name,
            slowest.as_millis()
        ));
    }
    findings.table(format!(
        "| peers | memory before | with them | after | slowest of {PROBES} probes |\n|---|---|---|---|---|\n{rows}"
    ));
    if agent.stop() != Some(0) {
        findings.lost("an agent that met the crowds does not stop in order");
    }
}

/// Limits under which none has to go. The tables of tasks and of sockets keep their size, half a megabyte that none of the
/// usual limits lets come to be: so the first may leave twice as much behind as others, and a second one may not add to it.
fn all_at_once(findings: &mut Findings) {
    let most = "connections: 20000, connections_loopback: 20000, head_timeout: 1h, idle_timeout: 1h";
    let home = AgentDir::new(&format!("http: {{ port: 0, limits: {{ {most} }} }}\nstate: {{ refresh: 1s }}\n"));
    let mut agent = home.start();
    let (pid, port) = (agent.pid(), agent.port());
    let _ = (get(local(port), "/livez"), get(local(port), "/metrics"));
    let before = vitals(pid);
    let [kind, ..] = kinds();
    let mut left = Vec::new();
    for _ in 0..2 {
        let Some(crowd) = gather(port, &kind, findings) else { return };
        if !comes(|| vitals(pid).descriptors >= before.descriptors + CROWD as u64) {
            let held = vitals(pid).descriptors;
            return findings.could_not(format!("let an agent hold {CROWD} connections: {held} descriptors are open"));
        }
        probe(port, "10,000 held at once", findings);
        let most = vitals(pid).resident;
        drop(crowd);
        if !comes(|| vitals(pid).descriptors <= before.descriptors + 3) {
            findings.lost("descriptors stay open when 10,000 have gone");
        }
        left.push((most, settled(pid, before.resident)));
        findings.tried(CROWD as u64, "connections held at once, with limits raised to that");
    }
    let [(first_most, first), (second_most, second)] = left[..] else { return };
    let text = format!(
        "{CROWD} connections held at once: memory {} before; {} with them, {} after; {} and {} the second time",
        mib(before.resident),
        mib(first_most),
        mib(first),
        mib(second_most),
        mib(second)
    );
    if first > before.resident + 2 * MORE_RESIDENT || second > first + MORE_RESIDENT {
        findings.lost(text)
    } else {
        findings.saw(text)
    }
    if agent.stop() != Some(0) {
        findings.lost("an agent that held 10,000 connections does not stop in order");
    }
}

/// Lets them all come. Whoever is sent away on the way has had what it came for.
fn gather(port: u16, kind: &Kind, findings: &mut Findings) -> Option<Vec<TcpStream>> {
    let mut crowd = Vec::with_capacity(kind.count);
    for number in 0..kind.count {
        let mut stream = match connection(port, number) {
            Ok(stream) => stream,
            Err(error) if error == rustix::io::Errno::MFILE => {
                findings.could_not(format!("hold {} connections: {error}", kind.count));
                return None;
            }
            Err(error) => {
                findings.lost(format!("{}: connection {number} is not accepted: {error}", kind.name));
                return None;
            }
        };
        stream.set_nonblocking(true).ok()?;
        if kind.slow {
            set_socket_recv_buffer_size(&stream, 2048).ok()?;
        }
        // What the agent does not take is not sent.
        let _ = stream.write(&kind.says);
        crowd.push(stream);
    }
    Some(crowd)
}

/// Asks as a probe on this host does, and says how long the slowest answer took.
fn probe(port: u16, among: &str, findings: &mut Findings) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..PROBES {
        let begun = Instant::now();
        let answer = get(local(port), "/livez").status;
        slowest = slowest.max(begun.elapsed());
        if answer != 200 {
            findings.lost(format!("/livez answers {answer} to a probe among {among}"));
        }
    }
    findings.tried(PROBES.into(), format!("/livez among {among}"));
    slowest
}
