//! The agent's life as seen from outside: process, exit code, log, status file and HTTP.

use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;

use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::http::{get, request};

fn health(agent: &mut Agent) -> (u16, serde_json::Value) {
    let reply = get(SocketAddr::from(([127, 0, 0, 1], agent.port())), "/health");
    (reply.status, reply.json())
}

#[test]
fn without_a_file_the_agent_runs_standalone_and_logs_it() {
    let agent_dir = AgentDir::new("");
    fs::remove_file(agent_dir.path().join("agent.yaml")).unwrap();
    let mut agent = Agent::spawn(agent_dir.command(&["--http-port", "0"]));
    agent.wait_for_message("running standalone");
    agent.wait_for_state("Running");
    let (status, body) = health(&mut agent);
    assert_eq!((status, &body["status"], &body["state"]), (200, &"healthy".into(), &"running".into()));
    assert_eq!(body["heartbeat"], "standalone");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn the_single_dash_flags_of_the_go_daemon_are_accepted() {
    let agent_dir = AgentDir::new("");
    for args in [&["-config", "agent.yaml"][..], &["-config=agent.yaml"], &["run", "-config", "agent.yaml"]] {
        let mut agent = Agent::spawn(agent_dir.command(args));
        agent.wait_for_state("Running");
        assert_eq!(agent.stop(), Some(0), "{args:?}");
    }
}

#[test]
fn a_stop_is_clean_and_the_status_file_records_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let agent_dir = AgentDir::new("");
        let mut agent = agent_dir.start();
        agent.signal(signal);
        assert_eq!(agent.wait().code(), Some(0));
        let text = fs::read_to_string(agent_dir.status_file()).unwrap();
        assert!(text.contains("state: Stopped"), "{text}");
        let moves: Vec<_> = agent.rest_of_the_log().iter().filter_map(|line| line["to"].as_str()).collect();
        assert_eq!(moves, ["Running", "Stopping", "Stopped"]);
    }
}

#[test]
fn a_signal_before_running_is_not_lost() {
    // As early as possible: at the first log line, long before Running.
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.spawn();
    agent.wait_for_message("starting");
    assert_eq!(agent.stop(), Some(0));
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.spawn();
    agent.wait_for_message("starting");
    agent.signal(Signal::HUP);
    // The agent cannot act on it yet, but must not lose it.
    agent.wait_for_message("configuration reloaded");
    assert_eq!(agent.stop(), Some(0));
}

