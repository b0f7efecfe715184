//! Which processes are members of a tree. Pure.
//!
//! A member is: the main process; what was seen as a member before; what carries the secret of this start; what is in the session
//! of the main process; what is in its cgroup; and every descendant of a member. The tree of another agent is never entered.

use std::collections::HashSet;

use super::known_secrets::CarriedSecret;
use super::secret::StartSecret;
use super::table::{Key, ProcessTable};

/// What is known of a tree.
#[derive(Debug)]
pub(super) struct TreeFacts<'a> {
    /// The main process.
    pub(super) main: Key,
    /// The secret of this start, if it is known.
    pub(super) secret: Option<&'a StartSecret>,
    /// The user of the agent. `None`: that of the daemon.
    pub(super) user: Option<u32>,
    /// Whether this daemon started it. Then the number of its session has not been reused.
    pub(super) seen_from_start: bool,
    /// The members that were seen before.
    pub(super) known: &'a [Key],
    /// What a stop has left running on purpose.
    pub(super) released: &'a HashSet<Key>,
    /// What is in its cgroup. It is read after the table, so it may be younger.
    pub(super) cgroup: &'a [Key],
    /// Children of the daemon that no tree explains, and that became orphans when this main process ended.
    pub(super) orphans: &'a [u32],
}

/// The living members of a tree, the main process first. `mains` are the main processes of all trees.
pub(super) fn members(table: &ProcessTable, tree: &TreeFacts<'_>, mains: &HashSet<u32>) -> Vec<Key> {
    let is_released = |pid: u32| table.get(pid).is_some_and(|stat| tree.released.contains(&(pid, stat.start)));
    let is_barred = |pid: u32| pid != tree.main.0 && (mains.contains(&pid) || is_released(pid));
    let main = table.has(tree.main).then_some(tree.main.0);
    let known = tree.known.iter().filter(|key| table.has(**key)).map(|key| key.0);
    let carries = |carried: &CarriedSecret| tree.secret == Some(&carried.secret) && carried.is_of(tree.user);
    let carrying = table.secrets().filter(|(_, carried)| carries(carried)).map(|(pid, _)| pid);
    let session = tree.seen_from_start.then(|| table.session(tree.main.0)).into_iter().flatten();
    let in_cgroup = tree.cgroup.iter().filter(|key| table.has(**key)).map(|key| key.0);
    // A process that is older than the tree cannot be in it.
    let is_younger = |pid: &u32| table.get(*pid).is_some_and(|stat| stat.start >= tree.main.1);
    let roots = main
        .into_iter()
        .chain(known)
        .chain(carrying)
        .chain(session)
        .chain(tree.orphans.iter().copied())
        .chain(in_cgroup)
        .filter(|pid| !is_barred(*pid) && is_younger(pid));
    let pids = table.closure(roots.collect::<Vec<_>>(), is_barred);
    let mut found: Vec<Key> = pids.into_iter().filter_map(|pid| Some((pid, table.get(pid)?.start))).collect();
    let is_newer = |key: &&Key| !table.has(**key) && key.1 >= tree.main.1 && !is_barred(key.0);
    found.extend(tree.cgroup.iter().filter(is_newer));
    found
}

