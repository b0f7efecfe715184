//! A snapshot of the agent for its API, in a state that the test sets.

use std::sync::Arc;
use std::time::Duration;

use ops_agent::testing::agent::snapshot::{HeartbeatView, Snapshot, Usage};
use ops_runtime::clock::{Clock, SystemClock};
use statemachine::lifecycle::{Input, Limits as Deadlines, Machine, Part};

/// The snapshot that the loop would publish.
pub(crate) fn snapshot(lifecycle: Machine) -> Snapshot {
    Snapshot {
        agent_id: "agent-001".into(),
        pid: std::process::id(),
        lifecycle: Arc::new(lifecycle),
        heartbeat: HeartbeatView {
            endpoint: Some("http://127.0.0.1:8080/heartbeat".to_owned()),
            ..HeartbeatView::default()
        },
        usage: Usage { cpu_percent: 2.5, memory_bytes: 10_240_000 },
        http: None,
        https: false,
    }
}

/// A machine that has just been started.
pub(crate) fn starting() -> Machine {
    let minute = Duration::from_secs(60);
    Machine::new(SystemClock.now(), 7, 120, Deadlines { start: minute, grace: minute, refresh: minute })
}

/// A machine all of whose parts are ready.
pub(crate) fn running() -> Machine {
    after(starting(), [Part::Api, Part::StatusFile, Part::Probes].map(Input::PartProved))
}

/// A machine after an event.
pub(crate) fn after(mut machine: Machine, inputs: impl IntoIterator<Item = Input>) -> Machine {
    for input in inputs {
        machine.handle(SystemClock.now(), input).expect("an input that fits the state");
    }
    machine
}
