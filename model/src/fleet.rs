//! Several agents under one daemon: what the restart guard decides when some or all of them fail together.
//!
//! The decisions are the product's `Registry` with its guard. Modelled are the agents, which send a heartbeat every 30 s
//! and fail when the case says so, and a daemon whose effects take no time. Time goes from deadline to deadline.
//!
//! Each case is one run. The cases are every spread of the heartbeats in steps of 10 s, with every number of agents that
//! freeze at the same moment, with one agent that hangs earlier or none, and with the others Degraded or not.

use std::time::{Duration, SystemTime};

use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::registry::{AgentId, Decisions, DesiredAgent, HeartbeatFacts, Proof, Registry};
use ops_agent::testing::daemon::restart_guard::{COLLECTING, MASS};
use statemachine::supervision::{BootId, Effect, Event, Exit, Identity, Input, Policy};
use statemachine::time::Now;

/// The number of agents. Three of them are a mass failure.
const AGENTS: usize = 4;
const STEP: Duration = Duration::from_secs(10);
/// Between two heartbeats, and between two checks.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(90);
const FREEZE: Duration = Duration::from_secs(100);
const END: Duration = Duration::from_secs(240);

/// A defect that a test puts into the model to prove that a search finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Defect {
    /// The product as it is.
    #[default]
    None,
    /// Drops an assumption: the first agent has a much shorter timeout, so it is bad before the others are late.
    UnequalTimeouts,
}

/// One run.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// When each agent sends, in steps after the start of an interval.
    phases: [u32; AGENTS],
    /// So many agents freeze at [`FREEZE`], from the first on.
    frozen: usize,
    /// The last agent hangs so many steps before that.
    hangs_before: Option<u32>,
    /// Whether the agents report that they are degraded.
    degraded: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let phases = (0..81_u32).map(|n| [n % 3, n / 3 % 3, n / 9 % 3, n / 27]);
        phases.flat_map(|phases| {
            let hangs = [None, Some(1), Some(4), Some(7)];
            let cases = (0..=AGENTS).flat_map(move |frozen| hangs.map(|hangs_before| (frozen, hangs_before)));
            cases.flat_map(move |(frozen, hangs_before)| {
                [false, true].map(|degraded| Self { phases, frozen, hangs_before, degraded })
            })
        })
    }

    /// Since when an agent does not send.
    fn fails_at(&self, agent: usize) -> Option<Duration> {
        let hangs = self.hangs_before.filter(|_| agent == AGENTS - 1).map(|steps| FREEZE - STEP * steps);
        hangs.or((agent < self.frozen).then_some(FREEZE))
    }

    /// How many agents fail, at `at` or at any time.
    fn failing(&self, at: Option<Duration>) -> usize {
        let fails = |agent: &usize| self.fails_at(*agent).is_some_and(|fails_at| at.is_none_or(|at| at == fails_at));
        (0..AGENTS).filter(fails).count()
    }
}

fn is_mass(failing: usize) -> bool {
    failing >= MASS && failing * 2 > AGENTS
}

/// A run in progress.
struct Run {
    case: Case,
    now: Duration,
    registry: Registry,
    processes: [Option<Identity>; AGENTS],
    /// The heartbeats that were sent last by the first process of each agent.
    last_sent: [Duration; AGENTS],
    condemned: [Option<Duration>; AGENTS],
    held: Option<Duration>,
    events: usize,
    violations: Vec<String>,
}

/// What the runs of all cases found.
#[derive(Debug, Default)]
pub struct FleetResult {
    /// The number of cases.
    pub cases: usize,
    /// The events of all runs.
    pub events: usize,
    /// The events of the longest run.
    pub longest: usize,
    /// The runs in which restarts were held.
    pub held: usize,
    /// The runs in which an agent was restarted without a hold.
    pub restarted_at_once: usize,
    /// The first violation of each run that has one.
    pub violations: Vec<String>,
}

/// Runs every case.
#[must_use]
pub fn search(defect: Defect) -> FleetResult {
    let mut result = FleetResult::default();
    for case in Case::all() {
        let run = Run::start(case, defect).finish();
        result.cases += 1;
        result.events += run.events;
        result.longest = result.longest.max(run.events);
        result.held += usize::from(run.held.is_some());
        result.restarted_at_once += usize::from(run.held.is_none() && run.condemned.iter().any(Option::is_some));
        result.violations.extend(run.violations.first().map(|what| format!("{what}: {case:?}")));
    }
    result
}

