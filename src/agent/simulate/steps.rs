//! The thread that begins and ends the steps of a plan.

use std::io;
use std::thread;
use std::time::Duration;

use super::acts::Begin;
use super::evidence::EvidenceEvent;
use super::plan::{Origin, Step};
use super::state::Simulation;
use ops_runtime::clock;

/// A step that has not ended.
struct Pending {
    index: usize,
    step: Step,
    /// When its act began. `None`: it has not begun.
    began: Option<Duration>,
}

impl Pending {
    /// When it begins or ends next. `None`: that is not known yet, or never.
    fn due(&self, simulation: &Simulation) -> Option<Duration> {
        match self.began {
            Some(began) => Some(began + self.step.lasts?),
            None => {
                let from = match self.step.from {
                    Origin::Start => simulation.started(),
                    Origin::Ready => simulation.ready_since()?,
                };
                Some(from + self.step.at)
            }
        }
    }
}

/// Begins the steps that are due, and starts the thread for the others.
///
/// # Errors
///
/// The system refuses the thread.
pub(super) fn begin(simulation: Simulation) -> io::Result<()> {
    let all = simulation.steps().iter().cloned();
    let mut pending: Vec<Pending> = all.map(|(index, step)| Pending { index, step, began: None }).collect();
    // Before the set-up, so that a slow start is slow from the start on.
    perform(&simulation, &mut pending, simulation.started());
    if pending.is_empty() {
        return Ok(());
    }
    let run = move || {
        while !pending.is_empty() {
            let now = clock::monotonic();
            perform(&simulation, &mut pending, now);
            let next = pending.iter().filter_map(|step| step.due(&simulation)).min();
            simulation.wait(next.map(|at| at.saturating_sub(clock::monotonic())));
        }
    };
    thread::Builder::new().name("simulation".to_owned()).spawn(run).map(drop)
}

/// Begins and ends what is due, in the order of the times.
fn perform(simulation: &Simulation, pending: &mut Vec<Pending>, now: Duration) {
    loop {
        let due = |step: &Pending| step.due(simulation).filter(|at| *at <= now);
        let times = pending.iter().enumerate().filter_map(|(at, step)| Some((due(step)?, at)));
        let Some((_, at)) = times.min() else { return };
        let Some(step) = pending.get_mut(at) else { return };
        if step.began.is_some() {
            end(simulation, step);
            pending.remove(at);
        } else {
            step.began = Some(clock::monotonic());
            // An act without an end stays in progress, and nothing more is to be done for it.
            if !start(simulation, step) || step.step.lasts.is_none() {
                pending.remove(at);
            }
        }
    }
}

/// Begins a step. `false`: it has failed.
fn start(simulation: &Simulation, pending: &Pending) -> bool {
    let Pending { index, step, .. } = pending;
    let act = step.act.info().name.to_owned();
    simulation.note(EvidenceEvent::Begin { step: *index, act: act.clone() });
    // What the act notes comes before what it does elsewhere.
    match step.act.behaviour().begin(&Begin { simulation, index: *index, step }) {
        Ok(held) => {
            simulation.add(*index, step.act.clone(), held);
            true
        }
        Err(error) => {
            tracing::error!(act, %error, "a step of the simulation failed");
            simulation.note(EvidenceEvent::Failed { step: *index, act, error: error.to_string() });
            false
        }
    }
}

fn end(simulation: &Simulation, pending: &Pending) {
    let act = pending.step.act.info().name.to_owned();
    simulation.note(EvidenceEvent::End { step: pending.index, act });
    simulation.remove(pending.index);
}
