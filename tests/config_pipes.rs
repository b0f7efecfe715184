//! A configuration from the standard input or another pipe: it is read once, so a reload is refused.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;

use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::DaemonDir;
use crate::support::http::request;

const AGENT: &str = "agent_id: tested\nhttp: { port: 0 }\n";
const DAEMON: &str = "daemon: { work_dir: state, http: { port: 0 } }\nagents: []\n";

/// The command with this text as its standard input.
fn fed(mut command: Command, text: &str) -> Command {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // Less than the pipe holds.
    writer.write_all(text.as_bytes()).unwrap();
    command.stdin(Stdio::from(reader));
    command
}

fn validated(command: Command, text: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = fed(command, text).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[test]
fn both_programs_validate_what_comes_through_a_pipe() {
    let (agent_dir, daemon_dir) = (AgentDir::new(""), DaemonDir::new(&[]));
    for path in ["-", "/dev/stdin"] {
        let (code, shown) = validated(agent_dir.command(&["validate", "--config", path]), AGENT);
        assert!(code == Some(0) && shown.contains("valid, for agent tested"), "{path}: {shown}");
        let (code, shown) = validated(daemon_dir.command(&["validate", "--config", path]), DAEMON);
        assert!(code == Some(0) && shown.contains("has 0 agents"), "{path}: {shown}");
        let (code, shown) = validated(agent_dir.command(&["validate", "--config", path]), "agent_id: a b\n");
        assert!(code == Some(78) && shown.contains("`agent_id` is"), "{path}: {shown}");
    }
    let (code, shown) = validated(agent_dir.command(&["validate", "--config", "-"]), "agent_id: a b\n");
    assert!(code == Some(78) && shown.contains("(standard input):1:"), "{shown}");
}

#[test]
fn a_pipe_is_read_up_to_the_limit_of_a_file() {
    let agent_dir = AgentDir::new("");
    let mut command = agent_dir.command(&["validate", "--config", "-"]);
    // Without an end: the program has to stop by itself.
    let output = command.stdin(File::open("/dev/zero").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("larger than 64 KiB"), "{output:?}");
}

#[test]
fn an_agent_runs_on_it_and_refuses_a_reload() {
    let agent_dir = AgentDir::new("");
    let mut agent = Agent::spawn(fed(agent_dir.command(&["run", "--config", "-"]), AGENT));
    agent.wait_for_state("Running");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], agent.port()));
    let reply = request(address, "POST", "/reload", "content-length: 0\r\n");
    assert_eq!((reply.status, reply.code().as_str()), (400, "CONFIG_ERROR"), "{}", reply.body);
    assert!(reply.body.contains("cannot be read again"), "{}", reply.body);
}

#[test]
fn a_daemon_runs_on_it_and_shows_that_a_reload_was_refused() {
    let daemon_dir = DaemonDir::new(&[]);
    let mut daemon = Agent::spawn(fed(daemon_dir.command(&["run", "--config", "/dev/stdin"]), DAEMON));
    daemon.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    daemon.signal(Signal::HUP);
    daemon.wait_for_message("configuration not reloaded: nothing was changed");
    let status = String::from_utf8(daemon_dir.ask(&["status"]).stdout).unwrap();
    assert!(status.contains("reload refused") && status.contains("cannot be read again"), "{status}");
}
