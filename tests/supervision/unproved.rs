//! Agents of which the next daemon cannot tell whether their processes are alive.

use ops_agent::testing::daemon::registry::{Decisions, DesiredAgent, Registry};
use ops_protocol::views::CheckVerdict;
use statemachine::supervision::{Effect, Exit, Input};

use super::registry::{at, boot, process, two, wanted};

#[test]
fn nothing_is_started_while_it_cannot_be_told_whether_the_process_is_alive() {
    let mut before = two();
    before.handle(at(1), "b", Input::Exited(process(11), Exit::Code(1))).unwrap();
    let saved = before.save(boot());
    let open = || {
        let mut registry =
            Registry::open(at(2), boot(), vec![wanted("a", 1), wanted("b", 1)], Some(saved.clone()), &[]);
        for id in ["a", "b"] {
            registry.set_unproved(at(2), id, "/proc hides it");
        }
        registry
    };
    let mut registry = open();
    assert_eq!(registry.deadline(), None, "neither a check nor the end of a backoff is due");
    assert_eq!(registry.expire(at(10_000)), Decisions::default());
    let changed = DesiredAgent { fingerprint: 7, ..wanted("a", 1) };
    assert_eq!(registry.reload(at(3), vec![changed, wanted("b", 1)]), Decisions::default());
    let view = registry.view(at(3), "a").unwrap();
    assert!(view.why.contains("unknown whether its process is alive") && view.why.contains("/proc hides it"));
    assert_eq!(view.signals[0].verdict, CheckVerdict::Unknown);

    let outcome = registry.found(at(4), "a", Some(process(10))).unwrap();
    assert_eq!(outcome.actions[0].effects, [Effect::Adopt, Effect::Record]);
    assert!(outcome.actions[1].effects.contains(&Effect::StopTree), "it was changed meanwhile");
    let outcome = registry.found(at(4), "b", None).unwrap();
    assert_eq!(outcome, Decisions::default(), "its wait before the restart goes on");
    assert!(registry.expire(at(4)).actions.iter().any(|action| action.effects.contains(&Effect::Spawn)));
    let mut removing = open();
    assert_eq!(removing.reload(at(3), vec![wanted("b", 1)]), Decisions::default());
    let outcome = removing.found(at(4), "a", None).unwrap();
    assert!(outcome.actions.iter().any(|action| action.effects.contains(&Effect::Reap)));
    assert!(removing.get("a").is_none(), "it is removed once it is proved to be gone");
}
