//! Agent × daemon × network × crashes.
//!
//! | part | here |
//! |---|---|
//! | what the daemon decides | the product's `Registry` with its `Supervised` machine, `Evidence`, `RestartGuard`, and the saved registry |
//! | how the daemon performs it | modelled in `daemon`, after the daemon's event loop: effects in order, and a save before the effects that follow a `Record` |
//! | what the agent decides | the product's table `statemachine::lifecycle::transition`, with one fault, `heartbeat` |
//! | how the agent sends | modelled in `host` and `time`: one heartbeat per tick; two failures in a row raise the fault, one success clears it |
//! | how the daemon checks a service | modelled in `service`: the check passes while the process runs |
//! | process table, signals, pids, network, disk | modelled in `host` and `daemon` |
//!
//! A tick is 30 s, the default interval of heartbeats and of checks. The limits are the product's defaults, except for a
//! start grace of one tick, so every deadline falls on a tick. Between ticks, all possible actions happen in any order.
//! Short operations end within their tick: a save, the report of a start or an exit, a deadline that is due.
//!
//! Imports go one way: `types`, `state`, then `host`, `daemon`, `invariants` and `time`, then this file.

mod daemon;
mod host;
mod invariants;
mod service;
mod state;
mod time;
mod types;

use std::time::Duration;

use stateright::{Model, Property};

pub use state::State;
pub use types::{Action, Bounds, Counters, Defect, Invariant, Pair, Service, TICK};

impl Model for Pair {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: Duration::from_secs(1000),
            processes: Vec::new(),
            net: Vec::new(),
            incarnation: 0,
            disk: None,
            recorded: None,
            daemon: None,
            left: self.bounds,
            violated: None,
            started_at: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violated.is_none() {
            state.daemon_actions(self, actions);
            if state.may_tick(self) {
                actions.push(Action::Tick);
            }
            state.host_actions(actions);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Tick => state.tick(self),
            Action::DaemonWakes => state.wake(self),
            Action::DaemonSaves => state.saved(true),
            Action::DaemonFailsToSave => state.saved(false),
            Action::DaemonPerforms => state.perform(self),
            Action::StartIsReported => state.report_start(self),
            Action::ExitIsReported(pid) => state.report_exit(self, pid),
            Action::TreeEndIsReported(pid) => state.report_end_of_tree(self, pid),
            Action::HelperStarts(pid) => state.start_helper(pid),
            Action::DaemonCrashes => state.crash_daemon(),
            Action::DaemonStarts => state.start_daemon(self),
            Action::DaemonStalls => state.set_stalled(true),
            Action::DaemonResumes => state.set_stalled(false),
            Action::Delivered(index) => state.deliver(self, index, false),
            Action::DeliveredTwice(index) => state.deliver(self, index, true),
            Action::CloneSends => state.send_from_clone(),
            Action::AgentCrashes(pid) => state.crash(pid),
            Action::AgentHangs(pid) => state.hang(pid),
            Action::StrayCopyStarts => state.start_stray_copy(),
            Action::OtherProgramStarts => state.start_other_program(),
            Action::OperatorStarts | Action::OperatorStops | Action::OperatorRestarts => state.command(self, action),
        }
        // Messages have no order, so their order must not make two states different.
        state.net.sort_by_key(|message| (message.pid, message.age, message.incarnation, message.degraded));
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}
