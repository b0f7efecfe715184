//! Applies the configuration, at the daemon's start and at every reload.

use std::collections::{HashMap, HashSet};

use statemachine::supervision::{BootId, Identity, Input, Policy, Reason, ReasonCode, Supervised};
use statemachine::time::Now;

use super::{AgentId, Decisions, DesiredAgent, Entry, Registry, SavedRegistry, UnknownAgent};
use crate::daemon::checks::CheckLimits;

impl Registry {
    /// Opens the registry with what an earlier daemon saved.
    ///
    /// The caller then searches for the process of every agent, by its recorded identity and by its supervision tag, and reports
    /// the result with [`Self::found`]. No agent is started before that, so none can run twice.
    ///
    /// `stopped` names the agents that an operator has stopped, for those that are not in `saved`.
    #[must_use]
    pub fn open(
        now: Now,
        boot: BootId,
        wanted: Vec<DesiredAgent>,
        saved: Option<SavedRegistry>,
        stopped: &[String],
    ) -> Self {
        let mut registry = Self::default();
        let (saved_in, mut left) =
            saved.map_or((boot, HashMap::new()), |saved| (saved.boot, saved.agents.into_iter().collect()));
        for wanted in wanted {
            let Some(saved) = left.remove(&*wanted.id) else {
                let mut entry = Entry::new(Supervised::new(now, wanted.policy), &wanted);
                entry.undecided = wanted.enabled && !stopped.iter().any(|id| **id == *wanted.id);
                if wanted.enabled && !entry.undecided {
                    entry.machine = Supervised::stopped(now, wanted.policy);
                }
                registry.insert(now, &wanted.id, entry);
                continue;
            };
            let machine = Supervised::restore(now, wanted.policy, saved.machine, boot, saved_in);
            let mut entry = Entry::new(machine, &wanted);
            entry.outdated = saved.process_settings.is_some_and(|saved| saved != wanted.fingerprint);
            entry.undecided = wanted.enabled && (boot != saved_in && entry.machine.wanted() || !saved.enabled);
            entry.newest_incarnation = saved.newest_incarnation;
            entry.has_proved = saved.has_proved;
            entry.is_ready = saved.is_ready;
            entry.hold = saved.hold.map(Box::new);
            if let Some(reason) = saved.stop_after {
                entry.stop_after = Some(Box::new(reason));
                registry.dependencies.stopping.insert(AgentId::clone(&wanted.id));
            }
            let ended = entry.machine.last_exit().map(|last| last.process);
            entry.last_output = ended.map(|process| (process, saved.last_output));
            registry.insert(now, &wanted.id, entry);
        }
        for (id, saved) in left {
            let wanted = DesiredAgent {
                id: AgentId::from(id),
                enabled: false,
                depends_on: Box::default(),
                policy: Policy::default(),
                limits: CheckLimits::default(),
                fingerprint: saved.fingerprint,
            };
            let mut entry = Entry::new(Supervised::restore(now, wanted.policy, saved.machine, boot, saved_in), &wanted);
            entry.removed = true;
            registry.insert(now, &wanted.id, entry);
        }
        registry.index_dependencies();
        registry.lose_dependencies(now);
        registry
    }

    /// The recorded process of an agent. It has to be proved before it is adopted.
    #[must_use]
    pub fn recorded_process(&self, id: &str) -> Option<Identity> {
        self.get(id)?.machine.tree()
    }

    /// This process of an agent has sent a proved heartbeat to an earlier daemon.
    pub fn set_proved(&mut self, id: &str, process: Identity) {
        if let Some(entry) = self.agents.get_mut(id).filter(|entry| entry.machine.process() == Some(process)) {
            entry.has_proved = true;
        }
    }

    /// It cannot be told yet whether the process of an agent is alive. Until [`Self::found`], nothing is started for it.
    pub fn set_unproved(&mut self, now: Now, id: &str, why: &str) {
        let Ok(id) = self.id(id) else { return };
        if let Some(entry) = self.agents.get_mut(&id) {
            entry.unproved = Some(why.into());
        }
        self.rearm(now, &id);
    }

    /// The result of the search for an agent's process at the daemon's start.
    ///
    /// # Errors
    ///
    /// [`UnknownAgent`].
    pub fn found(&mut self, now: Now, id: &str, process: Option<Identity>) -> Result<Decisions, UnknownAgent> {
        let id = self.id(id)?;
        let mut outcome = Decisions::default();
        let mut handle = |registry: &mut Self, input| registry.handle_into(now, &id, input, &mut outcome);
        let Some(entry) = self.agents.get_mut(&id) else { return Err(UnknownAgent::new(&id)) };
        entry.unproved = None;
        let (off, removed) = (!entry.enabled || entry.removed, entry.removed);
        let undecided = std::mem::take(&mut entry.undecided);
        let outdated = std::mem::take(&mut entry.outdated);
        let on_record = entry.machine.tree();
        let has_process = entry.machine.state().has_process() || on_record.is_some();
        if has_process && process.is_none_or(|found| on_record.is_some_and(|process| process != found)) {
            handle(self, Input::Vanished);
        }
        if let Some(process) = process {
            handle(self, Input::Adopted(process));
        }
        if off {
            handle(self, Input::StopRequested(if removed { no_longer_configured() } else { disabled() }));
        } else if undecided && self.get(&id).is_some_and(|entry| entry.machine.remainder().is_none()) {
            handle(self, Input::StartRequested(Reason::new(ReasonCode::DaemonStarted, "the daemon started")));
        } else if outdated {
            let policy = self.get(&id).map(|entry| *entry.machine.policy()).unwrap_or_default();
            handle(self, Input::SpecChanged(policy));
        }
        self.stop_if_free(now, &id, &mut outcome);
        if self.get(&id).is_some_and(|entry| entry.depends_on.is_empty()) {
            // It may have waited for what an earlier configuration made it depend on.
            self.refresh_dependencies(now, &id, &mut outcome);
        }
        self.rearm(now, &id);
        self.forget_if_gone(&id);
        Ok(outcome)
    }

