//! Bodies of `POST /heartbeat`, one a line, through the daemon's own handler to a real registry.

use std::rc::Rc;
use std::sync::mpsc;

use futures_lite::future::block_on;
use http::{Method, Request, Response};
use hyper::body::Bytes;
use ops_agent::testing::daemon::api::DaemonMetrics;
use ops_agent::testing::daemon::api::http::{ControlAuth, Http};
use ops_agent::testing::daemon::control::ControlApi;
use ops_http::server::Handler;
use serde_json::Value;

use super::control::{FIRST_PID, FakeControl};
use super::rejection_summary;

const AGENTS: u32 = 2;

/// What a heartbeat says, read as loosely as can be. What else is in it is nobody's concern: it may even hold escapes that
/// stand for no character.
#[derive(serde::Deserialize)]
struct HeartbeatFacts {
    agent_id: Value,
    pid: Value,
    #[serde(default)]
    cpu: Value,
    #[serde(default)]
    incarnation: Value,
}

pub(super) fn run(input: &[u8]) {
    let (wishes, _) = mpsc::channel();
    let control = Rc::new(FakeControl::new(AGENTS, wishes));
    let metrics = DaemonMetrics::new().expect("metrics");
    let http =
        Http::new(Rc::clone(&control), ControlAuth::of(([127, 0, 0, 1], 8080).into(), None, false), metrics.clone());
    let mut newest = [0; AGENTS as usize];
    let mut taken = 0;
    for body in input.split(|byte| *byte == b'\n') {
        let answer = rejection_summary::none_from(|| ask(&http, Method::POST, "/heartbeat", body));
        let status = answer.status().as_u16();
        let said: Value = serde_json::from_slice(answer.body()).expect("every answer is JSON");
        if status == 200 {
            let beat: HeartbeatFacts = serde_json::from_slice(body).expect("what is taken is JSON");
            let index = (0..AGENTS).find(|n| beat.agent_id == format!("agent-{n}")).expect("an agent that there is");
            assert_eq!(beat.pid, FIRST_PID + index, "of the agent's own process");
            assert!(beat.cpu.as_f64().is_none_or(|cpu| (0.0..=100.0).contains(&cpu)), "{}", beat.cpu);
            if let Some(incarnation) = beat.incarnation.as_u64() {
                let newest = &mut newest[index as usize];
                assert!(incarnation >= *newest, "{incarnation} after {newest}");
                *newest = incarnation;
            }
            taken += 1;
        } else {
            assert!(matches!(status, 400 | 409), "{status}: {said}");
            assert!(said["error"].is_string() && said["code"].is_string(), "{said}");
        }
    }
    assert_eq!(control.accepted(), taken, "what was said to be taken has been");
    assert_eq!(metrics.http.accepted.get(), taken);
    assert_eq!(control.agents().len(), AGENTS as usize, "nobody becomes an agent by saying so");
    let agents = ask(&http, Method::GET, "/agents", b"");
    assert!(agents.status().is_success() && serde_json::from_slice::<Value>(agents.body()).is_ok(), "{agents:?}");
}

fn ask(http: &Http<FakeControl>, method: Method, path: &str, body: &[u8]) -> Response<Bytes> {
    let request = Request::builder().method(method).uri(path).body(Bytes::copy_from_slice(body)).expect("a request");
    block_on(http.handle(request))
}
