//! The daemon's configuration is accepted whole, or refused with all its problems at once.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use ops_config::daemon::{AgentKind, DaemonConfig};
use ops_config::testing::parse_daemon;
use ops_config::{DaemonChanges, Overrides, diff_daemon, load_daemon};
use proptest::prelude::*;
use statemachine::supervision::{Policy, RestartWhen};

use crate::support::config::{assert_explained_as_reviewed, yaml_like};

fn right(text: &str) -> DaemonConfig {
    let parsed = parse_daemon("daemon.yaml", text.as_bytes(), &Overrides::none());
    parsed.unwrap_or_else(|problems| panic!("{}", problems.render(false))).config
}

#[test]
fn each_broken_file_is_explained_as_reviewed() {
    assert_explained_as_reviewed("daemon", |name, text| {
        parse_daemon(name, text, &Overrides::none()).map(|loaded| format!("{loaded:?}"))
    });
}

#[test]
fn ten_thousand_agents_are_accepted_and_an_oversized_file_is_not() {
    let agent = |n: usize| {
        format!(
            "  - id: agent-{n}\n    binary_path: /usr/local/bin/agent\n    health_check: {{ interval: 30s, state_max_age: 60s }}\n"
        )
    };
    let text: String = (0..10_000).map(agent).collect();
    assert_eq!(right(&format!("agents:\n{text}")).agents.len(), 10_000);
    let problems = parse_daemon("daemon.yaml", &vec![b'#'; 5 << 20], &Overrides::none()).unwrap_err();
    assert!(problems.to_string().contains("larger than 4096 KiB"), "{problems}");
}

#[test]
fn a_file_full_of_problems_costs_no_more_than_its_size() {
    let refused = |text: String| parse_daemon("daemon.yaml", text.as_bytes(), &Overrides::none()).unwrap_err();
    let many_items = refused(format!("agents:\n{}", "- x\n".repeat(50_000)));
    assert_eq!(many_items.iter().len(), 1, "{many_items}");
    assert!(many_items.to_string().contains("`agents` has 50000 items: keep at most 16384"), "{many_items}");
    // The largest number of problems that is reported. The known keys are not searched for each of them.
    assert_eq!(refused(format!("agents:\n{}", "- {a: b}\n".repeat(16 * 1024))).iter().len(), 1000);
    for text in ["? \n".repeat(50_000), "a: 1\n".repeat(50_000), "- !x a\n".repeat(50_000)] {
        let problems = refused(text).iter().len();
        assert!(problems <= 2000, "{problems} are kept");
    }
}

#[test]
fn a_configuration_of_the_go_daemon_is_accepted() {
    let config = right(include_str!("fixtures/config/good/go_daemon.yaml"));
    let [agent, filebeat, telegraf, node] = config.agents.as_slice() else { panic!("{config:?}") };
    assert!(agent.enabled, "an omitted `enabled` means true");
    assert!(!filebeat.enabled);
    assert_eq!(agent.work_dir, Path::new("/var/lib/ops-daemon/agents/agent-001"));
    assert_eq!((agent.name.as_str(), filebeat.name.as_str()), ("Agent 001", "filebeat"));
    assert_eq!((agent.kind, node.kind), (AgentKind::Custom, AgentKind::NodeExporter));
    assert!(telegraf.arguments(Path::new("/")).is_empty());
    assert_eq!(node.restart.when, RestartWhen::OnFailure);
    assert_eq!(config.http.port, 8080);
}

#[test]
fn an_agent_s_setting_overrides_the_file_s_default_and_that_the_built_in_one() {
    let config = right(include_str!("fixtures/config/good/go_daemon.yaml"));
    let seconds = |index: usize| config.agents[index].health_check.interval.as_secs();
    assert_eq!((seconds(0), seconds(1)), (10, 15));
    assert_eq!(config.agents[0].restart, Policy { max_retries: 3, ..Policy::default() });
    let timeouts: Vec<_> = config.agents.iter().map(|agent| agent.health_check.heartbeat_timeout).collect();
    assert_eq!(timeouts, [Some(Duration::from_secs(45)), None, None, None], "programs of others send no heartbeats");
}

