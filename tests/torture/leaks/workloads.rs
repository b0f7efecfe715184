//! The workloads of agent and daemon under memcheck: every operation that allocates.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::memcheck::{Memcheck, MemcheckResult};
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir, signal};
use crate::support::http::{DEADLINE, Wire, request};
use crate::support::peer::{Behaviour, Peer};

/// Invalid requests. The server answers or closes the connection.
const INVALID_REQUESTS: [&[u8]; 8] = [
    b"\r\n\r\n\r\n",
    b"GET /health HTTP/1.1\r\nhost: agent\r\nx: \xff\xfe\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nhost: agent\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    b"POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: 99999999\r\n\r\n",
    b"GET /\0 HTTP/9.9\r\nhost: agent\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
];

/// Invalid lines for the daemon's socket.
const INVALID_LINES: [&[u8]; 6] = [
    b"{\n",
    b"[[[[[[[[[[[[[[[[\n",
    b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no such\",\"params\":{}}\n",
    b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"heartbeat\",\"params\":[1,2]}\n",
    b"{\"pid\":-1,\"cpu\":1e999}\n",
    b"\xff\xfe\x00\n",
];

/// An agent whose daemon answers in different ways. It gets valid and invalid requests and reloads, then SIGTERM.
pub(super) fn run_agent(rounds: u32) -> MemcheckResult {
    let peer = Peer::http();
    let settings = |level: &str| {
        let heartbeat = format!("heartbeat: {{ url: \"{}\", interval: 100ms, timeout: 2s }}", peer.url());
        format!("{heartbeat}\nlog: {{ level: {level} }}\nstate: {{ refresh: 200ms }}\n")
    };
    let dir = AgentDir::new(&settings("info"));
    let memcheck = Memcheck::new(dir.path(), "agent");
    let mut agent = Agent::spawn(memcheck.wrap(&dir.command(&["run", "--config", "agent.yaml"])));
    agent.wait_for_state("Running");
    let address = SocketAddr::from(([127, 0, 0, 1], agent.port()));
    for round in 0..rounds {
        request_all(address, &["/health", "/livez?verbose", "/readyz", "/metrics", "/none"]);
        send_invalid_requests(address);
        for behaviour in [
            Behaviour::status(503, "retry-after: 0\r\n", "not now"),
            Behaviour::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n".to_vec()),
            Behaviour::CloseOnRequest,
            Behaviour::Acknowledge,
        ] {
            peer.behave(behaviour);
            let before = peer.received().len();
            peer.wait_until(|received| received.len() > before + 1);
        }
        dir.configure("http: { host: 7 }\nheartbeat: nonsense\nunknown: [");
        assert_eq!(request(address, "POST", "/reload", "").status, 400);
        dir.configure(&settings(if round % 2 == 0 { "warn" } else { "info" }));
        assert_eq!(request(address, "POST", "/reload", "").status, 200);
    }
    dir.configure(&settings("info"));
    agent.signal(Signal::HUP);
    agent.wait_for_message("configuration reloaded");
    memcheck.result(agent.stop())
}

/// A daemon whose agents are killed, stopped, started, replaced and queried. SIGINT then stops them all.
pub(super) fn run_daemon(rounds: u32) -> MemcheckResult {
    let entries =
        || ["one", "two"].map(|id| AgentEntry::new(id).with("restart: { backoff_base: 100ms, backoff_max: 100ms }"));
    let dir = DaemonDir::new(&entries());
    let memcheck = Memcheck::new(dir.path(), "daemon");
    let mut daemon = Agent::spawn(memcheck.wrap(&dir.command(&["run", "--config", "daemon.yaml"])));
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.port()));
    dir.wait_for_state("one", "running");
    for _ in 0..rounds {
        request_all(address, &["/health", "/agents", "/agents/one", "/agents/unknown", "/metrics", "/sd", "/"]);
        send_invalid_requests(address);
        INVALID_LINES.iter().for_each(|line| send_line(&dir, line));
        let killed = dir.wait_for_state("one", "running").unwrap();
        signal(killed, Signal::KILL);
        dir.wait_for("one", "runs again", |agent| {
            agent["state"] == "running" && agent["pid"].as_u64() != Some(u64::from(killed))
        });
        for command in
            [&["why", "two"][..], &["logs", "two"], &["stop", "two"], &["start", "two"], &["stop", "unknown"]]
        {
            dir.ask(command);
        }
        let mut extended = Vec::from(entries());
        extended.push(AgentEntry::new("three"));
        reload(&dir, &daemon, &extended);
        dir.wait_for_state("three", "running");
        fs::write(dir.path().join("daemon.yaml"), "agents: [").unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_for("that the file is wrong", |line| line["level"] == "error" || line["level"] == "warn");
        reload(&dir, &daemon, &entries());
        dir.wait_for("three", "is gone", serde_json::Value::is_null);
    }
    daemon.signal(Signal::INT);
    memcheck.result(daemon.wait().code())
}

fn reload(dir: &DaemonDir, daemon: &Agent, entries: &[AgentEntry]) {
    dir.configure(entries);
    daemon.signal(Signal::HUP);
}

fn request_all(address: SocketAddr, paths: &[&str]) {
    for path in paths {
        for (method, headers) in [("GET", ""), ("GET", "accept: text/plain\r\n"), ("HEAD", ""), ("DELETE", "")] {
            request(address, method, path, headers);
        }
    }
}

fn send_invalid_requests(address: SocketAddr) {
    for bytes in INVALID_REQUESTS {
        let mut wire = Wire::to(address);
        wire.send(bytes);
        wire.finish();
        wire.rest();
    }
    // A client that closes the connection within the request head.
    Wire::to(address).send("GET /health HT");
}

fn send_line(dir: &DaemonDir, line: &[u8]) {
    let mut stream = UnixStream::connect(dir.socket()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let _ = stream.write_all(line);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}
