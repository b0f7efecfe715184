//! A simulated host: processes with scripted faults, reused pids, and clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use ops_agent::testing::daemon::checks::{OpenFiles, StatusFacts, StatusFileResult, Usage};
use statemachine::supervision::{BootId, Exit, Identity};

use super::service_check::Service;

/// How often an agent sends a heartbeat and refreshes its file.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The fault of a process, from [`Process::since`] on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScriptedFault {
    None,
    /// It ends by itself.
    Ends(Exit),
    /// It hangs, and does not react to SIGTERM.
    Hangs,
    /// It sends no heartbeats.
    Silent,
    /// The check of its service fails.
    ServiceFails,
    /// Its status file is not written any more.
    Frozen,
    /// Its status file is torn.
    Torn,
    /// It uses too much CPU.
    Hog,
    /// It reports that it is degraded. This is shown, but causes no restart.
    Degraded,
    /// The check of its service fails for fewer than three times. This causes no restart.
    Hiccup,
}

#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) identity: Identity,
    /// The agent that it runs as, by its tag. `None` for a foreign process.
    pub(super) agent: Option<usize>,
    pub(super) started: Duration,
    /// When it starts to answer.
    pub(super) up: Duration,
    pub(super) fault: ScriptedFault,
    pub(super) since: Duration,
    /// When it froze together with all others. Only for a process that had worked for a while.
    pub(super) froze: Option<Duration>,
    pub(super) incarnation: u64,
    /// How long it takes to end after SIGTERM. `None`: it ignores SIGTERM.
    ends_within: Option<Duration>,
}

impl Process {
    pub(super) fn has_fault(&self, now: Duration, fault: ScriptedFault) -> bool {
        self.fault == fault && now >= self.since
    }

    /// Freezes it. `settled`: how long a process has to have worked to count as one that had no trouble of its own.
    pub(super) fn freeze(&mut self, now: Duration, settled: Duration) {
        let had_fault = self.fault != ScriptedFault::Degraded && self.fault != ScriptedFault::None && now >= self.since;
        self.froze = (!had_fault && self.started.max(self.up) + settled <= now).then_some(now);
        self.fault = ScriptedFault::Hangs;
        self.since = now;
    }

    /// Whether it runs as this agent and froze at this moment.
    pub(super) fn is_frozen(&self, agent: usize, at: Duration) -> bool {
        self.agent == Some(agent) && self.froze == Some(at)
    }

    /// Whether a check of it may be bad or late.
    pub(super) fn may_be_in_trouble(&self, now: Duration, settled: Duration) -> bool {
        let has_fault = !matches!(self.fault, ScriptedFault::None | ScriptedFault::Degraded | ScriptedFault::Ends(_));
        (has_fault && now >= self.since) || now < self.up + settled
    }

    pub(super) fn sends_heartbeats(&self, now: Duration) -> bool {
        now >= self.up && !self.has_fault(now, ScriptedFault::Hangs) && !self.has_fault(now, ScriptedFault::Silent)
    }

    /// Whether a restart is justified.
    pub(super) fn deserves_restart(&self, now: Duration, grace: Duration) -> bool {
        let punishable = !matches!(
            self.fault,
            ScriptedFault::None | ScriptedFault::Degraded | ScriptedFault::Hiccup | ScriptedFault::Ends(_)
        );
        (punishable && now >= self.since) || self.up > self.started + grace
    }

    pub(super) fn service(&self, now: Duration) -> Service {
        if now < self.up {
            Service::Fails("refuses connections")
        } else if self.has_fault(now, ScriptedFault::Hangs) {
            Service::Hangs
        } else if self.has_fault(now, ScriptedFault::ServiceFails)
            || (self.has_fault(now, ScriptedFault::Hiccup) && now < self.since + Duration::from_secs(15))
        {
            Service::Fails("answers 503")
        } else if self.has_fault(now, ScriptedFault::Degraded) {
            Service::IsDegraded
        } else {
            Service::Works
        }
    }

    pub(super) fn status_file(&self, now: Duration) -> StatusFileResult {
        let frozen = self.has_fault(now, ScriptedFault::Hangs) || self.has_fault(now, ScriptedFault::Frozen);
        let last = if frozen { self.since.max(self.up) } else { now };
        if now < self.up {
            return StatusFileResult::Missing;
        }
        if self.has_fault(now, ScriptedFault::Torn) {
            return StatusFileResult::Damaged("torn".to_owned());
        }
        let writes = (last - self.up).as_nanos() / HEARTBEAT_INTERVAL.as_nanos();
        let written = self.up + HEARTBEAT_INTERVAL * u32::try_from(writes).unwrap();
        StatusFileResult::Read(StatusFacts {
            mark: u64::try_from(writes).unwrap(),
            age: Some(now - written),
            ahead: None,
            valid_for: Some(HEARTBEAT_INTERVAL * 3),
            pid: Some(self.identity.pid),
            degraded: self.has_fault(now, ScriptedFault::Degraded).then(|| "resources".to_owned()),
        })
    }

