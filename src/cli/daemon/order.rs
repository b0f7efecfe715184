//! The order of agents in lists: the worst first.

use std::cmp::{Ordering, Reverse};

use ops_protocol::views::{AgentView, CheckVerdict, CheckView};
use statemachine::supervision::State;

/// What a list is sorted by. Agents that are equal in it are sorted by ID.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Sort {
    /// The worst state first
    #[default]
    State,
    /// By ID
    Id,
    /// The highest CPU usage first
    Cpu,
    /// The most memory first
    Memory,
    /// The most restarts first
    Restarts,
    /// The latest change of state first
    #[value(alias = "uptime")]
    Age,
}

/// Sorts agents.
pub(super) fn sort(agents: &mut [AgentView], by: Sort) {
    agents.sort_by(|a, b| {
        let order = match by {
            Sort::State => severity(a).cmp(&severity(b)),
            Sort::Id => Ordering::Equal,
            Sort::Cpu => descending(a.cpu_percent, b.cpu_percent),
            Sort::Memory => Reverse(a.memory_bytes).cmp(&Reverse(b.memory_bytes)),
            Sort::Restarts => Reverse(a.restarts).cmp(&Reverse(b.restarts)),
            Sort::Age => Reverse(a.since).cmp(&Reverse(b.since)),
        };
        order.then_with(|| a.agent_id.cmp(&b.agent_id))
    });
}

fn descending(a: Option<f64>, b: Option<f64>) -> Ordering {
    b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0))
}

/// How bad the state of an agent is. 0 is the worst.
fn severity(agent: &AgentView) -> u8 {
    match agent.state {
        State::Failed => 0,
        State::Backoff => 1,
        State::Unhealthy => 2,
        State::Stopped if !agent.is_well() => 3,
        State::Stopping => 4,
        State::Waiting => 5,
        State::Starting => 6,
        State::Running if has_finding(agent) || agent.hold.is_some() => 7,
        State::Running => 8,
        State::Stopped => 9,
    }
}

/// Whether a check of an agent has something to say.
pub(super) fn has_finding(agent: &AgentView) -> bool {
    agent.signals.iter().any(|check| verdict(check) < 3)
}

/// How bad the verdict of a check is. 0 is the worst.
pub(super) const fn verdict(check: &CheckView) -> u8 {
    match check.verdict {
        CheckVerdict::Bad => 0,
        CheckVerdict::Noted => 1,
        CheckVerdict::Unknown => 2,
        CheckVerdict::Ok => 3,
        CheckVerdict::Off => 4,
    }
}
