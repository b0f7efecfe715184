//! Carries out the plan.

use std::time::{Duration, Instant, SystemTime};

use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::json;

use super::daemon::Daemon;
use super::fleet::{BACKOFF_MAX, Fleet, INTERVAL, MEMBERS, Process};
use super::network::Cut;
use super::plan::{Act, Plan};
use super::query::call;
use super::run_state::{Diary, Owed, Whom, lock};
use crate::support::daemon::signal;

/// What an agent may take on top of its policy's wait to end, be started and say that it works, on a machine that is busy.
const MARGIN: Duration = Duration::from_secs(20);

const ORDERLY: &str = "the daemon ends when it is told to, with code 0, and else not at all";

/// The hand that does it.
pub(super) struct Hand<'a> {
    pub(super) fleet: &'a Fleet<'a>,
    pub(super) diary: &'a Diary,
    pub(super) daemon: Daemon,
    pub(super) guest: bool,
    pub(super) later: Vec<Later>,
}

/// What ends something that was begun.
pub(super) struct Later {
    due: Instant,
    begun: SystemTime,
    pub(super) what: End,
}

#[derive(Clone, Copy)]
pub(super) enum End {
    Continue(usize, Process),
    ContinueDaemon(u32),
    Mend(Cut),
}

impl<'a> Hand<'a> {
    /// With a first daemon.
    pub(super) fn new(fleet: &'a Fleet<'a>, diary: &'a Diary) -> Self {
        let daemon = Daemon::start(fleet, 0);
        diary.begins(daemon.pid());
        Self { fleet, diary, daemon, guest: true, later: Vec::new() }
    }

    /// Disturbs until then.
    pub(super) fn disturb(&mut self, plan: &mut Plan, until: Instant) {
        loop {
            let (pause, act) = plan.next();
            let due = Instant::now() + pause;
            if due >= until {
                break;
            }
            self.pass_until(due);
            if let Some(status) = self.daemon.has_ended() {
                self.diary.lost(ORDERLY, format!("it ended by itself: {status}"));
                self.start_again();
            }
            self.diary.note(format!("{act:?}"));
            if self.perform(act) {
                self.diary.count(act.as_str());
            } else {
                self.diary.note("there was nobody to do it to".to_owned());
            }
        }
        self.pass_until(until);
    }

    /// Ends all that was begun, and puts everything back as it was.
    pub(super) fn calm_down(&mut self) {
        for later in std::mem::take(&mut self.later) {
            self.end(&later);
        }
        for who in 0..MEMBERS.len() {
            self.fleet.configure_agent(who, INTERVAL);
        }
        if !self.guest {
            self.reload_daemon(true);
        }
    }

    /// Lets time pass, and does what falls due.
    fn pass_until(&mut self, until: Instant) {
        loop {
            let next = self.later.iter().map(|later| later.due).min().filter(|due| *due < until);
            std::thread::sleep(next.unwrap_or(until).saturating_duration_since(Instant::now()));
            if next.is_none() {
                return;
            }
            let now = Instant::now();
            let (due, rest) = std::mem::take(&mut self.later).into_iter().partition(|later| later.due <= now);
            self.later = rest;
            due.iter().for_each(|later| self.end(later));
        }
    }

    fn end(&self, later: &Later) {
        let whom = match later.what {
            End::Continue(who, process) => {
                if process.lives() {
                    signal(process.pid, Signal::CONT);
                }
                Whom::Agent(who)
            }
            End::ContinueDaemon(pid) => {
                if pid == self.daemon.pid() {
                    self.daemon.signal(Signal::CONT);
                    self.diary.attend(true);
                }
                Whom::Everybody
            }
            End::Mend(cut) => {
                if let Some(network) = self.fleet.network {
                    network.mend(cut);
                }
                Whom::Far
            }
        };
        self.diary.interrupted(whom, later.begun);
    }

    fn later(&mut self, after: Duration, what: End) {
        self.later.push(Later { due: Instant::now() + after, begun: SystemTime::now(), what });
    }

