//! What a transition of an agent means to hooks. Pure.

use statemachine::supervision::{Event, State, Transition};

use ops_config::daemon::HookEvent;

/// The event that hooks are told of. `earlier` are the transitions before this one, the latest first.
pub(crate) fn event_of<'t>(
    transition: &Transition,
    mut earlier: impl Iterator<Item = &'t Transition>,
) -> Option<HookEvent> {
    match (transition.from, transition.to, transition.event) {
        (_, State::Failed, _) => Some(HookEvent::Failed),
        (_, State::Unhealthy, _) => Some(HookEvent::Unhealthy),
        (_, State::Running, _) => {
            // What an operator has stopped, and what has run since, was no trouble any more.
            let trouble = earlier.find(|before| !is_on_the_way(before.to))?;
            matches!(trouble.to, State::Failed | State::Unhealthy).then_some(HookEvent::Recovered)
        }
        // An adopted process runs already.
        (State::Backoff, State::Starting, event) if event != Event::Adopted => Some(HookEvent::Restarted),
        (_, State::Stopped | State::Waiting | State::Starting | State::Stopping | State::Backoff, _) => None,
    }
}

/// Whether the state is one between trouble and its end.
const fn is_on_the_way(state: State) -> bool {
    match state {
        State::Waiting | State::Starting | State::Stopping | State::Backoff => true,
        State::Stopped | State::Running | State::Unhealthy | State::Failed => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use statemachine::time::Now;

    use super::*;

    /// The events of a life that goes through these states.
    fn events(states: &[State]) -> Vec<Option<HookEvent>> {
        let at = Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH };
        let event = Event::StartRequested;
        let moves = states.windows(2).map(|pair| match pair {
            [from, to] => Transition { at, from: *from, to: *to, event, cause: String::new() },
            _ => unreachable!("windows of two"),
        });
        let moves: Vec<Transition> = moves.collect();
        let event = |(index, moved): (usize, &Transition)| event_of(moved, moves[..index].iter().rev());
        moves.iter().enumerate().map(event).collect()
    }

    #[test]
    fn an_agent_recovers_from_failure_and_bad_health_alone() {
        use HookEvent::{Failed, Recovered, Restarted, Unhealthy};
        use State as S;
        assert_eq!(events(&[S::Stopped, S::Starting, S::Running]), [None, None]);
        let crash = [S::Running, S::Backoff, S::Starting, S::Running];
        assert_eq!(events(&crash), [None, Some(Restarted), None], "the restart itself says it");
        let verdict =
            [S::Running, S::Unhealthy, S::Stopping, S::Backoff, S::Starting, S::Running, S::Unhealthy, S::Running];
        let expected =
            [Some(Unhealthy), None, None, Some(Restarted), Some(Recovered), Some(Unhealthy), Some(Recovered)];
        assert_eq!(events(&verdict), expected);
        let repaired = [S::Backoff, S::Failed, S::Starting, S::Running];
        assert_eq!(events(&repaired), [Some(Failed), None, Some(Recovered)]);
        let stopped = [S::Backoff, S::Failed, S::Stopped, S::Starting, S::Running];
        assert_eq!(events(&stopped), [Some(Failed), None, None, None], "an operator took note");
    }
}
