//! Whether anything of a tree is left, although its processes may start others and end during the search.

use std::time::Duration;

use async_io::Timer;

use super::table::Key;
use super::trees::{Tree, Trees};
use ops_runtime::observe::Stat;
use ops_runtime::orphans;

/// How many times a tree is searched until it is certain that nothing of it is left, and the wait before each search.
const SEARCH_ROUNDS: usize = 64;
const SEARCH_AGAIN: Duration = Duration::from_millis(5);

impl Trees {
    /// The living members of a tree. If there seem to be none, searches until that is certain: a process that ended during the
    /// search may have left a child that the search missed.
    pub(super) async fn remaining_members(&self, tree: &Tree) -> Vec<Key> {
        for round in 0..SEARCH_ROUNDS {
            let (orphans, reaped) = (orphans::adopted().unwrap_or_default(), orphans::reaped());
            let (left, table) = self.living_members(tree).await;
            if !left.is_empty() {
                return left;
            }
            let has_moved = if gets_orphans(tree) {
                let has_new = !orphans::adopted().is_ok_and(|now| now.iter().all(|pid| orphans.contains(pid)));
                has_new || orphans::reaped() != reaped
            } else {
                // What it leaves becomes the child of another process. Only a second search shows that nothing has moved.
                round == 0
            };
            if !has_moved && !table.is_unsure() {
                return left;
            }
            Timer::after(SEARCH_AGAIN).await;
        }
        Vec::new()
    }
}

/// Whether it is certain, without a search of all processes, that a tree has ended with its main process.
pub(super) fn has_left_nothing(tree: &Tree) -> bool {
    gets_orphans(tree) && no_orphan_is_left()
}

/// Whether what a tree leaves when its main process ends is a child of the daemon: the launcher made the main process a reaper of
/// orphans, and the daemon is one too.
fn gets_orphans(tree: &Tree) -> bool {
    tree.main.is_child() && orphans::are_adopted()
}

/// Whether no orphan of the daemon lives. One that ended after it was listed may have left a child that is listed only now.
fn no_orphan_is_left() -> bool {
    let mut listed: Vec<u32> = Vec::new();
    for _ in 0..SEARCH_ROUNDS {
        let Ok(now) = orphans::adopted() else { return false };
        if now.iter().any(|pid| Stat::of_living(*pid).is_some()) {
            return false;
        }
        if now.iter().all(|pid| listed.contains(pid)) {
            return true;
        }
        listed = now;
    }
    false
}
