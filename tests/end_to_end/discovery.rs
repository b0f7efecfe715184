//! What Prometheus discovers through the daemon.

use std::fs;

use serde_json::{Value, json};
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{configure, configure_ours, daemon_dir, free_port, local, ours, running, stand_in};
use crate::support::agent::wait_until;
use crate::support::daemon::DaemonDir;
use crate::support::http::get;
use crate::support::prometheus::Prometheus;

const LABELS: &str = ", name: \"Agent A\", labels: { rack: r1, team: \"web shop\" }";

/// An agent of this project with an endpoint on each port, one without an endpoint, and one that exposes no metrics.
fn entries(daemon_dir: &DaemonDir, port: u16) -> Vec<String> {
    let endpoint = format!(", health_check: {{ http_endpoint: \"http://127.0.0.1:{port}/livez\" }}");
    let quiet = "exec sleep 3600";
    let unjudged = ", health_check: { heartbeat_timeout: 0 }";
    vec![
        ours("a", &format!("{LABELS}{endpoint}")),
        stand_in(daemon_dir, "no-endpoint", quiet, unjudged),
        stand_in(daemon_dir, "none", quiet, &format!(", metrics_endpoint: none{unjudged}")),
        stand_in(daemon_dir, "node", quiet, ", type: node_exporter, metrics_endpoint: \"http://127.0.0.1:9/m\""),
    ]
}

fn targets(port: u16) -> Value {
    get(local(port), "/sd").json()
}

#[requires("prometheus")]
#[test]
fn prometheus_scrapes_each_wanted_agent_that_exposes_metrics_with_its_labels() {
    let mut scenario = Scenario::begin(
        "service discovery",
        "an agent is scraped with its labels; one that is stopped or exposes no metrics is no target",
    );
    let (daemon_port, port) = (free_port(), free_port());
    let daemon_dir = daemon_dir(daemon_port, &[]);
    configure(&daemon_dir, daemon_port, &entries(&daemon_dir, port));
    configure_ours(&daemon_dir, "a", port, "");
    let mut daemon = daemon_dir.start();
    running(&daemon_dir, &["a", "no-endpoint", "none", "node"]);
    let of_node = json!({"targets": ["127.0.0.1:9"], "labels": {
        "__meta_ops_agent_name": "node", "__meta_ops_agent_state": "running", "__meta_ops_agent_type": "node_exporter",
        "__metrics_path__": "/m", "agent_id": "node",
    }});
    let of_a = json!({"targets": [format!("127.0.0.1:{port}")], "labels": {
        "__meta_ops_agent_name": "Agent A", "__meta_ops_agent_state": "running", "__meta_ops_agent_type": "custom",
        "agent_id": "a", "rack": "r1", "team": "web shop",
    }});
    assert_eq!(targets(daemon_port), json!([of_a, of_node]));
    assert_eq!(daemon_dir.agent("a")["labels"], json!({"rack": "r1", "team": "web shop"}));
    assert_eq!(
        (&daemon_dir.agent("a")["name"], &daemon_dir.agent("node")["type"]),
        (&json!("Agent A"), &json!("node_exporter"))
    );

    let prometheus = Prometheus::start(&format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n\
         - job_name: agents\n  http_sd_configs: [{{ url: 'http://127.0.0.1:{daemon_port}/sd', refresh_interval: 1s }}]\n  \
           relabel_configs: [{{ source_labels: [__meta_ops_agent_name], target_label: agent_name }}]\n"
    ));
    let found = |query: &str| {
        let reply = get(prometheus.address, &format!("/api/v1/query?query={query}"));
        if reply.status == 200 { reply.json()["data"]["result"].clone() } else { Value::Null }
    };
    wait_until("the agent is scraped", || found("up%7Brack=%22r1%22%7D==1")[0]["metric"]["agent_id"] == "a");
    let series = found("up%7Brack=%22r1%22%7D")[0]["metric"].clone();
    assert_eq!((&series["team"], &series["agent_name"]), (&json!("web shop"), &json!("Agent A")), "{series}");

    assert!(daemon_dir.ask(&["stop", "a"]).status.success());
    daemon_dir.wait_for_state("a", "stopped");
    assert_eq!(targets(daemon_port), json!([of_node]));
    let is_target = || get(prometheus.address, "/api/v1/targets?state=active").body.contains("\"agent_id\":\"a\"");
    wait_until("the stopped agent is no target any more", || !is_target());

    let file = daemon_dir.path().join("daemon.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    fs::write(&file, yaml.replace("work_dir: state,", "work_dir: state, sd_address: \"::1\",")).unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    daemon.wait_for("that it has reloaded", |line| line["message"] == "configuration reloaded");
    assert_eq!(targets(daemon_port)[0]["targets"], json!(["[::1]:9"]));
    scenario.saw("scraped with both labels; gone after the stop; another host after a reload");
}
