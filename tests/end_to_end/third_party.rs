//! Third-party programs beside this project's agents.

use std::fs;

use serde_json::Value;
use test_requirements::requires;

use super::report::Scenario;
use super::setup::{
    configure, configure_ours, daemon_dir, free_port, kill, local, ours, running, running_anew, stand_in,
};
use crate::support::agent::wait_until;
use crate::support::daemon::DaemonDir;
use crate::support::find_program;
use crate::support::http::{Wire, get};

#[requires("prometheus-node-exporter")]
#[test]
fn node_exporter_is_supervised_through_its_http_endpoint_beside_an_agent() {
    let mut scenario = Scenario::begin(
        "node_exporter beside an agent",
        "healthy through its HTTP endpoint alone, listed in /sd, restarted after a kill -9 while the agent goes on",
    );
    let program = find_program("prometheus-node-exporter").expect("it is installed");
    let (daemon_port, port) = (free_port(), free_port());
    let exporter = format!(
        "id: node, type: node_exporter, binary_path: {}, \
         args: [\"--web.listen-address=127.0.0.1:{port}\"], \
         metrics_endpoint: \"http://127.0.0.1:{port}/metrics\", \
         health_check: {{ http_endpoint: \"http://127.0.0.1:{port}/metrics\", start_grace: 10m }}",
        program.display()
    );
    let daemon_dir = daemon_dir(daemon_port, &[exporter, ours("agent", "")]);
    configure_ours(&daemon_dir, "agent", 0, "");
    let _daemon = daemon_dir.start();
    let before = running(&daemon_dir, &["node", "agent"]);
    let mut exporter = Wire::to(local(port));
    exporter.send("GET /metrics HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
    assert!(exporter.rest().contains("node_"));
    let node = daemon_dir.agent("node");
    let on = |check: &&Value| check["verdict"] != "off";
    let checks: Vec<(&Value, &Value)> =
        node["signals"].as_array().unwrap().iter().filter(on).map(|it| (&it["check"], &it["verdict"])).collect();
    assert_eq!(checks, [(&"process".into(), &"ok".into()), (&"http".into(), &"ok".into())], "{node}");
    assert!(get(local(daemon_port), "/sd").body.contains(&format!("127.0.0.1:{port}")));
    kill(before[0]);
    running_anew(&daemon_dir, "node", before[0]);
    assert_eq!(daemon_dir.pid("agent"), Some(before[1]));
    scenario.saw("HTTP ok; in /sd; restarted, the agent untouched");
}

#[test]
fn filebeat_and_telegraf_are_started_with_their_own_arguments() {
    let mut scenario = Scenario::begin(
        "filebeat and telegraf (stand-ins)",
        "`-c FILE -path.home WORK_DIR` and `-config FILE`, each in its own directory; no heartbeat is expected of them",
    );
    let record = "printf '%s\\n' \"$PWD\" \"$@\" > arguments.new && mv arguments.new arguments\nexec sleep 3600";
    let daemon_dir = DaemonDir::new(&[]);
    let entries = ["filebeat", "telegraf"]
        .map(|kind| stand_in(&daemon_dir, kind, record, &format!(", type: {kind}, config_file: {kind}.yml")));
    configure(&daemon_dir, 0, &entries);
    let _daemon = daemon_dir.start();
    running(&daemon_dir, &["filebeat", "telegraf"]);
    let here = fs::canonicalize(daemon_dir.path()).unwrap();
    let arguments = |kind: &str| {
        let file = here.join(format!("state/agents/{kind}/arguments"));
        wait_until(&format!("{kind} has written its arguments"), || file.exists());
        fs::read_to_string(file).unwrap()
    };
    let path = |relative: &str| here.join(relative).display().to_string();
    let (work_dir, file) = (path("state/agents/filebeat"), path("filebeat.yml"));
    assert_eq!(arguments("filebeat"), format!("{work_dir}\n-c\n{file}\n-path.home\n{work_dir}\n"));
    let (work_dir, file) = (path("state/agents/telegraf"), path("telegraf.yml"));
    assert_eq!(arguments("telegraf"), format!("{work_dir}\n-config\n{file}\n"));
    scenario.saw("exactly these; running without a heartbeat");
}
