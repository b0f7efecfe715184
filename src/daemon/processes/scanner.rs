//! Looks at all processes for everyone who asks.
//!
//! All trees share one look at `/proc`. With 4,000 processes, to read all of them takes 50 to 100 ms, so it runs on a blocking
//! thread.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use smol::lock::Mutex as AsyncMutex;

use super::known_secrets::KnownSecrets;
use super::table::{Key, ProcessTable};
use ops_runtime::blocking;
use ops_runtime::clock;

/// Reads tables of all processes.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The number of looks that have begun.
    begun: Cell<u64>,
    latest: AsyncMutex<Latest>,
    secrets: Arc<KnownSecrets>,
    mains: RefCell<HashSet<u32>>,
}

#[derive(Debug, Default)]
struct Latest {
    /// The number of the look.
    number: u64,
    /// Whether it read every process, and took none from an earlier table.
    is_whole: bool,
    table: Arc<ProcessTable>,
}

impl Scanner {
    /// Sets the main processes, whose descendants are recognised without a secret.
    pub(super) fn set_main(&self, pid: u32, is_main: bool) {
        let mut mains = self.mains.borrow_mut();
        if is_main {
            mains.insert(pid)
        } else {
            mains.remove(&pid)
        };
    }

    /// The main processes.
    pub(super) fn mains(&self) -> Ref<'_, HashSet<u32>> {
        self.mains.borrow()
    }

    /// The latest table if it is not older than `max_age` and shows this process, or else a new one, in which processes that have
    /// not run since are as in the latest.
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
    pub(super) async fn recent(&self, max_age: Duration, shown: Key) -> io::Result<Arc<ProcessTable>> {
        // It waits for a look that has begun, and whose table is then the latest.
        let mut latest = self.latest.lock().await;
        let is_recent = clock::monotonic().saturating_sub(latest.table.at()) <= max_age;
        if !(is_recent && latest.table.has(shown)) {
            let earlier = Arc::clone(&latest.table);
            self.look(&mut latest, Some(earlier)).await?;
        }
        Ok(Arc::clone(&latest.table))
    }

    /// A table that was begun after this call, for which every process is read. Callers that wait at the same time share it.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read, or the system refuses a thread.
    pub(super) async fn scan(&self) -> io::Result<Arc<ProcessTable>> {
        let asked = self.begun.get();
        let mut latest = self.latest.lock().await;
        if latest.number <= asked || !latest.is_whole {
            self.look(&mut latest, None).await?;
        }
        Ok(Arc::clone(&latest.table))
    }

    async fn look(&self, latest: &mut Latest, earlier: Option<Arc<ProcessTable>>) -> io::Result<()> {
        let number = self.begun.get() + 1;
        self.begun.set(number);
        let is_whole = earlier.is_none();
        let (mains, secrets) = (self.mains().clone(), Arc::clone(&self.secrets));
        let read = move || ProcessTable::read(&mains, &secrets, earlier.as_deref());
        let table = Arc::new(blocking::unblock(read).await??);
        *latest = Latest { number, is_whole, table };
        Ok(())
    }
}
