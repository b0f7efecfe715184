//! What agents depend on: starts that wait for other agents, and stops that begin with the dependents.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use statemachine::supervision::{Input, Reason, State};
use statemachine::time::Now;

use super::{AgentId, Decisions, Entry, Registry, UnknownAgent};

/// Which agents depend on which, and which stops wait for that.
#[derive(Debug, Clone, Default)]
pub(super) struct Dependencies {
    /// The agents that name another one in `depends_on`, by that other one.
    dependents: HashMap<AgentId, Vec<AgentId>>,
    /// The agents that are part of a dependency, each after all that it depends on.
    order: Vec<AgentId>,
    /// The agents that are stopped when their dependents have ended.
    pub(super) stopping: BTreeSet<AgentId>,
}

/// Why an agent is not stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopRefused {
    /// No agent has this ID.
    #[error(transparent)]
    UnknownAgent(#[from] UnknownAgent),
    /// These agents depend on it and run.
    #[error("{} of the agents that depend on it run: {}", .0.len(), .0.join(", "))]
    Dependents(Vec<AgentId>),
}

impl Registry {
    /// Requests a start of an agent and, before it, of everything that it depends on and that does not run.
    ///
    /// # Errors
    ///
    /// [`UnknownAgent`].
    pub fn start(&mut self, now: Now, id: &str, reason: Reason) -> Result<Decisions, UnknownAgent> {
        let id = self.id(id)?;
        let mut outcome = Decisions::default();
        let needed = self.closure(&id, |registry, id| registry.depends_on(id));
        let order: Vec<AgentId> = self.dependencies.order.iter().filter(|of| needed.contains(*of)).cloned().collect();
        for other in order {
            let is_down = |entry: &Entry| {
                let may_start = entry.unproved.is_none() && entry.machine.remainder().is_none();
                may_start && matches!(entry.machine.state(), State::Stopped | State::Failed)
            };
            if self.get(&other).is_some_and(is_down) {
                let why = Reason::new(reason.code, format!("needed by {id}: {}", reason.text));
                self.handle_into(now, &other, Input::StartRequested(why), &mut outcome);
            }
        }
        self.handle_into(now, &id, Input::StartRequested(reason), &mut outcome);
        Ok(outcome)
    }

    /// Requests a lasting stop. `with_dependents`: also of all agents that depend on it, which end first.
    ///
    /// # Errors
    ///
    /// [`StopRefused`] if dependents run and are not stopped as well.
    pub fn stop(
        &mut self,
        now: Now,
        id: &str,
        with_dependents: bool,
        reason: Reason,
    ) -> Result<Decisions, StopRefused> {
        let id = self.id(id)?;
        let mut outcome = Decisions::default();
        // One that is being stopped, or waits for that, is waited for.
        let stays = |entry: &Entry| {
            entry.machine.wanted() && entry.stop_after.is_none() && entry.machine.state() != State::Failed
        };
        let mut dependents: Vec<AgentId> = self.closure(&id, Self::dependents_of).into_iter().collect();
        dependents.retain(|of| self.get(of).is_some_and(stays));
        dependents.sort();
        let running: Vec<AgentId> = dependents.iter().filter(|of| self.has_process(of)).cloned().collect();
        if !with_dependents && !running.is_empty() {
            return Err(StopRefused::Dependents(running));
        }
        let mut stops = vec![(AgentId::clone(&id), reason.clone())];
        if with_dependents {
            let why = Reason::new(reason.code, format!("depends on {id}: {}", reason.text));
            stops.extend(dependents.into_iter().map(|of| (of, why.clone())));
        }
        self.stop_in_order(now, stops, &mut outcome);
        Ok(outcome)
    }

    /// Stops agents. One that others depend on is stopped when these have ended.
    pub(super) fn stop_in_order(&mut self, now: Now, stops: Vec<(AgentId, Reason)>, outcome: &mut Decisions) {
        let ids: Vec<AgentId> = stops.iter().map(|(id, _)| AgentId::clone(id)).collect();
        for (id, reason) in stops {
            if let Some(entry) = self.agents.get_mut(&id) {
                entry.stop_after = Some(Box::new(reason));
                self.dependencies.stopping.insert(id);
            }
        }
        for id in ids {
            self.stop_if_free(now, &id, outcome);
        }
    }

    /// The longest time that a stop of all agents may take until SIGKILL, with the stops that wait for others.
    #[must_use]
    pub fn longest_stop(&self) -> Duration {
        let timeout = |id: &AgentId| self.get(id).map_or(Duration::ZERO, Entry::stop_timeout);
        let mut until: HashMap<&AgentId, Duration> = HashMap::new();
        for id in self.dependencies.order.iter().rev() {
            let before = self.dependents_of(id).iter().filter_map(|of| until.get(of)).max().copied();
            until.insert(id, before.unwrap_or_default() + timeout(id));
        }
        let alone = self.agents.keys().map(timeout).max();
        until.into_values().chain(alone).max().unwrap_or_default()
    }

