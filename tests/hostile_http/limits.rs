//! Size limits and deadlines.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ops_http::server::ServerLimits;

use super::{GET, assert_refused, short};
use crate::support::agent::{Agent, AgentDir, DEADLINE};
use crate::support::api::ApiServer;
use crate::support::http::{Wire, exchange, get};

/// Far more memory than any test needs, and far less than the bytes that are sent.
const MEMORY_SLACK: usize = 8 << 20;

/// A real agent in its own process, so that other tests do not affect its memory usage.
struct IsolatedAgent {
    agent: Agent,
    before: usize,
    _agent_dir: AgentDir,
}

impl IsolatedAgent {
    fn start(limits: &str) -> Self {
        let agent_dir = AgentDir::new(&format!("http: {{ port: 0, limits: {{ {limits} }} }}\n"));
        let mut agent = agent_dir.start();
        assert_eq!(get(address(&mut agent), "/health").status, 200);
        let before = resident(&agent);
        Self { agent, before, _agent_dir: agent_dir }
    }

    fn wire(&mut self) -> Wire {
        Wire::to(address(&mut self.agent))
    }

    /// Asserts that the agent buffered almost nothing, and still answers.
    fn assert_unharmed(mut self) {
        let after = resident(&self.agent);
        assert!(after < self.before + MEMORY_SLACK, "from {} to {after} bytes", self.before);
        assert_eq!(get(address(&mut self.agent), "/health").status, 200);
    }
}

fn address(agent: &mut Agent) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], agent.port()))
}

/// The agent's resident memory, in bytes.
fn resident(agent: &Agent) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("kilobytes") * 1024
}

#[test]
fn an_endless_chunk_size_does_not_hold_up_the_other_connections() {
    let mut alone = IsolatedAgent::start("body_timeout: 1s");
    // Leading zeros do not make the size of a chunk larger.
    let zeros = "0".repeat(1 << 16);
    let mut flood = alone.wire();
    flood.send("POST /reload HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n");
    let flooding = std::thread::spawn(move || {
        let end = Instant::now() + DEADLINE;
        while flood.send(&zeros) {
            assert!(Instant::now() < end, "the body has no timeout");
        }
    });
    for _ in 0..10 {
        assert_eq!(get(address(&mut alone.agent), "/health").status, 200);
    }
    flooding.join().unwrap();
    alone.assert_unharmed();
}

#[test]
fn an_endless_head_is_refused_and_not_buffered() {
    let mut alone = IsolatedAgent::start("");
    for line in ["x: y\r\n", "a"] {
        let mut wire = alone.wire();
        wire.send("GET /health HTTP/1.1\r\nhost: agent\r\n");
        let block = line.repeat(65536 / line.len());
        let mut sent = 0;
        // The loop ends when the server closes the connection.
        while sent < 256 << 20 && wire.send(&block) {
            sent += block.len();
        }
        assert!(sent < 256 << 20, "the server took {sent} bytes of head");
    }
    alone.assert_unharmed();
    let server = ApiServer::start(ServerLimits::default());
    let head = format!("GET /health HTTP/1.1\r\nhost: agent\r\nx: {}\r\n\r\n", "y".repeat(9000));
    assert_refused(&server, head, 431, "a head over the limit");
    let many = format!("GET /health HTTP/1.1\r\nhost: agent\r\n{}\r\n", "x: y\r\n".repeat(150));
    assert_refused(&server, many, 431, "150 headers");
    let just = format!("GET /health HTTP/1.1\r\nhost: agent\r\nx: {}\r\n\r\n", "y".repeat(8000));
    assert_eq!(exchange(server.address(), just).status, 200);
}

#[test]
fn a_body_over_the_limit_is_refused_and_not_buffered() {
    let server = ApiServer::start(ServerLimits::default());
    let post = "GET /health HTTP/1.1\r\nhost: agent\r\n";
    assert_refused(&server, format!("{post}content-length: 65537\r\n\r\n"), 413, "announced");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65536));
    assert_refused(&server, format!("{post}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}"), 413, "chunked");
    let mut alone = IsolatedAgent::start("");
    let mut wire = alone.wire();
    wire.send(format!("{post}transfer-encoding: chunked\r\n\r\n"));
    let mut sent = 0;
    while sent < 256 << 20 && wire.send(&chunk) {
        sent += chunk.len();
    }
    assert!(sent < 256 << 20, "the server took {sent} bytes of body");
    alone.assert_unharmed();
    let just = format!("{post}content-length: 65536\r\n\r\n{}", "x".repeat(65536));
    assert_eq!(exchange(server.address(), just).status, 200);
}

#[test]
fn slow_bytes_do_not_extend_the_deadline() {
    let server = short(|limits| {
        limits.head_timeout = Duration::from_millis(200);
        limits.body_timeout = Duration::from_millis(200);
    });
    for start in ["GET /health HTTP/1.1\r\nx: ", "GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 60000\r\n\r\n"]
    {
        let mut wire = Wire::to(server.address());
        wire.send(start);
        for _ in 0..6000 {
            std::thread::sleep(Duration::from_millis(5));
            if !wire.send("y") {
                break;
            }
        }
        assert!(!wire.send("y"), "closed, however much comes");
    }
}

#[test]
fn half_sent_requests_are_answered_with_408() {
    let server = short(|limits| {
        limits.head_timeout = Duration::from_millis(100);
        limits.body_timeout = Duration::from_millis(100);
    });
    assert_refused(&server, "GET /health HTTP/1.1\r\nho", 408, "half a head");
    let half = "GET /health HTTP/1.1\r\nhost: agent\r\ncontent-length: 10\r\n\r\nhalf";
    assert_refused(&server, half, 408, "half a body");
}

#[test]
fn silent_and_idle_connections_are_closed_without_an_answer() {
    let server = short(|limits| {
        limits.head_timeout = Duration::from_millis(100);
        limits.idle_timeout = Duration::from_millis(100);
    });
    assert_eq!(Wire::to(server.address()).rest(), "");
    let mut idle = Wire::to(server.address());
    idle.send(GET);
    assert_eq!(idle.reply().status, 200);
    assert_eq!(idle.rest(), "");
}

#[test]
fn a_peer_that_never_reads_is_disconnected() {
    let mut alone = IsolatedAgent::start("write_timeout: 200ms");
    let mut wire = alone.wire();
    let block = GET.repeat(1000);
    let mut sent = 0;
    while sent < 1 << 30 && wire.send(&block) {
        sent += block.len();
    }
    assert!(sent < 1 << 30, "the server never gave up");
    alone.assert_unharmed();
}
