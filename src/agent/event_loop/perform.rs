//! How the event loop performs effects.

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

/// The limit of the last heartbeat.
const FINAL_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(2);
/// How much later than the sender's own deadline the loop abandons an attempt. With equal deadlines, chance would decide which
/// error is reported, and whether an acknowledgement counts whose body is incomplete.
const ABANDON_AFTER: Duration = Duration::from_millis(100);
/// The pause before the last write is tried again.
const FINAL_WRITE_PAUSE: Duration = Duration::from_millis(50);
/// The limit of a reload, because the configuration may be on a network drive that does not answer.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// Writes the status file. The effects wait for the write.
    pub(super) fn persist(&mut self, effects: &[Effect]) {
        match self.barrier.submit(effects) {
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

    /// The disk has not answered in time: the effects no longer wait for it.
    pub(super) fn give_up_on_disk(&mut self) {
        let detail = format!("the disk has not answered within {WRITE_TIMEOUT:?}: check the disk of `state.file`");
        if self.machine.state() == State::Stopped {
            // No refresh follows that could report it, and the API is closed.
            tracing::error!(error = detail, "the status file may not show how the agent ended");
        }
        self.input(Input::FaultRaised(FaultName::StatusFile, detail));
        self.prove_status_file();
        let effects = self.barrier.take_waiting();
        self.perform(&effects, None);
    }

    /// Performs effects in order. Publishes `written`, the snapshot on disk, or without one the present state.
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
        self.published.set(Snapshot { heartbeat: self.heartbeat.clone(), usage: self.usage, ..snapshot });
        self.log_transitions();
        if changed {
            self.system.notify(Notice::State(&self.published.get()));
        }
    }

    /// Logs the published transitions. The log is never ahead of the API.
    fn log_transitions(&mut self) {
        let published = self.published.get().lifecycle.sequence();
        while let Some(transition) = self.unlogged.pop_front_if(|transition| transition.sequence <= published) {
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

    /// Publishes the heartbeat counters without a write, because they are no part of the lifecycle.
    pub(super) fn republish(&mut self) {
        let before = Arc::unwrap_or_clone(self.published.get());
        self.published.set(Snapshot { heartbeat: self.heartbeat.clone(), usage: self.usage, ..before });
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

    /// One attempt to deliver a heartbeat. The loop abandons it soon after `limit`.
    fn attempt(&self, limit: Duration) -> impl Future<Output = ()> + use<C, W> {
        let heartbeat = self.heartbeat_now();
        let attempt = Attempt::begin(&heartbeat, self.metrics.clone());
        let (clock, system, outbox) = (self.clock.clone(), Rc::clone(&self.system), self.outbox.clone());
        async move {
            let started = clock.now().monotonic;
            let expiry = async {
                wait_out(limit + ABANDON_AFTER, async |look| clock.sleep_until(clock.now().monotonic + look).await)
                    .await;
                DeliveryResult::Failed {
                    detail: format!("no answer within {limit:?}. Check whether the daemon is overloaded"),
                    unreachable: false,
                    retry_after: None,
                }
            };
            let result = system.send(heartbeat, limit).or(expiry).await;
            attempt.end(&result, clock.now().monotonic.saturating_sub(started));
            let _ = outbox.try_send(LoopEvent::HeartbeatEnded(result));
        }
    }

    /// A heartbeat with the published state, which is never ahead of the disk.
    fn heartbeat_now(&self) -> Heartbeat {
        let published = self.published.get();
        Heartbeat {
            agent_id: published.agent_id.to_string(),
            pid: published.pid,
            status: WireStatus::of(published.lifecycle.state()),
            cpu: Percent::saturating(self.usage.cpu_percent),
            memory: self.usage.memory_bytes,
            timestamp: Timestamp(self.clock.now().wall),
            version: crate::agent::version().into(),
            state: published.lifecycle.state(),
            incarnation: published.lifecycle.incarnation(),
            sequence: published.lifecycle.sequence(),
        }
    }

    fn reload(&mut self) {
        if self.reloading.is_some() {
            // The file may have changed after it was read, so another reload follows this one.
            return;
        }
        self.system.notify(Notice::Reloading);
        let (clock, system, outbox) = (self.clock.clone(), Rc::clone(&self.system), self.outbox.clone());
        self.served_by_reload = self.waiting_for_reload.len();
        self.reloading = Some(self.executor.spawn(async move {
            let until = clock.now().monotonic + RELOAD_TIMEOUT;
            let expiry = async {
                clock.sleep_until(until).await;
                Err(ReloadError::TooSlow(RELOAD_TIMEOUT))
            };
            let result = system.reload().or(expiry).await;
            let _ = outbox.try_send(LoopEvent::Reloaded(result));
        }));
    }

    /// Sends the last heartbeat, then waits for the requests in flight. Both run beside the loop.
    fn drain(&mut self) {
        // A heartbeat in flight is outdated, and a peer that does not read it must not delay the stop.
        self.sending = None;
        let final_heartbeat = self.final_heartbeat.then(|| self.attempt(FINAL_HEARTBEAT_TIMEOUT));
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
