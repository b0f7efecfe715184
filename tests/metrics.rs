//! `/metrics`, checked by promtool and scraped by a real Prometheus.

use std::fs;
use std::net::SocketAddr;

use rustix::param::clock_ticks_per_second;
use test_requirements::requires;

use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::daemon::DaemonDir;
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

/// The CPU time of a process in clock ticks, as the kernel shows it.
fn cpu_ticks(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    // Fields 14 and 15: utime and stime.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum()
}

#[test]
fn the_cpu_time_of_agent_and_daemon_has_fractions_of_a_second() {
    let (agent_dir, daemon_dir) = (AgentDir::new(""), DaemonDir::new(&[]));
    for mut program in [agent_dir.start(), daemon_dir.start()] {
        let before = cpu_ticks(program.pid());
        let text = request(address(&mut program), "GET", "/metrics", "accept: text/plain\r\n").body;
        let after = cpu_ticks(program.pid());
        let line = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total ")).unwrap();
        let seconds: f64 = line.parse().unwrap();
        assert!(seconds.fract() > 0.0, "{line}");
        // The kernel rounds each of its two numbers down.
        let ticks = seconds * f64::from(u32::try_from(clock_ticks_per_second()).unwrap());
        assert!(before <= ticks && ticks < after + 2.0, "{before} <= {ticks} < {after} + 2");
    }
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
