//! A host full of faulty agents under one daemon, in virtual time: crashes, hangs, exits with every code, slow starts,
//! services that HTTP, TCP or a program checks, stale and torn files, false heartbeats, reused pids, killed daemons, stalls, suspends and clock jumps.
//!
//! `SUPERVISION_SEEDS=5000` runs more seeds, and `SUPERVISION_SEED=17` repeats one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::checks::CheckResult;
use ops_agent::testing::daemon::registry::{AgentId, DesiredAgent, HeartbeatFacts, Registry, SavedRegistry};
use statemachine::supervision::{Exit, Identity, Input, Policy, RestartWhen};
use statemachine::time::Now;

use super::host::Host;
use super::service_check::ServiceCheck;

pub(super) const AGENTS: usize = 7;
const LENGTH: Duration = Duration::from_secs(40 * 60);
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
pub(super) const GRACE: Duration = Duration::from_secs(5);
pub(super) const SILENCE: Duration = Duration::from_secs(30);
pub(super) const MAX_AGE: Duration = Duration::from_secs(25);
pub(super) const HOG: Duration = Duration::from_secs(20);
pub(super) const MAX_RETRIES: u32 = 4;
/// The longest time that a check and the delivery of its result take.
pub(super) const SLACK: Duration = Duration::from_secs(6);

/// An event on the host.
#[derive(Debug, Clone)]
pub(super) enum HostEvent {
    HeartbeatDue(Identity),
    Ends(Identity, Exit),
    RemainderEnds(usize, Identity),
    /// The daemon looks for what a SIGKILL has not ended.
    KillReported(u64, usize, Identity),
    ToDaemon(u64, DaemonEvent),
    Operator,
    Stray,
    ForeignProcess,
    WallJumps,
    Suspended,
    DaemonStalls,
    DaemonAwake(u64),
    DaemonKilled,
    DaemonStarts,
    AllFreeze,
}

/// A message to the daemon. It is lost if another daemon has started since.
#[derive(Debug, Clone)]
pub(super) enum DaemonEvent {
    Spawned(usize, Identity),
    /// The main process has ended, and so many others of its tree are left.
    MainGone(usize, Identity, Exit, usize),
    /// The whole tree has ended.
    Exited(usize, Identity, Exit),
    /// Some time after SIGKILL, the tree is still there.
    Unkillable(usize, Identity),
    HeartbeatFacts(usize, HeartbeatFacts),
    Checked(usize, Identity, Duration, CheckResult),
    Command(usize, Input),
    SpawnFailed(usize, bool),
    Reload,
}

/// What the simulation knows of one agent, apart from the daemon's registry.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) asked_down: bool,
    pub(super) given_up: bool,
    /// Both of them as they were at the last save. A daemon that is killed before the next save takes what followed with it.
    pub(super) saved: (bool, bool),
    pub(super) died: Duration,
    /// When it last ended, could not be started, or was restarted for a verdict.
    pub(super) failed: Option<Duration>,
    /// Since when its checks have had results.
    pub(super) clear_since: Duration,
}

pub(super) struct Effects {
    pub(super) rng: Rng,
    pub(super) now: Duration,
    pub(super) wall: Duration,
    pub(super) queue: BTreeMap<(Duration, u64), HostEvent>,
    pub(super) serial: u64,
    pub(super) host: Host,
    pub(super) wanted: Vec<DesiredAgent>,
    pub(super) known: Vec<Known>,
    pub(super) daemon: Option<Registry>,
    /// Counts the daemons. A message for an earlier daemon is lost.
    pub(super) generation: u64,
    pub(super) stalled: Option<Vec<DaemonEvent>>,
    /// Suspends: when, and for how long.
    pub(super) sleeps: Vec<(Duration, Duration)>,
    /// Since when evidence counts: the daemon's start, or the last hold.
    pub(super) clear_since: Duration,
    /// When the daemon last held restarts.
    pub(super) last_hold: Option<Duration>,
    /// When the daemon last found a mass failure.
    pub(super) last_mass_failure: Option<Duration>,
    pub(super) disk: Option<SavedRegistry>,
    pub(super) restarts: u64,
    pub(super) condemned: u64,
    /// Of these, those for each [`ServiceCheck`].
    pub(super) condemned_by_service: [u64; 3],
    pub(super) adopted: u64,
    /// Agents that were restarted after a mass failure that they were part of.
    pub(super) restarted_after_hold: u64,
    /// Trees that SIGKILL did not end in time.
    pub(super) unkillable: u64,
}

#[test]
fn the_invariants_hold_under_random_host_events() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SUPERVISION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SUPERVISION_SEEDS").unwrap_or(8),
    };
    let mut counts = [0; 8];
    for seed in seeds {
        let ran = std::panic::catch_unwind(|| {
            let mut effects = Effects::new(seed);
            effects.run();
            let [http, tcp, exec] = effects.condemned_by_service;
            let Effects { restarts, condemned, adopted, restarted_after_hold, unkillable, .. } = effects;
            [restarts, condemned, adopted, restarted_after_hold, unkillable, http, tcp, exec]
        });
        let Ok(ran) = ran else { panic!("seed {seed}: SUPERVISION_SEED={seed} runs it again") };
        counts.iter_mut().zip(ran).for_each(|(sum, count)| *sum += count);
    }
    // A simulation in which one of these never occurs proves nothing.
    assert!(
        !counts.contains(&0),
        "restarts, verdicts, adoptions, restarts after a mass failure, unkillable trees, verdicts of HTTP, TCP and \
         programs: {counts:?}"
    );
}

