//! Runs the tasks of a program on one thread, and polls the sockets in between.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_lite::future;
use smol::LocalExecutor;

use crate::clock::{Clock as _, SystemClock, monotonic};

/// How many tasks run in a row before the main future and the sockets get a turn.
///
/// The executor's own `run` uses 200. Under load a connection then waited for 200 other tasks between two requests,
/// and 1 % of the responses took three times as long. With less than 24, the polls cost more than they gain.
const TASKS_IN_A_ROW: u32 = 24;

/// For how long tasks run in a row, before the one that exceeds it ends. Most of them take microseconds, but parts of a large
/// answer take up to some milliseconds each, and 24 of these kept everything else waiting for 50 ms.
const TIME_IN_A_ROW: Duration = Duration::from_millis(5);

/// Runs tasks until `main` is done.
pub fn run<T>(executor: &LocalExecutor<'_>, main: impl Future<Output = T>) -> T {
    smol::block_on(future::or(main, run_tasks(executor)))
}

/// Runs tasks until `main` is done, and tells `on_turn` the CPU time that this thread has used in each turn.
///
/// A turn is everything between two polls of `main`: tasks in a row, and the poll of the sockets. So no event
/// waits for less CPU time than the longest turn.
pub fn run_observed<T>(
    executor: &LocalExecutor<'_>,
    mut on_turn: impl FnMut(Duration),
    main: impl Future<Output = T>,
) -> T {
    let mut all = pin!(future::or(main, run_tasks(executor)));
    let mut last = SystemClock.cpu_time();
    smol::block_on(future::poll_fn(|cx| {
        let polled = all.as_mut().poll(cx);
        let now = SystemClock.cpu_time();
        on_turn(now.saturating_sub(last));
        last = now;
        polled
    }))
}

async fn run_tasks<T>(executor: &LocalExecutor<'_>) -> T {
    let (mut in_a_row, mut since) = (0, monotonic());
    loop {
        if executor.try_tick() {
            in_a_row += 1;
        } else {
            executor.tick().await;
            (in_a_row, since) = (1, monotonic());
        }
        if in_a_row >= TASKS_IN_A_ROW || monotonic().saturating_sub(since) >= TIME_IN_A_ROW {
            future::yield_now().await;
            (in_a_row, since) = (0, monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::task::Poll;

    use async_io::Async;
    use smol::Task;

    use super::*;

    /// A task that does this work and is ready again after each run, and the number of its runs.
    fn always_ready(executor: &LocalExecutor<'_>, work: fn()) -> (Task<()>, Rc<Cell<u32>>) {
        let runs = Rc::new(Cell::new(0));
        let counted = Rc::clone(&runs);
        let task = executor.spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                work();
                future::yield_now().await;
            }
        });
        (task, runs)
    }

    /// How often the task ran between two polls of the main future.
    fn runs_between_polls(work: fn()) -> Vec<u32> {
        let executor = LocalExecutor::new();
        let (task, runs) = always_ready(&executor, work);
        let mut seen = Vec::new();
        run(
            &executor,
            future::poll_fn(|_| {
                seen.push(runs.get());
                if seen.len() > 10 { Poll::Ready(()) } else { Poll::Pending }
            }),
        );
        drop(task);
        seen.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn tasks_that_are_always_ready_do_not_block_a_socket() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Async::new(near).unwrap();
        let executor = LocalExecutor::new();
        let (task, _) = always_ready(&executor, || ());
        // The test passes when this returns. The number of runs before that depends on which test thread holds the
        // reactor.
        run(&executor, async {
            far.write_all(b"!").unwrap();
            near.readable().await.unwrap();
        });
        drop(task);
    }

    #[test]
    fn the_main_future_is_polled_after_a_number_of_tasks() {
        let runs = runs_between_polls(|| ());
        assert!(runs.iter().all(|runs| (1..=TASKS_IN_A_ROW).contains(runs)), "{runs:?}");
    }

    #[test]
    fn the_main_future_is_polled_between_tasks_that_take_long() {
        let runs = runs_between_polls(|| {
            let end = monotonic() + TIME_IN_A_ROW;
            while monotonic() < end {}
        });
        assert!(runs.iter().all(|runs| (1..=2).contains(runs)), "{runs:?}");
    }

    #[test]
    fn the_cpu_time_of_each_turn_is_observed() {
        const WORK: Duration = Duration::from_millis(5);
        let work = || {
            let end = SystemClock.cpu_time() + WORK;
            while SystemClock.cpu_time() < end {}
        };
        let executor = LocalExecutor::new();
        executor.spawn(async move { work() }).detach();
        let (begin, mut turns) = (SystemClock.cpu_time(), Vec::new());
        run_observed(&executor, |turn| turns.push(turn), async {
            work();
            future::yield_now().await;
            work();
        });
        let all = SystemClock.cpu_time().saturating_sub(begin);
        assert_eq!(turns.len(), 2, "{turns:?}");
        assert!(turns[0] >= WORK * 2, "the main future and the task share a turn: {turns:?}");
        assert!(turns[1] >= WORK && turns.iter().sum::<Duration>() <= all, "{turns:?}, {all:?} together");
    }

    #[test]
    fn the_main_future_gets_the_output_of_a_task() {
        let executor = LocalExecutor::new();
        let task = executor.spawn(async { 7 });
        assert_eq!(run(&executor, task), 7);
    }
}