    /// `false`: there is nobody to do it to.
    fn perform(&mut self, act: Act) -> bool {
        match act {
            Act::KillAgent(who) => return self.hit(who, Signal::KILL),
            Act::EndAgent(who) => return self.hit(who, Signal::TERM),
            Act::StopAgent(who, time) => {
                let Some(process) = self.undisturbed(who) else { return false };
                signal(process.pid, Signal::STOP);
                self.later(time, End::Continue(who, process));
            }
            Act::ReloadAgent { who, how } => return self.reload_agent(who, how),
            Act::RestartAgent(who) => {
                let begun = SystemTime::now();
                let told = call(&self.fleet.site.socket(), "restart", &json!({ "agent_id": MEMBERS[who].id }));
                self.diary.interrupted(Whom::Agent(who), begun);
                return told.is_some();
            }
            Act::KillDaemon(gap) => self.replace_daemon(Signal::KILL, gap),
            Act::EndDaemon(gap) => self.replace_daemon(Signal::TERM, gap),
            Act::StopDaemon(time) => {
                self.diary.attend(false);
                self.daemon.signal(Signal::STOP);
                self.later(time, End::ContinueDaemon(self.daemon.pid()));
            }
            Act::ReloadDaemon { good } => self.reload_daemon(good),
            Act::KillMidway { who, both } => return self.kill_midway(who, both),
            Act::KillBehindCut(who, time) => {
                if self.undisturbed(who).is_none() || !self.cut(Cut::AtTheDaemon, INTERVAL * 3 + time) {
                    return false;
                }
                self.pass_until(Instant::now() + INTERVAL * 3);
                return self.hit(who, Signal::KILL);
            }
            Act::CutNetwork(cut, time) => return self.cut(cut, time),
        }
        true
    }

    fn cut(&mut self, cut: Cut, time: Duration) -> bool {
        if self.fleet.network.is_none_or(|network| network.break_it(cut).is_err()) {
            return false;
        }
        self.later(time, End::Mend(cut));
        true
    }

    /// The process of an agent that nothing is being done to, and that works.
    pub(super) fn undisturbed(&self, who: usize) -> Option<Process> {
        let stopped = |later: &Later| matches!(later.what, End::Continue(other, _) if other == who);
        if self.later.iter().any(stopped) {
            return None;
        }
        let process = self.fleet.process(who)?;
        let file = read_status(&self.fleet.status_file(who)).ok()?;
        (file.pid == process.pid && file.state.beats()).then_some(process)
    }

    /// A signal that ends it, stopped or not.
    fn hit(&self, who: usize, number: Signal) -> bool {
        let Some(dead) = self.fleet.process(who) else { return false };
        let begun = SystemTime::now();
        signal(dead.pid, number);
        signal(dead.pid, Signal::CONT);
        self.diary.interrupted(Whom::Agent(who), begun);
        let mut owed = lock(&self.diary.owed);
        if owed.iter().all(|owed| owed.dead != dead) {
            // Whoever is killed again before it was seen to be back is owed once.
            owed.retain(|owed| owed.who != who);
            owed.push(Owed { who, dead, left: BACKOFF_MAX + MARGIN, waited: Duration::ZERO });
        }
        true
    }

    /// The daemon goes, and after the gap another one comes.
    fn replace_daemon(&mut self, number: Signal, gap: Duration) {
        let begun = SystemTime::now();
        self.diary.attend(false);
        self.daemon.signal(number);
        self.daemon.signal(Signal::CONT);
        let status = self.daemon.wait();
        if number == Signal::TERM && status.and_then(|status| status.code()) != Some(0) {
            self.diary.lost(ORDERLY, format!("SIGTERM: {status:?}"));
        }
        self.pass_until(Instant::now() + gap);
        self.start_again();
        self.diary.interrupted(Whom::Everybody, begun);
    }

    /// What is on its way is read by nobody any more, or it is read and its sender is dead.
    fn kill_midway(&mut self, who: usize, both: bool) -> bool {
        if self.undisturbed(who).is_none() {
            return false;
        }
        let begun = SystemTime::now();
        self.diary.attend(false);
        self.daemon.signal(Signal::STOP);
        self.pass_until(Instant::now() + INTERVAL * 3);
        let hit = self.hit(who, Signal::KILL);
        if both {
            self.replace_daemon(Signal::KILL, Duration::ZERO);
        } else {
            self.daemon.signal(Signal::CONT);
            self.diary.attend(true);
        }
        self.diary.interrupted(Whom::Everybody, begun);
        hit
    }

    fn start_again(&mut self) {
        let life = {
            let mut life = lock(&self.diary.life);
            *life += 1;
            *life
        };
        self.daemon = Daemon::start(self.fleet, life);
        self.diary.begins(self.daemon.pid());
    }
}
