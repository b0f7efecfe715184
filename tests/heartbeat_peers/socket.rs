//! The Unix socket transport, in both framings.

use std::path::Path;
use std::time::Duration;

use ops_agent::testing::agent::heartbeat::{Failure, Reason, Sender};
use ops_config::agent::Framing;
use serde_json::Value;
use tempfile::TempDir;

use super::{AMPLE, OVER_THE_SOCKET, SHORT, give_up, send};
use crate::support::peer::{Behaviour, Peer};

fn sender(path: &Path, framing: Framing) -> Sender {
    super::sender(None, Some((path, framing)))
}

fn pair(framing: Framing) -> (Peer, Sender, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.sock");
    (Peer::socket(&path), sender(&path, framing), dir)
}

fn failure(behaviour: Behaviour, limit: Duration) -> Failure {
    let (peer, mut sender, _dir) = pair(Framing::JsonRpc);
    peer.behave(behaviour);
    send(&mut sender, 1, limit).unwrap_err()
}

fn answer(text: &str) -> Behaviour {
    Behaviour::Answer(format!("{text}\n").into())
}

/// Waits for a heartbeat that is not acknowledged.
fn arrived(peer: &Peer, sequence: u64) {
    let is_it = |body: &Value| body["sequence"] == sequence || body["params"]["sequence"] == sequence;
    peer.wait_until(|received| received.iter().any(|heartbeat| is_it(&heartbeat.body)));
}

#[test]
fn each_request_line_is_answered_by_its_id() {
    let (peer, mut sender, _dir) = pair(Framing::JsonRpc);
    (1..=3).for_each(|sequence| assert_eq!(send(&mut sender, sequence, AMPLE).unwrap(), OVER_THE_SOCKET));
    let received = peer.received();
    for (request, sequence) in received.iter().zip(1..) {
        assert_eq!((&request.body["jsonrpc"], &request.body["method"]), (&"2.0".into(), &"heartbeat".into()));
        assert_eq!(request.body["params"]["sequence"], sequence);
        assert_eq!(request.body["params"]["agent_id"], "agent-001");
    }
    assert_ne!(received[0].body["id"], received[1].body["id"]);
    assert_eq!((received.len(), peer.connections()), (3, 1));
}

#[test]
fn a_bare_line_needs_no_answer() {
    let (peer, mut sender, _dir) = pair(Framing::JsonLines);
    for sequence in 1..=3 {
        assert_eq!(send(&mut sender, sequence, AMPLE).unwrap(), OVER_THE_SOCKET);
    }
    let received = peer.wait_until(|received| received.len() == 3);
    assert_eq!(received[2].body["sequence"], 3);
    assert!(received[2].body.get("jsonrpc").is_none());
    assert_eq!(peer.connections(), 1);
}

#[test]
fn an_absent_daemon_differs_from_a_failing_one_and_is_found_once_it_listens() {
    for framing in [Framing::JsonRpc, Framing::JsonLines] {
        let (peer, mut sender, _dir) = pair(framing);
        let absent = super::sender(None, Some((Path::new("/nonexistent/daemon.sock"), framing)));
        let failure = send(&mut { absent }, 1, AMPLE).unwrap_err();
        assert!(failure.is_unreachable(), "{failure}");
        for sequence in 1..=3 {
            assert_eq!(send(&mut sender, sequence, AMPLE).unwrap(), OVER_THE_SOCKET);
            arrived(&peer, sequence);
            peer.vanish();
            let failure = send(&mut sender, 0, AMPLE).unwrap_err();
            assert!(failure.is_unreachable(), "{framing:?}: {failure:?}");
            peer.appear();
        }
    }
}

#[test]
fn a_stale_connection_loses_no_heartbeat() {
    for framing in [Framing::JsonRpc, Framing::JsonLines] {
        let (peer, mut sender, _dir) = pair(framing);
        for sequence in 1..=3 {
            assert_eq!(send(&mut sender, sequence, AMPLE).unwrap(), OVER_THE_SOCKET);
            arrived(&peer, sequence);
            peer.hang_up();
        }
        assert_eq!(peer.connections(), 3, "{framing:?}");
    }
}

