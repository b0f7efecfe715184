//! What the parts of a simulated agent share: the plan, the acts in progress, and the evidence.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::FutureExt as _;
use smol::channel::{Receiver, Sender};

use super::acts::{Act, Fate};
use super::evidence::{Evidence, EvidenceEvent};
use super::plan::{Plan, Step};
use super::signals::SignalThread;
use crate::agent::event_loop::LoopEvent;
use ops_runtime::clock;

/// What a step keeps until its end. Dropping it undoes the act.
pub(crate) type Held = Box<dyn Any + Send>;

/// A simulated agent. Clones share everything.
#[derive(Clone)]
pub(crate) struct Simulation(Arc<Shared>);

struct Shared {
    /// The steps of this life, with their index in the plan.
    steps: Vec<(usize, Step)>,
    evidence: Evidence,
    started: Duration,
    state: Mutex<State>,
    /// The agent has become ready.
    ready: Condvar,
}

#[derive(Default)]
struct State {
    ready: Option<Duration>,
    /// The acts in progress, the latest last.
    active: Vec<Active>,
    /// The number of changes of `active`.
    version: u64,
    wakers: Vec<Waker>,
    outbox: Option<Sender<LoopEvent>>,
    listener: Option<TcpListener>,
    signals: Option<SignalThread>,
}

struct Active {
    step: usize,
    act: Act,
    _held: Option<Held>,
}

