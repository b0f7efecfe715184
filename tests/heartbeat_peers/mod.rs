//! Whatever the daemon does, a heartbeat is delivered or fails with a reason within its timeout.

mod http;
mod socket;

use std::path::Path;
use std::time::{Duration, SystemTime};

use ops_agent::testing::agent::heartbeat::{Delivered, Failure, Sender, Transport};
use ops_config::agent::{Framing, HeartbeatConfig, SocketConfig};
use ops_protocol::heartbeat::{Heartbeat, Percent, WireStatus};
use statemachine::lifecycle::State;

use crate::support::peer::{Behaviour, Peer};

/// Longer than an answering peer on this host ever takes.
const AMPLE: Duration = Duration::from_secs(30);
/// For peers that never answer.
const SHORT: Duration = Duration::from_millis(300);

const OVER_HTTP: Delivered = Delivered { transport: Transport::Http };
const OVER_THE_SOCKET: Delivered = Delivered { transport: Transport::Socket };

fn sender(url: Option<&str>, socket: Option<(&Path, Framing)>) -> Sender {
    Sender::new(
        &HeartbeatConfig {
            tls: Default::default(),
            url: url.map(|url| url.parse().unwrap()),
            socket: socket.map(|(path, framing)| SocketConfig { path: path.to_owned(), framing }),
            interval: Duration::from_secs(30),
            timeout: AMPLE,
            failure_threshold: 3,
            recovery_threshold: 1,
        },
        None,
        None,
    )
}

fn heartbeat(sequence: u64) -> Heartbeat {
    Heartbeat {
        agent_id: "agent-001".into(),
        pid: 4242,
        status: WireStatus::of(State::Running),
        cpu: Percent::saturating(1.5),
        memory: 3_000_000,
        timestamp: SystemTime::UNIX_EPOCH.into(),
        version: "0.1.0".into(),
        state: State::Running,
        incarnation: 1,
        sequence,
    }
}

/// Sends one heartbeat on one executor, as the agent does.
fn send(sender: &mut Sender, sequence: u64, limit: Duration) -> Result<Delivered, Failure> {
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(sender.send(&heartbeat(sequence), limit)))
}

/// Cancels a heartbeat after the peer has received it and before it answers.
fn give_up(sender: &mut Sender, sequence: u64, peer: &Peer) {
    let before = peer.received().len();
    let heartbeat = heartbeat(sequence);
    let answered = async { panic!("it was answered: {:?}", sender.send(&heartbeat, AMPLE).await) };
    let arrived = async {
        while peer.received().len() == before {
            smol::Timer::after(Duration::from_millis(5)).await;
        }
    };
    smol::block_on(smol::future::or(answered, arrived));
}

#[test]
fn the_socket_takes_over_while_http_answers_404_or_refuses_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.sock");
    let (http, socket) = (Peer::http(), Peer::socket(&path));
    for framing in [Framing::JsonRpc, Framing::JsonLines] {
        let mut sender = sender(Some(&http.url()), Some((&path, framing)));
        assert_eq!(sender.endpoint(), http.url());
        assert_eq!(send(&mut sender, 1, AMPLE).unwrap(), OVER_HTTP);
        http.behave(Behaviour::status(404, "", "no such page"));
        assert_eq!(send(&mut sender, 2, AMPLE).unwrap(), OVER_THE_SOCKET);
        assert_eq!(sender.endpoint(), socket.url());
        http.vanish();
        assert_eq!(send(&mut sender, 3, AMPLE).unwrap(), OVER_THE_SOCKET);
        http.behave(Behaviour::Acknowledge);
        http.appear();
        assert_eq!(send(&mut sender, 4, AMPLE).unwrap(), OVER_HTTP);
        assert_eq!(sender.endpoint(), http.url());
    }
}

#[test]
fn the_socket_does_not_take_over_from_a_daemon_that_refuses_or_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.sock");
    let (http, socket) = (Peer::http(), Peer::socket(&path));
    let mut sender = sender(Some(&http.url()), Some((&path, Framing::JsonRpc)));
    http.behave(Behaviour::status(400, "", ""));
    assert!(send(&mut sender, 1, AMPLE).is_err());
    http.behave(Behaviour::Hang);
    assert!(send(&mut sender, 2, SHORT).is_err());
    assert_eq!(socket.connections(), 0);
}

#[test]
fn if_both_transports_fail_both_causes_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.sock");
    let http = Peer::http_absent();
    let failure = send(&mut sender(Some(&http.url()), Some((&path, Framing::JsonLines))), 1, AMPLE).unwrap_err();
    assert!(failure.is_unreachable());
    let text = failure.to_string();
    assert!(text.contains(&http.url()) && text.contains(path.to_str().unwrap()), "{text}");
}
