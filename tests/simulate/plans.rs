//! Plans, and what is wrong with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ops_agent::simulate::{
    ACTS, Act, Crash, CrashSignal, Daemonize, EvidenceEvent, EvidenceLine, LeakMemory, Lives, Origin, Plan, Step,
    Where, Within,
};
use proptest::prelude::*;

use crate::support::agent::AgentDir;
use crate::support::config::yaml_like;

fn parse(name: &str, text: &str) -> Result<Plan, String> {
    Plan::parse(Path::new(name), text.as_bytes()).map_err(|problems| problems.to_string())
}

/// A plan with this step.
fn with_step(step: &str) -> Result<Plan, String> {
    parse("plan.yaml", &format!("evidence: log\nsteps:\n- {step}\n"))
}

fn expected() -> Plan {
    let crash = Step {
        at: Duration::from_secs(3),
        from: Origin::Ready,
        life: Lives::These(vec![1, 2]),
        ..Step::new(Crash { signal: CrashSignal::Kill })
    };
    let leak = LeakMemory { mib_per_s: Within::nearest(50), place: Where::Child, ..LeakMemory::default() };
    let leak = Step { lasts: Some(Duration::from_millis(1500)), life: Lives::All, ..Step::new(leak) };
    Plan { evidence: PathBuf::from("log"), steps: vec![crash, leak, Step::new(Daemonize {})] }
}

#[test]
fn yaml_and_ron_give_the_same_plan() {
    let yaml = "evidence: log\nsteps:\n- { at: 3s, from: ready, life: [1, 2], act: { crash: { signal: kill } } }\n\
                - { for: 1500ms, life: all, act: { leak_memory: { mib_per_s: 50, in: child } } }\n- act: daemonize\n";
    assert_eq!(parse("plan.yaml", yaml), Ok(expected()));
    let ron = r#"(
        evidence: "log",
        steps: [
            (at: "3s", from: ready, life: [1, 2], act: crash(signal: kill)),
            (for: "1500ms", life: "all", act: leak_memory(mib_per_s: 50, in: child)),
            (act: daemonize()),
        ],
    )"#;
    assert_eq!(parse("plan.ron", ron), Ok(expected()));
}

#[test]
fn a_plan_that_was_written_is_read_again() {
    let text = expected().to_yaml().unwrap();
    assert_eq!(parse("plan.yaml", &text), Ok(expected()), "{text}");
}

#[test]
fn a_wrong_plan_is_refused_with_its_place_and_a_remedy() {
    for (step, problem) in [
        ("act: crsh", "3:8: unknown name `crsh`: did you mean `crash`?"),
        ("act: crash", "3:8: `signal` is missing: add it"),
        ("{ act: panic, att: 3s }", "3:17: unknown key `att`: did you mean `at`?"),
        ("{ act: panic, at: 3 }", "3:21: `3` is not a duration: write a number with a unit, such as `3s`"),
        ("{ act: panic, at: 25h }", "3:21: `25h` is longer than a day: write at most `24h`"),
        ("{ act: panic, for: 3s }", "3:3: `panic` has no duration: remove `for`"),
        ("{ act: slow_start, at: 1s }", "3:3: `slow_start` begins with the start of the agent: remove `at` and `from`"),
        (
            "{ act: panic, life: 0 }",
            "3:23: this is the number 0: write `all`, a number from 1 on, or a list of numbers",
        ),
        ("{ act: panic, life: [] }", "3:23: this list is empty: write the number of a life, or `all`"),
        ("act: { exit: { code: 256 } }", "3:24: this is the number 256: write u8"),
        ("act: { burn_cpu: { threads: 0 } }", "3:31: this is the number 0: write a whole number from 1 to 64"),
        ("act: { exit: { code: 1 }, panic: {} }", "3:8: this section has 2 keys: keep the one that names the choice"),
    ] {
        assert_eq!(with_step(step).unwrap_err(), format!("plan.yaml:{problem}"), "{step}");
    }
    let many = "- act: panic\n".repeat(101);
    let refused = parse("plan.yaml", &format!("evidence: log\nsteps:\n{many}")).unwrap_err();
    assert_eq!(refused, "plan.yaml:3:3: the plan is too long: keep at most 100 steps");
    assert_eq!(parse("plan.yaml", "steps: []\n").unwrap_err(), "plan.yaml:1:1: `evidence` is missing: add it");
    let nowhere = parse("plan.yaml", "evidence: /\n").unwrap_err();
    assert_eq!(nowhere, "plan.yaml:1:11: this names no file: write the path of the evidence log");
    let large = parse("plan.yaml", &"#".repeat(64 * 1024 + 1)).unwrap_err();
    assert!(large.contains("larger than 64 KiB"), "{large}");
}

