//! Runs the tasks of a program on one thread, with a look at the sockets in between.

use std::future::Future;

use futures_lite::future;
use smol::LocalExecutor;

/// How many tasks run in a row before everybody else has a turn: the loop, and what came over sockets.
///
/// The executor's own `run` takes 200. Under load, who had to wait for his next request then waited for 200 of the others',
/// and one of a hundred answers took three times as long. With fewer than this, looking costs more than it brings.
const TASKS: u32 = 24;

/// Runs tasks until `main` is done.
pub fn run<T>(executor: &LocalExecutor<'_>, main: impl Future<Output = T>) -> T {
    smol::block_on(future::or(main, turn(executor)))
}

async fn turn<T>(executor: &LocalExecutor<'_>) -> T {
    let mut in_a_row = 0;
    loop {
        if executor.try_tick() {
            in_a_row += 1;
        } else {
            executor.tick().await;
            in_a_row = 1;
        }
        if in_a_row >= TASKS {
            in_a_row = 0;
            future::yield_now().await;
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

    /// A task that is ready again as soon as it has run, and how often it has.
    fn restless(executor: &LocalExecutor<'_>) -> (Task<()>, Rc<Cell<u32>>) {
        let runs = Rc::new(Cell::new(0));
        let counted = Rc::clone(&runs);
        let task = executor.spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                future::yield_now().await;
            }
        });
        (task, runs)
    }

    #[test]
    fn tasks_that_never_rest_keep_nobody_from_a_socket() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Async::new(near).unwrap();
        let executor = LocalExecutor::new();
        let (task, _) = restless(&executor);
        // That it comes to an end at all: after how many runs is up to whichever thread of the tests has the reactor just now.
        run(&executor, async {
            far.write_all(b"!").unwrap();
            near.readable().await.unwrap();
        });
        drop(task);
    }

    #[test]
    fn everybody_else_has_a_turn_after_so_many_tasks() {
        let executor = LocalExecutor::new();
        let (task, runs) = restless(&executor);
        let mut seen = Vec::new();
        run(
            &executor,
            future::poll_fn(|_| {
                seen.push(runs.get());
                if seen.len() > 10 { Poll::Ready(()) } else { Poll::Pending }
            }),
        );
        drop(task);
        assert!(
            seen.windows(2).all(|executor| executor[1] - executor[0] == TASKS),
            "runs of the other task at each turn: {seen:?}"
        );
    }

    #[test]
    fn who_waits_for_a_task_gets_what_it_has_done() {
        let executor = LocalExecutor::new();
        let task = executor.spawn(async { 7 });
        assert_eq!(run(&executor, task), 7);
    }
}
