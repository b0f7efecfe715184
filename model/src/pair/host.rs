//! Processes, pids, the network, the disk: all that neither side decides.

use statemachine::lifecycle::{self, Event};
use statemachine::supervision::{BootId, Exit, Identity, Signal};

use super::{Action, Bounds, Broken, Pair, Promise, State, TICK};

/// So many heartbeats in a row fail before the agent says that it is degraded.
const FAILURES: u8 = 2;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The agent, started by a daemon, with its mark.
    Own,
    /// A copy of the agent that somebody started by hand, with a state directory of its own.
    Stray,
    /// Anything else.
    Foreign,
}

#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) identity: Identity,
    pub(super) kind: Kind,
    pub(super) incarnation: u64,
    /// The present daemon's child: it stays in the table until that has reaped it.
    pub(super) child: bool,
    pub(super) ended: bool,
    pub(super) exit: Exit,
    /// Stopped by a signal, and for how many ticks of a daemon that looks.
    pub(super) hangs_for: Option<u8>,
    /// Ticks since it was last heard of by a daemon that listens.
    pub(super) unheard: u8,
    /// The agent's own state.
    pub(super) mind: lifecycle::State,
    failures: u8,
}

/// A heartbeat under way.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Who really sent it. `None`: another host.
    pub(super) sender: Option<Identity>,
    pub(super) pid: u32,
    pub(super) incarnation: u64,
    pub(super) degraded: bool,
    /// For how many ticks it has been under way. From 1 on, its sender has given it up.
    pub(super) age: u8,
    /// It lay in the socket of a daemon that stood still.
    pub(super) waits: bool,
}

impl Process {
    pub(super) const fn turns(&self) -> bool {
        !self.ended && self.hangs_for.is_none()
    }

    const fn sends(&self) -> bool {
        self.turns() && self.mind.beats()
    }

    fn feel(&mut self, event: Event) {
        self.mind = lifecycle::transition(self.mind, event).target(self.mind);
    }

    /// One attempt at a heartbeat has ended.
    fn answered(&mut self, delivered: bool) {
        let before = self.failures >= FAILURES;
        self.failures = if delivered { 0 } else { (self.failures + 1).min(FAILURES) };
        match (before, self.failures >= FAILURES) {
            (false, true) => self.feel(Event::FaultRaised),
            (true, false) => self.feel(Event::FaultsCleared),
            (true, true) | (false, false) => {}
        }
    }
}

impl State {
    pub(super) fn host_actions(&self, model: &Pair, actions: &mut Vec<Action>) {
        let Bounds { crashes, hangs, strays, foreigners, clones, duplicates, .. } = self.left;
        if self.may_tick(model) {
            actions.push(Action::Tick);
        }
        if self.listens() {
            actions.extend((0..self.net.len()).map(Action::Delivered));
            if duplicates > 0 {
                actions.extend((0..self.net.len()).map(Action::DeliveredTwice));
            }
        }
        for process in self.processes.iter().filter(|process| !process.ended) {
            let pid = process.identity.pid;
            if process.kind == Kind::Own && crashes > 0 {
                actions.push(Action::AgentDies(pid));
            }
            if process.kind == Kind::Own && hangs > 0 && process.turns() {
                actions.push(Action::AgentHangs(pid));
            }
        }
        // Before the first agent there is nobody whose pid or place they could take.
        if strays > 0 && self.started_at > 0 {
            actions.push(Action::StrayStarts);
        }
        if foreigners > 0 && self.started_at > 0 {
            actions.push(Action::ForeignerStarts);
        }
        if clones > 0 && self.clone_may_send(model) {
            actions.push(Action::CloneSends);
        }
    }

    /// A process ends in any way but by the daemon's hand.
    pub(super) fn crash(&mut self, pid: u32) {
        self.left.crashes -= 1;
        self.end(pid, Exit::Signal(9));
    }

    pub(super) fn hang(&mut self, pid: u32) {
        self.left.hangs -= 1;
        if let Some(process) = self.processes.iter_mut().find(|process| process.identity.pid == pid) {
            process.hangs_for = Some(0);
        }
    }

