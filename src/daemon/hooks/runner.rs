//! The queue of hooks, and the workers that tell them beside the event loop.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;

use smol::channel::{Receiver, Sender};

use super::facts::{HookFacts, Message, text};
use super::target::{Hook, Surroundings, Told};
use crate::daemon::effects::Description;
use ops_config::daemon::HookSpec;
use ops_http::log_limit::LogLimit;
use ops_http::tls::Material;
use ops_protocol::Timestamp;
use ops_protocol::views::{HookFailureView, HooksView};
use ops_runtime::clock;

/// How many hooks are told at the same time.
pub(crate) const WORKERS: usize = 4;

/// How many wait. Others are dropped.
const QUEUE: usize = 256;

/// The last output of an agent, which is read when its turn comes.
pub(crate) type Output = Pin<Box<dyn Future<Output = Vec<String>>>>;

/// All hooks, and what became of them.
pub(crate) struct Hooks {
    hooks: RefCell<Rc<[Rc<Hook>]>>,
    queue: (Sender<Job>, Receiver<Job>),
    surroundings: Surroundings,
    counts: Cell<Counts>,
    last_failure: RefCell<Option<HookFailureView>>,
    drops: LogLimit,
    failures: LogLimit,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    running: usize,
    ok: u64,
    failed: u64,
    dropped: u64,
}

struct Job {
    hook: Rc<Hook>,
    message: Rc<Message>,
    output: Option<Output>,
}

impl Hooks {
    /// The hooks of a configuration. Their programs run in `work_dir`, and do not inherit `overrides`.
    pub(crate) fn new(specs: &[HookSpec], tls: &Material, work_dir: PathBuf, overrides: Vec<String>) -> Self {
        let hooks = Self {
            hooks: RefCell::new(Rc::default()),
            queue: smol::channel::bounded(QUEUE),
            surroundings: Surroundings { work_dir, overrides },
            counts: Cell::default(),
            last_failure: RefCell::default(),
            drops: LogLimit::new(),
            failures: LogLimit::new(),
        };
        hooks.replace(specs, tls);
        hooks
    }

    /// Replaces the hooks. Those that wait are told all the same.
    pub(crate) fn replace(&self, specs: &[HookSpec], tls: &Material) {
        *self.hooks.borrow_mut() = Hook::all(specs, tls).into_iter().map(Rc::new).collect();
    }

    /// Queues the hooks that are told of these facts. Does not block. `output` begins to read the last output of the agent.
    pub(crate) fn report(
        &self,
        facts: &HookFacts,
        description: impl FnOnce() -> Option<Description>,
        output: impl Fn() -> Option<Output>,
    ) {
        let agent = facts.agent.as_ref().map(|agent| &*agent.id);
        let all = Rc::clone(&self.hooks.borrow());
        let mut concerned = all.iter().filter(|hook| hook.concerns(facts.event, agent)).peekable();
        if concerned.peek().is_none() {
            return;
        }
        let message = Rc::new(Message::new(facts, description()));
        for hook in concerned {
            let output = if hook.spec().include_output { output() } else { None };
            let job = Job { hook: Rc::clone(hook), message: Rc::clone(&message), output };
            if self.queue.0.try_send(job).is_err() {
                self.count(|counts| counts.dropped += 1);
                if let Some(count) = self.drops.count() {
                    tracing::warn!(count, event = facts.event.as_str(), "hooks are dropped: {QUEUE} wait already");
                }
            }
        }
    }

    /// Tells hooks one after the other, for as long as the daemon runs.
    pub(crate) async fn work(&self) {
        while let Ok(Job { hook, message, output }) = self.queue.1.recv().await {
            self.count(|counts| counts.running += 1);
            let mut message = (*message).clone();
            if let Some(output) = output {
                message.output = Some(output.await.iter().map(|line| text(line)).collect());
            }
            let told = hook.tell(&message, &self.surroundings).await;
            self.count(|counts| counts.running -= 1);
            self.ended(&hook, told);
        }
    }

    fn ended(&self, hook: &Hook, told: Told) {
        let Told { result, output } = told;
        let hook = hook.name();
        match result {
            Ok(how) => {
                self.count(|counts| counts.ok += 1);
                tracing::debug!(hook, how, "hook told");
            }
            Err(reason) => {
                self.count(|counts| counts.failed += 1);
                if let Some(count) = self.failures.count() {
                    tracing::warn!(hook, count, error = reason, output = output.join("\n"), "hook failed");
                }
                let at = Timestamp(clock::wall());
                let failure = HookFailureView { at, hook: hook.to_owned(), reason: text(&reason) };
                *self.last_failure.borrow_mut() = Some(failure);
            }
        }
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }

    /// What became of the hooks. `None`: there is none, and there was none.
    pub(crate) fn view(&self) -> Option<HooksView> {
        let Counts { running, ok, failed, dropped } = self.counts.get();
        let pending = self.queue.0.len() + running;
        let is_unused = self.hooks.borrow().is_empty() && pending == 0 && ok + failed + dropped == 0;
        let last_failure = self.last_failure.borrow().clone();
        (!is_unused).then_some(HooksView { pending, ok, failed, dropped, last_failure })
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").field("hooks", &self.hooks).field("counts", &self.counts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ops_config::daemon::{HookEvent, HookTarget};
    use ops_runtime::clock::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn what_does_not_fit_into_the_queue_is_dropped_and_counted() {
        let target = HookTarget::Exec(vec!["/nowhere/hook".to_owned()]);
        let agents = vec!["a".to_owned()];
        let spec = HookSpec { on: vec![HookEvent::Failed], agents, target, include_output: false };
        let hooks = Hooks::new(&[spec], &Material::default(), "/".into(), Vec::new());
        let report = |event, id: &str| {
            hooks.report(&HookFacts::example(event, id, SystemClock.now()), || None, || None);
            hooks.view().unwrap()
        };
        assert_eq!(report(HookEvent::Unhealthy, "a").pending, 0, "it is not told of this event");
        assert_eq!(report(HookEvent::Failed, "b").pending, 0, "it is not told of this agent");
        let views: Vec<HooksView> = (0..QUEUE + 3).map(|_| report(HookEvent::Failed, "a")).collect();
        assert_eq!((views[0].pending, views[QUEUE - 1].dropped), (1, 0));
        let last = views.last().unwrap();
        assert_eq!((last.pending, last.dropped, last.ok, last.failed), (QUEUE, 3, 0, 0));
        hooks.replace(&[], &Material::default());
        assert_eq!(report(HookEvent::Failed, "a").dropped, 3, "a reload has removed it");
    }
}
