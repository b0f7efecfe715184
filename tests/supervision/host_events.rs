//! The events on the host, with and without the daemon.

use std::time::Duration;

use ops_agent::testing::daemon::registry::{HeartbeatFacts, Proof};
use statemachine::supervision::{Exit, Identity, Input, Reason, ReasonCode};

use super::host::{HEARTBEAT_INTERVAL, Remainder, ScriptedFault};
use super::simulation::{AGENTS, DaemonEvent, Effects, GRACE, HostEvent, INTERVAL, SLACK, id, wanted};

impl Effects {
    pub(super) fn apply(&mut self, event: HostEvent) {
        match event {
            HostEvent::HeartbeatDue(process) => self.send_heartbeat(process),
            HostEvent::Ends(process, exit) => self.end(process, exit),
            HostEvent::RemainderEnds(agent, main) => self.remainder_ends(agent, main),
            HostEvent::ToDaemon(generation, message) if generation == self.generation => match &mut self.stalled {
                Some(inbox) => inbox.push(message),
                None => self.step(Some(message)),
            },
            HostEvent::ToDaemon(..) => {}
            HostEvent::KillReported(generation, agent, process) => {
                let is_there =
                    self.host.is(process) || self.host.remainders.get(&agent).is_some_and(|left| left.main == process);
                if is_there && generation == self.generation {
                    self.tell(20, DaemonEvent::Unkillable(agent, process));
                }
            }
            HostEvent::Operator => {
                let message = self.random_command();
                self.tell(0, message);
                self.repeat(120, HostEvent::Operator);
            }
            HostEvent::Stray => {
                self.stray();
                self.repeat(20, HostEvent::Stray);
            }
            HostEvent::ForeignProcess => {
                let process = self.host.spawn(self.now, None, &mut self.rng, GRACE);
                self.repeat(60, HostEvent::Ends(process, Exit::Code(0)));
                self.repeat(60, HostEvent::ForeignProcess);
            }
            HostEvent::WallJumps => {
                self.wall = Duration::from_secs(self.rng.u64(0..4_000_000_000));
                self.repeat(200, HostEvent::WallJumps);
            }
            HostEvent::Suspended => {
                self.sleeps.push((self.now, Duration::from_secs(self.rng.u64(2..100_000))));
                self.hold_restarts();
                self.repeat(400, HostEvent::Suspended);
            }
            HostEvent::DaemonStalls => {
                if self.daemon.is_some() && self.stalled.is_none() {
                    self.stalled = Some(Vec::new());
                    let millis = self.rng.u64(1..90_000);
                    self.after(millis, HostEvent::DaemonAwake(self.generation));
                }
                self.repeat(250, HostEvent::DaemonStalls);
            }
            HostEvent::DaemonAwake(generation) if generation == self.generation => self.wake_up(),
            HostEvent::DaemonAwake(_) => {}
            HostEvent::DaemonKilled => self.kill_daemon(),
            HostEvent::DaemonStarts => self.start_daemon(),
            HostEvent::AllFreeze => {
                for process in self.host.processes.values_mut().filter(|process| process.agent.is_some()) {
                    process.freeze(self.now, GRACE + INTERVAL + SLACK);
                }
                self.repeat(900, HostEvent::AllFreeze);
            }
        }
    }

    fn send_heartbeat(&mut self, process: Identity) {
        let now = self.now;
        let Some(sender) = self.host.processes.get(&process.pid).filter(|sender| sender.identity == process) else {
            return;
        };
        let agent = sender.agent.unwrap();
        if sender.sends_heartbeats(now) {
            let heartbeat = HeartbeatFacts {
                pid: process.pid,
                incarnation: Some(sender.incarnation),
                degraded: sender.has_fault(now, ScriptedFault::Degraded),
                proof: Proof::Proved,
            };
            self.tell(200, DaemonEvent::HeartbeatFacts(agent, heartbeat));
        }
        let jitter = self.rng.u64(0..1000);
        self.queue_at(now + HEARTBEAT_INTERVAL - Duration::from_millis(jitter), HostEvent::HeartbeatDue(process));
    }

    fn end(&mut self, process: Identity, exit: Exit) {
        if !self.host.is(process) {
            return;
        }
        let gone = self.host.processes.remove(&process.pid).unwrap();
        let Some(agent) = gone.agent else { return };
        self.known[agent].died = self.now;
        if self.rng.u32(0..4) == 0 {
            let remainder = Remainder::of(process, exit, &mut self.rng);
            let left = remainder.left;
            self.host.remainders.insert(agent, remainder);
            self.tell(20, DaemonEvent::MainGone(agent, process, exit, left));
        } else {
            self.tell(20, DaemonEvent::Exited(agent, process, exit));
        }
    }

    /// The last process of a tree whose main process is gone has ended.
    fn remainder_ends(&mut self, agent: usize, main: Identity) {
        let present = self.host.remainders.get(&agent).is_some_and(|left| left.main == main);
        if present && let Some(left) = self.host.remainders.remove(&agent) {
            self.tell(20, DaemonEvent::Exited(agent, main, left.exit));
        }
    }

    /// A random command of the operator, or a change of the configuration.
    fn random_command(&mut self) -> DaemonEvent {
        let agent = self.rng.usize(0..AGENTS);
        let by = |code| Reason::new(code, "operator");
        match self.rng.u32(0..8) {
            0..2 => DaemonEvent::Command(agent, Input::StopRequested(by(ReasonCode::StopCommand))),
            2..5 => DaemonEvent::Command(agent, Input::StartRequested(by(ReasonCode::StartCommand))),
            5 => DaemonEvent::Command(agent, Input::RestartRequested(by(ReasonCode::RestartCommand))),
            6 => DaemonEvent::Reload,
            _ => {
                let changed = wanted(agent, &mut self.rng);
                self.wanted[agent] = changed;
                DaemonEvent::Reload
            }
        }
    }

    /// A heartbeat that must not count: of an unknown agent, of a wrong process, or of an earlier start.
    fn stray(&mut self) {
        let agent = self.rng.usize(0..AGENTS);
        let own = self.host.of_agent(agent).first().copied();
        // The incarnation identifies an earlier start only once the present process has sent its own.
        let saved = self.disk.as_ref().and_then(|disk| disk.agents.get(&*id(agent)));
        let numbered = saved.is_some_and(|saved| saved.machine.process == own && saved.newest_incarnation.is_some());
        let heartbeat = match self.rng.u32(0..4) {
            0 => HeartbeatFacts {
                pid: own.map_or(1, |own| own.pid + 1),
                incarnation: Some(u64::MAX),
                degraded: false,
                proof: Proof::Nothing,
            },
            // A forged one, which names the right pid.
            1 if numbered => HeartbeatFacts {
                pid: own.map_or(1, |own| own.pid),
                incarnation: Some(u64::MAX),
                degraded: false,
                proof: Proof::Named,
            },
            2 if numbered => HeartbeatFacts {
                pid: own.map_or(1, |own| own.pid),
                incarnation: Some(0),
                degraded: false,
                proof: Proof::Proved,
            },
            _ => {
                let unknown = HeartbeatFacts { pid: 1, incarnation: None, degraded: false, proof: Proof::Nothing };
                return self.tell(0, DaemonEvent::HeartbeatFacts(AGENTS, unknown));
            }
        };
        self.tell(0, DaemonEvent::HeartbeatFacts(agent, heartbeat));
    }
}
