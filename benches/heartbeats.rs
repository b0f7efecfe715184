//! How many heartbeats a second the daemon takes, and what one costs: `cargo bench --bench heartbeats [AGENTS] [SECONDS]`.
//!
//! The daemon's receivers and registry on one thread, the clients on others. CPU is the daemon's thread alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measurement")]
#![allow(clippy::disallowed_methods, reason = "a measurement asks the real clock")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use support::desk::{FIRST_PID, FakeDesk};
use support::faces::Faces;

#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/support"]
mod support {
    pub(crate) mod desk;
    pub(crate) mod faces;
}

/// Connections that are kept alive, each with one request under way.
const CONNECTIONS: usize = 64;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u32>().ok());
    let agents = numbers.next().unwrap_or(1000);
    let time = Duration::from_secs(u64::from(numbers.next().unwrap_or(5)));
    let faces = Faces::start(agents);
    println!("{agents} agents, {} s each", time.as_secs());
    println!("{:<24}{:>12}{:>12}{:>8}{:>20}", "transport", "heartbeats", "per second", "lost", "CPU ms per 1,000");
    measure("socket, JSON-RPC", &faces, || over_the_socket(&faces, agents, time, true));
    measure("socket, bare lines", &faces, || over_the_socket(&faces, agents, time, false));
    measure("HTTP, keep-alive", &faces, || over_http(&faces, agents, time));
}

/// `work` returns how many heartbeats were sent and, where they are answered, how many were acknowledged.
fn measure(name: &str, faces: &Faces, work: impl FnOnce() -> (u64, u64)) {
    let look = |desk: &FakeDesk| (desk.accepted(), cpu());
    let (before, cpu_before) = faces.at_the_desk(look);
    let began = Instant::now();
    let (sent, acknowledged) = work();
    let took = began.elapsed().as_secs_f64();
    let (after, cpu_after) = faces.at_the_desk(look);
    let accepted = after - before;
    assert_eq!(accepted, acknowledged, "what was acknowledged was counted, and the reverse");
    let per_second = accepted as f64 / took;
    let cost = (cpu_after - cpu_before).as_secs_f64() * 1e6 / accepted as f64;
    println!("{name:<24}{accepted:>12}{per_second:>12.0}{:>8}{cost:>20.2}", sent - accepted);
}

/// Of the thread that asks.
fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time")
}

fn beat(n: u32) -> String {
    let pid = FIRST_PID + n;
    format!(
        r#"{{"agent_id":"agent-{n}","pid":{pid},"status":"running","cpu":5.0,"memory":10240000,"timestamp":"2025-12-05T10:00:00.000Z","version":"0.1.0","state":"running","incarnation":7,"sequence":120}}"#
    )
}

fn over_the_socket(faces: &Faces, agents: u32, time: Duration, answered: bool) -> (u64, u64) {
    let mut stream = UnixStream::connect(&faces.socket).expect("the daemon listens");
    let lines: Vec<String> = (0..agents)
        .map(|n| match answered {
            true => format!("{{\"jsonrpc\":\"2.0\",\"id\":{n},\"method\":\"heartbeat\",\"params\":{}}}\n", beat(n)),
            false => beat(n) + "\n",
        })
        .collect();
    let round = lines.concat();
    let mut reading = stream.try_clone().expect("a descriptor");
    let reader = std::thread::spawn(move || count(&mut reading));
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < time {
        stream.write_all(round.as_bytes()).expect("the daemon reads");
        sent += u64::from(agents);
    }
    if !answered {
        // One that is answered, after all those that are not.
        stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"health\"}\n").expect("the daemon reads");
    }
    stream.shutdown(std::net::Shutdown::Write).expect("half a close");
    let results = reader.join().expect("the reader survived");
    (sent, if answered { results } else { sent })
}

/// How many results there are until the daemon hangs up.
fn count(stream: &mut impl Read) -> u64 {
    let (mut buffer, mut results, mut matched) = (vec![0; 256 * 1024], 0, 0);
    let word = b"\"result\"";
    loop {
        let read = stream.read(&mut buffer).expect("answers");
        if read == 0 {
            return results;
        }
        for byte in &buffer[..read] {
            matched = if *byte == word[matched] { matched + 1 } else { usize::from(*byte == word[0]) };
            if matched == word.len() {
                (results, matched) = (results + 1, 0);
            }
        }
    }
}

fn over_http(faces: &Faces, agents: u32, time: Duration) -> (u64, u64) {
    let mut streams: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(faces)).collect();
    let requests: Vec<String> = (0..agents)
        .map(|n| {
            let body = beat(n);
            let length = body.len();
            format!("POST /heartbeat HTTP/1.1\r\nhost: daemon\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        })
        .collect();
    let mut next = requests.iter().cycle();
    let (began, mut sent, mut acknowledged) = (Instant::now(), 0, 0);
    while began.elapsed() < time {
        for stream in &mut streams {
            stream.write_all(next.next().expect("agents").as_bytes()).expect("the daemon reads");
            sent += 1;
        }
        for stream in &mut streams {
            acknowledged += u64::from(is_ok(stream));
        }
    }
    (sent, acknowledged)
}

fn connect(faces: &Faces) -> TcpStream {
    let stream = TcpStream::connect(faces.http).expect("the daemon listens");
    stream.set_nodelay(true).expect("an option");
    stream
}

fn is_ok(stream: &mut TcpStream) -> bool {
    let (mut answer, mut length) = ([0; 1024], 0);
    while !answer[..length].ends_with(b"}") {
        let read = stream.read(&mut answer[length..]).expect("an answer");
        assert!(read > 0, "the daemon hung up");
        length += read;
    }
    answer.starts_with(b"HTTP/1.1 200")
}
