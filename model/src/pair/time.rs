//! A tick: the daemon handles its deadlines, heartbeats age, and every agent sends.

use std::time::Duration;

use statemachine::lifecycle;
use statemachine::supervision::Identity;

use super::state::{Daemon, Kind, Message, Process, State};
use super::types::{Defect, Pair, TICK};

impl State {
    /// Whether nothing has to happen before time passes.
    pub(super) fn may_tick(&self, model: &Pair) -> bool {
        let Some(daemon) = self.daemon.as_ref() else { return true };
        if daemon.stalled {
            return self.left.stalls > 0;
        }
        // The network delivers a heartbeat before it has lost too many in a row.
        let due = |process: &Process| {
            let bound = model.defect != Defect::UnboundedLoss && process.silent_for >= model.bounds.losses;
            let on_its_way = self.net.iter().any(|message| message.sender == Some(process.identity));
            process.kind == Kind::Supervised && process.sends() && bound && on_its_way
        };
        daemon.is_settled(self.now)
            && daemon.watched.iter().all(|watched| self.lives(*watched))
            && daemon.remainders.iter().all(|(main, _)| self.has_helper(*main))
            && !self.processes.iter().any(due)
    }

    /// Heartbeats on their way get a tick older or are lost, the daemon handles its deadlines, and every agent sends.
    pub(super) fn tick(&mut self, model: &Pair) {
        self.check_before_tick();
        let holds = |daemon: &Daemon| daemon.registry.held(self.now, TICK).is_some();
        let judges = self.listens() && !self.daemon.as_ref().is_some_and(holds);
        if !self.pass_tick(model) {
            return;
        }
        self.age_processes(model, judges);
        self.age_messages(model);
        self.send_heartbeats();
    }

    /// Passes one tick of the daemon, deadline by deadline. `false`: a deadline has caused work that comes first.
    fn pass_tick(&mut self, model: &Pair) -> bool {
        let end = self.next_tick();
        match &self.daemon {
            Some(daemon) if daemon.stalled => self.left.stalls -= 1,
            _ => {
                while let Some(at) = self.daemon.as_ref().and_then(|d| d.registry.deadline()).filter(|at| *at < end) {
                    self.now = at;
                    self.wake(model);
                    if self.daemon.as_ref().is_some_and(|daemon| !daemon.is_settled(at)) {
                        return false;
                    }
                }
            }
        }
        self.now = end;
        true
    }

    fn next_tick(&self) -> Duration {
        let ticks = (self.now.as_millis() - 10_000) / TICK.as_millis() + 1;
        Duration::from_secs(10) + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn age_processes(&mut self, model: &Pair, judges: bool) {
        let down = self.daemon.is_none();
        for process in &mut self.processes {
            let own = |message: &&Message| message.sender == Some(process.identity) && message.age == 0;
            if process.kind == Kind::Supervised && process.is_running() && self.net.iter().any(|message| own(&message))
            {
                process.sent(false);
                if process.state == lifecycle::State::Degraded {
                    model.count(|counters| &counters.degraded);
                }
            }
            process.silent_for = if down { 0 } else { process.silent_for.saturating_add(1).min(4) };
            if let Some(ticks) = &mut process.hangs_for {
                *ticks = if down { 0 } else { ticks.saturating_add(u8::from(judges)).min(9) };
            }
        }
    }

    fn age_messages(&mut self, model: &Pair) {
        let (listens, down) = (self.listens(), self.daemon.is_none());
        // The socket of a stalled daemon stays open and keeps the latest heartbeat.
        let longest = if down { 0 } else { model.bounds.delay };
        for message in &mut self.net {
            message.age = if listens || down { message.age + 1 } else { (message.age + 1).min(longest.max(1)) };
        }
        let copies: Vec<Identity> =
            self.processes.iter().filter(|p| p.kind == Kind::StrayCopy).map(|p| p.identity).collect();
        // The daemon refuses a stray copy's heartbeat at any time, so a late one adds nothing.
        let is_late = |message: &Message| message.sender.is_some_and(|sender| copies.contains(&sender));
        let stalled = !listens && !down;
        self.net.retain(|message| stalled || (message.age <= longest && !is_late(message)));
    }

    fn send_heartbeats(&mut self) {
        let (listens, down) = (self.listens(), self.daemon.is_none());
        for process in &mut self.processes {
            let mut sent = process.heartbeat();
            if let Some(message) = sent.as_mut().filter(|_| !listens && !down) {
                let before = self.net.len();
                self.net.retain(|other| other.sender != message.sender);
                message.waits = self.net.len() < before;
            }
            if !down {
                self.net.extend(sent);
            } else if sent.is_some() && process.kind == Kind::Supervised {
                process.sent(false);
            }
        }
    }
}
