//! Agents that depend on others: which start after which, and which are stopped before which.

use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::registry::{AgentId, Decisions, DesiredAgent, Registry, StopRefused, decode, encode};
use statemachine::supervision::{Effect, Exit, Input, Reason, ReasonCode, State};

use super::registry::{at, boot, process, wanted};

fn agent(id: &str, depends_on: &[&str]) -> DesiredAgent {
    let limits = CheckLimits { heartbeat_timeout: None, ..CheckLimits::default() };
    DesiredAgent { depends_on: depends_on.iter().map(|id| AgentId::from(*id)).collect(), limits, ..wanted(id, 1) }
}

/// `web` depends on `api`, and `api` on `db`. They are given in the wrong order.
fn chain() -> Vec<DesiredAgent> {
    vec![agent("web", &["api"]), agent("api", &["db"]), agent("db", &[])]
}

const IDS: [&str; 3] = ["db", "api", "web"];

fn opened() -> Registry {
    let mut registry = Registry::open(at(0), boot(), chain(), None, &[]);
    for id in IDS {
        registry.found(at(0), id, None).unwrap();
    }
    registry
}

/// All three run.
fn up() -> Registry {
    let mut registry = opened();
    for id in IDS {
        come_up(&mut registry, id);
    }
    registry
}

fn pid(id: &str) -> u32 {
    10 + u32::try_from(IDS.iter().position(|of| *of == id).unwrap()).unwrap()
}

fn come_up(registry: &mut Registry, id: &str) -> Decisions {
    registry.handle(at(1), id, Input::Spawned(process(pid(id)))).unwrap();
    registry.handle(at(1), id, Input::FoundHealthy).unwrap()
}

fn ends(registry: &mut Registry, id: &str) -> Decisions {
    registry.handle(at(2), id, Input::Exited(process(pid(id)), Exit::Code(0))).unwrap()
}

fn states(registry: &Registry) -> [State; 3] {
    IDS.map(|id| registry.get(id).unwrap().machine().state())
}

/// The agents that get this effect, in order.
fn with_effect(decisions: &Decisions, effect: Effect) -> Vec<&str> {
    let acted = decisions.actions.iter().filter(|action| action.effects.contains(&effect));
    acted.map(|action| &*action.id).collect()
}

fn by_hand() -> Reason {
    Reason::new(ReasonCode::StopCommand, "an operator")
}

#[test]
fn agents_start_one_after_the_other() {
    let mut registry = opened();
    assert_eq!(states(&registry), [State::Starting, State::Waiting, State::Waiting]);
    assert_eq!(with_effect(&come_up(&mut registry, "db"), Effect::Spawn), ["api"]);
    assert_eq!(states(&registry), [State::Running, State::Starting, State::Waiting]);
    assert_eq!(with_effect(&come_up(&mut registry, "api"), Effect::Spawn), ["web"]);
    let why = |registry: &Registry, id: &str| registry.view(at(1), id).unwrap().why;
    assert_eq!(why(&opened(), "web"), "waits for api, which is waiting; the daemon started; waits for api");
    come_up(&mut registry, "web");
    assert_eq!(states(&registry), [State::Running; 3]);
}

#[test]
fn a_dependency_that_fails_does_not_touch_its_dependents() {
    let mut registry = up();
    ends(&mut registry, "db");
    assert_eq!(states(&registry), [State::Backoff, State::Running, State::Running]);
    ends(&mut registry, "api");
    registry.expire(at(3));
    assert_eq!(states(&registry), [State::Starting, State::Waiting, State::Running], "its own restart waits");
}

#[test]
fn a_stop_is_refused_while_dependents_run() {
    let mut registry = up();
    let refused = registry.stop(at(2), "db", false, by_hand()).unwrap_err();
    assert_eq!(refused, StopRefused::Dependents(vec!["api".into(), "web".into()]));
    assert_eq!(refused.to_string(), "2 of the agents that depend on it run: api, web");
    assert_eq!(states(&registry), [State::Running; 3]);
    registry.stop(at(2), "web", false, by_hand()).unwrap();
    assert!(registry.stop(at(2), "nothing", false, by_hand()).is_err());
}

#[test]
fn a_stop_with_dependents_ends_them_first() {
    let mut registry = up();
    let first = registry.stop(at(2), "db", true, by_hand()).unwrap();
    assert_eq!(with_effect(&first, Effect::StopTree), ["web"]);
    assert_eq!(with_effect(&ends(&mut registry, "web"), Effect::StopTree), ["api"]);
    assert_eq!(with_effect(&ends(&mut registry, "api"), Effect::StopTree), ["db"]);
    ends(&mut registry, "db");
    assert_eq!(states(&registry), [State::Stopped; 3]);
    let reason = registry.get("web").unwrap().machine().reason().unwrap().reason.text.clone();
    assert_eq!(reason, "depends on db: an operator");
}

