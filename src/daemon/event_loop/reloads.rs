//! Reloads, one at a time. A request is answered with the result of a reload that began after it, because the file may have
//! changed after it was read.

use std::rc::Rc;

use smol::channel::Sender;

use super::{EventLoop, LoopEvent};
use crate::daemon::control::{RELOADS_WAITING, ReloadRefused};
use crate::daemon::effects::{Effects, Notice, ReloadError, Reloaded};
use crate::daemon::registry::Registry;
use ops_config::DaemonChanges;
use ops_protocol::Timestamp;
use ops_protocol::views::ReloadView;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::Clock;

/// The number of changed agents or keys that an answer names in each list.
const MAX_NAMED: usize = 20_000;

/// The result of a reload, for its requesters.
pub(crate) type ReloadResult = Result<ReloadView, ReloadRefused>;

/// A request for a reload.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Where it comes from, for people.
    pub by: String,
    /// Where the result goes, with room for one. `None`: the requester does not wait.
    pub reply: Option<Sender<ReloadResult>>,
}

/// The requests that one reload answers.
#[derive(Debug)]
struct Batch {
    by: String,
    replies: Vec<Sender<ReloadResult>>,
}

impl Batch {
    fn answer(self, result: &ReloadResult) {
        for reply in self.replies {
            // The requester may have stopped waiting.
            let _ = reply.try_send(result.clone());
        }
    }
}

/// The reload in progress, and the one that has to follow it.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    present: Option<Batch>,
    next: Option<Batch>,
}

impl Reloads {
    pub(super) const fn is_in_progress(&self) -> bool {
        self.present.is_some()
    }

    /// Takes a request. `true` if a reload has to begin.
    fn take(&mut self, ReloadRequest { by, reply }: ReloadRequest) -> bool {
        let begins = self.present.is_none();
        let place = if begins { &mut self.present } else { &mut self.next };
        let batch = place.get_or_insert_with(|| Batch { by, replies: Vec::new() });
        match reply {
            Some(reply) if batch.replies.len() >= RELOADS_WAITING => {
                let _ = reply.try_send(Err(ReloadRefused::Busy));
            }
            Some(reply) => batch.replies.push(reply),
            None => {}
        }
        begins
    }

    /// Ends the reload in progress, and begins the next if there is one.
    fn end(&mut self) -> Option<Batch> {
        let next = self.next.take();
        std::mem::replace(&mut self.present, next)
    }
}

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    pub(super) fn reload_requested(&mut self, request: ReloadRequest) {
        tracing::info!(by = request.by, "reload requested");
        if self.reloads.take(request) {
            self.begin_reload();
        }
    }

    fn begin_reload(&self) {
        self.system.notify(Notice::Reloading);
        let (system, outbox) = (Rc::clone(&self.system), self.outbox.clone());
        let reload = async move {
            let result = system.reload().await;
            let _ = outbox.try_send(LoopEvent::Reloaded(result));
        };
        self.executor.spawn(reload).detach();
    }

    pub(super) fn reloaded(&mut self, result: Result<Reloaded, ReloadError>) {
        let result = match result {
            Ok(_) if self.stop.is_some() => Err(ReloadRefused::Ending),
            Ok(reloaded) => Ok(self.apply_reload(reloaded)),
            Err(error) => {
                let reason = with_causes(&error);
                tracing::error!(error = reason, "configuration not reloaded: nothing was changed");
                Err(refused(&error, reason))
            }
        };
        let ended = self.reloads.end();
        if self.stop.is_none() {
            self.shared_registry.reloaded(ended.as_ref().map_or("", |batch| &batch.by), &result);
        }
        if let Some(batch) = ended {
            batch.answer(&result);
        }
        self.state_changed = true;
        if self.reloads.is_in_progress() {
            self.begin_reload();
        }
    }

    fn apply_reload(&mut self, Reloaded { desired, changes, notes }: Reloaded) -> ReloadView {
        tracing::info!(agents = desired.len(), "configuration reloaded");
        let now = Timestamp(self.clock.now().wall);
        let view = self.shared_registry.read(|registry| view(registry, changes, notes));
        self.decide(|registry, now| registry.reload(now, desired));
        // A change without a transition, such as that of a limit, has to be saved too.
        self.saves.change(self.clock.now().monotonic);
        ReloadView { message: format!("configuration reloaded: {}", view.summary()), reloaded_at: Some(now), ..view }
    }
}

/// What a reload changes. An agent that is not meant to run is not started anew.
fn view(registry: &Registry, changes: DaemonChanges, warnings: Vec<String>) -> ReloadView {
    let DaemonChanges { added, removed, changed, enabled, disabled, mut adjusted, unchanged, own, .. } = changes;
    let is_wanted = |id: &String| registry.get(id).is_some_and(|entry| entry.machine().wanted());
    let (restarted, other): (Vec<String>, Vec<String>) = changed.into_iter().partition(is_wanted);
    adjusted.extend(other);
    let bounded = |mut list: Vec<String>| {
        list.truncate(MAX_NAMED);
        list
    };
    ReloadView {
        success: true,
        added: bounded(added),
        removed: bounded(removed),
        restarted: bounded(restarted),
        enabled: bounded(enabled),
        disabled: bounded(disabled),
        adjusted: bounded(adjusted),
        unchanged: unchanged.len(),
        keys: bounded(own),
        warnings: bounded(warnings),
        ..ReloadView::default()
    }
}

/// A problem that may pass is no fault of the configuration.
fn refused(error: &ReloadError, reason: String) -> ReloadRefused {
    match error {
        ReloadError::Invalid(problems) if problems.is_transient() => ReloadRefused::Failed(reason),
        ReloadError::Invalid(_) | ReloadError::NeedsRestart(_) | ReloadError::Check(_) => ReloadRefused::Config(reason),
        ReloadError::Log(_) | ReloadError::TimedOut(_) | ReloadError::Thread(_) => ReloadRefused::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use smol::channel::{Receiver, bounded};

    use super::*;

    fn request(by: &str) -> (ReloadRequest, Receiver<ReloadResult>) {
        let (reply, result) = bounded(1);
        (ReloadRequest { by: by.to_owned(), reply: Some(reply) }, result)
    }

    #[test]
    fn a_request_during_a_reload_is_answered_by_the_next_one() {
        let mut reloads = Reloads::default();
        let ((first, first_result), (second, second_result)) = (request("a"), request("b"));
        assert!(reloads.take(first));
        assert!(!reloads.take(second));
        let applied: ReloadResult = Ok(ReloadView::default());
        reloads.end().expect("the first").answer(&applied);
        assert_eq!(first_result.try_recv(), Ok(applied));
        assert!(second_result.try_recv().is_err(), "its reload has not ended");
        assert!(reloads.is_in_progress());
        reloads.end().expect("the second").answer(&Err(ReloadRefused::Ending));
        assert_eq!(second_result.try_recv(), Ok(Err(ReloadRefused::Ending)));
        assert!(!reloads.is_in_progress());
    }

    #[test]
    fn the_number_of_waiting_requests_is_limited() {
        let mut reloads = Reloads::default();
        reloads.take(request("first").0);
        let waiting: Vec<_> = (0..=RELOADS_WAITING)
            .map(|_| {
                let (next, result) = request("next");
                reloads.take(next);
                result
            })
            .collect();
        let busy = waiting.iter().filter(|result| result.try_recv() == Ok(Err(ReloadRefused::Busy))).count();
        assert_eq!(busy, 1);
    }
}
