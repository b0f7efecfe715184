//! What the agent and the daemon do again and again: their own code, with the real system under it.

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
use ops_runtime::observe::ProcessIdentity;
use ops_runtime::signals::Handlers;
use statemachine::lifecycle::State;

use crate::support::api::{ApiServer, running, snapshot};
use crate::support::daemon_api::DaemonApi;
use crate::{other_side, timed, timed_apart};

const MANY: u32 = 10_000;

/// From the snapshot to the disk, in this directory, one after the other: a thread of the pool is there each time.
pub(crate) fn status_write(count: u32, directory: &str) {
    writing(directory, |write| timed(|| (0..count).for_each(|_| write())));
}

/// The same as an agent does it that refreshes every 10 s: each write has to have its thread started.
pub(crate) fn status_write_apart(count: u32, directory: &str) {
    writing(directory, |write| timed_apart(count, write));
}

fn writing(directory: &str, measure: impl FnOnce(&dyn Fn())) {
    let (writer, _) = StatusWriter::open(&Path::new(directory).join("agent-001.ron"), false).expect("a place");
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

/// To whoever listens there; without a place, to an other side of its own.
pub(crate) fn heartbeat_sent(count: u32, url: &str) {
    let (_other_side, url) = somebody(url);
    let config = HeartbeatConfig {
        url: Some(url.parse().expect("an address")),
        tls: Default::default(),
        socket: None,
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        failure_threshold: 3,
        recovery_threshold: 1,
    };
    let mut sender = Sender::new(&config, None);
    let mut send = || smol::block_on(sender.send(&beat(), config.timeout)).map(drop).expect("an answer");
    send();
    timed(|| (0..count).for_each(|_| send()));
}

/// Who is there to be told, and where.
pub(crate) fn somebody(url: &str) -> (Option<Child>, String) {
    if !url.is_empty() {
        return (None, url.to_owned());
    }
    let mut other_side = other_side::start(&["other_side_listens"]);
    let url = other_side::first_line(&mut other_side);
    (Some(other_side), url)
}

pub(crate) fn beat() -> Heartbeat {
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

/// A probe's question, one after the other on one connection.
pub(crate) fn health(count: u32, _: &str) {
    let api = ApiServer::start(ServerLimits::default());
    let address = api.address().to_string();
    timed(|| whole(other_side::start(&["other_side_asks", &count.to_string(), &address])));
}

pub(crate) fn heartbeat_over_http(count: u32, _: &str) {
    heard(count, 1, |api| api.http.to_string());
}

pub(crate) fn heartbeat_over_http_of_many(count: u32, _: &str) {
    heard(count, MANY, |api| api.http.to_string());
}

pub(crate) fn heartbeat_over_socket(count: u32, _: &str) {
    heard(count, 1, |api| api.socket.display().to_string());
}

pub(crate) fn heartbeat_over_socket_of_many(count: u32, _: &str) {
    heard(count, MANY, |api| api.socket.display().to_string());
}

/// Heartbeats as the daemon receives them, one after the other on one connection. Few enough agents have their turn that the
/// first heartbeat of each, which proves that it works, is soon over.
fn heard(count: u32, agents: u32, place: impl Fn(&DaemonApi) -> String) {
    let api = DaemonApi::start(agents);
    let place = format!("{} {}", agents.min(100), place(&api));
    timed(|| whole(other_side::start(&["other_side_tells", &count.to_string(), &place])));
}

fn whole(mut other_side: Child) {
    assert!(other_side.wait().expect("its end").success(), "the other side failed");
}

/// The whole agent, from one refresh of its status file to the next.
pub(crate) fn idle_turn(count: u32, directory: &str) {
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
    let source = ConfigSource { file: Some(file), environment: Environment::default(), overrides: Overrides::none() };
    let mut other_side = other_side::start(&["other_side_stops", &count.to_string(), &status.display().to_string()]);
    timed(|| drop(app::run(handlers, source).expect("a start")));
    let _ = other_side.wait();
}