impl Run {
    fn start(case: Case, defect: Defect) -> Self {
        let wanted = |agent: usize| {
            let is_short = defect == Defect::UnequalTimeouts && agent == 0;
            let limits = CheckLimits {
                heartbeat_timeout: Some(if is_short { INTERVAL + STEP } else { TIMEOUT }),
                cpu_percent: None,
                memory_bytes: None,
                ..CheckLimits::default()
            };
            DesiredAgent {
                id: id(agent),
                enabled: true,
                depends_on: Box::default(),
                policy: Policy::default(),
                limits,
                fingerprint: 1,
            }
        };
        let at = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
        let registry = Registry::open(at, boot(), (0..AGENTS).map(wanted).collect(), None, &[]);
        let mut run = Self {
            case,
            now: Duration::ZERO,
            registry,
            processes: [None; AGENTS],
            last_sent: [Duration::ZERO; AGENTS],
            condemned: [None; AGENTS],
            held: None,
            events: 0,
            violations: Vec::new(),
        };
        for agent in 0..AGENTS {
            run.decide(|registry, now| registry.found(now, &id(agent), None).unwrap_or_default());
        }
        run
    }

    fn finish(mut self) -> Self {
        let mut next_step = STEP;
        while self.now < END {
            let due = self.registry.deadline().filter(|due| *due < next_step);
            self.now = due.unwrap_or(next_step);
            if due.is_none() {
                next_step += STEP;
                self.send();
            }
            self.decide(Registry::expire);
        }
        self.check_end();
        self
    }

    /// The agents whose turn it is send a heartbeat.
    fn send(&mut self) {
        let step = u32::try_from(self.now.as_secs() / STEP.as_secs()).unwrap_or_default();
        let case = self.case;
        for agent in (0..AGENTS).filter(|agent| case.phases[*agent] == step % 3) {
            let is_first = self.condemned[agent].is_none();
            let has_failed = case.fails_at(agent).is_some_and(|at| self.now > at);
            let Some(process) = self.processes[agent].filter(|_| !is_first || !has_failed) else { continue };
            if is_first {
                self.last_sent[agent] = self.now;
            }
            let degraded = case.degraded;
            let heartbeat = HeartbeatFacts { pid: process.pid, incarnation: None, degraded, proof: Proof::Proved };
            self.decide(|registry, now| registry.on_heartbeat(now, &id(agent), &heartbeat).unwrap_or_default());
        }
    }

    fn decide(&mut self, decide: impl FnOnce(&mut Registry, Now) -> Decisions) {
        self.events += 1;
        let now = Now { monotonic: self.now, wall: SystemTime::UNIX_EPOCH };
        if self.registry.on_wakeup(now, self.now, |_| Duration::ZERO).is_some() {
            self.violations.push("a hold without a reason".to_owned());
        }
        let decisions = decide(&mut self.registry, now);
        if decisions.hold.is_some() {
            if !is_mass(self.case.failing(None)) || self.held.is_some() {
                self.violations.push(format!("a hold without a reason at {:?}", self.now));
            }
            self.held = Some(self.now);
        }
        for action in decisions.actions {
            let Ok(agent) = action.id.parse::<usize>() else { continue };
            if action.transition.is_some_and(|moved| moved.event == Event::Condemned) {
                self.watch_verdict(agent);
                if let Some(process) = self.processes[agent].take() {
                    self.input(agent, Input::Exited(process, Exit::Signal(15)));
                }
            }
            if action.effects.contains(&Effect::Spawn) {
                let process = Identity { pid: 2 + u32::try_from(agent).unwrap_or(0), start_ticks: 1, boot: boot() };
                self.processes[agent] = Some(process);
                self.input(agent, Input::Spawned(process));
            }
        }
    }

    fn input(&mut self, agent: usize, input: Input) {
        self.decide(|registry, now| registry.handle(now, &id(agent), input).unwrap_or_default());
    }

    fn watch_verdict(&mut self, agent: usize) {
        let again = self.condemned[agent].replace(self.now).is_some();
        let failed_at = self.case.fails_at(agent);
        if again || failed_at.is_none() {
            self.violations.push(format!("agent {agent} works, and is restarted at {:?}", self.now));
        }
        let looked_again = self.held.is_some_and(|held| self.now >= held + INTERVAL);
        if failed_at == Some(FREEZE) && is_mass(self.case.failing(failed_at)) && !looked_again {
            self.violations.push(format!("agent {agent} is restarted before the look again at {:?}", self.now));
        }
    }

    /// What fails has to be restarted in time: after its timeout, the collecting, and a hold if there was one.
    fn check_end(&mut self) {
        let hold = if self.held.is_some() { INTERVAL } else { Duration::ZERO };
        for agent in (0..AGENTS).filter(|agent| self.case.fails_at(*agent).is_some()) {
            let latest = self.last_sent[agent] + TIMEOUT + COLLECTING + hold;
            if self.condemned[agent].is_none_or(|at| at > latest) {
                self.violations.push(format!("agent {agent} is not restarted by {latest:?}"));
            }
        }
    }
}

fn id(agent: usize) -> AgentId {
    AgentId::from(agent.to_string())
}

fn boot() -> BootId {
    "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap_or_else(|_| unreachable!("it is a boot ID"))
}
