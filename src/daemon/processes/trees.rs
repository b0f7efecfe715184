//! All process trees of the daemon: each grows from one start, and is signalled, counted and cleaned up as a whole.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt as _;
use smol::channel::{Receiver, Sender};
use statemachine::supervision::{Exit, Identity};

use super::cgroups::{Cgroup, Cgroups};
use super::main_process::{MainProcess, Member};
use super::members::{TreeFacts, members, unexplained_orphans};
use super::scanner::Scanner;
use super::search::has_left_nothing;
use super::secret::StartSecret;
use super::start::Started;
use super::table::{Key, ProcessTable};
use ops_runtime::blocking;
use ops_runtime::orphans;

/// The wait before `/proc` is read again after a failure.
const SCAN_RETRY: Duration = Duration::from_millis(250);

/// How a main process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MainExit {
    /// Its exit.
    pub exit: Exit,
    /// The number of other processes of its tree.
    pub left: usize,
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) main: MainProcess,
    pub(super) secret: Option<StartSecret>,
    /// The user of the agent. `None`: that of the daemon.
    user: Option<u32>,
    /// Its cgroup, where the daemon may make some.
    pub(super) cgroup: Option<Cgroup>,
    /// The members at the last search.
    pub(super) known: RefCell<Vec<Key>>,
    /// Processes that a stop has left running. They are no members any more.
    pub(super) released: RefCell<HashSet<Key>>,
    /// Tells the wait for the end of the tree that processes were released.
    pub(super) releases: (Sender<()>, Receiver<()>),
    main_is_gone: Cell<bool>,
}

/// The trees by their main processes.
#[derive(Debug, Default)]
pub struct Trees {
    cgroups: Option<Cgroups>,
    scanner: Scanner,
    pub(super) trees: RefCell<HashMap<Identity, Rc<Tree>>>,
    /// The tree of each member at the last search.
    pub(super) owners: RefCell<HashMap<Key, Identity>>,
}

impl Trees {
    /// Without trees. The members of each are also in its cgroup.
    pub(crate) fn in_cgroups(cgroups: Option<Cgroups>) -> Self {
        Self { cgroups, ..Self::default() }
    }

    /// Where cgroups are made.
    pub(crate) const fn cgroups(&self) -> Option<&Cgroups> {
        self.cgroups.as_ref()
    }

    /// The cgroup of a start.
    pub(super) fn cgroup_of(&self, secret: &StartSecret) -> Option<Cgroup> {
        self.cgroups.as_ref()?.of(secret)
    }

    /// Takes a tree that was started.
    pub fn insert(&self, started: Started) -> Identity {
        let Started { main, secret, user, cgroup, log: _ } = started;
        self.add(main, (Some(secret), Some(user)), cgroup, Vec::new())
    }

    /// Takes over the main process of an earlier daemon, with the secret of its start and its user. `false`: it is gone.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read. That proves nothing: try again.
    pub fn adopt(&self, main: Identity, secret: Option<StartSecret>, user: Option<u32>) -> io::Result<bool> {
        let Some(process) = MainProcess::adopt(main)? else { return Ok(false) };
        let cgroup = secret.as_ref().and_then(|secret| self.cgroup_of(secret));
        self.add(process, (secret, user), cgroup, Vec::new());
        Ok(true)
    }

    /// Takes over what an earlier daemon's tree left when its main process ended.
    pub(crate) fn adopt_remainder(&self, main: Identity, secret: StartSecret, user: Option<u32>, members: Vec<Key>) {
        if let Some(process) = MainProcess::gone(main) {
            let cgroup = self.cgroup_of(&secret);
            self.add(process, (Some(secret), user), cgroup, members);
        }
    }

    fn add(
        &self,
        main: MainProcess,
        (secret, user): (Option<StartSecret>, Option<u32>),
        cgroup: Option<Cgroup>,
        known: Vec<Key>,
    ) -> Identity {
        let identity = main.identity();
        self.scanner.set_main(identity.pid, true);
        self.owners.borrow_mut().insert(main.key(), identity);
        let tree = Tree {
            main,
            secret,
            user,
            cgroup,
            known: RefCell::new(known),
            released: RefCell::default(),
            releases: smol::channel::bounded(1),
            main_is_gone: Cell::new(false),
        };
        self.trees.borrow_mut().insert(identity, Rc::new(tree));
        identity
    }