impl Simulation {
    /// Reads the number of this life from the evidence, and notes the start there.
    pub(super) fn new(plan: Plan) -> io::Result<Self> {
        let started = clock::monotonic();
        let evidence = Evidence::start(&plan.evidence)?;
        let of_this_life = |(_, step): &(usize, Step)| step.life.contains(evidence.life());
        let steps = plan.steps.into_iter().enumerate().filter(of_this_life).collect();
        let (state, ready) = (Mutex::default(), Condvar::new());
        Ok(Self(Arc::new(Shared { steps, evidence, started, state, ready })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn life(&self) -> u64 {
        self.0.evidence.life()
    }

    pub(super) fn evidence_path(&self) -> &Path {
        self.0.evidence.path()
    }

    /// The steps of this life, with their index in the plan.
    pub(super) fn steps(&self) -> &[(usize, Step)] {
        &self.0.steps
    }

    pub(super) fn planned(&self) -> impl Iterator<Item = &Step> {
        self.0.steps.iter().map(|(_, step)| step)
    }

    /// Writes a line of evidence.
    pub(crate) fn note(&self, event: EvidenceEvent) {
        self.0.evidence.note(event);
    }

    /// When the process started, on the monotonic clock.
    pub(super) fn started(&self) -> Duration {
        self.0.started
    }

    /// The agent is ready. Only the first call counts.
    pub(super) fn set_ready(&self) {
        let mut state = self.state();
        if state.ready.is_none() {
            self.note(EvidenceEvent::Ready);
            state.ready = Some(clock::monotonic());
            self.0.ready.notify_all();
        }
    }

    /// When the agent became ready.
    pub(super) fn ready_since(&self) -> Option<Duration> {
        self.state().ready
    }

    /// Waits for `limit`, or until the agent becomes ready. For the thread of the steps.
    pub(super) fn wait(&self, limit: Option<Duration>) {
        let (state, limit) = (self.state(), limit.unwrap_or(Duration::MAX));
        let was_ready = state.ready.is_some();
        // Without a change, a ready agent waits for the whole limit.
        let no_news = |state: &mut State| state.ready.is_some() == was_ready;
        drop(self.0.ready.wait_timeout_while(state, limit, no_news));
    }

    /// Adds an act to those in progress, with what it needs until its end.
    pub(super) fn add(&self, step: usize, act: Act, held: Option<Held>) {
        let mut state = self.state();
        state.active.push(Active { step, act, _held: held });
        Self::changed(state);
    }

    /// Ends an act.
    pub(super) fn remove(&self, step: usize) {
        let mut state = self.state();
        let ended = state.active.iter().position(|active| active.step == step).map(|at| state.active.remove(at));
        Self::changed(state);
        drop(ended);
    }

    fn changed(mut state: MutexGuard<'_, State>) {
        state.version += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The latest act in progress that fits.
    pub(super) fn find(&self, fits: impl Fn(&Act) -> bool) -> Option<Act> {
        self.state().active.iter().rev().map(|active| &active.act).find(|act| fits(act)).cloned()
    }

    /// What happens to an event on its way to the event loop.
    pub(super) fn fate(&self, event: &LoopEvent) -> Fate {
        let state = self.state();
        let fates = state.active.iter().map(|active| active.act.behaviour().fate(event));
        fates.max().unwrap_or_default()
    }

    /// Passes the acts in progress to `read`, and wakes the task of `cx` at the next change.
    pub(super) fn poll<T>(&self, cx: &Context<'_>, read: impl FnOnce(&[Act]) -> T) -> T {
        let mut state = self.state();
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        let acts: Vec<Act> = state.active.iter().map(|active| active.act.clone()).collect();
        drop(state);
        read(&acts)
    }

    /// Waits until this is so for the acts in progress.
    pub(super) fn until(&self, is_so: impl Fn(&[Act]) -> bool) -> impl Future<Output = ()> {
        poll_fn(move |cx| if self.poll(cx, &is_so) { Poll::Ready(()) } else { Poll::Pending })
    }

    /// Waits until there was a change after the one with this number. Returns its number.
    pub(super) async fn change_after(&self, seen: u64) -> u64 {
        let changed = |acts: &Self| Some(acts.state().version).filter(|version| *version != seen);
        poll_fn(|cx| {
            self.poll(cx, |_| ());
            changed(self).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Waits until this act is over.
    pub(super) async fn ended(&self, act: &Act) {
        self.until(|acts| !acts.contains(act)).await;
    }

    /// Makes the sender of loop events available to acts.
    pub(super) fn share_outbox(&self, outbox: Sender<LoopEvent>) {
        self.state().outbox = Some(outbox);
    }

    /// Sends an event to the loop. `false`: the loop is not there yet, or not any more.
    pub(crate) fn send(&self, event: LoopEvent) -> bool {
        let outbox = self.state().outbox.clone();
        outbox.is_some_and(|outbox| outbox.try_send(event).is_ok())
    }

    /// Keeps the thread that notes signals.
    pub(super) fn watched_by(&self, signals: SignalThread) {
        self.state().signals = Some(signals);
    }

    /// Waits until the signals that have arrived are noted.
    pub(super) fn flush_signals(&self) {
        let signals = self.state().signals.take();
        if let Some(signals) = signals {
            signals.flush();
        }
    }

    /// Makes the listener available to acts.
    pub(super) fn share_listener(&self, listener: &TcpListener) {
        self.state().listener = listener.try_clone().ok();
    }

    /// A duplicate of the listener on the configured port.
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        let state = self.state();
        state
            .listener
            .as_ref()
            .ok_or_else(|| io::Error::other("there is no listener yet: add `from: ready`"))?
            .try_clone()
    }

    /// Closes the duplicate, so that the port is free.
    pub(super) fn forget_listener(&self) {
        self.state().listener = None;
    }

    /// Passes events on to the loop, but those that an act withholds.
    pub(super) async fn filter(&self, events: Receiver<LoopEvent>, outbox: Sender<LoopEvent>) {
        let mut waiting = Vec::new();
        let mut seen = 0;
        loop {
            let change = async { Err(self.change_after(seen).await) };
            match async { Ok(events.recv().await) }.or(change).await {
                Ok(Ok(event)) => waiting.push(event),
                Ok(Err(_)) => return,
                Err(version) => seen = version,
            }
            for event in std::mem::take(&mut waiting) {
                match self.fate(&event) {
                    Fate::Passes => drop(outbox.try_send(event)),
                    Fate::Waits => waiting.push(event),
                    Fate::IsDropped => {}
                }
            }
        }
    }
}
