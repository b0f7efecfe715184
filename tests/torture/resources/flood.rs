//! Heartbeats from a thousand agents into one daemon, over socket and HTTP at once, with strays among them.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MORE_RESIDENT, connection, eventually, local, metrics, mib, settled, vitals, within};
use crate::Effort;
use crate::report::Findings;
use crate::soak::query::{ask, call, metric};
use crate::support::agent::DEADLINE;
use crate::support::daemon::DaemonDir;

/// What came of heartbeats: taken, and refused with words.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    accepted: u64,
    refused: u64,
}

/// Where to, and from whom: ids with their processes.
#[derive(Clone)]
struct Target {
    port: u16,
    socket: PathBuf,
    agents: Vec<(String, u64)>,
    rounds: usize,
}

pub(super) fn run(effort: Effort, findings: &mut Findings) {
    let site = DaemonDir::new(&[]);
    let count = effort.pick(250, 1000);
    fs::write(site.path().join("daemon.yaml"), configuration(count)).expect("a configuration");
    let mut daemon = site.start();
    let (pid, port) = (daemon.pid(), daemon.port());
    // So many processes are a while in coming.
    let Some(agents) = within(5 * DEADLINE, || all_running(&site.socket(), count)) else {
        return findings.lost(format!("{count} agents do not come to run"));
    };
    let target = Target { port, socket: site.socket(), agents, rounds: effort.pick(10, 20) };
    // One of each, so that what the record of an agent needs is there.
    if let Err(error) = bare_lines(&Target { rounds: 1, ..target.clone() }) {
        findings.lost(format!("the first heartbeats are not taken: {error}"));
    }
    // Memory goes back when something happens; here, agents are looked at.
    let before = (0..10).map(|_| rested(pid, port)).min().unwrap_or_default();
    let counted = counters(port);
    let begun = Instant::now();
    let answered = flood(&target, findings);
    let took = begun.elapsed().as_secs_f64();
    let most = vitals(pid).resident;
    let now = counters(port);
    let seen = Tally { accepted: now.accepted - counted.accepted, refused: now.refused - counted.refused };
    if seen != answered {
        findings.lost(format!("the daemon counts {seen:?} heartbeats, and the senders {answered:?}"));
    }
    let _ = (0..10).map(|_| rested(pid, port)).min();
    let after = settled(pid, before);
    if after > before + MORE_RESIDENT {
        findings.lost(format!("the daemon's memory is {} after the flood, and was {}", mib(after), mib(before)));
    }
    let total = answered.accepted + answered.refused;
    findings.tried(total, format!("heartbeats from {count} agents at once, strays among them"));
    findings.saw(format!(
        "{total} heartbeats in {took:.1} s: {} accepted, {} refused, none lost; the daemon's memory {} before, {} with them, {} after",
        answered.accepted, answered.refused, mib(before), mib(most), mib(after)
    ));
    if eventually(|| all_running(&site.socket(), count)).is_none_or(|agents| agents != target.agents) {
        findings.lost("the flood has moved or restarted an agent");
    }
    daemon.signal(rustix::process::Signal::TERM);
    if daemon.wait().code() != Some(0) {
        findings.lost("a daemon that met the flood does not stop in order");
    }
}

/// Agents that only are there: their heartbeats come from here.
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

/// Asks something, and looks a moment later.
fn rested(pid: u32, port: u16) -> u64 {
    let _ = ask(local(port), "GET", "/health");
    thread::sleep(Duration::from_millis(100));
    vitals(pid).resident
}

fn counters(port: u16) -> Tally {
    let text = metrics(port);
    let of = |result: &str| metric(&text, "ops_daemon_heartbeats_total", &[result]);
    Tally { accepted: of("result=\"accepted\""), refused: of("result=\"refused\"") + of("result=\"invalid\"") }
}

