//! How the driver carries out effects.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use statemachine::lifecycle::{Effect, FaultName, Input, State};

use super::attempt::Attempt;
use super::{EventLoop, LoopEvent};
use crate::agent::effects::{Effects, Notice};
use crate::agent::heartbeat::scheduler::DeliveryResult;
use crate::agent::reload::ReloadError;
use crate::agent::snapshot::Snapshot;
use crate::agent::write_barrier::{Submitted, WRITE_TIMEOUT};
use ops_protocol::Timestamp;
use ops_protocol::heartbeat::{Heartbeat, Percent, WireStatus};
use ops_runtime::clock::Clock;
use ops_runtime::stall_deadline::wait_out;

/// How long the last heartbeat may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much later than the world's own deadline an attempt is given up here. Were both the same, chance would decide which of
/// them speaks, and whether a daemon's yes counts of which only the rest is missing.
const SLACK: Duration = Duration::from_millis(100);
/// The pause between two tries of the last write.
const FINAL_WRITE_PAUSE: Duration = Duration::from_millis(50);
/// How long a reload may take, a configuration on a dead network drive included.
const RELOAD: Duration = Duration::from_secs(10);

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// Writes the status file; what stands behind the write waits for it.
    pub(super) fn persist(&mut self, behind: &[Effect]) {
        match self.barrier.submit(behind) {
            Submitted::Begin => self.begin_write(),
            Submitted::Wait => {}
            Submitted::GoOn(effects) => self.perform(&effects, None),
        }
    }

    pub(super) fn begin_write(&mut self) {
        self.begin_write_at(self.clock.now().monotonic);
    }

    fn begin_write_at(&mut self, at: Duration) {
        let snapshot = Rc::new(self.snapshot());
        self.barrier.begin(at, Rc::clone(&snapshot));
        let (clock, system, outbox) = (self.clock.clone(), Rc::clone(&self.system), self.outbox.clone());
        let write = async move {
            if at > clock.now().monotonic {
                clock.sleep_until(at).await;
            }
            let result = system.persist(snapshot).await;
            let _ = outbox.try_send(LoopEvent::Written(result));
        };
        self.executor.spawn(write).detach();
    }

    /// Tries the last write again. The exit waits for it.
    pub(super) fn retry_final_write(&mut self) {
        self.barrier.submit(&[Effect::Exit]);
        self.begin_write_at(self.clock.now().monotonic + FINAL_WRITE_PAUSE);
    }

    /// The disk has not answered in time: from here on, the agent shows what it is without it.
    pub(super) fn give_up_on_disk(&mut self) {
        let detail = format!("the disk has not answered within {:?}", WRITE_TIMEOUT);
        if self.machine.state() == State::Stopped {
            // There is no refresh to come that could raise a fault, and nobody left to ask for it.
            tracing::error!(error = detail, "the status file may not say how it ended");
        }
        self.input(Input::FaultRaised(FaultName::StatusFile, detail));
        self.prove_status_file();
        let effects = self.barrier.take_waiting();
        self.perform(&effects, None);
    }

    /// Carries out effects in order. `written` is what is on disk by now; without it, the present is shown.
    pub(super) fn perform(&mut self, effects: &[Effect], written: Option<&Snapshot>) {
        for effect in effects {
            match effect {
                Effect::Persist => self.persist(&[]),
                Effect::Publish => self.publish(written),
                Effect::Announce => self.announce(),
                Effect::SendHeartbeat => self.send_heartbeat(),
                Effect::Reload => self.reload(),
                Effect::DeclineReload => self.decline_reloads(),
                Effect::Drain => self.drain(),
                Effect::Exit => self.exit = true,
            }
        }
    }

    fn publish(&mut self, written: Option<&Snapshot>) {
        let snapshot = written.cloned().unwrap_or_else(|| self.snapshot());
        let before = self.published.get();
        let changed = snapshot.lifecycle.state() != before.lifecycle.state()
            || snapshot.lifecycle.faults() != before.lifecycle.faults();
        self.show(Snapshot { heartbeat: self.heartbeat.clone(), usage: self.usage, ..snapshot });
        self.log_transitions();
        if changed {
            self.system.notify(Notice::State(&self.published.get()));
        }
    }

    /// Logs the moves that everybody may know of by now. The log is one more voice of the agent, and no earlier than others.
    fn log_transitions(&mut self) {
        let shown = self.published.get().lifecycle.sequence();
        while let Some(transition) = self.unlogged.pop_front_if(|transition| transition.sequence <= shown) {
            tracing::info!(
                from = ?transition.from,
                to = ?transition.to,
                event = ?transition.event,
                cause = transition.cause,
                sequence = transition.sequence,
                "state changed"
            );
        }
    }

    /// Shows how heartbeats go without waiting for the next write: that is no part of the lifecycle.
    pub(super) fn republish(&mut self) {
        let before = Arc::unwrap_or_clone(self.published.get());
        self.show(Snapshot { heartbeat: self.heartbeat.clone(), usage: self.usage, ..before });
    }

    fn show(&self, snapshot: Snapshot) {
        self.published.set(snapshot);
    }

    fn announce(&mut self) {
        if self.machine.state() == State::Stopping {
            self.final_heartbeat = self.scheduler.is_some();
        } else if let Some(scheduler) = &mut self.scheduler {
            scheduler.announce(self.clock.now().monotonic);
        }
    }

    fn send_heartbeat(&mut self) {
        let now = self.clock.now().monotonic;
        let Some(scheduler) = &mut self.scheduler else { return };
        scheduler.begin(now);
        let limit = scheduler.timeout();
        self.sending = Some(self.executor.spawn(self.attempt(limit)));
    }

    /// One attempt at a heartbeat, given up soon after `limit` whatever the world does.
    fn attempt(&self, limit: Duration) -> impl Future<Output = ()> + use<C, W> {
        let heartbeat = self.heartbeat_now();
        let attempt = Attempt::begin(&heartbeat, self.metrics.clone());
        let (clock, system, outbox) = (self.clock.clone(), Rc::clone(&self.system), self.outbox.clone());
        async move {
            let started = clock.now().monotonic;
            let expiry = async {
                wait_out(limit + SLACK, async |look| clock.sleep_until(clock.now().monotonic + look).await).await;
                DeliveryResult::Failed {
                    detail: format!(
                        "no answer within {limit:?}: is the daemon overloaded, or something else listening there?"
                    ),
                    nobody_there: false,
                    retry_after: None,
                }
            };
            let answer = system.send(heartbeat, limit).or(expiry).await;
            attempt.end(&answer, clock.now().monotonic.saturating_sub(started));
            let _ = outbox.try_send(LoopEvent::Answered(answer));
        }
    }

    /// What the daemon is told: the published state, so never more than the disk knows.
    fn heartbeat_now(&self) -> Heartbeat {
        let shown = self.published.get();
        Heartbeat {
            agent_id: shown.agent_id.to_string(),
            pid: shown.pid,
            status: WireStatus::of(shown.lifecycle.state()),
            cpu: Percent::saturating(self.usage.cpu_percent),
            memory: self.usage.memory_bytes,
            timestamp: Timestamp(self.clock.now().wall),
            version: env!("CARGO_PKG_VERSION").into(),
            state: shown.lifecycle.state(),
            incarnation: shown.lifecycle.incarnation(),
            sequence: shown.lifecycle.sequence(),
        }
    }

    fn reload(&mut self) {
        if self.reloading.is_some() {
            // Whoever asks now may have changed the file after it was read: read it once more when this one is over.
            return;
        }
        self.system.notify(Notice::Reloading);
        let (clock, system, outbox) = (self.clock.clone(), Rc::clone(&self.system), self.outbox.clone());
        self.reload_answers = self.waiting_for_reload.len();
        self.reloading = Some(self.executor.spawn(async move {
            let until = clock.now().monotonic + RELOAD;
            let expiry = async {
                clock.sleep_until(until).await;
                Err(ReloadError::Failed(format!(
                    "the configuration could not be read within {RELOAD:?}: is its disk or network drive there?"
                )))
            };
            let result = system.reload().or(expiry).await;
            let _ = outbox.try_send(LoopEvent::Reloaded(result));
        }));
    }

    /// The last heartbeat, then the requests in flight, one after the other and beside the loop.
    fn drain(&mut self) {
        // One that is on its way says what was; a peer that does not read it must not delay the stop.
        self.sending = None;
        let final_heartbeat = self.final_heartbeat.then(|| self.attempt(FAREWELL));
        let (system, outbox) = (Rc::clone(&self.system), self.outbox.clone());
        self.draining = Some(self.executor.spawn(async move {
            if let Some(final_heartbeat) = final_heartbeat {
                final_heartbeat.await;
            }
            system.drain().await;
            let _ = outbox.try_send(LoopEvent::Drained);
        }));
    }
}
