//! What the acts that work on a thread or in a child have in common: most of them use something up.

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::Where;
use super::behaviour::Begin;
use crate::agent::simulate::child::{end_with_parent, spawn_bound};
use crate::agent::simulate::state::Held;

/// How often something more is used up.
const TICK: Duration = Duration::from_millis(100);

/// The ticks in a second.
pub(super) const TICKS_PER_S: u64 = 10;

/// Waits for the next tick. `false`: the act is over.
pub(super) struct Ticks(Receiver<()>);

impl Ticks {
    pub(super) fn next(&self) -> bool {
        self.after(TICK)
    }

    /// Waits for this time. `false`: the act is over.
    pub(super) fn after(&self, wait: Duration) -> bool {
        self.0.recv_timeout(wait) == Err(RecvTimeoutError::Timeout)
    }

    /// Waits until the act is over.
    pub(super) fn end(&self) {
        let _ = self.0.recv();
    }
}

/// Runs `work` on a thread of the agent, or in a child that does the same.
pub(super) fn run_in(
    place: Where,
    begin: &Begin<'_>,
    work: impl FnOnce(&Ticks) + Send + 'static,
) -> io::Result<Option<Held>> {
    match place {
        Where::Child => Ok(Some(Box::new(spawn_bound(begin)?))),
        Where::Agent => {
            let (held, ticks) = sync_channel::<()>(0);
            thread::Builder::new().name("act".to_owned()).spawn(move || work(&Ticks(ticks)))?;
            Ok(Some(Box::new(held)))
        }
    }
}

/// Runs `work` in a child until its parent ends it.
pub(super) fn in_child(work: impl FnOnce(&Ticks)) -> ExitCode {
    end_with_parent();
    let (_held, ticks) = sync_channel::<()>(0);
    work(&Ticks(ticks));
    ExitCode::SUCCESS
}