#[test]
fn an_error_object_is_a_refusal_with_the_daemon_s_message() {
    let refusal =
        failure(answer(r#"{"jsonrpc":"2.0","id":$id,"error":{"code":-32602,"message":"unknown agent"}}"#), AMPLE);
    let Reason::Rejected(rejection) = &refusal.reason else { panic!("{refusal:?}") };
    assert_eq!((rejection.code, rejection.message.as_deref()), (-32602, Some("unknown agent")));
    let unread = failure(answer(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no JSON"}}"#), AMPLE);
    assert!(matches!(&unread.reason, Reason::Rejected(no) if no.code == -32700), "{unread:?}");
}

#[test]
fn an_answer_to_another_request_is_reported_as_invalid() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.9",
        "",
        "{}",
        r#"{"jsonrpc":"2.0","id":$id}"#,
        r#"{"jsonrpc":"2.0","id":999,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":999,"error":{"code":1,"message":"m"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{}}\n{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{}}",
    ] {
        let failure = failure(answer(garbage), AMPLE);
        assert!(matches!(&failure.reason, Reason::InvalidResponse(_)), "{garbage}: {failure:?}");
    }
}

#[test]
fn an_endless_line_is_not_read() {
    let (peer, mut sender, _dir) = pair(Framing::JsonRpc);
    peer.behave(Behaviour::Flood(b"{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":\"".to_vec()));
    let failure = send(&mut sender, 1, AMPLE).unwrap_err();
    assert!(matches!(&failure.reason, Reason::InvalidResponse(_)), "{failure:?}");
    assert!(peer.flooded() < 1 << 20, "{} bytes were taken", peer.flooded());
}

#[test]
fn no_peer_delays_a_heartbeat_beyond_its_timeout() {
    let slowly = br#"{"jsonrpc":"2.0","id":$id,"result":{"message":"heartbeat received"}}"#;
    for behaviour in [Behaviour::Hang, Behaviour::NeverRead, Behaviour::Dribble(slowly.to_vec())] {
        let failure = failure(behaviour, SHORT);
        assert!(matches!(&failure.reason, Reason::TimedOut(SHORT)), "{failure:?}");
    }
}

#[test]
fn a_daemon_that_reads_no_bare_lines_is_a_failure_until_it_reads() {
    let (peer, mut sender, _dir) = pair(Framing::JsonLines);
    peer.behave(Behaviour::NeverRead);
    let took = (1..=20).find(|sequence| send(&mut sender, *sequence, SHORT).is_err()).expect("a failure");
    assert!(took <= 5, "it took {took} lines");
    for _ in 0..3 {
        let failure = send(&mut sender, 100, SHORT).unwrap_err();
        assert!(matches!(&failure.reason, Reason::TimedOut(SHORT)), "{failure:?}");
    }
    peer.behave(Behaviour::Acknowledge);
    assert_eq!(send(&mut sender, 101, AMPLE).unwrap(), OVER_THE_SOCKET);
    let received = peer.wait_until(|received| received.last().is_some_and(|last| last.body["sequence"] == 101));
    assert_eq!(received.len() as u64, took, "the acknowledged heartbeats, and no other");
    assert_eq!(peer.connections(), 1);
}

#[test]
fn answers_to_bare_lines_are_ignored() {
    let (peer, mut sender, _dir) = pair(Framing::JsonLines);
    peer.behave(Behaviour::Answer(vec![b'x'; 1000]));
    for sequence in 1..=50 {
        assert_eq!(send(&mut sender, sequence, AMPLE).unwrap(), OVER_THE_SOCKET);
    }
    peer.wait_until(|received| received.len() == 50);
    assert_eq!(peer.connections(), 1);
}

#[test]
fn a_connection_closed_instead_of_an_answer_is_a_failure() {
    for behaviour in [Behaviour::CloseOnAccept, Behaviour::CloseOnRequest, Behaviour::Answer(b"{\"jsonrpc\"".to_vec())]
    {
        let (peer, mut sender, _dir) = pair(Framing::JsonRpc);
        let closes = !matches!(behaviour, Behaviour::Answer(_));
        peer.behave(behaviour);
        let failure = send(&mut sender, 1, if closes { AMPLE } else { SHORT }).unwrap_err();
        assert_eq!(matches!(&failure.reason, Reason::Closed(_)), closes, "{failure:?}");
        assert!(!failure.is_unreachable());
    }
}

#[test]
fn a_cancelled_heartbeat_does_not_leave_its_answer_to_the_next() {
    let (peer, mut sender, _dir) = pair(Framing::JsonRpc);
    assert_eq!(send(&mut sender, 1, AMPLE).unwrap(), OVER_THE_SOCKET);
    peer.behave(Behaviour::Hang);
    give_up(&mut sender, 2, &peer);
    peer.behave(Behaviour::Acknowledge);
    assert_eq!(send(&mut sender, 3, AMPLE).unwrap(), OVER_THE_SOCKET);
    let connections: Vec<usize> = peer.received().iter().map(|heartbeat| heartbeat.connection).collect();
    assert_eq!(connections, [1, 1, 2]);
}

#[test]
fn an_unsolicited_line_is_no_answer() {
    let (peer, mut sender, _dir) = pair(Framing::JsonRpc);
    assert_eq!(send(&mut sender, 1, AMPLE).unwrap(), OVER_THE_SOCKET);
    peer.send_unsolicited(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n");
    peer.behave(answer(r#"{"jsonrpc":"2.0","id":$id,"error":{"code":1,"message":"the true answer"}}"#));
    let failure = send(&mut sender, 2, AMPLE).unwrap_err();
    assert!(failure.to_string().contains("the true answer"), "{failure:?}");
}