    pub(super) fn stray_starts(&mut self, model: &Pair) {
        self.left.strays -= 1;
        // The worst it can say of itself is that it is newer than the agent.
        self.start(model, Kind::Stray, self.incarnation + 1);
    }

    pub(super) fn foreigner_starts(&mut self, model: &Pair) {
        self.left.foreigners -= 1;
        self.start(model, Kind::Foreign, 0);
    }

    /// A host that was cloned has the agent's pid, and an earlier incarnation of it.
    pub(super) fn clone_sends(&mut self) {
        self.left.clones -= 1;
        let Some(process) = self.daemon.as_ref().and_then(super::daemon::Daemon::process) else { return };
        let incarnation = self.incarnation.saturating_sub(1);
        self.net.push(Message { sender: None, pid: process.pid, incarnation, degraded: false, age: 0, waits: false });
    }

    /// A process begins, with the lowest pid that is free and that no heartbeat under way speaks of: before a pid is given
    /// out again, all others are.
    pub(super) fn start(&mut self, model: &Pair, kind: Kind, incarnation: u64) -> Identity {
        let spoken_of = |pid: u32| model.broken != Broken::EarlyReuse && self.net.iter().any(|m| m.pid == pid);
        let taken = |pid: u32| self.processes.iter().any(|process| process.identity.pid == pid) || spoken_of(pid);
        let pid = (2..).find(|pid| !taken(*pid)).unwrap_or(u32::MAX);
        self.started_at += 1;
        let identity = Identity { pid, start_ticks: self.started_at, boot: boot() };
        let mut process = Process {
            identity,
            kind,
            incarnation,
            child: kind == Kind::Own,
            ended: false,
            exit: Exit::Unseen,
            hangs_for: None,
            unheard: 0,
            mind: lifecycle::State::Starting,
            failures: 0,
        };
        if kind != Kind::Foreign {
            process.feel(Event::Proved);
            self.net.extend(beat(&process));
        }
        let place = self.processes.partition_point(|other| other.identity.pid < pid);
        self.processes.insert(place, process);
        identity
    }

    pub(super) fn signal(&mut self, identity: Identity, signal: Signal) {
        let Some(process) = self.processes.iter_mut().find(|other| other.identity == identity && !other.ended) else {
            return;
        };
        if process.kind != Kind::Own {
            return self.loses(Promise::StrangersAreLeftAlone);
        }
        match signal {
            Signal::Kill => self.end(identity.pid, Exit::Signal(9)),
            Signal::Term if process.hangs_for.is_some() => {}
            Signal::Term => {
                // It is done within ten seconds: less than a tick.
                process.feel(Event::StopRequested);
                process.feel(Event::Drained);
                self.end(identity.pid, Exit::Code(0));
            }
        }
    }

    fn end(&mut self, pid: u32, exit: Exit) {
        if let Some(process) = self.processes.iter_mut().find(|process| process.identity.pid == pid) {
            process.ended = true;
            process.exit = exit;
            process.hangs_for = None;
        }
        // init reaps what is nobody's child.
        self.processes.retain(|process| process.child || !process.ended);
    }

