//! A real agent whose daemon is absent, refuses or misbehaves.

use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::http::{get, request};
use crate::support::peer::{Behaviour, Peer, Received};

fn agent_dir(heartbeat: &str) -> AgentDir {
    AgentDir::new(&format!("heartbeat: {{ {heartbeat} }}\n"))
}

fn health(agent: &mut Agent) -> (u16, Value) {
    health_at(agent.port())
}

fn health_at(port: u16) -> (u16, Value) {
    let reply = get(SocketAddr::from(([127, 0, 0, 1], port)), "/health");
    (reply.status, reply.json())
}

fn statuses(received: &[Received]) -> Vec<&str> {
    received.iter().filter_map(|heartbeat| heartbeat.body["status"].as_str()).collect()
}

#[test]
fn an_absent_daemon_is_a_fault_until_it_listens() {
    let daemon = Peer::http_absent();
    let agent_dir = agent_dir(&format!("url: '{}', interval: 200ms, failure_threshold: 3", daemon.url()));
    let mut agent = agent_dir.start();
    let raised = agent.wait_for_state("Degraded");
    assert!(raised["cause"].as_str().unwrap().contains("nothing listens"), "{raised}");
    let (status, body) = health(&mut agent);
    assert_eq!((status, &body["state"], &body["last_heartbeat"]), (503, &"degraded".into(), &Value::Null));
    assert!(body["faults"].to_string().contains("heartbeat"), "{body}");

    daemon.appear();
    agent.wait_for_state("Running");
    daemon.wait_until(|received| statuses(received).ends_with(&["running"]));
    assert_eq!(statuses(&daemon.received())[0], "error", "the first to arrive is from before the fault was cleared");
    let port = agent.port();
    wait_until("the API says so too", || {
        let (status, body) = health_at(port);
        status == 200 && body["last_heartbeat"].is_string()
    });

    daemon.vanish();
    agent.wait_for_state("Degraded");
    daemon.appear();
    agent.wait_for_state("Running");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_daemon_that_starts_after_its_agents_raises_no_fault() {
    let daemon = Peer::http_absent();
    let agent_dir = agent_dir(&format!("url: '{}', interval: 1h", daemon.url()));
    let mut agent = agent_dir.start();
    daemon.appear();
    daemon.wait_until(|received| statuses(received) == ["running"]);
    assert_eq!(agent.stop(), Some(0));
    assert!(agent.rest_of_the_log().iter().all(|line| line["to"] != "Degraded"));
}

#[test]
fn each_transition_is_sent_at_once_and_the_last_heartbeat_is_stopping() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.sock");
    for (daemon, address) in [
        (Peer::http(), "url"),
        (Peer::socket(&path), "url"),
        (Peer::socket(&path.with_extension("lines")), "framing: jsonlines, url"),
    ] {
        let agent_dir = agent_dir(&format!("interval: 1h, {address}: '{}'", daemon.url()));
        let mut agent = agent_dir.start();
        let shown = |received: &[Received], n: usize| {
            let body = &received[n].body;
            body.get("params").unwrap_or(body).clone()
        };
        let first = shown(&daemon.wait_until(|received| received.len() == 1), 0);
        assert_eq!((&first["status"], &first["pid"]), (&"running".into(), &agent.pid().into()));
        assert_eq!(agent.stop(), Some(0));
        let last = shown(&daemon.wait_until(|received| received.len() == 2), 1);
        assert_eq!((&last["status"], &last["state"]), (&"stopping".into(), &"stopping".into()));
        assert!(last["sequence"].as_u64() > first["sequence"].as_u64());
    }
}

#[test]
fn no_daemon_keeps_an_agent_from_stopping() {
    let directory = tempfile::tempdir().unwrap();
    for behaviour in [Behaviour::NeverRead, Behaviour::Hang, Behaviour::Dribble(vec![b'x'; 10_000])] {
        for (name, framing) in [("", ""), ("rpc.sock", "framing: jsonrpc, "), ("lines.sock", "framing: jsonlines, ")] {
            let daemon = if name.is_empty() { Peer::http() } else { Peer::socket(&directory.path().join(name)) };
            daemon.behave(behaviour.clone());
            let agent_dir = agent_dir(&format!("{framing}interval: 100ms, timeout: 60s, url: '{}'", daemon.url()));
            let mut agent = agent_dir.start();
            // A forced stop would exit with 1 after ten seconds.
            assert_eq!(agent.stop(), Some(0), "{name} {behaviour:?}");
        }
    }
}