/// The living orphans of the daemon that nothing ties to another tree. `adopted` are the children that it did not start.
pub(super) fn unexplained_orphans(table: &ProcessTable, adopted: &[u32], explained: &HashSet<u32>) -> Vec<u32> {
    let is_unexplained =
        |pid: &&u32| table.get(**pid).is_some() && !explained.contains(pid) && table.secret(**pid).is_none();
    adopted.iter().filter(is_unexplained).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use ops_runtime::observe::Stat;

    fn stat(parent: u32, session: u32, start: u64) -> Stat {
        Stat {
            zombie: false,
            parent,
            group: session,
            session,
            cpu_ticks: 0,
            children_cpu_ticks: 0,
            start,
            resident_pages: 0,
        }
    }

    const DAEMON: u32 = 10;
    const MAIN: Key = (100, 500);

    fn facts<'a>(secret: Option<&'a StartSecret>, known: &'a [Key], orphans: &'a [u32]) -> TreeFacts<'a> {
        static NONE: LazyLock<HashSet<Key>> = LazyLock::new(HashSet::new);
        TreeFacts {
            main: MAIN,
            secret,
            user: None,
            seen_from_start: true,
            known,
            released: &NONE,
            cgroup: &[],
            orphans,
        }
    }

    fn pids(table: &ProcessTable, facts: &TreeFacts<'_>) -> Vec<u32> {
        let mut pids: Vec<u32> =
            members(table, facts, &HashSet::from([100, 200])).into_iter().map(|key| key.0).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn descendants_are_members_in_every_session_and_other_trees_are_not() {
        let table = ProcessTable::of([
            (100, stat(DAEMON, 100, 500)),
            (101, stat(100, 100, 501)),
            (102, stat(101, 102, 502)),
            (103, stat(102, 103, 503)),
            (200, stat(DAEMON, 200, 400)),
            (201, stat(200, 200, 600)),
            (11, stat(1, 11, 1)),
        ]);
        assert_eq!(pids(&table, &facts(None, &[], &[])), [100, 101, 102, 103]);
        assert_eq!(
            members(&table, &facts(None, &[], &[]), &HashSet::from([100, 200]))[0],
            MAIN,
            "the main process first"
        );
    }

    #[test]
    fn what_outlives_its_main_process_is_found_by_each_kind_of_evidence() {
        let secret = StartSecret::presented("nonce.mac");
        let table = ProcessTable::of([
            (104, stat(1, 104, 510)),
            (105, stat(104, 105, 511)),
            (106, stat(1, 106, 512)),
            (107, stat(1, 100, 513)),
            (108, stat(DAEMON, 108, 514)),
            (109, stat(1, 109, 515)),
        ])
        .carries(104, "nonce.mac")
        .carries(109, "other.mac");
        assert_eq!(pids(&table, &facts(Some(&secret), &[], &[])), [104, 105, 107], "secret, descent, session");
        assert_eq!(pids(&table, &facts(None, &[(106, 512)], &[])), [106, 107], "seen before");
        assert_eq!(pids(&table, &facts(None, &[(106, 999)], &[])), [107], "a reused pid is another process");
        assert_eq!(pids(&table, &facts(None, &[], &[108])), [107, 108], "an orphan of this end");
        let adopted = TreeFacts { seen_from_start: false, ..facts(None, &[], &[]) };
        assert_eq!(pids(&table, &adopted), [0; 0], "the number of a session may have been reused");
    }

    #[test]
    fn what_a_stop_has_left_running_is_no_member_and_neither_is_what_it_starts() {
        let table = ProcessTable::of([
            (100, stat(DAEMON, 100, 500)),
            (101, stat(100, 101, 501)),
            (102, stat(101, 102, 502)),
            (103, stat(100, 100, 503)),
        ]);
        let released = HashSet::from([(101, 501)]);
        let after = TreeFacts { released: &released, ..facts(None, &[(101, 501)], &[]) };
        assert_eq!(pids(&table, &after), [100, 103]);
        let reused = HashSet::from([(101, 7)]);
        let other = TreeFacts { released: &reused, ..facts(None, &[], &[]) };
        assert_eq!(pids(&table, &other), [100, 101, 102, 103], "a reused pid is another process");
    }

    #[test]
    fn what_is_in_the_cgroup_is_a_member_with_its_descendants() {
        let table = ProcessTable::of([
            (104, stat(1, 104, 510)),
            (105, stat(104, 105, 511)),
            (50, stat(1, 50, 499)),
            (200, stat(DAEMON, 200, 600)),
        ]);
        let cgroup = [(104, 510), (120, 520), (50, 499), (200, 600)];
        let with_cgroup = TreeFacts { seen_from_start: false, cgroup: &cgroup, ..facts(None, &[], &[]) };
        assert_eq!(pids(&table, &with_cgroup), [104, 105, 120], "120 began after the table was read");
    }

    #[test]
    fn a_process_older_than_the_tree_is_no_member() {
        let secret = StartSecret::presented("nonce.mac");
        let table = ProcessTable::of([(50, stat(1, 100, 499)), (51, stat(1, 51, 499))]).carries(51, "nonce.mac");
        assert_eq!(pids(&table, &facts(Some(&secret), &[(50, 499)], &[50])), [0; 0]);
    }

    #[test]
    fn an_orphan_that_something_explains_is_left_alone() {
        let table = ProcessTable::of([
            (100, stat(DAEMON, 100, 500)),
            (110, stat(DAEMON, 110, 510)),
            (111, stat(DAEMON, 111, 511)),
            (112, stat(1, 112, 512)),
        ])
        .carries(111, "other.mac");
        // 110 and 111 are orphans, 113 has ended, and the daemon started 100 itself.
        let adopted = [110, 111, 113];
        assert_eq!(unexplained_orphans(&table, &adopted, &HashSet::from([100])), [110]);
        assert_eq!(unexplained_orphans(&table, &adopted, &HashSet::from([100, 110])), [0; 0]);
    }
}