/// All three at once: requests on the socket, bare lines, HTTP on a connection for each agent.
fn flood(target: &Target, findings: &mut Findings) -> Tally {
    let ways: [fn(&Target) -> std::io::Result<Tally>; 3] = [over_the_socket, bare_lines, over_http];
    let threads: Vec<_> = ways
        .into_iter()
        .map(|way| {
            let target = target.clone();
            thread::spawn(move || way(&target))
        })
        .collect();
    let mut sum = Tally::default();
    for thread in threads {
        match thread.join() {
            Ok(Ok(tally)) => {
                sum = Tally { accepted: sum.accepted + tally.accepted, refused: sum.refused + tally.refused }
            }
            Ok(Err(error)) => findings.lost(format!("a heartbeat of the flood is not answered: {error}")),
            Err(_) => findings.lost("an answer to the flood is none that this protocol knows"),
        }
    }
    sum
}

/// A heartbeat of each agent, one that names the wrong process, and one of somebody unknown.
fn beats(target: &Target) -> impl Iterator<Item = (Value, bool)> + '_ {
    target.agents.iter().enumerate().flat_map(|(number, (id, pid))| {
        let strange = if number % 2 == 0 { beat(id, pid + 1_000_000) } else { beat("nobody", *pid) };
        [(beat(id, *pid), true), (beat(id, *pid), true), (strange, false)]
    })
}

fn beat(id: &str, pid: u64) -> Value {
    json!({ "agent_id": id, "pid": pid, "status": "running", "cpu": 5.0, "memory": 1_024_000,
            "timestamp": "2025-12-05T10:00:00.000Z", "version": "0.1.0", "state": "running", "incarnation": 7, "sequence": 1 })
}

fn over_the_socket(target: &Target) -> std::io::Result<Tally> {
    let mut stream = UnixStream::connect(&target.socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut tally = Tally::default();
    for _ in 0..target.rounds {
        let lines = beats(target).map(|(params, _)| {
            format!("{}\n", json!({ "jsonrpc": "2.0", "id": 1, "method": "heartbeat", "params": params }))
        });
        let lines: String = lines.collect();
        let mut writer = stream.try_clone()?;
        let sender = thread::spawn(move || writer.write_all(lines.as_bytes()));
        for (_, welcome) in beats(target) {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            assert_eq!(line.contains("\"result\""), welcome, "{line}");
            tally = tally.and(welcome);
        }
        sender.join().expect("it only writes")?;
    }
    stream.flush()?;
    Ok(tally)
}

/// Nobody answers these: the count is the daemon's. One that is answered, after all of them, shows that they were read.
fn bare_lines(target: &Target) -> std::io::Result<Tally> {
    let mut stream = UnixStream::connect(&target.socket)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut tally = Tally::default();
    for _ in 0..target.rounds {
        for (id, pid) in &target.agents {
            writeln!(stream, "{}", beat(id, *pid))?;
            tally = tally.and(true);
        }
    }
    stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"health\"}\n")?;
    BufReader::new(stream).read_line(&mut String::new())?;
    Ok(tally)
}

fn over_http(target: &Target) -> std::io::Result<Tally> {
    let connect = |number| -> std::io::Result<TcpStream> {
        let stream = connection(target.port, number)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let mut streams = (0..target.agents.len()).map(connect).collect::<std::io::Result<Vec<_>>>()?;
    let requests: Vec<_> = beats(target).map(|(beat, welcome)| (request(&beat.to_string()), welcome)).collect();
    let mut tally = Tally::default();
    for _ in 0..target.rounds {
        for part in 0..3 {
            let part = || requests.iter().skip(part).step_by(3);
            for (stream, (request, _)) in streams.iter_mut().zip(part()) {
                stream.write_all(request.as_bytes())?;
            }
            for (stream, (_, welcome)) in streams.iter_mut().zip(part()) {
                let status = status(stream)?;
                assert_eq!(status == 200, *welcome, "{status}");
                assert!([200, 400, 409].contains(&status), "{status}");
                tally = tally.and(*welcome);
            }
        }
    }
    Ok(tally)
}

fn request(body: &str) -> String {
    let length = body.len();
    format!(
        "POST /heartbeat HTTP/1.1\r\nhost: daemon\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Of a whole answer: each is an object, and nothing in it ends with a bracket but itself.
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

impl Tally {
    fn and(self, accepted: bool) -> Self {
        Self { accepted: self.accepted + u64::from(accepted), refused: self.refused + u64::from(!accepted) }
    }
}
