//! What the agent and the daemon do repeatedly: their own code on the real system.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, SystemTime};

use ops_agent::testing::agent::app::{self, ConfigSource};
use ops_agent::testing::agent::heartbeat::Sender;
use ops_agent::testing::agent::status_file::{Context, StatusWriter, record};
use ops_config::agent::HeartbeatConfig;
use ops_config::{Environment, Overrides};
use ops_http::server::ServerLimits;
use ops_protocol::Timestamp;
use ops_protocol::heartbeat::{Heartbeat, Percent, WireStatus};
use ops_runtime::durable::FileAccess;
use ops_runtime::observe::ProcessIdentity;
use ops_runtime::signals::Handlers;
use statemachine::lifecycle::State;

use crate::support::api::{ApiServer, running, snapshot};
use crate::support::daemon_api::DaemonApi;
use crate::{peer, timed, timed_after_pauses};

const MANY: u32 = 10_000;

/// Writes the status file in this directory, one write after the other. A thread of the pool is ready each time.
pub(crate) fn status_write(count: u32, directory: &str) {
    with_writes(directory, |write| timed(|| (0..count).for_each(|_| write())));
}

/// The same as in an agent that refreshes every 10 s: each write has to start a thread.
pub(crate) fn status_write_after_pause(count: u32, directory: &str) {
    with_writes(directory, |write| timed_after_pauses(count, write));
}

fn with_writes(directory: &str, measure: impl FnOnce(&dyn Fn())) {
    let (writer, _) = StatusWriter::open(&Path::new(directory).join("agent-001.ron"), false, FileAccess::PRIVATE)
        .expect("a directory");
    let identity = ProcessIdentity::own();
    let snapshot = snapshot(running());
    let context = Context {
        identity: &identity,
        previous: None,
        refresh: Duration::from_secs(10),
        wall: SystemTime::now(),
        boottime: ops_runtime::clock::boottime(),
    };
    let write = || smol::block_on(writer.write(record(&snapshot, &context))).expect("a disk");
    write();
    measure(&write);
}

/// Sends to this address. Without an address, it starts a peer of its own.
pub(crate) fn heartbeat_sent(count: u32, url: &str) {
    let (_peer, url) = peer_at(url);
    let config = HeartbeatConfig {
        url: Some(url.parse().expect("an address")),
        tls: Default::default(),
        socket: None,
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        failure_threshold: 3,
        recovery_threshold: 1,
    };
    let mut sender = Sender::new(&config, None, None);
    let mut send = || smol::block_on(sender.send(&heartbeat(), config.timeout)).map(drop).expect("an answer");
    send();
    timed(|| (0..count).for_each(|_| send()));
}

/// The address of the peer, and the peer if it was started here.
pub(crate) fn peer_at(url: &str) -> (Option<Child>, String) {
    if !url.is_empty() {
        return (None, url.to_owned());
    }
    let mut peer = peer::start(&["peer_listens"]);
    let url = peer::first_line(&mut peer);
    (Some(peer), url)
}

pub(crate) fn heartbeat() -> Heartbeat {
    Heartbeat {
        agent_id: "agent-001".to_owned(),
        pid: std::process::id(),
        status: WireStatus::of(State::Running),
        cpu: Percent::saturating(5.0),
        memory: 10_240_000,
        timestamp: Timestamp(SystemTime::now()),
        version: "0.1.0".into(),
        state: State::Running,
        incarnation: 7,
        sequence: 120,
    }
}

/// Requests of a probe, one after the other on one connection.
pub(crate) fn health(count: u32, _: &str) {
    let api = ApiServer::start(ServerLimits::default());
    let address = api.address().to_string();
    timed(|| wait(peer::start(&["peer_requests_health", &count.to_string(), &address])));
}

pub(crate) fn heartbeat_over_http(count: u32, _: &str) {
    receive(count, 1, |api| api.http.to_string());
}

pub(crate) fn heartbeat_over_http_of_many(count: u32, _: &str) {
    receive(count, MANY, |api| api.http.to_string());
}

pub(crate) fn heartbeat_over_socket(count: u32, _: &str) {
    receive(count, 1, |api| api.socket.display().to_string());
}

pub(crate) fn heartbeat_over_socket_of_many(count: u32, _: &str) {
    receive(count, MANY, |api| api.socket.display().to_string());
}

/// The daemon receives heartbeats, one after the other on one connection. At most 100 agents send, because the first
/// heartbeat of each costs more: it proves that the agent works.
fn receive(count: u32, agents: u32, target: impl Fn(&DaemonApi) -> String) {
    let api = DaemonApi::start(agents);
    let target = format!("{} {}", agents.min(100), target(&api));
    timed(|| wait(peer::start(&["peer_sends_heartbeats", &count.to_string(), &target])));
}

fn wait(mut peer: Child) {
    assert!(peer.wait().expect("its exit status").success(), "the peer failed");
}

/// The whole agent, from one refresh of its status file to the next.
pub(crate) fn idle_refresh(count: u32, directory: &str) {
    let directory = Path::new(directory);
    let (file, log, status) = (directory.join("agent.yaml"), directory.join("agent.log"), directory.join("agent.ron"));
    let text = format!(
        "agent_id: agent-001\nhttp: {{ port: 0 }}\nlog: {{ file: '{}' }}\nstate: {{ file: '{}', refresh: 100ms }}\n",
        log.display(),
        status.display()
    );
    fs::write(&file, text).expect("a disk");
    let _ = fs::remove_file(&status);
    let handlers = Handlers::install().expect("signals");
    let source = ConfigSource {
        file: Some(file),
        read_once: false,
        environment: Environment::default(),
        overrides: Overrides::none(),
    };
    let mut peer = peer::start(&["peer_stops_parent", &count.to_string(), &status.display().to_string()]);
    timed(|| drop(app::run(handlers, source).expect("a start")));
    let _ = peer.wait();
}
