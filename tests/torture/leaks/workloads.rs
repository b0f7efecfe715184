//! What happens to agent and daemon while they are watched: a bit of everything that allocates.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;

use super::memcheck::{Memcheck, Verdict};
use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::{AgentEntry, DaemonDir, signal};
use crate::support::http::{DEADLINE, Wire, request};
use crate::support::peer::{Behaviour, Peer};

/// What no client of good will sends. The server answers or closes.
const HOSTILE: [&[u8]; 8] = [
    b"\r\n\r\n\r\n",
    b"GET /health HTTP/1.1\r\nhost: agent\r\nx: \xff\xfe\r\n\r\n",
    b"GET /health HTTP/1.1\r\n\r\n",
    b"POST /reload HTTP/1.1\r\nhost: agent\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    b"POST /reload HTTP/1.1\r\nhost: agent\r\ncontent-length: 99999999\r\n\r\n",
    b"GET /\0 HTTP/9.9\r\nhost: agent\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
];

/// What the daemon's socket hears besides its agents.
const HOSTILE_LINES: [&[u8]; 6] = [
    b"{\n",
    b"[[[[[[[[[[[[[[[[\n",
    b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no such\",\"params\":{}}\n",
    b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"heartbeat\",\"params\":[1,2]}\n",
    b"{\"pid\":-1,\"cpu\":1e999}\n",
    b"\xff\xfe\x00\n",
];

/// An agent that reports to a daemon with moods, is asked, insulted and reloaded, and then told to stop.
pub(super) fn agent(rounds: u32) -> Verdict {
    let peer = Peer::http();
    let settings = |level: &str| {
        let heartbeat = format!("heartbeat: {{ url: \"{}\", interval: 100ms, timeout: 2s }}", peer.url());
        format!("{heartbeat}\nlog: {{ level: {level} }}\nstate: {{ refresh: 200ms }}\n")
    };
    let home = AgentDir::new(&settings("info"));
    let memcheck = Memcheck::writing_to(home.path(), "agent");
    let mut agent = Agent::spawn(memcheck.around(&home.command(&["run", "--config", "agent.yaml"])));
    agent.wait_for_state("Running");
    let address = SocketAddr::from(([127, 0, 0, 1], agent.port()));
    for round in 0..rounds {
        ask(address, &["/health", "/livez?verbose", "/readyz", "/metrics", "/none"]);
        insult(address);
        for mood in [
            Behaviour::status(503, "retry-after: 0\r\n", "not now"),
            Behaviour::Answer(b"HTTP/1.1 200 OK\r\ncontent-length: nonsense\r\n\r\n".to_vec()),
            Behaviour::CloseOnRequest,
            Behaviour::Acknowledge,
        ] {
            peer.behave(mood);
            let before = peer.received().len();
            peer.wait_until(|received| received.len() > before + 1);
        }
        home.configure("http: { host: 7 }\nheartbeat: nonsense\nunknown: [");
        assert_eq!(request(address, "POST", "/reload", "").status, 400);
        home.configure(&settings(if round % 2 == 0 { "warn" } else { "info" }));
        assert_eq!(request(address, "POST", "/reload", "").status, 200);
    }
    home.configure(&settings("info"));
    agent.signal(Signal::HUP);
    agent.wait_for_message("configuration reloaded");
    memcheck.verdict(agent.stop())
}

/// A daemon whose agents are killed, stopped, started, exchanged and asked about, and which then stops them all.
pub(super) fn daemon(rounds: u32) -> Verdict {
    let members =
        || ["one", "two"].map(|id| AgentEntry::new(id).with("restart: { backoff_base: 100ms, backoff_max: 100ms }"));
    let site = DaemonDir::new(&members());
    let memcheck = Memcheck::writing_to(site.path(), "daemon");
    let mut daemon = Agent::spawn(memcheck.around(&site.command(&["run", "--config", "daemon.yaml"])));
    let address = SocketAddr::from(([127, 0, 0, 1], daemon.port()));
    site.wait_for_state("one", "running");
    for _ in 0..rounds {
        ask(address, &["/health", "/agents", "/agents/one", "/agents/nobody", "/metrics", "/sd", "/"]);
        insult(address);
        HOSTILE_LINES.iter().for_each(|line| hiss(&site, line));
        let killed = site.wait_for_state("one", "running").unwrap();
        signal(killed, Signal::KILL);
        site.wait_for("one", "runs again", |agent| {
            agent["state"] == "running" && agent["pid"].as_u64() != Some(u64::from(killed))
        });
        for command in [&["why", "two"][..], &["logs", "two"], &["stop", "two"], &["start", "two"], &["stop", "nobody"]]
        {
            site.ask(command);
        }
        let mut more = Vec::from(members());
        more.push(AgentEntry::new("three"));
        reload(&site, &daemon, &more);
        site.wait_for_state("three", "running");
        fs::write(site.path().join("daemon.yaml"), "agents: [").unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_for("that the file is wrong", |line| line["level"] == "error" || line["level"] == "warn");
        reload(&site, &daemon, &members());
        site.wait_for("three", "is gone", serde_json::Value::is_null);
    }
    daemon.signal(Signal::INT);
    memcheck.verdict(daemon.wait().code())
}

fn reload(site: &DaemonDir, daemon: &Agent, members: &[AgentEntry]) {
    site.configure(members);
    daemon.signal(Signal::HUP);
}

fn ask(address: SocketAddr, paths: &[&str]) {
    for path in paths {
        for (method, headers) in [("GET", ""), ("GET", "accept: text/plain\r\n"), ("HEAD", ""), ("DELETE", "")] {
            request(address, method, path, headers);
        }
    }
}

fn insult(address: SocketAddr) {
    for bytes in HOSTILE {
        let mut wire = Wire::to(address);
        wire.send(bytes);
        wire.finish();
        wire.rest();
    }
    // And one that hangs up in the middle of a head.
    Wire::to(address).send("GET /health HT");
}

fn hiss(site: &DaemonDir, line: &[u8]) {
    let mut stream = UnixStream::connect(site.socket()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let _ = stream.write_all(line);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}
