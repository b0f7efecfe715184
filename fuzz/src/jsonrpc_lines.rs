//! Bytes as a session on the daemon's socket.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::mpsc;

use ops_agent::testing::daemon::api::DaemonMetrics;
use ops_agent::testing::daemon::api::socket::{ConnSlot, Host, SocketPeer, run as serve};
use ops_agent::testing::daemon::control::ControlApi;
use ops_protocol::jsonrpc::{Id, Outcome, Response};
use serde_json::Value;

use super::control::FakeControl;
use super::error_log;
use super::peer::{Behavior, peer};

/// The peer is neither root nor the daemon's own user, so it may not give commands.
const UNPRIVILEGED: u8 = 8;

pub(super) fn run(input: &[u8]) {
    let Some((behavior, sent)) = Behavior::split(input) else { return };
    let answers = error_log::expect_none(|| session(behavior, sent));
    if behavior.reads_all() {
        let at_once = error_log::expect_none(|| session(behavior.in_one_piece(), sent));
        assert_eq!(answers, at_once, "the same bytes, in pieces and at once");
    }
}

/// Runs one connection. Returns the ID of each answer, and the code of its error.
fn session(behavior: Behavior, sent: &[u8]) -> Vec<(Option<Id>, Option<i64>)> {
    let (commands, queued) = mpsc::channel();
    let control = Rc::new(FakeControl::new(2, commands));
    let metrics = DaemonMetrics::new().expect("metrics");
    let (stream, received) = peer(behavior, sent);
    let host = Rc::new(Host::new(Rc::clone(&control), metrics.clone()));
    let slot = ConnSlot::take(&host).expect("the first connection has a slot");
    let socket_peer = SocketPeer { pid: None, user: None, is_owner: !behavior.has(UNPRIVILEGED) };
    let received =
        smol::block_on(async { futures_lite::future::zip(serve(stream, slot, socket_peer), received.all()).await.1 });
    assert_eq!(control.agent_ids().len(), 2, "no request adds an agent");
    assert_eq!(control.accepted(), metrics.socket.accepted.get());
    assert!(!behavior.has(UNPRIVILEGED) || queued.try_recv().is_err(), "a command without permission was queued");
    read(&received, sent, behavior.reads_all())
}

fn read(received: &[u8], sent: &[u8], is_complete: bool) -> Vec<(Option<Id>, Option<i64>)> {
    let lines: Vec<&[u8]> = sent.split(|byte| *byte == b'\n').collect();
    let ids: HashSet<String> = lines.iter().filter_map(|line| id_of(line)).collect();
    let mut answers = Vec::new();
    for line in received.split_inclusive(|byte| *byte == b'\n') {
        if line.last() != Some(&b'\n') {
            assert!(!is_complete, "an incomplete answer: {:?}", String::from_utf8_lossy(line));
            break;
        }
        let answer: Response = serde_json::from_slice(line)
            .unwrap_or_else(|error| panic!("{error} in the answer {:?}", String::from_utf8_lossy(line)));
        let id = answer.id.as_ref().map(|id| serde_json::to_string(id).expect("an id is JSON"));
        assert!(id.is_none_or(|id| ids.contains(&id)), "an answer without a request: {answer:?}");
        let code = match &answer.outcome {
            Outcome::Result(_) => None,
            Outcome::Error(error) => Some(error.code),
        };
        assert!(answer.id.is_some() || code.is_some(), "a result without an ID: {answer:?}");
        answers.push((answer.id, code));
    }
    assert!(answers.len() <= lines.len(), "{} answers to {} lines", answers.len(), lines.len());
    answers
}

/// The ID of the request in this line, whatever else is in it.
fn id_of(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Request {
        id: Value,
    }
    serde_json::from_slice::<Request>(line).ok().map(|request| request.id.to_string())
}