    /// A new table of all processes.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub async fn scan(&self) -> io::Result<Arc<ProcessTable>> {
        self.scanner.scan().await
    }

    /// A table that shows this tree and is not older than `max_age`.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub(super) async fn recent(&self, tree: &Tree, max_age: Duration) -> io::Result<Arc<ProcessTable>> {
        self.scanner.recent(max_age, tree.main.key()).await
    }

    /// Waits for the end of a main process. `None`: the tree is not known.
    pub async fn main_exited(&self, main: Identity) -> Option<MainExit> {
        let tree = self.get(main)?;
        let exit = tree.main.exited().await;
        tree.main_is_gone.set(true);
        if has_left_nothing(&tree) {
            Box::pin(remove_cgroup(&tree)).await;
            return Some(MainExit { exit, left: 0 });
        }
        // Boxed, because each agent has a task that waits here for its whole life.
        let left = Box::pin(self.remaining_members(&tree)).await.len();
        if left == 0 {
            Box::pin(remove_cgroup(&tree)).await;
        }
        Some(MainExit { exit, left })
    }

    /// Waits until no process of a tree is left.
    pub async fn emptied(&self, main: Identity) {
        let Some(tree) = self.get(main) else { return };
        loop {
            let left = self.remaining_members(&tree).await;
            if left.is_empty() {
                remove_cgroup(&tree).await;
                return;
            }
            let ended = async {
                for member in left.into_iter().filter_map(Member::open) {
                    member.exited().await;
                }
            };
            let released = async {
                let _ = tree.releases.1.recv().await;
            };
            ended.or(released).await;
        }
    }

    /// Reaps the main process of a tree that is gone, and forgets the tree.
    pub fn reap(&self, main: Identity) {
        if let Some(tree) = self.trees.borrow_mut().remove(&main) {
            self.scanner.set_main(main.pid, false);
            self.set_members(&tree, Vec::new());
            self.owners.borrow_mut().remove(&tree.main.key());
        }
    }

    /// The living members of a tree, with the table that shows them. Waits until `/proc` can be read: before that, it cannot be
    /// told what is left.
    pub(super) async fn living_members(&self, tree: &Tree) -> (Vec<Key>, Arc<ProcessTable>) {
        loop {
            match self.search(tree).await {
                Ok((table, members)) => return (members, table),
                Err(error) => {
                    tracing::warn!(pid = tree.main.identity().pid, %error, "/proc cannot be read: trying again");
                    Timer::after(SCAN_RETRY).await;
                }
            }
        }
    }

    /// The living members of a tree, or at least what is known without a search.
    pub(super) async fn members_or_main(&self, tree: &Tree) -> Vec<Key> {
        match self.search(tree).await {
            Ok((_, members)) => members,
            Err(error) => {
                tracing::error!(pid = tree.main.identity().pid, %error, "/proc cannot be read: only known processes are signalled");
                [tree.main.key()].into_iter().chain(tree.known.borrow().iter().copied()).collect()
            }
        }
    }

    /// A new table, and the members of a tree by it and by its cgroup.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read, or the system refuses a thread.
    pub(super) async fn search(&self, tree: &Tree) -> io::Result<(Arc<ProcessTable>, Vec<Key>)> {
        let table = self.scanner.scan().await?;
        let members = self.members_at(tree, &table).await?;
        Ok((table, members))
    }

    /// The living members of a tree by this table and by its cgroup.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(super) async fn members_at(&self, tree: &Tree, table: &ProcessTable) -> io::Result<Vec<Key>> {
        let cgroup = match tree.cgroup.clone() {
            // One that cannot be read shows nothing, and the other evidence counts.
            Some(cgroup) => blocking::unblock(move || cgroup.members().unwrap_or_default()).await?,
            None => Vec::new(),
        };
        Ok(self.members(tree, table, &cgroup))
    }

    fn members(&self, tree: &Tree, table: &ProcessTable, cgroup: &[Key]) -> Vec<Key> {
        let orphans = self.orphans_of(tree, table);
        let known = tree.known.borrow().clone();
        let facts = TreeFacts {
            main: tree.main.key(),
            secret: tree.secret.as_ref(),
            user: tree.user,
            seen_from_start: tree.main.is_child(),
            known: &known,
            released: &tree.released.borrow(),
            cgroup,
            orphans: &orphans,
        };
        let found = members(table, &facts, &self.scanner.mains());
        self.set_members(tree, found.clone());
        found
    }

    fn set_members(&self, tree: &Tree, members: Vec<Key>) {
        let mut owners = self.owners.borrow_mut();
        for key in members.iter().filter(|key| **key != tree.main.key()) {
            owners.insert(*key, tree.main.identity());
        }
        let present: HashSet<Key> = members.iter().copied().collect();
        for key in tree.known.replace(members) {
            if key != tree.main.key() && !present.contains(&key) {
                owners.remove(&key);
            }
        }
    }

    /// Orphans without a secret that only this tree can have left, because its main process alone has ended.
    fn orphans_of(&self, tree: &Tree, table: &ProcessTable) -> Vec<u32> {
        let trees = self.trees.borrow();
        let is_only_one = || trees.values().filter(|tree| tree.main_is_gone.get()).count() == 1;
        if !(tree.main.is_child() && tree.main_is_gone.get() && is_only_one() && orphans::are_adopted()) {
            return Vec::new();
        }
        // Not the children of this process by the table: a launcher that is being started is one too.
        let Ok(adopted) = orphans::adopted() else { return Vec::new() };
        let known = trees.values().flat_map(|tree| tree.known.borrow().clone()).filter(|key| table.has(*key));
        let explained: HashSet<u32> = known.map(|key| key.0).chain(self.scanner.mains().iter().copied()).collect();
        unexplained_orphans(table, &adopted, &explained)
    }

    pub(super) fn get(&self, main: Identity) -> Option<Rc<Tree>> {
        self.trees.borrow().get(&main).map(Rc::clone)
    }
}

/// Removes the cgroup of a tree that is gone.
async fn remove_cgroup(tree: &Tree) {
    if let Some(cgroup) = tree.cgroup.clone() {
        // If there is no thread, the next daemon removes it.
        let _ = blocking::unblock(move || cgroup.remove()).await;
    }
}
