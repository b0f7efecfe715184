//! Bytes as bodies of `POST /heartbeat`, one per line, through the daemon's handler to a real registry.

use std::rc::Rc;
use std::sync::mpsc;

use futures_lite::future::block_on;
use http::{Method, Request, Response};
use hyper::body::Bytes;
use ops_agent::testing::daemon::api::DaemonMetrics;
use ops_agent::testing::daemon::api::http::{ControlAuth, Http};
use ops_agent::testing::daemon::control::ControlApi;
use ops_http::server::{Handler, ResponseBody};
use serde_json::Value;

use super::control::{FIRST_PID, FakeControl};
use super::error_log;

const AGENTS: u32 = 2;

/// The fields of a heartbeat, read with as few rules as possible. Other fields do not matter: they may even contain escapes
/// that stand for no character.
#[derive(serde::Deserialize)]
struct LooseHeartbeat {
    agent_id: Value,
    pid: Value,
    #[serde(default)]
    incarnation: Value,
}

pub(super) fn run(input: &[u8]) {
    let (commands, _) = mpsc::channel();
    let control = Rc::new(FakeControl::new(AGENTS, commands));
    let metrics = DaemonMetrics::new().expect("metrics");
    let auth = ControlAuth::of(([127, 0, 0, 1], 8080).into(), None, false);
    let http = Http::new(Rc::clone(&control), auth, metrics.clone(), None);
    let mut newest = [0; AGENTS as usize];
    let mut accepted = 0;
    for body in input.split(|byte| *byte == b'\n') {
        let answer = error_log::expect_none(|| request(&http, Method::POST, "/heartbeat", body));
        let status = answer.status().as_u16();
        let json: Value = serde_json::from_slice(answer.body()).expect("every answer is JSON");
        if status == 200 {
            let heartbeat: LooseHeartbeat = serde_json::from_slice(body).expect("what is accepted is JSON");
            let index = (0..AGENTS).find(|n| heartbeat.agent_id == format!("agent-{n}")).expect("a known agent");
            // JSON may write a whole number with a fraction or an exponent.
            assert_eq!(
                heartbeat.pid.as_f64(),
                Some(f64::from(FIRST_PID + index)),
                "the pid of the agent's own process"
            );
            if let Some(incarnation) = heartbeat.incarnation.as_u64() {
                let newest = &mut newest[index as usize];
                assert!(incarnation >= *newest, "{incarnation} after {newest}");
                *newest = incarnation;
            }
            accepted += 1;
        } else {
            assert!(matches!(status, 400 | 409), "{status}: {json}");
            assert!(json["error"].is_string() && json["code"].is_string(), "{json}");
        }
    }
    assert_eq!(control.accepted(), accepted, "each 200 is one accepted heartbeat");
    assert_eq!(metrics.http.accepted.get(), accepted);
    assert_eq!(control.agent_ids().len(), AGENTS as usize, "no request adds an agent");
    let agents = request(&http, Method::GET, "/agents", b"");
    assert!(agents.status().is_success() && serde_json::from_slice::<Value>(agents.body()).is_ok(), "{agents:?}");
}

fn request(http: &Http<FakeControl>, method: Method, path: &str, body: &[u8]) -> Response<Bytes> {
    let request = Request::builder().method(method).uri(path).body(Bytes::copy_from_slice(body)).expect("a request");
    block_on(http.handle(request)).map(|body| match body {
        ResponseBody::Whole(bytes) => bytes,
        ResponseBody::Stream(_) => panic!("{path} has an end"),
    })
}
