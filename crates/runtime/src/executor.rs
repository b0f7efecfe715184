//! Runs the tasks of a program on one thread, and polls the sockets in between.

use std::future::Future;

use futures_lite::future;
use smol::LocalExecutor;

/// How many tasks run in a row before the main future and the sockets get a turn.
///
/// The executor's own `run` uses 200. Under load a connection then waited for 200 other tasks between two requests,
/// and 1 % of the responses took three times as long. With less than 24, the polls cost more than they gain.
const TASKS_IN_A_ROW: u32 = 24;

/// Runs tasks until `main` is done.
pub fn run<T>(executor: &LocalExecutor<'_>, main: impl Future<Output = T>) -> T {
    smol::block_on(future::or(main, run_tasks(executor)))
}

async fn run_tasks<T>(executor: &LocalExecutor<'_>) -> T {
    let mut in_a_row = 0;
    loop {
        if executor.try_tick() {
            in_a_row += 1;
        } else {
            executor.tick().await;
            in_a_row = 1;
        }
        if in_a_row >= TASKS_IN_A_ROW {
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

    /// A task that is ready again after each run, and the number of its runs.
    fn always_ready(executor: &LocalExecutor<'_>) -> (Task<()>, Rc<Cell<u32>>) {
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
    fn tasks_that_are_always_ready_do_not_block_a_socket() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let near = Async::new(near).unwrap();
        let executor = LocalExecutor::new();
        let (task, _) = always_ready(&executor);
        // The test passes when this returns. The number of runs before that depends on which test thread holds the
        // reactor.
        run(&executor, async {
            far.write_all(b"!").unwrap();
            near.readable().await.unwrap();
        });
        drop(task);
    }

    #[test]
    fn the_main_future_is_polled_after_a_fixed_number_of_tasks() {
        let executor = LocalExecutor::new();
        let (task, runs) = always_ready(&executor);
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
            seen.windows(2).all(|pair| pair[1] - pair[0] == TASKS_IN_A_ROW),
            "runs of the other task at each poll: {seen:?}"
        );
    }

    #[test]
    fn the_main_future_gets_the_output_of_a_task() {
        let executor = LocalExecutor::new();
        let task = executor.spawn(async { 7 });
        assert_eq!(run(&executor, task), 7);
    }
}
