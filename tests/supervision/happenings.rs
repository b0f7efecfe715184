//! What happens on the host, with and without the daemon.

use std::time::Duration;

use ops_agent::testing::daemon::registry::HeartbeatFacts;
use statemachine::supervision::{Exit, Identity, Input};

use super::host::{Ailment, BEAT};
use super::simulation::{AGENTS, Effects, GRACE, Happening, News, id, wanted};

impl Effects {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Beats(process) => self.beat(process),
            Happening::Ends(process, exit) => self.end(process, exit),
            Happening::ToDaemon(generation, news) if generation == self.generation => match &mut self.stalled {
                Some(inbox) => inbox.push(news),
                None => self.turn(Some(news)),
            },
            Happening::ToDaemon(..) => {}
            Happening::Operator => {
                let news = self.whim();
                self.tell(0, news);
                self.again(120, Happening::Operator);
            }
            Happening::Stray => {
                self.stray();
                self.again(20, Happening::Stray);
            }
            Happening::ForeignProcess => {
                let process = self.host.spawn(self.now, None, &mut self.rng, GRACE);
                self.again(60, Happening::Ends(process, Exit::Code(0)));
                self.again(60, Happening::ForeignProcess);
            }
            Happening::WallJumps => {
                self.wall = Duration::from_secs(self.rng.u64(0..4_000_000_000));
                self.again(200, Happening::WallJumps);
            }
            Happening::Suspended => {
                self.sleeps.push((self.now, Duration::from_secs(self.rng.u64(2..100_000))));
                self.doubt();
                self.again(400, Happening::Suspended);
            }
            Happening::DaemonStalls => {
                if self.daemon.is_some() && self.stalled.is_none() {
                    self.stalled = Some(Vec::new());
                    let millis = self.rng.u64(1..90_000);
                    self.after(millis, Happening::DaemonAwake(self.generation));
                }
                self.again(250, Happening::DaemonStalls);
            }
            Happening::DaemonAwake(generation) if generation == self.generation => self.wake_up(),
            Happening::DaemonAwake(_) => {}
            Happening::DaemonKilled => self.kill_daemon(),
            Happening::DaemonStarts => self.start_daemon(),
            Happening::AllFreeze => {
                for process in self.host.processes.values_mut().filter(|process| process.agent.is_some()) {
                    process.ailment = Ailment::Hangs;
                    process.since = self.now;
                }
                self.again(900, Happening::AllFreeze);
            }
        }
    }

    fn beat(&mut self, process: Identity) {
        let now = self.now;
        let Some(sender) = self.host.processes.get(&process.pid).filter(|sender| sender.identity == process) else {
            return;
        };
        let agent = sender.agent.unwrap();
        if sender.beats(now) {
            let beat = HeartbeatFacts {
                pid: process.pid,
                incarnation: Some(sender.incarnation),
                degraded: sender.ails(now, Ailment::Degraded),
            };
            self.tell(200, News::HeartbeatFacts(agent, beat));
        }
        let jitter = self.rng.u64(0..1000);
        self.queue_at(now + BEAT - Duration::from_millis(jitter), Happening::Beats(process));
    }

    fn end(&mut self, process: Identity, exit: Exit) {
        if !self.host.is(process) {
            return;
        }
        let gone = self.host.processes.remove(&process.pid).unwrap();
        if let Some(agent) = gone.agent {
            self.known[agent].died = self.now;
            self.tell(20, News::Exited(agent, process, exit));
        }
    }

    /// Somebody asks for something, or changes the configuration.
    fn whim(&mut self) -> News {
        let agent = self.rng.usize(0..AGENTS);
        let who = || "operator".to_owned();
        match self.rng.u32(0..8) {
            0..2 => News::SignalRequest(agent, Input::StopRequested(who())),
            2..5 => News::SignalRequest(agent, Input::StartRequested(who())),
            5 => News::SignalRequest(agent, Input::RestartRequested(who())),
            6 => News::Reload,
            _ => {
                let changed = wanted(agent, &mut self.rng);
                self.wanted[agent] = changed;
                News::Reload
            }
        }
    }

    /// A heartbeat that must not count: of nobody, of a wrong process, or of an earlier start.
    fn stray(&mut self) {
        let agent = self.rng.usize(0..AGENTS);
        let own = self.host.of_agent(agent).first().copied();
        // An earlier start can be told apart by its number only once the present one has said its own.
        let saved = self.disk.as_ref().and_then(|disk| disk.agents.get(&*id(agent)));
        let numbered = saved.is_some_and(|saved| saved.machine.process == own && saved.newest_incarnation.is_some());
        let beat = match self.rng.u32(0..3) {
            0 => HeartbeatFacts { pid: own.map_or(1, |own| own.pid + 1), incarnation: Some(u64::MAX), degraded: false },
            1 if numbered => {
                HeartbeatFacts { pid: own.map_or(1, |own| own.pid), incarnation: Some(0), degraded: false }
            }
            _ => {
                return self.tell(
                    0,
                    News::HeartbeatFacts(AGENTS, HeartbeatFacts { pid: 1, incarnation: None, degraded: false }),
                );
            }
        };
        self.tell(0, News::HeartbeatFacts(agent, beat));
    }
}