#[test]
fn each_type_is_started_with_its_own_arguments_and_absolute_paths() {
    let arguments = |line: &str| {
        let text = format!("daemon: {{work_dir: w}}\nagents:\n- {{id: a, binary_path: /bin/x, {line}}}\n");
        let arguments = right(&text).agents[0].arguments(Path::new("/base"));
        arguments.into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(arguments("config_file: c.yaml"), ["-config", "/base/c.yaml"]);
    assert!(arguments("type: custom").is_empty());
    assert_eq!(arguments("type: telegraf, config_file: /c.conf"), ["-config", "/c.conf"]);
    assert_eq!(arguments("type: filebeat, config_file: c"), ["-c", "/base/c", "-path.home", "/base/w/agents/a"]);
    assert_eq!(
        arguments("type: node_exporter"),
        ["--web.listen-address=:9100", "--path.procfs=/proc", "--path.sysfs=/sys"]
    );
    assert_eq!(arguments("type: node_exporter, args: [--x, 'y z']"), ["--x", "y z"]);
    assert_eq!(arguments("type: telegraf, args: [], config_file: /c"), ["-config", "/c"]);
}

#[test]
fn metrics_are_at_the_endpoint_of_an_agent_of_this_project_unless_configured() {
    let endpoint = |line: &str| {
        let agent = right(&format!("agents: [{{id: a, binary_path: /a, {line}}}]")).agents.remove(0);
        agent.metrics_endpoint.map(String::from)
    };
    let check = "health_check: {http_endpoint: 'https://h:9/livez?x'}";
    assert_eq!(endpoint("").as_deref(), None);
    assert_eq!(endpoint(check).as_deref(), Some("https://h:9/metrics"));
    assert_eq!(endpoint(&format!("type: node_exporter, {check}")).as_deref(), None);
    assert_eq!(endpoint(&format!("metrics_endpoint: '', {check}")).as_deref(), Some("https://h:9/metrics"));
    assert_eq!(endpoint(&format!("metrics_endpoint: none, {check}")).as_deref(), None);
    assert_eq!(endpoint("metrics_endpoint: 'http://g/m'").as_deref(), Some("http://g/m"));
}

#[test]
fn labels_are_bounded_and_change_without_a_new_process() {
    let agent = |labels: &str| format!("agents: [{{id: a, binary_path: /a, labels: {labels}}}]");
    let (old, new) = (right(&agent("{rack: r1, n: 5}")), right(&agent("{rack: r2}")));
    assert_eq!(old.agents[0].labels.get("n").map(String::as_str), Some("5"));
    assert_eq!(diff_daemon(&old, &old.agents, &new).adjusted, ["a"]);
    let refused =
        |labels: String| parse_daemon("a", agent(&labels).as_bytes(), &Overrides::none()).unwrap_err().to_string();
    let many: String = (0..33).map(|n| format!("l{n}: x, ")).collect();
    assert!(refused(format!("{{{many}}}")).contains("has 33 labels: write at most 32"));
    assert!(refused(format!("{{rack: {}}}", "x".repeat(257))).contains("more than 256 bytes"));
    assert!(refused(format!("{{{}: x}}", "x".repeat(65))).contains("not a name of a label"));
}

#[test]
fn zero_switches_a_check_off() {
    let line = "health_check: {heartbeat_timeout: 0, cpu_threshold: 0, memory_threshold: 0}";
    let check = right(&format!("agents: [{{id: a, binary_path: /a, {line}}}]")).agents.remove(0).health_check;
    assert_eq!((check.heartbeat_timeout, check.cpu_threshold, check.memory_threshold), (None, None, None));
}

#[test]
fn the_names_for_browsers_are_host_names() {
    let names = |list: &str| {
        parse_daemon("a", format!("daemon: {{http: {{names: {list}}}}}\nagents: []").as_bytes(), &Overrides::none())
    };
    assert_eq!(names("[ops.example, OPS]").unwrap().config.http_names, ["ops.example", "OPS"]);
    for invalid in ["['https://ops.example']", "['ops.example:80']", "['']", "ops.example"] {
        let refused = names(invalid).unwrap_err().to_string();
        assert!(refused.contains("daemon.http.names"), "{refused}");
    }
}

#[test]
fn control_beyond_loopback_needs_a_token() {
    let refused = parse_daemon("a", b"daemon: {http: {host: 10.0.0.1}}", &Overrides::none()).unwrap_err().to_string();
    assert!(refused.contains("daemon.http.token_file"), "{refused}");
    assert!(right("daemon: {http: {host: 10.0.0.1, token_file: t}}\nagents: []").http.token_file.is_some());
}

#[test]
fn the_shipped_file_supervises_the_three_shipped_agents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = load_daemon(Some(&root.join("configs/daemon.yaml")), &Overrides::none()).unwrap().config;
    let ids: Vec<&str> = config.agents.iter().map(|agent| agent.id.as_str()).collect();
    assert_eq!(ids, ["agent-001", "agent-002", "agent-003"]);
    for agent in &config.agents {
        let arguments = agent.arguments(root);
        assert_eq!(arguments[0], "-config");
        assert!(Path::new(&arguments[1]).exists(), "{arguments:?}");
    }
    // The values that it shows as defaults are the defaults.
    let bare = right("agents: [{id: agent-001, binary_path: /usr/local/bin/agent}]");
    assert_eq!((&config.http, &config.log, &config.socket_path), (&bare.http, &bare.log, &bare.socket_path));
    let mut check = config.agents[0].health_check.clone();
    (check.state_file, check.http_endpoint) = (None, None);
    assert_eq!((&check, &config.agents[0].restart), (&bare.agents[0].health_check, &bare.agents[0].restart));
}