#[cfg(feature = "tls")]
#[test]
fn a_start_that_hangs_on_its_disk_can_still_be_stopped() {
    use std::os::unix::fs::OpenOptionsExt as _;
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    // A read of the system's CAs from a FIFO waits for ever, as on a network drive that is gone.
    let agent_dir = AgentDir::new("heartbeat: { url: 'https://127.0.0.1:1/' }\n");
    let roots = agent_dir.path().join("roots");
    assert!(std::process::Command::new("mkfifo").arg(&roots).status().unwrap().success());
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    command.env("SSL_CERT_FILE", &roots);
    let mut agent = Agent::spawn(command);
    let writer = std::cell::RefCell::new(None);
    wait_until("the agent reads the CAs", || {
        // Without a reader, this is an error.
        let opened = fs::OpenOptions::new().write(true).custom_flags(nonblock).open(&roots);
        *writer.borrow_mut() = opened.ok();
        writer.borrow().is_some()
    });
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn two_thousand_hups_do_not_swallow_a_term() {
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.start();
    for _ in 0..2000 {
        agent.signal(Signal::HUP);
    }
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_second_signal_ends_the_agent_at_once() {
    // The daemon accepts the connection and never answers, so the final heartbeat waits for its two seconds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/heartbeat", silent.local_addr().unwrap());
    let agent_dir = AgentDir::new(&format!("heartbeat: {{ url: '{url}' }}\n"));
    let mut agent = agent_dir.start();
    agent.signal(Signal::TERM);
    agent.wait_for_state("Stopping");
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(1));
    let line = agent.rest_of_the_log().iter().find(|line| line["to"] == "Stopped").cloned().unwrap();
    assert_eq!(line["event"], "StopRequested");
    assert!(fs::read_to_string(agent_dir.status_file()).unwrap().contains("state: Stopped"));
}

#[test]
fn a_taken_port_ends_the_start_and_is_reported_in_log_stderr_and_file() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let agent_dir = AgentDir::new(&format!("http: {{ port: {port} }}\n"));
    let output = agent_dir.command(&["run", "--config", "agent.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let reason = format!("port {port} is in use");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&reason), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(&reason), "{output:?}");
    let text = fs::read_to_string(agent_dir.status_file()).unwrap();
    assert!(text.contains("state: Stopped") && text.contains(&reason), "{text}");
}

#[test]
fn wrong_usage_and_wrong_configuration_have_exit_codes_of_their_own() {
    let agent_dir = AgentDir::new("heartbeat: { interval: 30 }\n");
    let code = |args: &[&str]| agent_dir.command(args).output().unwrap().status.code();
    assert_eq!(code(&["--no-such-flag"]), Some(64));
    assert_eq!(code(&["run", "--config", "agent.yaml"]), Some(78));
    assert_eq!(code(&["validate", "--config", "agent.yaml"]), Some(78));
    assert_eq!(code(&["run", "--config", "missing.yaml"]), Some(78));
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["--version"]), Some(0));
    let output = agent_dir.command(&["validate", "--config", "agent.yaml"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("heartbeat.interval") && text.contains("30s"), "{text}");
}

#[test]
fn a_good_reload_is_applied_and_a_bad_one_changes_nothing() {
    let agent_dir = AgentDir::new("state: { refresh: 10s }\nlog: { level: info }\n");
    let mut agent = agent_dir.start();
    agent_dir.configure("state: { refresh: 500ms }\n");
    agent.signal(Signal::HUP);
    agent.wait_for_message("configuration reloaded");

    let before = health(&mut agent).1;
    agent_dir.configure("state: { refresh: 500 }\n");
    agent.signal(Signal::HUP);
    let line = agent.wait_for_message("configuration not reloaded");
    assert!(line["error"].as_str().unwrap().contains("state.refresh"), "{line}");
    let after = health(&mut agent).1;
    assert_eq!((&before["state"], &before["since"]), (&after["state"], &after["since"]));

    agent_dir.configure("http: { port: 1 }\n");
    agent.signal(Signal::HUP);
    let line = agent.wait_for_message("configuration not reloaded");
    assert!(line["error"].as_str().unwrap().contains("restart"), "{line}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_burst_of_reload_requests_is_served() {
    let agent_dir = AgentDir::new("");
    let mut agent = agent_dir.start();
    let address = SocketAddr::from(([127, 0, 0, 1], agent.port()));
    let ask = || std::thread::spawn(move || request(address, "POST", "/reload", "content-length: 0\r\n"));
    let asked: Vec<_> = (0..20).map(|_| ask()).collect();
    for reply in asked.into_iter().map(|asked| asked.join().unwrap()) {
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
}

#[test]
fn a_reloaded_log_level_applies_to_messages_logged_before_too() {
    let agent_dir = AgentDir::new("log: { level: info }\n");
    let mut agent = agent_dir.start();
    let port = agent.port();
    let reload = |level: &str| {
        agent_dir.configure(&format!("log: {{ level: {level} }}\n"));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(request(address, "POST", "/reload", "content-length: 0\r\n").status, 200);
    };
    // A reload request is logged at the level that is in force before it, so the first and the last appear.
    ["error", "error", "info", "info"].into_iter().for_each(reload);
    assert_eq!(agent.stop(), Some(0));
    let is_request = |line: &&serde_json::Value| line["message"] == "reload requested";
    assert_eq!(agent.rest_of_the_log().iter().filter(is_request).count(), 2, "the first and the last");
}

#[test]
fn the_status_file_is_refreshed_in_time_and_its_sequence_grows() {
    let agent_dir = AgentDir::new("state: { refresh: 1s }\n");
    let mut agent = agent_dir.start();
    let number = |text: &str| -> u64 {
        let line = text.lines().find(|line| line.trim_start().starts_with("sequence: ")).expect("a sequence");
        line.trim().trim_start_matches("sequence: ").trim_end_matches(',').parse().unwrap()
    };
    let first = number(&fs::read_to_string(agent_dir.status_file()).unwrap());
    wait_until("it is refreshed twice", || number(&fs::read_to_string(agent_dir.status_file()).unwrap()) >= first + 2);
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_unread_log_pipe_does_not_stop_the_agent() {
    let agent_dir = AgentDir::new("log: { level: debug }\n");
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml", "--set", "log.level=debug"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let agent_file = agent_dir.status_file();
    wait_until("it is Running", || fs::read_to_string(&agent_file).is_ok_and(|text| text.contains("state: Running")));
    // The pipe has no reader: its 64 KiB are full after a few hundred reloads.
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    let port: u16 = {
        let text = fs::read_to_string(&agent_file).unwrap();
        let line = text.lines().find(|line| line.contains("127.0.0.1:")).unwrap();
        line.rsplit(':').next().unwrap().trim_end_matches(['"', ')', ',']).parse().unwrap()
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let lost = || {
        let text = request(address, "GET", "/metrics", "accept: text/plain\r\n").body;
        let line = text.lines().find(|line| line.starts_with("ops_agent_log_lines_lost_total ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    wait_until("lines are lost", || {
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
        lost() > 0.0
    });
    assert_eq!(get(address, "/health").status, 200);
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
