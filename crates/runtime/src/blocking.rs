//! Work that blocks: on threads that are kept for that, and given up when there is nothing to do for a while.
//!
//! smol's own pool is not used. When the system has no thread to give, it asks again and again without end, on the thread
//! that brought the work; here that is the loop of the program, which would neither answer nor stop meanwhile. Here the
//! want of a thread is an error like any other, told to whoever brought the work.

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use smol::channel::bounded;

/// How many threads there are at most: work on disks that hang holds one each, and must not hold up everybody else.
const MOST: usize = 500;

/// How long a thread waits for more work.
const LINGER: Duration = Duration::from_millis(500);

/// Does some work, and gives what is left to do once the thread is free again: telling what came of it.
type Job = Box<dyn FnOnce() -> Tell + Send>;
type Tell = Box<dyn FnOnce() + Send>;

static POOL: Pool =
    Pool { inner: Mutex::new(Inner { queue: VecDeque::new(), threads: 0, idle: 0 }), more: Condvar::new() };

struct Pool {
    inner: Mutex<Inner>,
    more: Condvar,
}

struct Inner {
    queue: VecDeque<Job>,
    threads: usize,
    /// How many threads wait for work, or are about to.
    idle: usize,
}

/// Runs `work` where it may block. What has begun goes on to its end, whether or not anybody waits for it.
///
/// # Errors
///
/// There is no thread to be had. Then nothing was done.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = bounded(1);
    let job = move || -> Tell {
        let done = work();
        Box::new(move || drop(sender.try_send(done)))
    };
    POOL.submit(Box::new(job))?;
    receiver.recv().await.map_err(|_| io::Error::other("the work came to no end: see standard error"))
}

impl Pool {
    fn submit(&'static self, job: Job) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.idle > inner.queue.len() || inner.threads >= MOST {
            inner.queue.push_back(job);
            drop(inner);
            self.more.notify_one();
            return Ok(());
        }
        inner.threads += 1;
        drop(inner);
        let started = thread::Builder::new().name("blocking".to_owned()).spawn(move || Worker(self).run(job));
        started.map(drop).inspect_err(|_| self.lock().threads -= 1)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread of the pool: one less when dropped, even by a panic in some work.
struct Worker(&'static Pool);

impl Worker {
    fn run(self, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            let tell = job();
            // Free before anybody hears of it: who brings more work at once finds this thread.
            self.0.lock().idle += 1;
            // What was done may be dropped in it, if nobody waits for that any more. A panic there costs no thread: it counts
            // as idle, and others rely on it.
            let _ = panic::catch_unwind(AssertUnwindSafe(tell));
            next = self.wait();
        }
    }

    fn wait(&self) -> Option<Job> {
        let nothing = |inner: &mut Inner| inner.queue.is_empty();
        let waited = self.0.more.wait_timeout_while(self.0.lock(), LINGER, nothing);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.idle -= 1;
        inner.queue.pop_front()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.lock().threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_beside_whoever_waits_for_it_and_one_thread_does_for_one_after_the_other() {
        let whoami = || thread::current().id();
        let ids: Vec<_> = (0..20).map(|_| smol::block_on(unblock(whoami)).unwrap()).collect();
        assert!(ids.iter().all(|id| *id != thread::current().id()));
    }

    #[test]
    fn work_that_hangs_holds_up_nobody_else() {
        let (let_go, held) = std::sync::mpsc::channel::<()>();
        let hanging = thread::spawn(move || smol::block_on(unblock(move || held.recv().is_ok())).unwrap());
        assert_eq!(smol::block_on(unblock(|| 7)).unwrap(), 7);
        let_go.send(()).unwrap();
        assert!(hanging.join().unwrap());
    }

    #[test]
    fn a_panic_costs_the_work_that_it_was_in() {
        assert!(
            smol::block_on(unblock(|| if true {
                panic!("as asked")
            }))
            .is_err()
        );
        assert_eq!(smol::block_on(unblock(|| 7)).unwrap(), 7);
    }
}