#[test]
fn the_parameters_of_every_act_are_documented() {
    for info in ACTS {
        let required = info.parameters.iter().filter(|parameter| parameter.default.is_empty());
        let required: Vec<String> = required
            .map(|parameter| match parameter.values {
                values if values.contains("duration") => format!("{}: 2s", parameter.name),
                values if values.starts_with('`') => {
                    format!("{}: {}", parameter.name, values.split('`').nth(1).unwrap())
                }
                _ => format!("{}: 1", parameter.name),
            })
            .collect();
        let step = format!("act: {{ {}: {{ {} }} }}", info.name, required.join(", "));
        let plan = with_step(&step).unwrap_or_else(|problem| panic!("{problem}\n{step}"));
        let act = plan.steps[0].act.clone();
        assert_eq!(act.info(), *info);
        let written = serde_json::to_value(&act).unwrap();
        let keys: Vec<&String> = written[info.name].as_object().unwrap().keys().collect();
        let mut documented: Vec<&str> = info.parameters.iter().map(|parameter| parameter.name).collect();
        documented.sort_unstable();
        assert_eq!(keys, documented, "{}", info.name);
        for parameter in info.parameters.iter().filter(|parameter| !parameter.default.is_empty()) {
            let value = &written[info.name][parameter.name];
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(value, parameter.default.trim_matches('`'), "{}.{}", info.name, parameter.name);
        }
        assert_eq!(serde_json::from_value::<Act>(written).unwrap(), act);
    }
}

#[test]
fn a_line_of_evidence_is_read_as_it_was_written() {
    let event = EvidenceEvent::Begin { step: 2, act: "crash".to_owned() };
    let line = EvidenceLine { pid: 7, process_start: 99, life: 2, boottime: 12.5, monotonic: 11.25, event };
    let text = serde_json::to_string(&line).unwrap();
    assert_eq!(
        text,
        r#"{"pid":7,"process_start":99,"life":2,"boottime":12.5,"monotonic":11.25,"event":"begin","step":2,"act":"crash"}"#
    );
    assert_eq!(serde_json::from_str::<EvidenceLine>(&text).unwrap(), line);
}

#[test]
fn validate_checks_a_plan() {
    let directory = AgentDir::new("");
    let validate = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
        directory.command(&["validate", "agent.yaml", "--simulate", name]).output().unwrap()
    };
    let good = validate("plan.yaml", "evidence: log\n");
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let text = String::from_utf8_lossy(&good.stdout).into_owned();
    assert!(text.contains("plan.yaml is a valid plan, with 0 steps") && text.contains("agent.yaml is valid"), "{text}");
    assert!(!directory.path().join("log").exists());
    for (name, text, place) in [
        ("plan.yaml", "evidence: log\nstep: []\n", "plan.yaml:2:1"),
        ("plan.ron", "(evidence: \"log\", step: [])", "plan.ron:1:19"),
        ("missing.yaml", "", ""),
    ] {
        let wrong = validate(name, text);
        assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
        assert!(String::from_utf8_lossy(&wrong.stderr).contains(place), "{wrong:?}");
    }
    let missing = directory.command(&["validate", "agent.yaml", "--simulate", "none.yaml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(78));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("select an existing file with `--simulate PLAN`"), "{text}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in yaml_like(), bytes in any::<Vec<u8>>()) {
        for name in ["plan.yaml", "plan.ron"] {
            let _ = Plan::parse(Path::new(name), text.as_bytes());
            let _ = Plan::parse(Path::new(name), &bytes);
        }
    }
}