    /// Applies another configuration. New agents start, removed ones stop, changed ones restart, and the others are not touched.
    pub fn reload(&mut self, now: Now, wanted: Vec<DesiredAgent>) -> Decisions {
        let mut outcome = Decisions::default();
        let mut gone: HashSet<AgentId> = self.agents.keys().map(AgentId::clone).collect();
        for wanted in wanted {
            gone.remove(&wanted.id);
            self.reload_one(now, &wanted, &mut outcome);
        }
        let mut stops = Vec::new();
        for id in gone {
            if let Some(entry) = self.agents.get_mut(&id) {
                entry.removed = true;
                entry.enabled = false;
            }
            if self.get(&id).is_some_and(|entry| entry.unproved.is_none()) {
                stops.push((id, no_longer_configured()));
            }
        }
        self.stop_in_order(now, stops, &mut outcome);
        // The removed agents depended on others until they were stopped.
        self.index_dependencies();
        self.refresh_all_dependencies(now, &mut outcome);
        outcome
    }

    /// Stops all agents. They are saved as disabled by the configuration, so the next daemon starts those that it enables. An
    /// agent that an operator had stopped stays stopped.
    pub fn stop_all(&mut self, now: Now, by: &str) -> Decisions {
        let mut outcome = Decisions::default();
        let mut ids: Vec<AgentId> = self.agents.keys().map(AgentId::clone).collect();
        ids.sort();
        let mut stops = Vec::new();
        for id in ids {
            if let Some(entry) = self.agents.get_mut(&id).filter(|entry| entry.machine.wanted()) {
                entry.enabled = false;
                stops.push((id, Reason::new(ReasonCode::DaemonStopped, by)));
            }
        }
        self.stop_in_order(now, stops, &mut outcome);
        outcome
    }

    fn reload_one(&mut self, now: Now, wanted: &DesiredAgent, outcome: &mut Decisions) {
        let Some(entry) = self.agents.get_mut(&wanted.id) else {
            self.insert(now, &wanted.id, Entry::new(Supervised::new(now, wanted.policy), wanted));
            self.refresh_dependencies(now, &wanted.id, outcome);
            let input = if wanted.enabled {
                Input::StartRequested(changed("new in the configuration"))
            } else {
                Input::StopRequested(disabled())
            };
            return self.handle_into(now, &wanted.id, input, outcome);
        };
        let is_changed = entry.fingerprint != wanted.fingerprint;
        let was_enabled = std::mem::replace(&mut entry.enabled, wanted.enabled);
        entry.removed = false;
        entry.fingerprint = wanted.fingerprint;
        entry.adjust(now.monotonic, wanted);
        self.refresh_dependencies(now, &wanted.id, outcome);
        let Some(entry) = self.agents.get_mut(&wanted.id) else { return };
        if entry.unproved.is_some() {
            // Decided when the process is found or proved to be gone.
            entry.outdated |= is_changed;
            entry.undecided |= wanted.enabled && !was_enabled;
            return;
        }
        let may_start = entry.machine.remainder().is_none();
        if was_enabled && !wanted.enabled {
            self.handle_into(now, &wanted.id, Input::StopRequested(disabled()), outcome);
        }
        if is_changed {
            self.handle_into(now, &wanted.id, Input::SpecChanged(wanted.policy), outcome);
        }
        if wanted.enabled && !was_enabled && may_start {
            self.handle_into(now, &wanted.id, Input::StartRequested(changed("enabled in the configuration")), outcome);
        }
        self.rearm(now, &wanted.id);
    }

    fn insert(&mut self, now: Now, id: &AgentId, mut entry: Entry) {
        let process = entry.machine.process();
        if process.is_some() {
            entry.reset_evidence(now.monotonic);
        }
        if let Some(process) = process {
            self.by_pid.insert(process.pid, AgentId::clone(id));
        }
        self.agents.insert(AgentId::clone(id), Box::new(entry));
        self.rearm(now, id);
    }
}

fn disabled() -> Reason {
    Reason::new(ReasonCode::Disabled, "disabled in the configuration")
}

fn no_longer_configured() -> Reason {
    Reason::new(ReasonCode::Removed, "no longer in the configuration")
}

fn changed(text: &str) -> Reason {
    Reason::new(ReasonCode::ConfigurationChanged, text)
}
