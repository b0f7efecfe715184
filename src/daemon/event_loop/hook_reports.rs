//! What the loop reports to hooks.

use std::rc::Rc;

use statemachine::supervision::{Identity, Reason, RecordedReason, Transition};

use super::EventLoop;
use crate::daemon::effects::Effects;
use crate::daemon::hooks::events::event_of;
use crate::daemon::hooks::{AgentFacts, HookFacts};
use crate::daemon::registry::{AgentId, Registry};
use crate::daemon::restart_guard::RestartHold;
use ops_config::daemon::HookEvent;
use ops_runtime::clock::Clock;

impl<C: Clock + Clone + 'static, W: Effects> EventLoop<C, W> {
    /// Reports that restarts of all agents are held.
    pub(super) fn report_hold(&self, hold: RestartHold) {
        let cause = hold.reason.to_string();
        let reason = Some(Reason::new(hold.reason.code(), cause.clone()));
        let at = self.clock.now().wall.into();
        Rc::clone(&self.system).hook(HookFacts { event: HookEvent::Held, at, cause, reason, agent: None });
    }

    /// Reports that an operator holds restarts of one agent.
    pub(super) fn report_hold_of(&self, id: &AgentId) {
        let facts = |registry: &Registry| {
            let entry = registry.get(id)?;
            let (machine, RecordedReason { at, reason }) = (entry.machine(), entry.hold()?);
            let state = machine.state();
            Some(HookFacts {
                event: HookEvent::Held,
                at: (*at).into(),
                cause: format!("restarts for bad checks are held: {}", reason.text),
                reason: Some(reason.clone()),
                agent: Some(AgentFacts::of(id, machine.process(), state, state, machine)),
            })
        };
        if let Some(facts) = self.shared_registry.read(facts) {
            Rc::clone(&self.system).hook(facts);
        }
    }

    /// Reports a transition, if it is one that hooks can be told of.
    pub(super) fn report_transition(&self, id: &AgentId, process: Option<Identity>, transition: &Transition) {
        let facts = |registry: &Registry| {
            let machine = registry.get(id)?.machine();
            let mut earlier = machine.history().rev().skip_while(|known| *known != transition);
            // The transition itself.
            earlier.next();
            let event = event_of(transition, earlier)?;
            Some(HookFacts {
                event,
                at: transition.at.wall.into(),
                cause: transition.cause.clone(),
                reason: machine.reason().map(|recorded| recorded.reason.clone()),
                agent: Some(AgentFacts::of(id, process, transition.from, transition.to, machine)),
            })
        };
        if let Some(facts) = self.shared_registry.read(facts) {
            Rc::clone(&self.system).hook(facts);
        }
    }
}
