//! The disturbances of agents, daemon and network, and their times: all from one seed.

use std::time::Duration;

use fastrand::Rng;

use super::fleet::{AGENTS, Fleet};
use super::network::NetworkFault;

/// One disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disturbance {
    KillAgent(usize),
    TerminateAgent(usize),
    /// SIGSTOP, and SIGCONT after this time.
    StopAgent(usize, Duration),
    ReloadAgent {
        index: usize,
        reload: Reload,
    },
    RestartAgent(usize),
    /// The next daemon starts after this time.
    KillDaemon(Duration),
    TerminateDaemon(Duration),
    StopDaemon(Duration),
    ReloadDaemon {
        valid: bool,
    },
    /// The daemon is stopped until every agent has a heartbeat in flight. Then one agent is killed. The daemon is
    /// killed as well, or continues.
    KillInFlight {
        index: usize,
        with_daemon: bool,
    },
    /// A remote agent is killed while its heartbeat waits for the network to recover.
    KillDuringOutage(usize, Duration),
    BreakNetwork(NetworkFault, Duration),
}

/// A reload of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reload {
    /// By `POST /reload`, otherwise by SIGHUP.
    pub(super) by_request: bool,
    pub(super) valid: bool,
}

impl Disturbance {
    /// The text in the report.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::KillAgent(_) => "agent: SIGKILL",
            Self::TerminateAgent(_) => "agent: SIGTERM",
            Self::StopAgent(_, time) if time < Duration::from_secs(2) => {
                "agent: SIGSTOP, SIGCONT before the heartbeat timeout"
            }
            Self::StopAgent(..) => "agent: SIGSTOP until after the heartbeat timeout, SIGCONT",
            Self::ReloadAgent { reload: Reload { by_request: true, valid: true }, .. } => "agent: POST /reload",
            Self::ReloadAgent { reload: Reload { by_request: true, valid: false }, .. } => {
                "agent: POST /reload of an invalid file"
            }
            Self::ReloadAgent { reload: Reload { by_request: false, valid: true }, .. } => "agent: SIGHUP",
            Self::ReloadAgent { reload: Reload { by_request: false, valid: false }, .. } => {
                "agent: SIGHUP with an invalid file"
            }
            Self::RestartAgent(_) => "agent: `restart` over the daemon's socket",
            Self::KillDaemon(_) => "daemon: SIGKILL, another daemon adopts",
            Self::TerminateDaemon(_) => "daemon: SIGTERM, another daemon adopts",
            Self::StopDaemon(_) => "daemon: SIGSTOP, SIGCONT",
            Self::ReloadDaemon { valid: true } => "daemon: SIGHUP, one agent added or removed",
            Self::ReloadDaemon { valid: false } => "daemon: SIGHUP with an invalid file",
            Self::KillInFlight { with_daemon: true, .. } => "agent and daemon: SIGKILL with heartbeats in flight",
            Self::KillInFlight { with_daemon: false, .. } => "agent: SIGKILL with its heartbeat in flight",
            Self::KillDuringOutage(..) => "agent: SIGKILL with its heartbeat delayed in the network",
            Self::BreakNetwork(fault, _) => fault.as_str(),
        }
    }
}

/// An endless schedule. Every kind of disturbance occurs before any kind occurs again.
pub(super) struct Plan {
    rng: Rng,
    /// Indices of the agents that may be disturbed.
    agents: Vec<usize>,
    network_faults: Vec<NetworkFault>,
    pending: Vec<Disturbance>,
}

impl Plan {
    pub(super) fn new(seed: u64, network_faults: Vec<NetworkFault>) -> Self {
        Self { rng: Rng::with_seed(seed), agents: Fleet::disturbed(), network_faults, pending: Vec::new() }
    }

    /// The next disturbance, and the pause before it.
    pub(super) fn next(&mut self) -> (Duration, Disturbance) {
        if self.pending.is_empty() {
            self.refill();
        }
        let pause = self.random_millis(100..700);
        (pause, self.pending.pop().expect("it is not empty"))
    }

    fn refill(&mut self) {
        let reloads = [(true, true), (true, false), (false, true), (false, false)];
        let mut pending = vec![
            Disturbance::ReloadDaemon { valid: true },
            Disturbance::ReloadDaemon { valid: true },
            Disturbance::ReloadDaemon { valid: false },
        ];
        pending.extend((0..3).map(|_| Disturbance::KillAgent(self.random_agent())));
        pending.extend(reloads.map(|(by_request, valid)| Disturbance::ReloadAgent {
            index: self.random_agent(),
            reload: Reload { by_request, valid },
        }));
        pending
            .extend([Disturbance::TerminateAgent(self.random_agent()), Disturbance::RestartAgent(self.random_agent())]);
        pending.extend((0..2).map(|_| Disturbance::StopAgent(self.random_agent(), self.random_millis(200..1500))));
        pending.push(Disturbance::StopAgent(self.random_agent(), self.random_millis(5000..7000)));
        pending.extend((0..2).map(|_| Disturbance::KillDaemon(self.random_millis(0..1200))));
        pending.push(Disturbance::TerminateDaemon(self.random_millis(0..1200)));
        pending.extend((0..3).map(|_| Disturbance::StopDaemon(self.random_millis(100..3500))));
        pending.extend(
            [true, false].map(|with_daemon| Disturbance::KillInFlight { index: self.random_agent(), with_daemon }),
        );
        let remote =
            self.agents.iter().copied().filter(|&index| AGENTS[index].remote && !self.network_faults.is_empty());
        let remote: Vec<usize> = remote.collect();
        pending.extend(
            remote.into_iter().map(|index| Disturbance::KillDuringOutage(index, self.random_millis(700..1500))),
        );
        let network_faults = self.network_faults.clone();
        pending.extend(
            network_faults.into_iter().map(|fault| Disturbance::BreakNetwork(fault, self.random_millis(300..4000))),
        );
        self.rng.shuffle(&mut pending);
        self.pending = pending;
    }

    fn random_agent(&mut self) -> usize {
        self.agents[self.rng.usize(..self.agents.len())]
    }

    fn random_millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(range))
    }
}