#[test]
fn a_refusal_is_a_fault_with_the_daemon_s_message() {
    let daemon = Peer::http();
    daemon.behave(Behaviour::status(400, "", r#"{"error":"invalid agent_id","code":"INVALID_AGENT_ID"}"#));
    let agent_dir = agent_dir(&format!("url: '{}', interval: 100ms", daemon.url()));
    let mut agent = agent_dir.start();
    let raised = agent.wait_for_state("Degraded");
    assert!(raised["cause"].as_str().unwrap().contains("INVALID_AGENT_ID: invalid agent_id"), "{raised}");
    let (status, body) = health(&mut agent);
    assert!(status == 503 && body["faults"].to_string().contains("INVALID_AGENT_ID"), "{body}");
    daemon.behave(Behaviour::Acknowledge);
    agent.wait_for_state("Running");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn endless_answers_do_not_grow_the_agent_s_memory() {
    let daemon = Peer::http();
    let agent_dir = agent_dir(&format!("url: '{}', interval: 100ms", daemon.url()));
    let mut agent = agent_dir.start();
    for head in
        ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 500 No\r\ncontent-length: 1073741824\r\n\r\n", "HTTP/1.1 200 OK\r\nx: "]
    {
        daemon.behave(Behaviour::Flood(head.into()));
        let so_far = daemon.received().len();
        daemon.wait_until(|received| received.len() >= so_far + 5);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    assert!(peak.unwrap() < 48 * 1024, "its peak was {peak:?} KiB");
    daemon.behave(Behaviour::Acknowledge);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_configuration_for_the_go_agent_sends_bare_lines() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("daemon.sock");
    let daemon = Peer::socket(&path);
    let agent_dir = agent_dir(&format!("socket_path: '{}', interval: 1s", path.display()));
    let mut agent = agent_dir.start();
    let received = daemon.wait_until(|received| received.len() >= 2);
    assert!(
        received
            .iter()
            .all(|heartbeat| heartbeat.body["agent_id"] == "tested" && heartbeat.body.get("jsonrpc").is_none())
    );
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn each_attempt_is_counted_and_logged_once_even_if_a_reload_cancels_it() {
    let daemon = Peer::http();
    daemon.behave(Behaviour::Hang);
    let settings = |interval: &str| {
        format!(
            "heartbeat: {{ url: '{}', interval: {interval}, timeout: 1m }}\nlog: {{ level: debug }}\n",
            daemon.url()
        )
    };
    let agent_dir = AgentDir::new(&settings("30m"));
    let mut agent = agent_dir.start();
    let sent = agent.wait_for_message("heartbeat sent");
    let received = daemon.wait_until(|received| received.len() == 1);
    assert_eq!(sent["made_at"], received[0].body["timestamp"]);
    assert_eq!(
        (&sent["incarnation"], &sent["sequence"]),
        (&received[0].body["incarnation"], &received[0].body["sequence"])
    );

    daemon.behave(Behaviour::Acknowledge);
    agent_dir.configure(&settings("1h"));
    let address = SocketAddr::from(([127, 0, 0, 1], agent.port()));
    assert_eq!(request(address, "POST", "/reload", "content-length: 0\r\n").status, 200);
    let delivered = agent.wait_for_message("heartbeat delivered");
    assert_ne!(delivered["made_at"], sent["made_at"]);
    let made_at = |message: &str| -> Vec<_> {
        agent.seen.iter().filter(|line| line["message"] == message).map(|line| line["made_at"].clone()).collect()
    };
    assert_eq!(made_at("heartbeat sent"), [sent["made_at"].clone(), delivered["made_at"].clone()]);
    assert_eq!(made_at("heartbeat abandoned"), [sent["made_at"].clone()]);
    let metrics = request(address, "GET", "/metrics", "accept: text/plain\r\n").body;
    for (result, count) in [("abandoned", 1), ("success", 1), ("failure", 0)] {
        let line = format!("ops_agent_heartbeats_total{{result=\"{result}\"}} {count}");
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
    assert_eq!(agent.stop(), Some(0));
}
