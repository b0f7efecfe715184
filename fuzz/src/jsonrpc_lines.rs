//! Bytes into a session of the daemon's socket.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::mpsc;

use ops_agent::testing::daemon::api::DaemonMetrics;
use ops_agent::testing::daemon::api::socket::{ConnSlot, Host, run as serve};
use ops_agent::testing::daemon::control::ControlApi;
use ops_protocol::jsonrpc::{Id, Outcome, Response};
use serde_json::Value;

use super::control::FakeControl;
use super::peer::{Manner, peer};
use super::rejection_summary;

/// Neither root nor the daemon's own user: it may not have wishes.
const STRANGER: u8 = 8;

pub(super) fn run(input: &[u8]) {
    let Some((manner, said)) = Manner::of(input) else { return };
    let answers = rejection_summary::none_from(|| converse(manner, said));
    if manner.stays() {
        let at_once = rejection_summary::none_from(|| converse(manner.in_one_piece(), said));
        assert_eq!(answers, at_once, "the same bytes, in pieces and at once");
    }
}

/// One connection: whom each answer is for, and the code of its error.
fn converse(manner: Manner, said: &[u8]) -> Vec<(Option<Id>, Option<i64>)> {
    let (wishes, wished) = mpsc::channel();
    let control = Rc::new(FakeControl::new(2, wishes));
    let metrics = DaemonMetrics::new().expect("metrics");
    let (stream, ear) = peer(manner, said);
    let host = Rc::new(Host::new(Rc::clone(&control), metrics.clone()));
    let slot = ConnSlot::take(&host).expect("the first connection has a slot");
    let heard = smol::block_on(async {
        futures_lite::future::zip(serve(stream, slot, !manner.has(STRANGER)), ear.all()).await.1
    });
    assert_eq!(control.agents().len(), 2, "nobody becomes an agent by saying so");
    assert_eq!(control.accepted(), metrics.socket.accepted.get());
    assert!(!manner.has(STRANGER) || wished.try_recv().is_err(), "a stranger's wish was taken");
    read(&heard, said, manner.stays())
}

fn read(heard: &[u8], said: &[u8], whole: bool) -> Vec<(Option<Id>, Option<i64>)> {
    let lines: Vec<&[u8]> = said.split(|byte| *byte == b'\n').collect();
    let ids: HashSet<String> = lines.iter().filter_map(|line| id_of(line)).collect();
    let mut answers = Vec::new();
    for line in heard.split_inclusive(|byte| *byte == b'\n') {
        if line.last() != Some(&b'\n') {
            assert!(!whole, "half an answer: {:?}", String::from_utf8_lossy(line));
            break;
        }
        let answer: Response = serde_json::from_slice(line)
            .unwrap_or_else(|no| panic!("{no} in the answer {:?}", String::from_utf8_lossy(line)));
        let id = answer.id.as_ref().map(|id| serde_json::to_string(id).expect("an id is JSON"));
        assert!(id.is_none_or(|id| ids.contains(&id)), "an answer that nobody asked for: {answer:?}");
        let code = match &answer.outcome {
            Outcome::Result(_) => None,
            Outcome::Error(error) => Some(error.code),
        };
        assert!(answer.id.is_some() || code.is_some(), "a result for nobody: {answer:?}");
        answers.push((answer.id, code));
    }
    assert!(answers.len() <= lines.len(), "{} answers to {} lines", answers.len(), lines.len());
    answers
}

/// What a line asks to be answered to, whatever else is in it.
fn id_of(line: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Request {
        id: Value,
    }
    serde_json::from_slice::<Request>(line).ok().map(|request| request.id.to_string())
}