    /// Time passes: what was under way is a tick older or lost, the daemon does what falls due, and every agent sends.
    pub(super) fn tick(&mut self, model: &Pair) {
        self.look_before_tick();
        let holds = |daemon: &super::Daemon| daemon.registry.held(self.now, TICK).is_some();
        let judges = self.listens() && !self.daemon.as_ref().is_some_and(holds);
        if !self.pass(model) {
            return;
        }
        let listens = self.listens();
        let down = self.daemon.is_none();
        for process in &mut self.processes {
            let own = |message: &&Message| message.sender == Some(process.identity) && message.age == 0;
            if process.kind == Kind::Own && process.turns() && self.net.iter().any(|message| own(&message)) {
                process.answered(false);
                if process.mind == lifecycle::State::Degraded {
                    model.count(|seen| &seen.degraded);
                }
            }
            process.unheard = if down { 0 } else { process.unheard.saturating_add(1).min(4) };
            if let Some(ticks) = &mut process.hangs_for {
                *ticks = if down { 0 } else { ticks.saturating_add(u8::from(judges)).min(9) };
            }
        }
        // A daemon that stands still has a socket all the same, in which the latest word waits.
        let longest = if down { 0 } else { model.bounds.delay };
        for message in &mut self.net {
            message.age = if listens || down { message.age + 1 } else { (message.age + 1).min(longest.max(1)) };
        }
        let stands_still = !listens && !down;
        let strays: Vec<Identity> =
            self.processes.iter().filter(|p| p.kind == Kind::Stray).map(|p| p.identity).collect();
        // What a stray sends is refused whenever it comes, so it need not come late.
        let is_late = |message: &Message| message.sender.is_some_and(|sender| strays.contains(&sender));
        self.net.retain(|message| stands_still || (message.age <= longest && !is_late(message)));
        for place in 0..self.processes.len() {
            let mut sent = beat(&self.processes[place]);
            if let Some(message) = sent.as_mut().filter(|_| stands_still) {
                let before = self.net.len();
                self.net.retain(|other| other.sender != message.sender);
                message.waits = self.net.len() < before;
            }
            if !down {
                self.net.extend(sent);
            } else if sent.is_some() && self.processes[place].kind == Kind::Own {
                self.processes[place].answered(false);
            }
        }
    }

    /// Somebody has an answer to a heartbeat, unless it has given up waiting for one.
    pub(super) fn reply(&mut self, message: &Message, accepted: bool) {
        let sender = self.processes.iter_mut().find(|process| Some(process.identity) == message.sender);
        // A stray says that all is well, whatever it is answered.
        if let Some(process) = sender.filter(|process| process.kind == Kind::Own && process.turns()) {
            process.unheard = 0;
            if message.age == 0 {
                process.answered(accepted);
            }
        }
    }

    fn listens(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| !daemon.stalled)
    }

    /// Whether nothing has to happen before time passes.
    fn may_tick(&self, model: &Pair) -> bool {
        let Some(daemon) = self.daemon.as_ref() else { return true };
        if daemon.stalled {
            return self.left.stalls > 0;
        }
        let lives = |identity| self.processes.iter().any(|process| process.identity == identity && !process.ended);
        // The network lets the agent be heard of before it has been silent for too long.
        let due = |process: &Process| {
            let bound = model.broken != Broken::SilentNetwork && process.unheard >= model.bounds.losses;
            let under_way = self.net.iter().any(|message| message.sender == Some(process.identity));
            process.kind == Kind::Own && process.sends() && bound && under_way
        };
        daemon.is_settled(self.now)
            && daemon.watched.iter().all(|watched| lives(*watched))
            && !self.processes.iter().any(due)
    }

    /// Whether a heartbeat of an earlier incarnation can be told from the present one's.
    fn clone_may_send(&self, model: &Pair) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let heard = daemon.newest() == Some(self.incarnation);
        let any_time = matches!(model.broken, Broken::EarlyClone | Broken::NoIncarnation);
        daemon.process().is_some() && (heard || any_time)
    }

    pub(super) fn time(&self) -> statemachine::time::Now {
        statemachine::time::Now { monotonic: self.now, wall: std::time::SystemTime::UNIX_EPOCH + self.now }
    }

    /// The next whole tick.
    pub(super) fn next_tick(&self) -> std::time::Duration {
        let ticks = (self.now.as_millis() - 10_000) / TICK.as_millis() + 1;
        std::time::Duration::from_secs(10) + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }
}

/// What a process sends, if it sends.
fn beat(process: &Process) -> Option<Message> {
    process.sends().then(|| Message {
        sender: Some(process.identity),
        pid: process.identity.pid,
        incarnation: process.incarnation,
        degraded: process.mind == lifecycle::State::Degraded,
        age: 0,
        waits: false,
    })
}

pub(super) fn boot() -> BootId {
    "3f0f9c5e-0b1c-4a57-9a0d-00c2b7d1e0aa".parse().unwrap_or_else(|_| unreachable!("it is one"))
}