#[test]
fn what_ends_by_itself_meanwhile_is_not_started_again() {
    let mut registry = up();
    registry.stop(at(2), "db", true, by_hand()).unwrap();
    ends(&mut registry, "db");
    assert_eq!(states(&registry)[0], State::Stopped);
    // And a start that is requested meanwhile counts.
    let mut registry = up();
    registry.stop(at(2), "db", true, by_hand()).unwrap();
    registry.start(at(2), "db", Reason::new(ReasonCode::StartCommand, "an operator")).unwrap();
    ends(&mut registry, "web");
    ends(&mut registry, "api");
    assert_eq!(states(&registry), [State::Running, State::Stopped, State::Stopped]);
}

#[test]
fn the_daemon_stops_its_agents_in_reverse_order_and_takes_the_time_for_it() {
    let mut registry = up();
    let timeout = statemachine::supervision::Policy::default().stop.timeout;
    assert_eq!(registry.longest_stop(), timeout * 3);
    assert_eq!(with_effect(&registry.stop_all(at(2), "INT"), Effect::StopTree), ["web"]);
    assert_eq!(with_effect(&ends(&mut registry, "web"), Effect::StopTree), ["api"]);
}

#[test]
fn a_start_starts_what_it_needs() {
    let mut registry = up();
    registry.stop(at(2), "db", true, by_hand()).unwrap();
    for id in ["web", "api", "db"] {
        ends(&mut registry, id);
    }
    let start = Reason::new(ReasonCode::StartCommand, "an operator");
    let decisions = registry.start(at(3), "web", start).unwrap();
    assert_eq!(with_effect(&decisions, Effect::Spawn), ["db"]);
    assert_eq!(states(&registry), [State::Starting, State::Waiting, State::Waiting]);
}

#[test]
fn the_next_daemon_finishes_an_ordered_stop_and_keeps_a_hold() {
    let mut registry = up();
    registry.hold(at(2), "web", Reason::new(ReasonCode::HoldCommand, "an operator")).unwrap();
    registry.stop(at(2), "db", true, by_hand()).unwrap();
    let saved = decode(&encode(&registry.save(boot())).unwrap()).unwrap();
    let mut next = Registry::open(at(0), boot(), chain(), Some(saved), &[]);
    assert_eq!(next.get("web").unwrap().hold().unwrap().reason.text, "an operator");
    for id in IDS {
        next.found(at(1), id, Some(process(pid(id)))).unwrap();
    }
    ends(&mut next, "web");
    ends(&mut next, "api");
    ends(&mut next, "db");
    assert_eq!(states(&next), [State::Stopped; 3]);
}

#[test]
fn after_a_restart_of_the_daemon_no_agent_counts_as_running_before_it_was_found() {
    let saved = up().save(boot());
    let mut next = Registry::open(at(0), boot(), chain(), Some(saved), &[]);
    next.found(at(1), "web", None).unwrap();
    next.expire(at(2));
    assert_eq!(next.get("web").unwrap().machine().state(), State::Waiting);
    for id in ["db", "api"] {
        next.found(at(3), id, Some(process(pid(id)))).unwrap();
        next.handle(at(3), id, Input::FoundHealthy).unwrap();
    }
    assert_eq!(states(&next), [State::Running, State::Running, State::Starting]);
}

#[test]
fn a_reload_changes_what_an_agent_waits_for() {
    let mut registry = opened();
    let decisions = registry.reload(at(2), vec![agent("web", &[]), agent("api", &["db"]), agent("db", &[])]);
    assert_eq!(with_effect(&decisions, Effect::Spawn), ["web"]);
    assert_eq!(states(&registry), [State::Starting, State::Waiting, State::Starting]);
    // What goes together is stopped in order.
    let mut registry = up();
    let gone = registry.reload(at(2), Vec::new());
    assert_eq!(with_effect(&gone, Effect::StopTree), ["web"]);
    ends(&mut registry, "web");
    assert!(registry.get("web").is_none());
    assert_eq!(with_effect(&ends(&mut registry, "api"), Effect::StopTree), ["db"]);
}

#[test]
fn a_hold_suspends_restarts_for_bad_checks_until_it_is_released() {
    let limits = CheckLimits::default();
    let mut registry = Registry::open(at(0), boot(), vec![DesiredAgent { limits, ..wanted("a", 1) }], None, &[]);
    registry.found(at(0), "a", None).unwrap();
    registry.handle(at(0), "a", Input::Spawned(process(10))).unwrap();
    registry.hold(at(1), "a", Reason::new(ReasonCode::HoldCommand, "`hold` by root")).unwrap();
    for second in 1..400 {
        registry.on_wakeup(at(second), at(second).monotonic, |_| at(second).monotonic);
        registry.expire(at(second));
    }
    let view = registry.view(at(400), "a").unwrap();
    assert_eq!(view.state, State::Unhealthy);
    assert!(view.why.contains("Restarts are held by `hold` by root"), "{}", view.why);
    assert_eq!(view.hold.map(|hold| hold.code.into_owned()), Some("hold_command".to_owned()));
    let released = registry.release(at(400), "a").unwrap();
    assert_eq!(with_effect(&released, Effect::StopTree), ["a"]);
    assert_eq!(registry.release(at(401), "a").unwrap(), Decisions::default(), "there is nothing to release");
}
