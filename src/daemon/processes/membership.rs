//! Which tree a process belongs to, by its pid or by its secret. Reads a few files in `/proc`, so it may run on the loop.

use std::fs;

use statemachine::supervision::Identity;

use super::trees::Trees;
use ops_runtime::observe::Stat;

/// The generations of ancestors that are searched for the main process of a tree.
const MAX_DEPTH: usize = 64;

impl Trees {
    /// Whether a process is in a tree. The pid may be one of this PID namespace, or of one below it in which a member runs.
    #[must_use]
    pub(crate) fn is_member(&self, main: Identity, pid: u32) -> bool {
        if pid == main.pid || self.tree_of(pid) == Some(main) {
            return true;
        }
        let Some(tree) = self.get(main) else { return false };
        let known = tree.known.borrow();
        known.iter().any(|key| namespace_pids(key.0).contains(&pid))
    }

    /// Whether this is the secret of a tree's start.
    #[must_use]
    pub(crate) fn has_secret(&self, main: Identity, presented: &str) -> bool {
        self.get(main).and_then(|tree| Some(tree.secret.as_ref()?.is(presented))).unwrap_or(false)
    }

    /// The tree of the start with this secret.
    #[must_use]
    pub(crate) fn with_secret(&self, presented: &str) -> Option<Identity> {
        let trees = self.trees.borrow();
        let owner = trees.values().find(|tree| tree.secret.as_ref().is_some_and(|secret| secret.is(presented)))?;
        Some(owner.main.identity())
    }

    /// The tree that a process belongs to, by its ancestors and by the last search. Reads a few files in `/proc`.
    #[must_use]
    pub fn tree_of(&self, pid: u32) -> Option<Identity> {
        let mut ancestor = pid;
        for _ in 0..MAX_DEPTH {
            let stat = Stat::of(ancestor).ok()?;
            if let Some(main) = self.owners.borrow().get(&(ancestor, stat.start)) {
                return Some(*main);
            }
            ancestor = stat.parent;
        }
        None
    }
}

/// The pids of a process in the namespaces below this one, see `NSpid` in proc_pid_status(5).
fn namespace_pids(pid: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    pids.split_ascii_whitespace().skip(1).filter_map(|pid| pid.parse().ok()).collect()
}