    /// Takes over which agents depend on which.
    pub(super) fn index_dependencies(&mut self) {
        let mut dependents: HashMap<AgentId, Vec<AgentId>> = HashMap::new();
        let mut waits_for: HashMap<AgentId, usize> = HashMap::new();
        for (id, entry) in &self.agents {
            for needed in &entry.depends_on {
                dependents.entry(AgentId::clone(needed)).or_default().push(AgentId::clone(id));
                waits_for.entry(AgentId::clone(needed)).or_default();
                *waits_for.entry(AgentId::clone(id)).or_default() += 1;
            }
        }
        dependents.values_mut().for_each(|of| of.sort());
        let mut free: Vec<AgentId> =
            waits_for.iter().filter(|(_, count)| **count == 0).map(|(id, _)| id.clone()).collect();
        free.sort();
        let (mut free, mut order) = (VecDeque::from(free), Vec::with_capacity(waits_for.len()));
        while let Some(id) = free.pop_front() {
            for of in dependents.get(&id).into_iter().flatten() {
                let Some(count) = waits_for.get_mut(of) else { continue };
                *count -= 1;
                if *count == 0 {
                    free.push_back(AgentId::clone(of));
                }
            }
            order.push(id);
        }
        self.dependencies.dependents = dependents;
        self.dependencies.order = order;
    }

    /// Tells all machines whether what they depend on is Running, after another configuration.
    pub(super) fn refresh_all_dependencies(&mut self, now: Now, outcome: &mut Decisions) {
        let mut ids: Vec<AgentId> = self.agents.keys().cloned().collect();
        ids.sort();
        for id in ids {
            self.refresh_dependencies(now, &id, outcome);
        }
    }

    /// When the daemon starts, no agent counts as Running before its process was found and checked again.
    pub(super) fn lose_dependencies(&mut self, now: Now) {
        let dependent = |(id, entry): (&AgentId, &Entry)| {
            let missing: Vec<&str> = entry.depends_on.iter().map(AsRef::as_ref).collect();
            (!missing.is_empty()).then(|| (AgentId::clone(id), missing.join(", ")))
        };
        let dependents: Vec<(AgentId, String)> = self.iter().filter_map(dependent).collect();
        for (id, missing) in dependents {
            self.handle_into(now, &id, Input::DependencyLost(missing), &mut Decisions::default());
        }
    }

    /// Tells the machine of an agent whether all that it depends on are Running.
    pub(super) fn refresh_dependencies(&mut self, now: Now, id: &AgentId, outcome: &mut Decisions) {
        let Some(entry) = self.agents.get(id) else { return };
        let waits = entry.machine.missing().is_some() || entry.machine.state() == State::Waiting;
        if entry.depends_on.is_empty() && !waits {
            return;
        }
        let missing: Vec<&str> = entry.depends_on.iter().filter(|of| !self.is_ready(of)).map(AsRef::as_ref).collect();
        let input = if missing.is_empty() { Input::DependencyReady } else { Input::DependencyLost(missing.join(", ")) };
        self.handle_into(now, id, input, outcome);
    }

    /// What follows for other agents from a transition of this one.
    pub(super) fn after_transition(&mut self, now: Now, id: &AgentId, outcome: &mut Decisions) {
        for dependent in self.dependents_of(id).to_vec() {
            self.refresh_dependencies(now, &dependent, outcome);
        }
        if !self.dependencies.stopping.is_empty() && !self.has_process(id) {
            let waiting: Vec<AgentId> = self.dependencies.stopping.iter().cloned().collect();
            for of in waiting {
                self.stop_if_free(now, &of, outcome);
            }
        }
    }

    /// A later request replaces a stop that waits.
    pub(super) fn forget_waiting_stop(&mut self, id: &AgentId) {
        if self.dependencies.stopping.remove(id)
            && let Some(entry) = self.agents.get_mut(id)
        {
            entry.stop_after = None;
        }
    }

    /// What an agent waits for, with the state of each, for people.
    pub(super) fn missing(&self, entry: &Entry) -> String {
        let missing = entry.depends_on.iter().filter(|of| !self.is_ready(of));
        let describe = |of: &AgentId| match self.get(of) {
            Some(other) => format!("{of}, which is {}", other.machine.state().as_str()),
            None => format!("{of}, which does not exist"),
        };
        missing.map(describe).collect::<Vec<_>>().join(" and for ")
    }

    /// Carries out a stop that waits, if all agents that depend on this one have ended.
    pub(super) fn stop_if_free(&mut self, now: Now, id: &AgentId, outcome: &mut Decisions) {
        let is_free = !self.has_process(id) || !self.has_running_dependent(id);
        let Some(entry) = self.agents.get_mut(id).filter(|_| is_free) else { return };
        if let Some(reason) = entry.stop_after.take() {
            self.dependencies.stopping.remove(id);
            self.handle_into(now, id, Input::StopRequested(*reason), outcome);
        }
    }

    fn has_running_dependent(&self, id: &AgentId) -> bool {
        self.closure(id, Self::dependents_of).iter().any(|of| self.has_process(of))
    }

    fn has_process(&self, id: &str) -> bool {
        self.get(id).is_some_and(|entry| entry.machine.state().has_process())
    }

    fn is_ready(&self, id: &str) -> bool {
        self.get(id).is_some_and(|entry| entry.unproved.is_none() && entry.machine.state() == State::Running)
    }

    fn depends_on(&self, id: &str) -> &[AgentId] {
        self.get(id).map_or(&[], |entry| &entry.depends_on)
    }

    fn dependents_of(&self, id: &str) -> &[AgentId] {
        self.dependencies.dependents.get(id).map_or(&[], Vec::as_slice)
    }

    /// Everything that can be reached from an agent, without itself.
    fn closure(&self, id: &AgentId, next: impl for<'a> Fn(&'a Self, &str) -> &'a [AgentId]) -> HashSet<AgentId> {
        let (mut found, mut open) = (HashSet::new(), vec![AgentId::clone(id)]);
        while let Some(at) = open.pop() {
            for of in next(self, &at) {
                if *of != *id && found.insert(AgentId::clone(of)) {
                    open.push(AgentId::clone(of));
                }
            }
        }
        found
    }
}
