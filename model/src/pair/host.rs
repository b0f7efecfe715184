//! Processes, pids, signals and the network: what neither agent nor daemon decides.

use statemachine::lifecycle::{self, Event};
use statemachine::supervision::{Exit, Identity};

use super::state::{Kind, Message, Process, State, boot};
use super::types::{Action, Bounds, Invariant};

/// So many failed heartbeats in a row make the agent Degraded.
const FAILURE_THRESHOLD: u8 = 2;

impl Process {
    fn on_event(&mut self, event: Event) {
        self.state = lifecycle::transition(self.state, event).target(self.state);
    }

    /// One attempt to send a heartbeat has ended.
    pub(super) fn sent(&mut self, succeeded: bool) {
        let before = self.failures >= FAILURE_THRESHOLD;
        self.failures = if succeeded { 0 } else { (self.failures + 1).min(FAILURE_THRESHOLD) };
        match (before, self.failures >= FAILURE_THRESHOLD) {
            (false, true) => self.on_event(Event::FaultRaised),
            (true, false) => self.on_event(Event::FaultsCleared),
            (true, true) | (false, false) => {}
        }
    }

    /// The heartbeat that it sends now, if it sends any.
    pub(super) fn heartbeat(&self) -> Option<Message> {
        self.sends().then(|| Message {
            sender: Some(self.identity),
            pid: self.identity.pid,
            incarnation: self.incarnation,
            degraded: self.state == lifecycle::State::Degraded,
            age: 0,
            waits: false,
        })
    }
}

impl State {
    pub(super) fn host_actions(&self, actions: &mut Vec<Action>) {
        let Bounds { crashes, hangs, helpers, stray_copies, other_programs, clone_heartbeats, duplicates, .. } =
            self.left;
        if self.listens() {
            actions.extend((0..self.net.len()).map(Action::Delivered));
            if duplicates > 0 {
                actions.extend((0..self.net.len()).map(Action::DeliveredTwice));
            }
        }
        for process in self.processes.iter().filter(|process| !process.ended) {
            let pid = process.identity.pid;
            if process.kind == Kind::Supervised && crashes > 0 {
                actions.push(Action::AgentCrashes(pid));
            }
            if process.kind == Kind::Supervised && hangs > 0 && process.is_running() {
                actions.push(Action::AgentHangs(pid));
            }
            if process.kind == Kind::Supervised && helpers > 0 && process.is_running() {
                actions.push(Action::HelperStarts(pid));
            }
        }
        // Before the first agent there is no pid and no name to take.
        if stray_copies > 0 && self.started_at > 0 {
            actions.push(Action::StrayCopyStarts);
        }
        if other_programs > 0 && self.started_at > 0 {
            actions.push(Action::OtherProgramStarts);
        }
        if clone_heartbeats > 0 && self.clone_may_send() {
            actions.push(Action::CloneSends);
        }
    }

    /// A process ends, and the daemon is not the cause.
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

    pub(super) fn start_helper(&mut self, pid: u32) {
        self.left.helpers -= 1;
        let tree = self.processes.iter().find(|process| process.identity.pid == pid).map(|main| main.identity);
        let helper = self.start(Kind::Helper, 0);
        if let Some(process) = self.processes.iter_mut().find(|process| process.identity == helper) {
            process.tree = tree;
        }
    }

    pub(super) fn start_stray_copy(&mut self) {
        self.left.stray_copies -= 1;
        // The worst case: it claims to be newer than the agent.
        self.start(Kind::StrayCopy, self.incarnation + 1);
    }

    pub(super) fn start_other_program(&mut self) {
        self.left.other_programs -= 1;
        self.start(Kind::Other, 0);
    }

    /// A cloned host sends with the agent's pid and an earlier incarnation.
    pub(super) fn send_from_clone(&mut self) {
        self.left.clone_heartbeats -= 1;
        let Some(process) = self.daemon.as_ref().and_then(super::state::Daemon::process) else { return };
        let incarnation = self.incarnation.saturating_sub(1);
        self.net.push(Message { sender: None, pid: process.pid, incarnation, degraded: false, age: 0, waits: false });
    }

    /// Starts a process. It gets the lowest pid that is free, so a pid is reused as soon as possible.
    pub(super) fn start(&mut self, kind: Kind, incarnation: u64) -> Identity {
        let taken = |pid: u32| self.processes.iter().any(|process| process.identity.pid == pid);
        let pid = (2..).find(|pid| !taken(*pid)).unwrap_or(u32::MAX);
        self.started_at += 1;
        let identity = Identity { pid, start_ticks: self.started_at, boot: boot() };
        let mut process = Process {
            identity,
            kind,
            tree: None,
            incarnation,
            child: kind == Kind::Supervised,
            ended: false,
            exit: Exit::Unseen,
            hangs_for: None,
            silent_for: 0,
            state: lifecycle::State::Starting,
            failures: 0,
        };
        if matches!(kind, Kind::Supervised | Kind::StrayCopy) {
            process.on_event(Event::Proved);
            self.net.extend(process.heartbeat());
        }
        let index = self.processes.partition_point(|other| other.identity.pid < pid);
        self.processes.insert(index, process);
        identity
    }

    /// SIGTERM to a whole tree. A hanging process does not handle it.
    pub(super) fn stop(&mut self, main: Identity) {
        self.end_helpers(main, Exit::Signal(15));
        let Some(process) = self.signalled(main).filter(|process| process.hangs_for.is_none()) else { return };
        // It stops within ten seconds, which is less than a tick.
        process.on_event(Event::StopRequested);
        process.on_event(Event::Drained);
        self.end(main.pid, Exit::Code(0));
    }

    /// SIGKILL to a whole tree.
    pub(super) fn kill(&mut self, main: Identity) {
        self.end_helpers(main, Exit::Signal(9));
        if self.signalled(main).is_some() {
            self.end(main.pid, Exit::Signal(9));
        }
    }

    fn end_helpers(&mut self, main: Identity, exit: Exit) {
        let is_helper = |process: &&Process| process.tree == Some(main) && !process.ended;
        let pids: Vec<u32> = self.processes.iter().filter(is_helper).map(|process| process.identity.pid).collect();
        pids.into_iter().for_each(|pid| self.end(pid, exit));
    }

    /// The main process that a signal reaches.
    fn signalled(&mut self, identity: Identity) -> Option<&mut Process> {
        let index = self.processes.iter().position(|other| other.identity == identity && !other.ended)?;
        if self.processes[index].kind != Kind::Supervised {
            self.violate(Invariant::OtherProgramsAreLeftAlone);
            return None;
        }
        self.processes.get_mut(index)
    }

    fn end(&mut self, pid: u32, exit: Exit) {
        if let Some(process) = self.processes.iter_mut().find(|process| process.identity.pid == pid) {
            process.ended = true;
            process.exit = exit;
            process.hangs_for = None;
        }
        // init reaps a process that is not a child of the daemon.
        self.processes.retain(|process| process.child || !process.ended);
    }

    /// The sender gets the response to a heartbeat, unless it no longer waits for one.
    pub(super) fn respond(&mut self, message: &Message, accepted: bool) {
        let sender = self.processes.iter_mut().find(|process| Some(process.identity) == message.sender);
        // A stray copy reports that it is Running, whatever the response.
        if let Some(process) = sender.filter(|process| process.kind == Kind::Supervised && process.is_running()) {
            process.silent_for = 0;
            if message.age == 0 {
                process.sent(accepted);
            }
        }
    }

    /// Whether a clone has a process to speak for.
    fn clone_may_send(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| daemon.process().is_some())
    }
}
