//! Lets the main thread of a simulated agent hang.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use super::acts::{Act, MainThread};
use super::state::Simulation;

/// How often a blocked thread looks whether its act is over.
const SLICE: Duration = Duration::from_millis(20);

/// Runs `main`, but not while an act holds it. The other tasks of the thread run on, unless the act blocks the thread itself.
pub(super) async fn gate<T>(simulation: Simulation, main: impl Future<Output = T>) -> T {
    let mut main = pin!(main);
    poll_fn(|cx| {
        loop {
            match simulation.poll(cx, wanted) {
                MainThread::Runs => return main.as_mut().poll(cx),
                MainThread::HoldsLoop => return Poll::Pending,
                MainThread::Blocks => thread::sleep(SLICE),
                MainThread::Panics => panics(),
            }
        }
    })
    .await
}

#[expect(clippy::panic, reason = "it is what the plan asks for")]
fn panics() -> ! {
    panic!("simulated: the plan lets the event loop panic")
}

/// What the acts in progress want. The worst counts.
fn wanted(acts: &[Act]) -> MainThread {
    acts.iter().map(|act| act.behaviour().main_thread()).max().unwrap_or_default()
}
