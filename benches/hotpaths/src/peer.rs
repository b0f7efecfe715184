//! The peer of a connection: a separate process with plain blocking sockets.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ops_runtime::observe::read_status;
use rustix::process::{Pid, Signal, getppid, kill_process};

use crate::support::control::FIRST_PID;

/// Starts a peer.
pub(crate) fn start(arguments: &[&str]) -> Child {
    let program = std::env::current_exe().expect("the path of this program");
    Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the peer starts")
}

/// The first line of its output.
pub(crate) fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    line.trim().to_owned()
}

/// A daemon that accepts everything. Prints its address, and ends when its standard input ends.
pub(crate) fn listen() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    println!("http://{}/heartbeat", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || accept_all(&mut stream.expect("a connection")));
        }
    });
    let _ = std::io::stdin().read(&mut [0]);
}

fn accept_all(stream: &mut TcpStream) {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let mut buffer = [0; 4096];
    // Requests are small and come one at a time, each in one or two pieces: head, body.
    let mut seen = Vec::new();
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..length]);
        if seen.ends_with(b"}") {
            seen.clear();
            stream.write_all(answer).expect("the agent reads");
        }
    }
}

/// Requests `/health` `count` times, one after the other.
pub(crate) fn request_health(count: u32, address: &str) {
    let mut stream = connect(address);
    for _ in 0..count {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nhost: agent\r\nuser-agent: probe\r\n\r\n")
            .expect("the server reads");
        read_answer(&mut stream, b"}");
    }
}

/// Sends `count` heartbeats, one after the other: over HTTP to an address, or to a socket. The target begins with the number
/// of agents, whose heartbeats are sent in rotation.
pub(crate) fn send_heartbeats(count: u32, target: &str) {
    let (agents, target) = target.split_once(' ').expect("a number and a target");
    let agents: u32 = agents.parse().expect("a number");
    if target.starts_with('/') {
        let mut stream = UnixStream::connect(target).expect("the server listens");
        for n in 0..count {
            let params = heartbeat(n % agents);
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{n},\"method\":\"heartbeat\",\"params\":{params}}}\n");
            stream.write_all(line.as_bytes()).expect("the server reads");
            read_answer(&mut stream, b"}\n");
        }
        return;
    }
    let mut stream = connect(target);
    for n in 0..count {
        let body = heartbeat(n % agents);
        let head = "POST /heartbeat HTTP/1.1\r\nhost: daemon\r\ncontent-type: application/json";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).expect("the server reads");
        read_answer(&mut stream, b"}");
    }
}

/// Stops its parent when the status file has been written `count` times.
pub(crate) fn stop_parent(count: u32, file: &str) {
    let sequence = || read_status(Path::new(file)).ok().map(|status| status.sequence);
    let mut first = None;
    loop {
        first = first.or_else(sequence);
        if first.zip(sequence()).is_some_and(|(first, now)| now >= first + u64::from(count)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_raw(getppid().expect("a parent").as_raw_nonzero().get()).expect("a pid"), Signal::TERM)
        .expect("the parent runs");
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("an option");
    stream
}

fn read_answer(stream: &mut impl Read, end: &[u8]) {
    let (mut buffer, mut length) = ([0; 4096], 0);
    while !buffer[..length].ends_with(end) {
        let read = stream.read(&mut buffer[length..]).expect("an answer");
        assert!(read > 0, "the server has closed the connection");
        length += read;
    }
    let answer = &buffer[..length];
    let text = String::from_utf8_lossy(answer);
    assert!(text.starts_with("HTTP/1.1 200") || text.contains("\"result\""), "{text}");
}

/// A heartbeat of an agent of `FakeControl`.
fn heartbeat(n: u32) -> String {
    let pid = FIRST_PID + n;
    format!(
        r#"{{"agent_id":"agent-{n}","pid":{pid},"status":"running","cpu":5.0,"memory":10240000,"timestamp":"2025-12-05T10:00:00.000Z","version":"0.1.0","state":"running","incarnation":7,"sequence":120}}"#
    )
}