#[test]
fn the_daemon_has_room_for_a_connection_of_every_agent_of_its_host() {
    let limits = right("agents: []").http.limits;
    assert_eq!((limits.connections, limits.connections_loopback, limits.idle_timeout.as_secs()), (2048, 2048, 120));
}

#[test]
fn a_reload_touches_only_what_changed() {
    let agent = |id: &str, more: &str| format!("- {{id: {id}, binary_path: /bin/{id}{more}}}\n");
    let old = right(&format!("agents:\n{}{}{}", agent("a", ""), agent("b", ""), agent("c", "")));
    let new =
        right(&format!("agents:\n{}{}{}", agent("d", ""), agent("c", ", args: [x]"), agent("a", ", enabled: true")));
    let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<String>>();
    let expected = DaemonChanges {
        added: ids(&["d"]),
        removed: ids(&["b"]),
        changed: ids(&["c"]),
        unchanged: ids(&["a"]),
        ..DaemonChanges::default()
    };
    assert_eq!(diff_daemon(&old, &old.agents, &new), expected);
    let agents = [agent("a", ", enabled: false"), agent("b", ", name: B"), agent("c", "")].concat();
    let live = right(&format!("daemon: {{start_limit: 5}}\nagents:\n{agents}"));
    let expected = DaemonChanges {
        disabled: ids(&["a"]),
        adjusted: ids(&["b"]),
        unchanged: ids(&["c"]),
        own: ids(&["daemon.start_limit"]),
        ..DaemonChanges::default()
    };
    assert_eq!(diff_daemon(&old, &old.agents, &live), expected);
    assert_eq!(diff_daemon(&live, &live.agents, &old).enabled, ["a"]);
    let other = right("daemon: {http: {port: 1}}\nagents: []");
    assert_eq!(diff_daemon(&old, &old.agents, &other).needs_restart, ["daemon.http.port"]);
}

#[test]
fn a_changed_value_of_a_variable_needs_a_new_process() {
    let agent = |env: &str| right(&format!("agents: [{{id: a, binary_path: /bin/a, env: {env}}}]"));
    let (old, new) = (agent("{A: hidden-1}"), agent("{A: hidden-2}"));
    assert_eq!(diff_daemon(&old, &old.agents, &new).changed, ["a"]);
    assert_eq!(diff_daemon(&old, &old.agents, &agent("{A: hidden-1}")).unchanged, ["a"]);
    assert!(!format!("{old:?}").contains("hidden"), "{old:?}");
}

#[test]
fn hundreds_of_agents_fit() {
    let text = (0..400).map(|id| format!("- {{id: a{id}, binary_path: /usr/local/bin/agent}}\n"));
    assert_eq!(right(&format!("agents:\n{}", text.collect::<String>())).agents.len(), 400);
}

proptest! {
    #[test]
    fn no_edit_of_a_valid_file_makes_the_parser_panic(at in 0_usize..5000, cut in 0_usize..40, insert in yaml_like()) {
        let mut text = include_str!("../configs/daemon.yaml").to_owned();
        let at = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + cut).min(text.len()));
        text.replace_range(at..end, &insert);
        if let Err(problems) = parse_daemon("a", text.as_bytes(), &Overrides::none()) {
            prop_assert!(!problems.render(false).is_empty());
        }
    }
}
