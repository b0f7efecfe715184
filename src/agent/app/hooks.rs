//! The places at which a simulation changes the agent.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use smol::LocalExecutor;
use smol::channel::Sender;

use super::setup::{Setup, StartError};
use super::system_effects::SystemEffects;
use super::{GRACE_PERIOD, START_TIMEOUT};
use crate::agent::effects::Effects;
use crate::agent::event_loop::LoopEvent;
use ops_runtime::signals::{SignalQueue, StopSignal};

/// What surrounds the agent. [`NoHooks`] is the agent as it is, and costs nothing.
pub(crate) trait Hooks {
    /// The effects of the event loop.
    type Effects: Effects;

    /// Wraps everything that the agent does.
    fn main<T>(&self, main: impl Future<Output = T>) -> impl Future<Output = T>;
    /// Wraps the set-up.
    fn setup<T>(&self, setup: impl Future<Output = T>) -> impl Future<Output = T>;
    /// The limit of the set-up, and of the start.
    fn start_timeout(&self) -> Duration;
    /// The limit of a stop.
    fn grace_period(&self) -> Duration;
    /// Waits for a request to stop during the set-up.
    fn stop(&self, signals: &mut SignalQueue) -> impl Future<Output = StopSignal>;
    /// May change the parts of the agent before they are used.
    fn adopt(&self, setup: &mut Setup, executor: &Rc<LocalExecutor<'static>>) -> Result<(), StartError>;
    /// Wraps the effects.
    fn effects(&self, system: SystemEffects, executor: &Rc<LocalExecutor<'static>>) -> Rc<Self::Effects>;
    /// The effects inside the wrapped ones.
    fn system(effects: &Rc<Self::Effects>) -> &SystemEffects;
    /// The sender for events that do not come from the loop itself.
    fn outbox(&self, executor: &Rc<LocalExecutor<'static>>, outbox: Sender<LoopEvent>) -> Sender<LoopEvent>;
}

/// The agent as it is.
pub(crate) struct NoHooks;

impl Hooks for NoHooks {
    type Effects = SystemEffects;

    fn main<T>(&self, main: impl Future<Output = T>) -> impl Future<Output = T> {
        main
    }

    fn setup<T>(&self, setup: impl Future<Output = T>) -> impl Future<Output = T> {
        setup
    }

    fn start_timeout(&self) -> Duration {
        START_TIMEOUT
    }

    fn grace_period(&self) -> Duration {
        GRACE_PERIOD
    }

    fn stop(&self, signals: &mut SignalQueue) -> impl Future<Output = StopSignal> {
        signals.stop()
    }

    fn adopt(&self, _: &mut Setup, _: &Rc<LocalExecutor<'static>>) -> Result<(), StartError> {
        Ok(())
    }

    fn effects(&self, system: SystemEffects, _: &Rc<LocalExecutor<'static>>) -> Rc<SystemEffects> {
        Rc::new(system)
    }

    fn system(effects: &Rc<SystemEffects>) -> &SystemEffects {
        effects
    }

    fn outbox(&self, _: &Rc<LocalExecutor<'static>>, outbox: Sender<LoopEvent>) -> Sender<LoopEvent> {
        outbox
    }
}
