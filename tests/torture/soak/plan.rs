//! What is done to agents, daemon and network, and when: all of it from one seed.

use std::time::Duration;

use fastrand::Rng;

use super::fleet::{Fleet, MEMBERS};
use super::network::Cut;

/// One unkindness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    KillAgent(usize),
    EndAgent(usize),
    /// For so long.
    StopAgent(usize, Duration),
    ReloadAgent {
        who: usize,
        how: Reload,
    },
    RestartAgent(usize),
    /// Then nobody is there for so long.
    KillDaemon(Duration),
    EndDaemon(Duration),
    StopDaemon(Duration),
    ReloadDaemon {
        good: bool,
    },
    /// The daemon is stopped until every agent has a heartbeat on its way, of which one agent then hears nothing any more:
    /// it is killed, and so is the daemon, or it goes on.
    KillMidway {
        who: usize,
        both: bool,
    },
    /// An agent behind the cable is killed while its heartbeat waits in there for the way to be mended.
    KillBehindCut(usize, Duration),
    CutNetwork(Cut, Duration),
}

/// How an agent is told to read its configuration again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reload {
    /// By request, or else by SIGHUP.
    pub(super) asked: bool,
    pub(super) good: bool,
}

impl Act {
    /// What it is called in the report.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::KillAgent(_) => "agent: SIGKILL",
            Self::EndAgent(_) => "agent: SIGTERM",
            Self::StopAgent(_, time) if time < Duration::from_secs(2) => {
                "agent: SIGSTOP, SIGCONT before anybody is missed"
            }
            Self::StopAgent(..) => "agent: SIGSTOP until the daemon gives it up, SIGCONT",
            Self::ReloadAgent { how: Reload { asked: true, good: true }, .. } => "agent: POST /reload",
            Self::ReloadAgent { how: Reload { asked: true, good: false }, .. } => "agent: POST /reload of a bad file",
            Self::ReloadAgent { how: Reload { asked: false, good: true }, .. } => "agent: SIGHUP",
            Self::ReloadAgent { how: Reload { asked: false, good: false }, .. } => "agent: SIGHUP with a bad file",
            Self::RestartAgent(_) => "agent: `restart` over the daemon's socket",
            Self::KillDaemon(_) => "daemon: SIGKILL, another one adopts",
            Self::EndDaemon(_) => "daemon: SIGTERM, another one adopts",
            Self::StopDaemon(_) => "daemon: SIGSTOP, SIGCONT",
            Self::ReloadDaemon { good: true } => "daemon: SIGHUP, an agent more or one less",
            Self::ReloadDaemon { good: false } => "daemon: SIGHUP with a bad file",
            Self::KillMidway { both: true, .. } => "agent and daemon: SIGKILL with heartbeats on their way",
            Self::KillMidway { both: false, .. } => "agent: SIGKILL with its heartbeat on its way",
            Self::KillBehindCut(..) => "agent: SIGKILL with its heartbeat held up in the network",
            Self::CutNetwork(cut, _) => cut.as_str(),
        }
    }
}

/// An endless schedule: every kind comes up before any comes up again.
pub(super) struct Plan {
    rng: Rng,
    /// Who may be disturbed.
    wild: Vec<usize>,
    cuts: Vec<Cut>,
    deck: Vec<Act>,
}

impl Plan {
    pub(super) fn new(seed: u64, cuts: Vec<Cut>) -> Self {
        Self { rng: Rng::with_seed(seed), wild: Fleet::wild(), cuts, deck: Vec::new() }
    }

    /// What comes next, and how long after the last one was done.
    pub(super) fn next(&mut self) -> (Duration, Act) {
        if self.deck.is_empty() {
            self.shuffle();
        }
        let pause = self.millis(100..700);
        (pause, self.deck.pop().expect("it is not empty"))
    }

    fn shuffle(&mut self) {
        let reloads = [(true, true), (true, false), (false, true), (false, false)];
        let mut deck =
            vec![Act::ReloadDaemon { good: true }, Act::ReloadDaemon { good: true }, Act::ReloadDaemon { good: false }];
        deck.extend((0..3).map(|_| Act::KillAgent(self.one())));
        deck.extend(reloads.map(|(asked, good)| Act::ReloadAgent { who: self.one(), how: Reload { asked, good } }));
        deck.extend([Act::EndAgent(self.one()), Act::RestartAgent(self.one())]);
        deck.extend((0..2).map(|_| Act::StopAgent(self.one(), self.millis(200..1500))));
        deck.push(Act::StopAgent(self.one(), self.millis(5000..7000)));
        deck.extend((0..2).map(|_| Act::KillDaemon(self.millis(0..1200))));
        deck.push(Act::EndDaemon(self.millis(0..1200)));
        deck.extend((0..3).map(|_| Act::StopDaemon(self.millis(100..3500))));
        deck.extend([true, false].map(|both| Act::KillMidway { who: self.one(), both }));
        let far = self.wild.iter().copied().filter(|&who| MEMBERS[who].far && !self.cuts.is_empty());
        let far: Vec<usize> = far.collect();
        deck.extend(far.into_iter().map(|who| Act::KillBehindCut(who, self.millis(700..1500))));
        let cuts = self.cuts.clone();
        deck.extend(cuts.into_iter().map(|cut| Act::CutNetwork(cut, self.millis(300..4000))));
        self.rng.shuffle(&mut deck);
        self.deck = deck;
    }

    fn one(&mut self) -> usize {
        self.wild[self.rng.usize(..self.wild.len())]
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(range))
    }
}
