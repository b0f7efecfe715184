//! Files, sockets and ports in commands and messages.

use std::fs;

use crate::support::agent::{AgentDir, wait_until};
use crate::support::daemon::{AgentEntry, DaemonDir};

use super::{stderr, stdout};

#[test]
fn validate_takes_the_file_with_and_without_its_option() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("one")]);
    let agent_dir = AgentDir::new("");
    for args in [&["validate", "daemon.yaml"][..], &["validate", "--config", "daemon.yaml"]] {
        let output = daemon_dir.command(args).output().unwrap();
        assert!(stdout(&output).contains("daemon.yaml is valid and has 1 agents"), "{output:?}");
    }
    for args in [&["validate", "agent.yaml"][..], &["validate", "-c", "agent.yaml"]] {
        let output = agent_dir.command(args).output().unwrap();
        assert!(stdout(&output).contains("agent.yaml is valid"), "{output:?}");
    }
    let both = agent_dir.command(&["validate", "agent.yaml", "--config", "agent.yaml"]).output().unwrap();
    assert_eq!(both.status.code(), Some(64), "{both:?}");
    let broken = daemon_dir.path().join("broken.yaml");
    fs::write(&broken, "agents: 1\n").unwrap();
    assert_eq!(daemon_dir.command(&["validate", "broken.yaml"]).output().unwrap().status.code(), Some(78));
}

#[test]
fn a_command_works_from_any_directory_with_a_file_that_is_wrong_elsewhere() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("one")]);
    let socket = daemon_dir.socket();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("daemon.yaml");
    let agents = "agents: [{ id: one, binary_path: relative, restart: { max_retries: many } }]";
    fs::write(&file, format!("daemon: {{ socket_path: \"{}\" }}\n{agents}\n", socket.display())).unwrap();
    let status = || {
        let mut command = daemon_dir.command(&["status", "--config"]);
        command.arg(&file).current_dir("/").output().unwrap()
    };
    let none = status();
    assert_eq!(none.status.code(), Some(3), "{none:?}");
    assert!(stderr(&none).contains(&format!("no daemon listens at {}", socket.display())), "{none:?}");
    let relative = daemon_dir.command(&["status", "--socket", "state/daemon.sock"]).output().unwrap();
    assert!(stderr(&relative).contains(&socket.display().to_string()), "an absolute path: {relative:?}");
    let torn = daemon_dir.path().join("torn.yaml");
    fs::write(&torn, "daemon: {\n").unwrap();
    let refused = daemon_dir.command(&["status", "--config", "torn.yaml"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    assert!(stderr(&refused).contains(&torn.display().to_string()), "an absolute path: {refused:?}");
    let _daemon = daemon_dir.start();
    daemon_dir.wait_for_state("one", "running");
    assert_eq!(status().status.code(), Some(0));
}

#[test]
fn the_process_that_has_a_port_or_a_socket_is_named() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("one")]);
    let mut first = daemon_dir.start();
    let (pid, port) = (first.pid(), first.port());
    let other = DaemonDir::new(&[]);
    let run = |more: &str| {
        fs::write(other.path().join("daemon.yaml"), format!("daemon: {{ work_dir: state, {more} }}\nagents: []\n"))
            .unwrap();
        let output = other.command(&["run", "--config", "daemon.yaml"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        stderr(&output)
    };
    let text = run(&format!("http: {{ port: {port} }}"));
    assert!(text.contains(&format!("port {port} is in use on 127.0.0.1 by pid {pid} (daemon): ")), "{text}");
    let text = run(&format!("http: {{ port: 0 }}, socket_path: \"{}\"", daemon_dir.socket().display()));
    let socket = daemon_dir.socket();
    assert!(text.contains(&format!("another daemon listens at {}, pid {pid}: ", socket.display())), "{text}");
}

#[test]
fn every_message_about_a_program_without_heartbeats_names_the_setting() {
    const HINT: &str = "set `heartbeat_timeout: 0`";
    let daemon_dir = DaemonDir::new(&[]);
    let checks = "interval: 200ms, heartbeat_timeout: 1s, start_grace: 0s, cpu_threshold: 0, memory_threshold: 0";
    let agent = format!("{{ id: silent, binary_path: /bin/sleep, args: [\"600\"], health_check: {{ {checks} }} }}");
    let yaml = format!("daemon: {{ work_dir: state, http: {{ port: 0 }} }}\nagents: [{agent}]\n");
    fs::write(daemon_dir.path().join("daemon.yaml"), yaml).unwrap();
    let mut daemon = daemon_dir.start();
    let bad = |line: &serde_json::Value| line["cause"].as_str().is_some_and(|cause| cause.contains(HINT));
    daemon.wait_for("the setting", bad);
    daemon_dir.wait_for("silent", "is restarted", |agent| agent["restarts"].as_u64() > Some(0));
    // While a process is being started, that alone is shown.
    for command in [&["status"][..], &["why", "silent"]] {
        wait_until(&format!("{command:?} names it"), || stdout(&daemon_dir.ask(command)).contains(HINT));
    }
    let reason = daemon_dir.agent("silent")["reason"]["text"].as_str().unwrap().to_owned();
    assert!(reason.contains(HINT), "{reason}");
}
