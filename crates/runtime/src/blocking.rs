//! Threads for work that blocks. A thread ends when it has been idle for a while.
//!
//! smol's own pool is not used. When the system refuses a thread, that pool retries without end on the calling
//! thread, which here is the thread of the event loop. Here a failure to start a thread is returned to the caller.

use std::collections::VecDeque;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use smol::channel::bounded;

use crate::clock;

/// The maximum number of threads. Work on a hung disk holds one thread each, so the maximum is high.
const MAX_THREADS: usize = 500;

/// The maximum number of threads that wait for a name server at the same time.
const MAX_LOOKUPS: usize = 16;

/// The maximum number of threads that render large answers at the same time.
const MAX_RENDERING: usize = 2;

/// How long an idle thread waits for more work.
const LINGER: Duration = Duration::from_millis(500);

/// A job does its work and returns the step that delivers the result. The thread counts as idle before it takes that
/// step.
type Job = Box<dyn FnOnce() -> Deliver + Send>;
type Deliver = Box<dyn FnOnce() + Send>;

static POOL: Pool = Pool::new("blocking", MAX_THREADS);

/// The threads for name lookups. They have a pool of their own, because nothing else may wait behind a dead name server.
pub static LOOKUPS: Pool = Pool::new("lookup", MAX_LOOKUPS);

/// The threads for work that only needs time, such as a large answer. It must not wait behind a disk that hangs.
pub static RENDERING: Pool = Pool::new("render", MAX_RENDERING);

/// Threads for one kind of work.
pub struct Pool {
    name: &'static str,
    max_threads: usize,
    inner: Mutex<Inner>,
    more: Condvar,
}

struct Inner {
    /// The jobs that wait for a thread, each with the time since when.
    queue: VecDeque<(Duration, Job)>,
    threads: usize,
    /// How many threads wait for work, or are about to wait.
    idle: usize,
}

/// Runs `work` on a thread where it may block. Work that has begun runs to its end, even if the caller drops this
/// future.
///
/// # Errors
///
/// The system refused a thread. The work was not started.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    POOL.run(work).await
}

/// How long the oldest work of [`unblock`] has waited for a thread. Zero: none waits.
#[must_use]
pub fn oldest_wait() -> Duration {
    let since = POOL.lock().queue.front().map(|(since, _)| *since);
    since.map_or(Duration::ZERO, |since| clock::monotonic().saturating_sub(since))
}

impl Pool {
    const fn new(name: &'static str, max_threads: usize) -> Self {
        let inner = Inner { queue: VecDeque::new(), threads: 0, idle: 0 };
        Self { name, max_threads, inner: Mutex::new(inner), more: Condvar::new() }
    }

    /// Runs `work` on a thread of this pool. Work that has begun runs to its end, even if the caller drops this future.
    ///
    /// # Errors
    ///
    /// The system refused a thread. The work was not started.
    pub async fn run<T: Send + 'static>(&'static self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (sender, receiver) = bounded(1);
        let job = move || -> Deliver {
            let output = work();
            Box::new(move || drop(sender.try_send(output)))
        };
        self.submit(Box::new(job))?;
        receiver.recv().await.map_err(|_| io::Error::other("the work panicked: see standard error"))
    }

    /// The same without a result.
    ///
    /// # Errors
    ///
    /// The system refused a thread. The work was not started.
    pub fn spawn(&'static self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.submit(Box::new(move || {
            work();
            Box::new(|| ())
        }))
    }

    fn submit(&'static self, job: Job) -> io::Result<()> {
        let mut inner = self.lock();
        if inner.idle > inner.queue.len() || inner.threads >= self.max_threads {
            inner.queue.push_back((clock::monotonic(), job));
            drop(inner);
            self.more.notify_one();
            return Ok(());
        }
        inner.threads += 1;
        drop(inner);
        let started = thread::Builder::new().name(self.name.to_owned()).spawn(move || Worker(self).run(job));
        started.map(drop).inspect_err(|_| self.lock().threads -= 1)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread of the pool. Dropping it, also in a panic, takes it out of the count.
struct Worker(&'static Pool);

impl Worker {
    fn run(self, first: Job) {
        let mut next = Some(first);
        while let Some(job) = next {
            let deliver = job();
            // Idle before the result is delivered, so that a caller that submits more work then reuses this thread.
            self.0.lock().idle += 1;
            // If the caller is gone, the result is dropped here, and that may panic. The panic must not end the
            // thread, because it already counts as idle.
            let _ = panic::catch_unwind(AssertUnwindSafe(deliver));
            next = self.wait();
        }
    }

    fn wait(&self) -> Option<Job> {
        let nothing = |inner: &mut Inner| inner.queue.is_empty();
        let waited = self.0.more.wait_timeout_while(self.0.lock(), LINGER, nothing);
        let (mut inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.idle -= 1;
        inner.queue.pop_front().map(|(_, job)| job)
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
    fn work_runs_on_another_thread_than_its_caller() {
        let whoami = || thread::current().id();
        let ids: Vec<_> = (0..20).map(|_| smol::block_on(unblock(whoami)).unwrap()).collect();
        assert!(ids.iter().all(|id| *id != thread::current().id()));
    }

    #[test]
    fn hung_work_does_not_block_other_work() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let hanging = thread::spawn(move || smol::block_on(unblock(move || released.recv().is_ok())).unwrap());
        assert_eq!(smol::block_on(unblock(|| 7)).unwrap(), 7);
        release.send(()).unwrap();
        assert!(hanging.join().unwrap());
    }

    #[test]
    fn a_panic_fails_its_own_work_only() {
        assert!(
            smol::block_on(unblock(|| if true {
                panic!("intended")
            }))
            .is_err()
        );
        assert_eq!(smol::block_on(unblock(|| 7)).unwrap(), 7);
    }
}
