//! A registry with many agents in virtual time, for the tests of the guard.

use std::time::{Duration, SystemTime};

use ops_agent::testing::daemon::checks::{CheckLimits, CheckResult};
use ops_agent::testing::daemon::registry::{AgentId, Decisions, DesiredAgent, HeartbeatFacts, Proof, Registry};
use ops_agent::testing::daemon::restart_guard::{HoldReason, RestartHold};
use statemachine::supervision::{BootId, Identity, Input, Policy, RestartWhen, State};
use statemachine::time::Now;

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn at(seconds: u64) -> Now {
    now(SECOND * u32::try_from(seconds).unwrap())
}

fn now(monotonic: Duration) -> Now {
    Now { monotonic, wall: SystemTime::UNIX_EPOCH + monotonic }
}

fn boot() -> BootId {
    "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap()
}

/// The process of the nth agent.
pub(super) fn process(n: usize) -> Identity {
    Identity { pid: 10 + u32::try_from(n).unwrap(), start_ticks: 5, boot: boot() }
}

/// Only heartbeats are checked: bad after 90 s, late after more than 45 s.
pub(super) fn heartbeats_only() -> CheckLimits {
    CheckLimits { cpu_percent: None, memory_bytes: None, ..CheckLimits::default() }
}

/// A registry with running agents, driven as the event loop does.
pub(super) struct Fleet {
    pub(super) registry: Registry,
    agents: usize,
    pub(super) hold: Option<RestartHold>,
    /// When each agent was last condemned.
    pub(super) condemned: Vec<Option<Duration>>,
}

impl Fleet {
    /// So many agents with these limits, which were started at 0 s and have sent a heartbeat at 10 s.
    pub(super) fn start(agents: usize, limits: &CheckLimits) -> Self {
        Self::start_with(agents, limits, |_| RestartWhen::Always)
    }

    pub(super) fn start_with(agents: usize, limits: &CheckLimits, when: fn(usize) -> RestartWhen) -> Self {
        let wanted = |n: usize| DesiredAgent {
            id: AgentId::from(n.to_string()),
            enabled: true,
            depends_on: Box::default(),
            policy: Policy { when: when(n), ..Policy::default() },
            limits: limits.clone(),
            fingerprint: 1,
        };
        let registry = Registry::open(at(0), boot(), (0..agents).map(wanted).collect(), None, &[]);
        let mut fleet = Self { registry, agents, hold: None, condemned: vec![None; agents] };
        for n in 0..agents {
            fleet.registry.found(at(0), &n.to_string(), None).unwrap();
            fleet.registry.handle(at(0), &n.to_string(), Input::Spawned(process(n))).unwrap();
            fleet.heartbeat(10, n, false);
        }
        fleet
    }

    pub(super) fn heartbeat(&mut self, seconds: u64, n: usize, degraded: bool) {
        let heartbeat = HeartbeatFacts { pid: process(n).pid, incarnation: None, degraded, proof: Proof::Proved };
        let decisions = self.registry.on_heartbeat(at(seconds), &n.to_string(), &heartbeat).unwrap();
        self.take(at(seconds), decisions);
    }

    pub(super) fn checked(&mut self, seconds: u64, n: usize, result: CheckResult) {
        let now = at(seconds);
        let decisions = self.registry.on_check_result(now, &n.to_string(), process(n), now.monotonic, result);
        self.take(now, decisions);
    }

    /// Handles every deadline up to this time.
    pub(super) fn pass(&mut self, until: Duration) {
        while let Some(due) = self.registry.deadline().filter(|due| *due <= until) {
            let decisions = self.registry.expire(now(due));
            self.take(now(due), decisions);
        }
    }

    pub(super) fn take(&mut self, now: Now, decisions: Decisions) {
        assert_eq!(decisions.refused, []);
        self.hold = decisions.hold.or(self.hold);
        for action in decisions.actions {
            if action.transition.is_some_and(|moved| moved.to == State::Stopping) {
                self.condemned[action.id.parse::<usize>().unwrap()] = Some(now.monotonic);
            }
        }
    }

    pub(super) fn states(&self) -> Vec<State> {
        (0..self.agents).map(|n| self.registry.get(&n.to_string()).unwrap().machine().state()).collect()
    }

    pub(super) fn held(&self) -> Option<HoldReason> {
        self.hold.map(|hold| hold.reason)
    }
}
