//! The process trees of the agents: start, watch, signal, count, reap. Nothing is decided here.
//!
//! * [`start()`] starts a main process through the [`launcher`], in a session of its own and with a [start secret](secret).
//! * [`Trees`] holds every tree. It finds the members, signals them all, and knows when none is left.
//! * [`check_run`] runs the programs of checks, which belong to no tree.
//! * [`cgroups`] holds the members of a tree together where the host lets the daemon make cgroups.
//! * [`starts`] keeps a record of each start for the next daemon. What has no record is found by its secret.
//! * [`tail`], [`follow()`] and [`rotate_all`] read and cut the output of an agent.
//! * [`program`] runs a program that is no agent to its end.
//!
//! Children are std's, and rustix waits for them. async-process reaps a child before it reports the exit. From then on the pid
//! may belong to another process. Here a main process is reaped last.

pub(crate) mod adoption;
pub(crate) mod cgroups;
pub(crate) mod check_run;
pub(crate) mod descriptors;
pub(crate) mod environment;
pub(crate) mod follow;
pub(crate) mod identity;
mod known_secrets;
pub(crate) mod launcher;
pub(crate) mod main_process;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod output;
pub(crate) mod program;
mod scanner;
pub(crate) mod search;
pub(crate) mod secret;
pub(crate) mod signals;
pub(crate) mod start;
pub(crate) mod start_error;
pub(crate) mod starts;
mod stop;
pub(crate) mod table;
pub(crate) mod trees;
pub(crate) mod usage;
pub(crate) mod work_dir;

pub(crate) use adoption::{Search, adopt};
pub(crate) use cgroups::Cgroups;
pub(crate) use check_run::{CheckCommand, CheckEnd, CheckRuns, ENDING};
pub(crate) use descriptors::raise_limit as raise_open_files_limit;
pub(crate) use follow::{LogPosition, NewOutput, follow};
pub(crate) use identity::canonical_work_dir;
pub(crate) use output::{LogFile, LogState, Run, rotate_all, tail, tail_of_run};
pub(crate) use secret::IdentityKey;
pub(crate) use signals::NamedSignal;
pub(crate) use signals::warn_of_ignored as warn_of_ignored_signals;
pub(crate) use start::{LAUNCH_TIMEOUT, Launch, start};
pub(crate) use starts::{RecordedAgent, Starts};
pub(crate) use table::ProcessTable;
pub(crate) use trees::{MainExit, Trees};

use std::io;

/// The result of a removal or a rename, for which a missing file is no failure.
fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
