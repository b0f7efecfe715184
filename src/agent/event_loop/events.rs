//! How the event loop handles events.

use statemachine::lifecycle::{FaultName, Input, Part, State};

use super::{EventLoop, LoopEvent};
use crate::agent::effects::{Effects, Notice, Settings};
use crate::agent::heartbeat::scheduler::{DeliveryChange, DeliveryResult, HeartbeatScheduler};
use crate::agent::reload::{MAX_WAITING, ReloadError, ReloadRequest, ReloadResult};
use crate::agent::status_file::WriteError;
use crate::agent::write_barrier::Written;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::Clock;

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    pub(super) fn handle(&mut self, event: LoopEvent) {
        match event {
            LoopEvent::Proved(part) => self.input(Input::PartProved(part)),
            LoopEvent::Raised(name, detail) => self.raise(name, detail),
            LoopEvent::Cleared(name) => self.input(Input::FaultCleared(name)),
            LoopEvent::StartFailed(reason) => self.input(Input::StartFailed(reason)),
            LoopEvent::StopRequested(by) => self.input(Input::StopRequested(by)),
            LoopEvent::ReloadRequested(request) => self.reload_requested(request),
            LoopEvent::Written(result) => self.written(result),
            LoopEvent::HeartbeatEnded(result) => self.heartbeat_ended(&result),
            LoopEvent::Reloaded(result) => self.reloaded(result),
            LoopEvent::Drained => self.input(Input::Drained),
        }
    }

    fn written(&mut self, result: Result<(), WriteError>) {
        self.metrics.written(result.is_ok());
        let in_state = self.clock.now().monotonic.saturating_sub(self.machine.since().monotonic);
        match self.barrier.end(result.is_ok(), in_state) {
            None => return,
            Some(Written::Durable { snapshot, effects, clears_fault }) => {
                self.perform(&effects, Some(&snapshot));
                if clears_fault {
                    self.input(Input::FaultCleared(FaultName::StatusFile));
                }
            }
            Some(Written::Failed { effects, retry_exit }) => {
                let detail = result.err().map_or_else(String::new, |error| with_causes(&error));
                if !self.machine.faults().contains(FaultName::StatusFile) {
                    tracing::error!(error = detail, "status file not written: the agent continues and tries again");
                }
                self.input(Input::FaultRaised(FaultName::StatusFile, detail));
                if retry_exit {
                    self.retry_final_write();
                }
                // The published state is now ahead of the disk, so the fault is raised.
                self.perform(&effects, None);
            }
        }
        self.prove_status_file();
        if self.barrier.wants_write() && !self.exit {
            self.begin_write();
        }
    }

    /// The first write has ended. If it failed, a fault is raised.
    pub(super) fn prove_status_file(&mut self) {
        if !self.machine.has_proved(Part::StatusFile) {
            self.input(Input::PartProved(Part::StatusFile));
        }
    }

    fn heartbeat_ended(&mut self, result: &DeliveryResult) {
        let now = self.clock.now();
        self.sending = None;
        self.heartbeat.endpoint = self.system.endpoint();
        match result {
            DeliveryResult::Delivered => {
                self.heartbeat.sent += 1;
                self.heartbeat.last_success = Some(now.wall);
            }
            DeliveryResult::Failed { .. } => self.heartbeat.failed += 1,
        }
        let Some(scheduler) = self.scheduler.as_mut().filter(|_| self.machine.state() != State::Stopping) else {
            return;
        };
        let change = scheduler.ended(now.monotonic, result);
        self.heartbeat.consecutive_failures = scheduler.failures();
        self.republish();
        self.log_delivery(change, result);
    }

    /// Logs the first failure, the threshold and the recovery, not every attempt. Raises and clears the fault.
    fn log_delivery(&mut self, change: DeliveryChange, result: &DeliveryResult) {
        let (failures, detail) = match result {
            DeliveryResult::Delivered => (0, String::new()),
            DeliveryResult::Failed { detail, .. } => (self.heartbeat.consecutive_failures, detail.clone()),
        };
        match change {
            DeliveryChange::Nothing => {}
            DeliveryChange::FirstFailure => tracing::warn!(error = detail, "heartbeat failed: the agent tries again"),
            DeliveryChange::Resumed => tracing::info!("heartbeat delivered again"),
            DeliveryChange::Lost => {
                tracing::error!(error = detail, failures, "daemon lost: no heartbeat is delivered");
                let attempts = if failures == 1 { "attempt" } else { "attempts" };
                let detail = format!("no heartbeat delivered for {failures} {attempts}: {detail}");
                self.input(Input::FaultRaised(FaultName::Heartbeat, detail));
            }
            DeliveryChange::Recovered => {
                tracing::info!("daemon found again: heartbeats are delivered");
                self.input(Input::FaultCleared(FaultName::Heartbeat));
            }
        }
    }

    fn reload_requested(&mut self, request: ReloadRequest) {
        let queued = self.waiting_for_reload.iter().skip(self.served_by_reload);
        if request.reply.is_none() && queued.into_iter().any(|other| other.reply.is_none()) {
            // One queued reload serves all pending signals.
            return;
        }
        if self.waiting_for_reload.len() >= MAX_WAITING && request.reply.is_some() {
            return request.reply(Err(ReloadError::Busy));
        }
        tracing::info!(by = request.by, "reload requested");
        self.waiting_for_reload.push(request);
        self.input(Input::ReloadRequested);
    }

    fn reloaded(&mut self, result: Result<Settings, ReloadError>) {
        self.reloading = None;
        self.metrics.reloaded(result.is_ok());
        let result = match result {
            Ok(settings) => {
                self.apply(settings);
                tracing::info!("configuration reloaded");
                Ok(self.clock.now().wall)
            }
            Err(error) => {
                tracing::error!(%error, "configuration not reloaded; nothing was changed");
                Err(error)
            }
        };
        self.system.notify(Notice::State(&self.published.get()));
        let later = self.requests_since_reload_began();
        reply(std::mem::replace(&mut self.waiting_for_reload, later), &result);
        self.served_by_reload = 0;
        if !self.waiting_for_reload.is_empty() {
            // The file may have changed after it was read.
            self.input(Input::ReloadRequested);
        }
    }

    /// Rejects the requests that no reload in progress serves. A signal cannot be rejected, so a SIGHUP during the start is kept
    /// until the start is over.
    pub(super) fn decline_reloads(&mut self) {
        let starting = self.machine.state() == State::Starting;
        let (kept, declined) =
            self.requests_since_reload_began().into_iter().partition(|request| starting && request.reply.is_none());
        self.waiting_for_reload.extend::<Vec<_>>(kept);
        reply(declined, &Err(ReloadError::NotNow));
    }

    fn requests_since_reload_began(&mut self) -> Vec<ReloadRequest> {
        let began = self.served_by_reload.min(self.waiting_for_reload.len());
        self.waiting_for_reload.split_off(began)
    }

    fn apply(&mut self, settings: Settings) {
        let now = self.clock.now();
        self.machine.set_refresh(now, settings.refresh);
        self.heartbeat.endpoint = self.system.endpoint();
        match (settings.policy, &mut self.scheduler) {
            (Some(policy), Some(scheduler)) if scheduler.policy() == policy && !settings.endpoint_changed => {}
            (Some(policy), Some(scheduler)) => {
                self.sending = None;
                scheduler.reconfigure(now.monotonic, policy);
            }
            (Some(policy), empty) => {
                let mut scheduler = HeartbeatScheduler::new(policy, self.machine.started().monotonic, self.rng.fork());
                scheduler.announce(now.monotonic);
                *empty = Some(scheduler);
            }
            (None, _) => {
                self.scheduler = None;
                self.sending = None;
                // No daemon is configured any more, so no daemon can be missing.
                self.input(Input::FaultCleared(FaultName::Heartbeat));
            }
        }
        self.heartbeat.consecutive_failures = self.scheduler.as_ref().map_or(0, HeartbeatScheduler::failures);
        self.republish();
    }
}

fn reply(requests: Vec<ReloadRequest>, result: &ReloadResult) {
    for request in requests {
        request.reply(result.clone());
    }
}
