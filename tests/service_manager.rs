//! The service manager: readiness, reloads, the watchdog, socket activation and the unit file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use test_requirements::requires;

use crate::support::agent::{Agent, AgentDir, DEADLINE, wait_until};
use crate::support::http::get;
use crate::support::programs;

/// The receiving end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    /// The value of `NOTIFY_SOCKET`.
    name: OsString,
}

impl Manager {
    fn new(agent_dir: &AgentDir) -> Self {
        let path = agent_dir.path().join("notify");
        Self::with(UnixDatagram::bind(&path).unwrap(), path.into())
    }

    /// Listens on an abstract socket. The directory makes its name unique.
    fn abstract_in(agent_dir: &AgentDir) -> Self {
        let name = agent_dir.path().display().to_string();
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self::with(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into())
    }

    fn with(socket: UnixDatagram, name: OsString) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, name }
    }

    /// Fills the queue of the socket, so that a blocking send would wait.
    fn stuff(&self) {
        let sender = UnixDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        sender.connect(&self.name).unwrap();
        while sender.send(b"X=1\n").is_ok() {}
    }

    /// The next message that contains `what`.
    fn wait_for(&self, what: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {what}: {error}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.contains(what) {
                return message;
            }
        }
    }
}

#[test]
fn the_service_manager_is_notified_of_ready_reloading_status_and_stopping() {
    let agent_dir = AgentDir::new("");
    let manager = Manager::new(&agent_dir);
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    let mut agent = Agent::spawn({
        command.env("NOTIFY_SOCKET", &manager.name);
        command
    });
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=Running"), "{ready}");

    agent.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1");

    agent.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn degraded_is_ready_and_its_status_names_the_fault() {
    // The listener is gone, so its port refuses connections.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let agent_dir = AgentDir::new(&format!(
        "heartbeat: {{ url: 'http://{gone}/heartbeat', interval: 100ms, timeout: 1s, failure_threshold: 1 }}\n"
    ));
    let manager = Manager::new(&agent_dir);
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    command.env("NOTIFY_SOCKET", &manager.name);
    let mut agent = Agent::spawn(command);
    let message = manager.wait_for("STATUS=Degraded");
    assert!(message.contains("READY=1") && message.contains("heartbeat: "), "{message}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn the_event_loop_notifies_the_watchdog() {
    let agent_dir = AgentDir::new("");
    let manager = Manager::new(&agent_dir);
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "200000");
    let mut agent = Agent::spawn(command);
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_abstract_socket_is_notified() {
    let agent_dir = AgentDir::new("");
    let manager = Manager::abstract_in(&agent_dir);
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    command.env("NOTIFY_SOCKET", &manager.name);
    let mut agent = Agent::spawn(command);
    manager.wait_for("READY=1");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_service_manager_that_does_not_read_holds_up_nothing_and_learns_the_state_later() {
    let agent_dir = AgentDir::new("");
    let manager = Manager::new(&agent_dir);
    manager.stuff();
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    command.env("NOTIFY_SOCKET", &manager.name).env("WATCHDOG_USEC", "200000");
    let mut agent = Agent::spawn(command);
    agent.wait_for_state("Running");
    assert_eq!(get(([127, 0, 0, 1], agent.port()).into(), "/health").status, 200);
    // Its messages before this one are those that filled the queue.
    manager.wait_for("READY=1");
    manager.stuff();
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_socket_passed_by_the_service_manager_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let agent_dir = AgentDir::new("");
    // As systemd does it: the socket is descriptor 3, and LISTEN_PID is the agent's pid. The shell sets both.
    let binary = programs::agent();
    let script = format!("exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec {binary} run --config agent.yaml");
    let mut command = Command::new("/bin/sh");
    let handed_in = Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    command.args(["-c", &script]).current_dir(agent_dir.path()).env_clear().stdin(handed_in);
    let mut agent = Agent::spawn(command);
    agent.wait_for_state("Running");
    assert_eq!(agent.port(), address.port());
    drop(listener);
    assert_eq!(get(address, "/health").status, 200);
    assert_eq!(agent.stop(), Some(0));
}

/// The value of `JOURNAL_STREAM` for this output.
fn journal_stream(output: &File) -> String {
    let metadata = output.metadata().unwrap();
    format!("{}:{}", metadata.dev(), metadata.ino())
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    let agent_dir = AgentDir::new("heartbeat: { url: \"http://127.0.0.1:1/\", interval: 100ms }\n");
    let path = agent_dir.path().join("log");
    let output = File::create(&path).unwrap();
    let mut command = agent_dir.command(&["run", "--config", "agent.yaml"]);
    command.env("JOURNAL_STREAM", journal_stream(&output)).stdout(output);
    let mut agent = command.spawn().unwrap();
    let log = || fs::read_to_string(&path).unwrap();
    wait_until("a warning is logged", || log().lines().any(|line| line.contains(r#""level":"warn""#)));
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
    agent.wait().unwrap();
    for line in log().lines() {
        let priority = if line.contains(r#""level":"info""#) { "<6>{" } else { "<4>{" };
        assert!(line.starts_with(priority), "{line}");
    }
}

#[test]
fn errors_for_the_journal_begin_with_their_priority_and_others_do_not() {
    let agent_dir = AgentDir::new("http: { port: 1000000 }\n");
    let path = agent_dir.path().join("errors");
    let output = File::create(&path).unwrap();
    let mut command = agent_dir.command(&["validate", "--config", "agent.yaml"]);
    command.env("JOURNAL_STREAM", journal_stream(&output)).stderr(output);
    assert_eq!(command.status().unwrap().code(), Some(78));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() > 1 && text.lines().all(|line| line.starts_with("<3>")), "{text}");
    // The output is redirected, but the variable is inherited.
    let stderr = command.stderr(Stdio::piped()).output().unwrap().stderr;
    assert!(stderr.starts_with(b"error: "), "{}", String::from_utf8_lossy(&stderr));
}

#[requires("systemd-analyze")]
#[test]
fn the_unit_s_exposure_score_is_at_most_2() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/systemd/ops-agent@.service");
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(unit).output().unwrap();
    // The scale is 0 to 10; the threshold is in tenths.
    let output = analyze(&["security", "--offline=true", "--threshold=20"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("Overall exposure level"), "{output:?}");
    assert!(output.status.success(), "{text}");
}
