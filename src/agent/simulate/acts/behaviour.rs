//! What an act can change: each method is one place in the agent, and by default an act changes nothing there.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use crate::agent::event_loop::LoopEvent;
use crate::agent::simulate::effects::{FileAccess, HeartbeatAccess};
use crate::agent::simulate::front::Exchange;
use crate::agent::simulate::plan::Step;
use crate::agent::simulate::state::{Held, Simulation};
use crate::agent::status_file::WriteError;
use ops_protocol::heartbeat::Heartbeat;
use ops_protocol::status_file::StatusFile;

/// A future on the thread of the event loop.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What an act does.
pub(crate) trait Behaviour {
    /// Begins the act, on the thread of the steps. What it returns is dropped when the act ends.
    fn begin(&self, _: &Begin<'_>) -> io::Result<Option<Held>> {
        Ok(None)
    }

    /// What a child that the act has started does. The child ends with it.
    fn child(&self, _: &Step, _: &[std::ffi::OsString]) -> ExitCode {
        ExitCode::FAILURE
    }

    /// What the main thread does meanwhile.
    fn main_thread(&self) -> MainThread {
        MainThread::Runs
    }

    /// Whether the set-up does not begin.
    fn delays_setup(&self) -> bool {
        false
    }

    /// Whether the start may take longer than the agent's limit.
    fn delays_start(&self) -> bool {
        false
    }

    /// What happens to an event on its way to the loop.
    fn fate(&self, _: &LoopEvent) -> Fate {
        Fate::Passes
    }

    /// How much longer a drain takes.
    fn drain_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// What the act does instead of a write of the status file.
    fn file(&self) -> Option<&dyn FileAct> {
        None
    }

    /// What the act does instead of sending a heartbeat.
    fn heartbeat(&self) -> Option<&dyn HeartbeatAct> {
        None
    }

    /// What the act does instead of the API.
    fn http(&self) -> Option<&dyn HttpAct> {
        None
    }

    /// Whether the listener is closed.
    fn closes_listener(&self) -> bool {
        false
    }
}

/// What an act needs to begin.
pub(crate) struct Begin<'a> {
    pub(crate) simulation: &'a Simulation,
    /// The index of the step in the plan.
    pub(crate) index: usize,
    pub(crate) step: &'a Step,
}

/// What the main thread does. A later one counts more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MainThread {
    /// It runs.
    #[default]
    Runs,
    /// The event loop does not run, but the other tasks of the thread do.
    HoldsLoop,
    /// Nothing on the thread runs.
    Blocks,
    /// It panics.
    Panics,
}

/// What happens to an event on its way to the loop. A later one counts more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It arrives.
    #[default]
    Passes,
    /// It arrives after the act.
    Waits,
    /// It does not arrive.
    IsDropped,
}

/// Writes the status file in another way.
pub(crate) trait FileAct {
    /// What happens instead of a write of this record. It also happens once when the act begins.
    fn write<'a>(&'a self, file: &'a FileAccess<'a>, record: StatusFile) -> Local<'a, Result<(), WriteError>>;
}

/// Sends heartbeats in another way. To the agent, each one looks delivered.
pub(crate) trait HeartbeatAct {
    /// What happens instead of one attempt.
    fn send<'a>(&'a self, wire: &'a HeartbeatAccess, heartbeat: Heartbeat, limit: Duration) -> Local<'a, ()>;
}

/// Answers HTTP requests in another way.
pub(crate) trait HttpAct {
    /// What happens instead of passing a request on to the API. Afterwards, the connection is closed.
    fn answer<'a>(&'a self, exchange: Exchange<'a>) -> Local<'a, io::Result<()>>;
}