impl Effects {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let wanted = (0..AGENTS).map(|n| wanted(n, &mut rng)).collect();
        let mut effects = Self {
            rng,
            now: Duration::from_secs(1000),
            wall: Duration::from_secs(1_700_000_000),
            queue: BTreeMap::new(),
            serial: 0,
            host: Host::new(),
            wanted,
            known: vec![Known::default(); AGENTS],
            daemon: None,
            generation: 0,
            stalled: None,
            sleeps: Vec::new(),
            clear_since: Duration::ZERO,
            last_hold: None,
            last_mass_failure: None,
            disk: None,
            restarts: 0,
            condemned: 0,
            condemned_by_service: [0; 3],
            adopted: 0,
            restarted_after_hold: 0,
            unkillable: 0,
        };
        effects.after(0, HostEvent::DaemonStarts);
        for (mean, event) in [
            (120, HostEvent::Operator),
            (20, HostEvent::Stray),
            (60, HostEvent::ForeignProcess),
            (200, HostEvent::WallJumps),
            (400, HostEvent::Suspended),
            (250, HostEvent::DaemonStalls),
            (300, HostEvent::DaemonKilled),
            (900, HostEvent::AllFreeze),
        ] {
            let at = effects.rng.u64(0..2 * mean * 1000);
            effects.after(at, event);
        }
        effects
    }

    fn run(&mut self) {
        let end = self.now + LENGTH;
        while self.now < end {
            let alarm = self.daemon.as_ref().filter(|_| self.stalled.is_none()).and_then(Registry::deadline);
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            match (alarm, next) {
                (Some(alarm), next) if next.is_none_or(|next| alarm <= next) => {
                    self.now = self.now.max(alarm);
                    self.step(None);
                }
                _ => {
                    let ((at, _), event) = self.queue.pop_first().unwrap();
                    self.now = self.now.max(at);
                    self.apply(event);
                }
            }
            self.check();
        }
    }

    pub(super) fn at(&self) -> Now {
        Now { monotonic: self.now, wall: SystemTime::UNIX_EPOCH + self.wall + self.now }
    }

    pub(super) fn boottime(&self) -> Duration {
        self.now + self.sleeps.iter().map(|(_, slept)| *slept).sum::<Duration>()
    }

    pub(super) fn after(&mut self, millis: u64, event: HostEvent) {
        self.queue_at(self.now + Duration::from_millis(millis), event);
    }

    pub(super) fn queue_at(&mut self, at: Duration, event: HostEvent) {
        self.serial += 1;
        self.queue.insert((at, self.serial), event);
    }

    pub(super) fn tell(&mut self, within_millis: u64, message: DaemonEvent) {
        let delay = self.rng.u64(0..=within_millis);
        self.after(delay, HostEvent::ToDaemon(self.generation, message));
    }

    /// Queues the event again after a random delay.
    pub(super) fn repeat(&mut self, mean_secs: u64, event: HostEvent) {
        let at = self.rng.u64(0..2000 * mean_secs);
        self.after(at, event);
    }

    pub(super) fn hold_restarts(&mut self) {
        self.last_hold = Some(self.now);
        self.clear_since = self.now;
    }

    pub(super) fn wake_up(&mut self) {
        let inbox = self.stalled.take().unwrap_or_default();
        let late = self
            .daemon
            .as_ref()
            .and_then(Registry::deadline)
            .is_some_and(|due| due + Duration::from_secs(1) <= self.now);
        self.clear_since = self.now;
        if late {
            self.hold_restarts();
        }
        let generation = self.generation;
        for message in inbox {
            if self.generation == generation {
                self.step(Some(message));
            }
        }
        self.step(None);
    }

    pub(super) fn kill_daemon(&mut self) {
        self.repeat(300, HostEvent::DaemonKilled);
        if self.daemon.take().is_some() {
            self.generation += 1;
            self.stalled = None;
            let down = self.rng.u64(1..120_000) >> self.rng.u32(0..8);
            self.after(down, HostEvent::DaemonStarts);
        }
    }
}

/// A random configuration of an agent.
pub(super) fn wanted(agent: usize, rng: &mut Rng) -> DesiredAgent {
    let when = [RestartWhen::Always, RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never][rng.usize(0..4)];
    DesiredAgent {
        id: id(agent),
        enabled: rng.u32(0..6) > 0,
        depends_on: Box::default(),
        policy: Policy {
            when,
            max_retries: MAX_RETRIES,
            backoff_base: Duration::from_secs(2),
            backoff_max: Duration::from_secs(12),
            ..Policy::default()
        },
        limits: ServiceCheck::of(agent).limits(CheckLimits {
            interval: INTERVAL,
            start_grace: GRACE,
            heartbeat_timeout: Some(SILENCE),
            state_max_age: Some(MAX_AGE),
            cpu_percent: Some(50.0),
            memory_bytes: None,
            threshold_duration: HOG,
            targets: rng.u64(..2),
            ..CheckLimits::default()
        }),
        fingerprint: rng.u64(..),
    }
}

pub(super) fn id(agent: usize) -> AgentId {
    AgentId::from(format!("agent-{agent}"))
}

pub(super) fn number(id: &str) -> usize {
    id.trim_start_matches("agent-").parse().unwrap()
}
