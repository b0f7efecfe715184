//! Holds: an operator suspends the restarts of one agent that follow from bad checks, to look into it.

use statemachine::supervision::{Effect, Reason, RecordedReason};
use statemachine::time::Now;

use super::{AgentAction, AgentId, Decisions, Registry, UnknownAgent};

impl Registry {
    /// Suspends restarts of an agent for bad checks. It is still checked, and its exit still restarts it.
    ///
    /// # Errors
    ///
    /// [`UnknownAgent`].
    pub fn hold(&mut self, now: Now, id: &str, reason: Reason) -> Result<Decisions, UnknownAgent> {
        let id = self.id(id)?;
        if let Some(entry) = self.agents.get_mut(&id) {
            entry.hold = Some(Box::new(RecordedReason { at: now.wall, reason }));
        }
        let held = vec![AgentId::clone(&id)];
        Ok(Decisions { held, ..self.saved(&id) })
    }

    /// Ends the hold of an agent. If a check is bad now, it is restarted as without a hold.
    ///
    /// # Errors
    ///
    /// [`UnknownAgent`].
    pub fn release(&mut self, now: Now, id: &str) -> Result<Decisions, UnknownAgent> {
        let id = self.id(id)?;
        let Some(_) = self.agents.get_mut(&id).and_then(|entry| entry.hold.take()) else {
            return Ok(Decisions::default());
        };
        let mut outcome = self.saved(&id);
        self.judge(now, &id, &mut outcome);
        Ok(outcome)
    }

    /// What has to outlive the daemon is saved.
    pub(super) fn saved(&self, id: &AgentId) -> Decisions {
        let process = self.get(id).and_then(|entry| entry.machine.tree());
        let save = AgentAction { id: AgentId::clone(id), process, effects: &[Effect::Record], transition: None };
        Decisions { actions: vec![save], ..Decisions::default() }
    }
}
