//! From the loop's snapshot to the file's record.

use std::time::{Duration, SystemTime};

use statemachine::lifecycle::Transition;

use crate::agent::snapshot::{HeartbeatView, Snapshot};
use crate::observe::Identity;
use crate::wire::status_file::{FaultEntry, HeartbeatEntry, Previous, SCHEMA, StatusFile, TransitionEntry};

/// How many bytes of a text for people go into the file: enough for a cause, and a bound for the file.
const MAX_TEXT: usize = 512;

/// How many refresh intervals a file is to be believed.
const VALID_REFRESHES: u32 = 3;

/// What the record needs beside the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// This process.
    pub identity: &'a Identity,
    /// How the last run ended, as found at the start.
    pub previous: Option<Previous>,
    /// The present refresh interval.
    pub refresh: Duration,
    /// The wall clock at the write.
    pub wall: SystemTime,
    /// `CLOCK_BOOTTIME` at the write.
    pub boottime: Duration,
}

/// What the file is to say.
#[must_use]
pub fn record(snapshot: &Snapshot, context: &Context<'_>) -> StatusFile {
    let machine = &snapshot.lifecycle;
    StatusFile {
        schema: SCHEMA,
        agent_id: snapshot.agent_id.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: context.identity.pid,
        boot_id: context.identity.boot_id.clone(),
        process_start: context.identity.start,
        incarnation: machine.incarnation(),
        sequence: machine.sequence(),
        state: machine.state(),
        since: machine.since().wall.into(),
        cause: clip(machine.cause()),
        faults: machine
            .faults()
            .iter()
            .map(|(name, fault)| FaultEntry { name, since: fault.since.wall.into(), detail: clip(&fault.detail) })
            .collect(),
        started_at: machine.started().wall.into(),
        updated_at: context.wall.into(),
        updated_boottime_ns: nanos(context.boottime),
        valid_until: (context.wall + context.refresh * VALID_REFRESHES).into(),
        http: snapshot.http,
        heartbeat: heartbeat(&snapshot.heartbeat),
        previous: context.previous,
        history: machine.history().map(transition).collect(),
    }
}

fn heartbeat(view: &HeartbeatView) -> HeartbeatEntry {
    HeartbeatEntry {
        last_success: view.last_success.map(Into::into),
        sent: view.sent,
        failed: view.failed,
        consecutive_failures: view.consecutive_failures,
        endpoint: view.endpoint.as_deref().map(clip),
    }
}

fn transition(transition: &Transition) -> TransitionEntry {
    TransitionEntry {
        sequence: transition.sequence,
        at: transition.at.wall.into(),
        monotonic_ns: nanos(transition.at.monotonic),
        from: transition.from,
        to: transition.to,
        event: transition.event,
        cause: clip(&transition.cause),
    }
}

fn clip(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT);
    text.get(..end).unwrap_or(text).to_owned()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