    pub(super) fn usage(&self, now: Duration) -> Usage {
        Usage {
            cpu_percent: if self.has_fault(now, ScriptedFault::Hog) { 93.0 } else { 2.0 },
            memory_bytes: 4 << 20,
            open_files: OpenFiles::NotCounted,
        }
    }
}

/// Processes by pid. The lowest free pid is given out next, so pids are reused as soon as possible.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) boot: BootId,
    pub(super) processes: BTreeMap<u32, Process>,
    /// What the main processes of agents left when they ended.
    pub(super) remainders: BTreeMap<usize, Remainder>,
    starts: u64,
}

/// The processes that a main process left when it ended.
#[derive(Debug, Clone)]
pub(super) struct Remainder {
    pub(super) main: Identity,
    pub(super) exit: Exit,
    /// The number of processes.
    pub(super) left: usize,
    /// How long the last of them takes to end after SIGTERM. `None`: it ignores SIGTERM.
    ends_within: Option<Duration>,
}

impl Remainder {
    pub(super) fn of(main: Identity, exit: Exit, rng: &mut Rng) -> Self {
        let ends_within = (rng.u32(0..3) > 0).then(|| Duration::from_millis(rng.u64(0..40_000) >> rng.u32(0..6)));
        Self { main, exit, left: rng.usize(1..4), ends_within }
    }

    /// The time from SIGTERM to the end of the last process. `None`: it does not end.
    pub(super) const fn ends_within(&self) -> Option<Duration> {
        self.ends_within
    }
}

impl Host {
    pub(super) fn new() -> Self {
        let boot = "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap();
        Self { boot, processes: BTreeMap::new(), remainders: BTreeMap::new(), starts: 0 }
    }

    pub(super) fn spawn(&mut self, now: Duration, agent: Option<usize>, rng: &mut Rng, grace: Duration) -> Identity {
        let pid = (2..).find(|pid| !self.processes.contains_key(pid)).unwrap();
        self.starts += 1;
        let identity = Identity { pid, start_ticks: self.starts, boot: self.boot };
        let slow = Duration::from_millis(match rng.u32(0..10) {
            0 => rng.u64(10_000..200_000),
            _ => rng.u64(0..u64::try_from(grace.as_millis()).unwrap()),
        });
        let fault = match rng.u32(0..20) {
            0..4 => ScriptedFault::None,
            4..7 => ScriptedFault::Ends(Exit::Code(rng.i32(0..3))),
            7 => ScriptedFault::Ends(Exit::Code(rng.i32(0..256))),
            8 => ScriptedFault::Ends(Exit::Signal(rng.i32(1..32))),
            9..11 => ScriptedFault::Hangs,
            11..13 => ScriptedFault::Silent,
            13 => ScriptedFault::ServiceFails,
            14 => ScriptedFault::Frozen,
            15 => ScriptedFault::Torn,
            16 => ScriptedFault::Hog,
            17 => ScriptedFault::Degraded,
            _ => ScriptedFault::Hiccup,
        };
        let since = now + Duration::from_millis(rng.u64(0..600_000) >> rng.u32(0..8));
        let ends_within = (rng.u32(0..5) > 0).then(|| Duration::from_millis(rng.u64(0..40_000) >> rng.u32(0..6)));
        let process = Process {
            identity,
            agent,
            started: now,
            up: now + slow,
            fault,
            since,
            froze: None,
            incarnation: self.starts,
            ends_within,
        };
        self.processes.insert(pid, process);
        identity
    }

    pub(super) fn is(&self, identity: Identity) -> bool {
        self.processes.get(&identity.pid).is_some_and(|process| process.identity == identity)
    }

    pub(super) fn of_agent(&self, agent: usize) -> Vec<Identity> {
        self.processes.values().filter(|process| process.agent == Some(agent)).map(|process| process.identity).collect()
    }

    /// When a process ends after SIGTERM. `None`: it does not end.
    pub(super) fn stopped_at(&self, now: Duration, identity: Identity) -> Option<Duration> {
        let process = self.processes.get(&identity.pid).filter(|process| process.identity == identity)?;
        let takes = process.ends_within.filter(|_| !process.has_fault(now, ScriptedFault::Hangs))?;
        Some(now + takes)
    }
}
