//! `/metrics` as Prometheus sees it: its own linter, and a real one that scrapes.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use crate::support::agent::{Agent, Home, wait_until};
use crate::support::http::{get, request};
use crate::support::installed;

fn address(agent: &mut Agent) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], agent.port()))
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    if !installed("promtool") {
        return;
    }
    let home = Home::new("");
    let mut agent = home.start();
    let text = request(address(&mut agent), "GET", "/metrics", "accept: text/plain\r\n").body;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    for name in ["ops_agent_state{state=\"running\"} 1", "process_resident_memory_bytes ", "process_open_fds "] {
        assert!(text.contains(name), "no {name} in\n{text}");
    }
}

#[test]
fn every_transition_that_is_counted_was_one() {
    let home = Home::new("");
    let mut agent = home.start();
    let text = request(address(&mut agent), "GET", "/metrics", "accept: application/openmetrics-text\r\n").body;
    assert!(text.contains("ops_agent_transitions_total{from=\"starting\",to=\"running\"} 1"), "{text}");
    assert!(text.contains("ops_agent_transitions_total{from=\"running\",to=\"degraded\"} 0"), "{text}");
    assert!(text.contains("ops_agent_events_refused_total 0"), "{text}");
}

struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_prometheus_scrapes_the_agent() {
    if !installed("prometheus") {
        return;
    }
    let home = Home::new("");
    let mut agent = home.start();
    // Prometheus cannot say which port it took, so it gets one that was free a moment ago, and another if it was not.
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = home.path().join("prometheus.yml");
        let target = address(&mut agent);
        fs::write(
            &config,
            format!(
                "global: {{ scrape_interval: 1s }}\n\
                 scrape_configs: [{{ job_name: agent, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
            ),
        )
        .unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", home.path().join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut prometheus = Prometheus(child);
        let server = SocketAddr::from(([127, 0, 0, 1], port));
        let listens = || std::net::TcpStream::connect(server).is_ok();
        while !listens() && prometheus.0.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        if prometheus.0.try_wait().unwrap().is_some() {
            continue;
        }
        wait_until("the agent's state is in Prometheus", || {
            let reply = get(server, "/api/v1/query?query=ops_agent_state%7Bstate%3D%22running%22%7D");
            reply.status == 200 && reply.body.contains(",\"1\"]")
        });
        return;
    }
    panic!("no port for Prometheus");
}
