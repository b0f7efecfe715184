//! Answers about all agents. They may be large, so they are not built in one turn of the loop.
//!
//! The agents are read in slices, with a turn for everything else in between, and the answer is rendered on a thread of its
//! own. At most [`AT_A_TIME`] answers are built at the same time; others wait.

use futures_lite::future;
use ops_runtime::blocking::RENDERING;
use smol::lock::Semaphore;

use crate::daemon::control::{ControlApi, ScrapeTarget};
use ops_protocol::views::AgentView;
use ops_protocol::{ApiError, ErrorCode};

/// The number of agents that are read in one turn of the loop. So few need no thread for their answer either.
pub(crate) const SLICE: usize = 64;

/// The number of answers that are built at the same time, because each may need many megabytes.
const AT_A_TIME: usize = 2;

static PERMITS: Semaphore = Semaphore::new(AT_A_TIME);

/// An answer about all agents, from what `read` returns for each.
///
/// # Errors
///
/// If the system refuses a thread.
async fn build<V, T>(
    ids: Vec<impl AsRef<str>>,
    read: impl Fn(&str) -> Option<V>,
    render: impl FnOnce(Vec<V>) -> T + Send + 'static,
) -> Result<T, ApiError>
where
    V: Send + 'static,
    T: Send + 'static,
{
    if ids.len() <= SLICE {
        return Ok(render(ids.iter().filter_map(|id| read(id.as_ref())).collect()));
    }
    let _permit = PERMITS.acquire().await;
    let mut views = Vec::with_capacity(ids.len());
    for slice in ids.chunks(SLICE) {
        views.extend(slice.iter().filter_map(|id| read(id.as_ref())));
        future::yield_now().await;
    }
    RENDERING.run(move || render(views)).await.map_err(|error| {
        tracing::error!(%error, "no thread can be started for a large answer");
        ApiError::new(ErrorCode::Unavailable, "no thread can be started: raise the limit on processes")
    })
}

/// An answer about all agents, sorted by ID.
///
/// # Errors
///
/// If the system refuses a thread.
pub(super) async fn of_agents<D: ControlApi, T: Send + 'static>(
    control: &D,
    render: impl FnOnce(Vec<AgentView>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    build(control.agent_ids(), |id| control.agent(id), render).await
}

/// An answer about all agents that Prometheus scrapes, sorted by ID.
///
/// # Errors
///
/// If the system refuses a thread.
pub(super) async fn of_targets<D: ControlApi, T: Send + 'static>(
    control: &D,
    render: impl FnOnce(Vec<ScrapeTarget>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    build(control.agent_ids(), |id| control.scrape_target(id), render).await
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::thread;

    use super::*;

    #[test]
    fn no_turn_of_the_loop_reads_more_than_a_slice_and_the_answer_is_rendered_elsewhere() {
        let read = Cell::new(0);
        let ids: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        let read_one = |_: &str| {
            read.set(read.get() + 1);
            Some(())
        };
        let mut answer = pin!(build(ids, read_one, |views| (views.len(), thread::current().id())));
        let mut before = 0;
        let (count, thread) = loop {
            let polled = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(read.get() - before <= SLICE, "{} in one turn", read.get() - before);
            before = read.get();
            if let Poll::Ready(result) = polled {
                break result.unwrap();
            }
        };
        assert_eq!((count, read.get()), (10_000, 10_000));
        assert_ne!(thread, thread::current().id());
    }

    #[test]
    fn a_few_agents_are_answered_in_the_same_turn() {
        let ids = vec!["a"; SLICE];
        let mut answer = pin!(build(ids, |_| Some(()), |views| views.len()));
        let Poll::Ready(Ok(count)) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) else { panic!() };
        assert_eq!(count, SLICE);
    }
}
