//! Makes the file's record from the loop's snapshot.

use std::time::{Duration, SystemTime};

use statemachine::lifecycle::Transition;

use crate::agent::snapshot::{HeartbeatView, Snapshot};
use ops_protocol::status_file::{FaultEntry, HeartbeatEntry, Previous, SCHEMA, StatusFile, TransitionEntry};
use ops_runtime::observe::ProcessIdentity;

/// The longest text for people in the file, in bytes. It bounds the size of the file.
const MAX_TEXT: usize = 512;

/// For how many refresh intervals a file is valid.
const VALID_REFRESHES: u32 = 3;

/// What the record needs besides the snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// This process.
    pub identity: &'a ProcessIdentity,
    /// How the last run ended.
    pub previous: Option<Previous>,
    /// The present refresh interval.
    pub refresh: Duration,
    /// The wall clock at the write.
    pub wall: SystemTime,
    /// `CLOCK_BOOTTIME` at the write.
    pub boottime: Duration,
}

/// The record of `snapshot`.
#[must_use]
pub fn record(snapshot: &Snapshot, context: &Context<'_>) -> StatusFile {
    let machine = &snapshot.lifecycle;
    StatusFile {
        schema: SCHEMA,
        agent_id: snapshot.agent_id.to_string(),
        version: crate::agent::version().to_owned(),
        pid: context.identity.pid,
        boot_id: context.identity.boot_id.clone(),
        process_start: context.identity.start,
        pid_namespace: context.identity.pid_namespace,
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
        https: snapshot.https,
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use statemachine::lifecycle::{FaultName, Input, Limits, Machine, Part, State};
    use statemachine::time::Now;

    use super::*;
    use crate::agent::snapshot::Usage;
    use ops_protocol::status_file::{FileFormat, MAX_BYTES};

    const REFRESH: Duration = Duration::from_secs(10);

    fn second(second: u64) -> Now {
        Now {
            monotonic: Duration::from_secs(second),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + second),
        }
    }

    fn machine() -> Machine {
        let limits = Limits { start: REFRESH, grace: REFRESH, refresh: REFRESH };
        let mut machine = Machine::new(second(0), 7, 100, limits);
        for part in [Part::Api, Part::StatusFile, Part::Probes] {
            machine.handle(second(1), Input::PartProved(part)).unwrap();
        }
        machine
    }

    fn file(machine: Machine, endpoint: &str) -> StatusFile {
        let heartbeat = HeartbeatView { endpoint: Some(endpoint.to_owned()), ..HeartbeatView::default() };
        let snapshot = Snapshot {
            agent_id: Arc::from("agent-001"),
            pid: 42,
            lifecycle: Arc::new(machine),
            heartbeat,
            usage: Usage::default(),
            http: None,
            https: false,
        };
        let identity = ProcessIdentity { pid: 42, start: 5, boot_id: "boot".to_owned(), pid_namespace: 9 };
        let Now { monotonic: boottime, wall } = second(20);
        record(&snapshot, &Context { identity: &identity, previous: None, refresh: REFRESH, wall, boottime })
    }

    #[test]
    fn the_record_shows_the_state_of_the_machine() {
        let mut machine = machine();
        machine.handle(second(2), Input::FaultRaised(FaultName::Heartbeat, "refused".to_owned())).unwrap();
        let file = file(machine.clone(), "unix:///run/daemon.sock");
        assert_eq!(
            (file.state, file.since, file.cause.as_str()),
            (State::Degraded, second(2).wall.into(), machine.cause())
        );
        assert_eq!((file.incarnation, file.sequence), (7, machine.sequence()));
        assert_eq!(file.faults.len(), 1);
        assert_eq!(file.faults[0].detail, "refused");
        assert_eq!(file.history.len(), machine.history().len());
        assert_eq!(file.updated_boottime_ns, 20_000_000_000);
        assert_eq!(file.valid_until, (second(20).wall + 3 * REFRESH).into());
    }

    #[test]
    fn the_file_stays_within_its_size_limit_with_the_longest_texts() {
        let mut machine = machine();
        let long = "\u{1}ä".repeat(100_000);
        for time in 2..100 {
            machine.handle(second(time), Input::FaultRaised(FaultName::Heartbeat, long.clone())).unwrap();
            machine.handle(second(time), Input::FaultCleared(FaultName::Heartbeat)).unwrap();
        }
        for name in [FaultName::Heartbeat, FaultName::Http, FaultName::Resources, FaultName::StatusFile] {
            machine.handle(second(100), Input::FaultRaised(name, long.clone())).unwrap();
        }
        let file = file(machine, &long);
        for format in [FileFormat::Ron, FileFormat::Json] {
            let text = file.encode(format).unwrap();
            assert!(text.len() < MAX_BYTES, "{} bytes", text.len());
            assert_eq!(StatusFile::decode(text.as_bytes()).unwrap().sequence, file.sequence);
        }
    }
}
