//! `/metrics`, checked by promtool and scraped by a real Prometheus.

use std::net::SocketAddr;

use test_requirements::requires;

use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::http::{get, request};
use crate::support::prometheus::{Prometheus, lint};

fn address(agent: &mut Agent) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], agent.port()))
}

#[requires("promtool")]
#[test]
fn promtool_finds_no_fault_in_the_agent_s_metrics() {
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.start();
    let text = request(address(&mut agent), "GET", "/metrics", "accept: text/plain\r\n").body;
    lint(&text);
    for name in ["ops_agent_state{state=\"running\"} 1", "process_resident_memory_bytes ", "process_open_fds "] {
        assert!(text.contains(name), "no {name} in\n{text}");
    }
}

#[test]
fn transitions_are_counted_only_when_they_happen() {
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.start();
    let text = request(address(&mut agent), "GET", "/metrics", "accept: application/openmetrics-text\r\n").body;
    assert!(text.contains("ops_agent_transitions_total{from=\"starting\",to=\"running\"} 1"), "{text}");
    assert!(text.contains("ops_agent_transitions_total{from=\"running\",to=\"degraded\"} 0"), "{text}");
    assert!(text.contains("ops_agent_events_refused_total 0"), "{text}");
}

#[requires("prometheus")]
#[test]
fn prometheus_scrapes_the_agent() {
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.start();
    let target = address(&mut agent);
    let prometheus = Prometheus::start(&format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs: [{{ job_name: agent, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
    ));
    wait_until("the agent's state is in Prometheus", || {
        let reply = get(prometheus.address, "/api/v1/query?query=ops_agent_state%7Bstate%3D%22running%22%7D");
        reply.status == 200 && reply.body.contains(",\"1\"]")
    });
}
