//! A configuration is accepted whole, or refused with all its problems at once. No input makes the parser panic.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ops_config::agent::{AgentConfig, Framing, LogLevel};
use ops_config::testing::{parse, settings};
use ops_config::{Environment, Loaded, Overrides, Problems, Reload, diff, load};
use test_requirements::requires;

use crate::support::config::assert_explained_as_reviewed;

pub(crate) fn parse_alone(text: &str) -> Result<Loaded<AgentConfig>, Problems> {
    parse("agent.yaml", text.as_bytes(), &Environment::default(), &Overrides::none())
}

fn right(text: &str) -> AgentConfig {
    parse_alone(text).unwrap_or_else(|problems| panic!("{}", problems.render(false))).config
}

#[test]
fn each_broken_file_is_explained_as_reviewed() {
    assert_explained_as_reviewed("agent", |name, text| {
        parse(name, text, &Environment::default(), &Overrides::none()).map(|loaded| format!("{loaded:?}"))
    });
}

#[test]
fn no_secret_is_shown() {
    let text = include_str!("fixtures/config/agent/secrets_are_covered.yaml");
    let problems = parse_alone(text).unwrap_err();
    for shown in [problems.render(true), problems.to_string(), format!("{:?}", problems.iter().collect::<Vec<_>>())] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn diagnostics_contain_no_control_characters() {
    let in_a_line = "agent_id: a\nlog: level: i\u{85}error: forged\n";
    let in_a_key = "agent_id: a\ni\u{85}x: 1\ni\u{85}x: 1\n";
    let over_lines = "agent_id: a\nlog: {le\n\n\n vel}\n";
    let of_eight_bits = "agent_id: a\u{9b}2Jb\n";
    for (text, fact) in [
        (in_a_line, "not YAML"),
        (in_a_key, "given twice"),
        (over_lines, "is not a key"),
        (of_eight_bits, "the control character U+009B"),
    ] {
        let problems = parse_alone(text).unwrap_err();
        assert_eq!(problems.to_string().lines().count(), problems.iter().len(), "{problems}");
        for shown in [problems.render(false), problems.to_string()] {
            assert!(shown.contains(fact) && !shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        }
    }
}

#[test]
fn a_configuration_of_the_go_agent_is_accepted() {
    let config = right(include_str!("fixtures/config/good/go_agent.yaml"));
    let heartbeat = config.heartbeat.unwrap();
    assert_eq!(heartbeat.url, None);
    let socket = heartbeat.socket.unwrap();
    assert_eq!(
        (socket.path.to_str().unwrap(), socket.framing),
        ("/var/run/ops-daemon/daemon.sock", Framing::JsonLines)
    );
}

#[test]
fn the_short_forms_mean_the_long_ones() {
    let config = right(include_str!("fixtures/config/good/short_forms.yaml"));
    let heartbeat = config.heartbeat.unwrap();
    assert_eq!(heartbeat.url.unwrap().as_str(), "http://127.0.0.1:8080/heartbeat");
    assert_eq!(heartbeat.interval, Duration::from_secs(90));
    assert_eq!(heartbeat.socket.unwrap().framing, Framing::JsonRpc);
    assert_eq!((config.http.port, config.log.level), (0, LogLevel::Debug));
    assert_eq!(config.log.file.unwrap(), Path::new("logs/agent.log"));
}

#[test]
fn a_flag_beats_the_environment_and_that_beats_the_file() {
    let text = b"agent_id: of-file\nhttp: {port: 1}\nlog: {level: error}\n";
    let environment = Environment::from_iter([("AGENT_HTTP_PORT", "2"), ("AGENT_LOG_LEVEL", "warn")]);
    let overrides = Overrides::none().set("--http-port", "http.port", "3");
    let config = parse("a", text, &environment, &overrides).unwrap().config;
    assert_eq!((config.agent_id.as_str(), config.http.port, config.log.level), ("of-file", 3, LogLevel::Warn));
}

#[test]
fn a_dot_in_an_id_counts_as_a_hyphen_in_the_environment_alone() {
    let environment = Environment::from_iter([("AGENT_AGENT_ID", "ip-10-0-0-1.example.internal")]);
    let config = parse("a", b"agent_id: of-file\n", &environment, &Overrides::none()).unwrap().config;
    assert_eq!(config.agent_id, "ip-10-0-0-1-example-internal");
    let problems = parse("a", b"agent_id: a.b\n", &Environment::default(), &Overrides::none()).unwrap_err();
    assert!(problems.to_string().contains("`a.b`, which contains `.`"), "{problems}");
}

#[test]
fn every_setting_can_come_from_the_environment_alone() {
    let full = "agent_id: a\nlog: {file: l}\nstate: {group: g}\nhttp: {token_file: t, tls: {cert: c, key: k, client_ca: a}}\n\
                heartbeat: {url: 'https://h/', socket_path: s, framing: jsonrpc, tls: {ca: a, cert: c, key: k}}\n";
    let config = right(full);
    let variable = |key: &str| format!("AGENT_{}", key.replace('.', "_").to_uppercase());
    let all = settings(&config);
    assert!(all.iter().all(|(_, value)| value.is_some()), "{all:?}");
    let environment = all.iter().map(|(key, value)| (variable(key), value.unwrap().to_owned()));
    let loaded = parse("a", b"", &environment.collect(), &Overrides::none()).unwrap();
    assert_eq!((loaded.config, loaded.notes), (config, Vec::new()));
}

#[test]
fn a_bad_variable_is_an_error_and_an_unknown_one_a_warning() {
    let environment = Environment::from_iter([("AGENT_HTTP_PORT", "tcp://10.0.0.1:80"), ("AGENT_LOG_FILE", "")]);
    let problems = parse("a", b"agent_id: a", &environment, &Overrides::none()).unwrap_err();
    let expected = "the variable `AGENT_HTTP_PORT` is `tcp://10.0.0.1:80`: write a whole number between 0 and 65535";
    assert_eq!(problems.to_string(), expected);

    let environment = Environment::from_iter([("AGENT_LOG_LEVLE", "debug"), ("AGENT_SERVICE_HOST", "10.0.0.1")]);
    let loaded = parse("a", b"agent_id: a", &environment, &Overrides::none()).unwrap();
    assert_eq!(loaded.notes.len(), 2, "{:?}", loaded.notes);
    assert!(loaded.notes[0].ends_with("did you mean `AGENT_LOG_LEVEL`?"), "{:?}", loaded.notes);
}

#[test]
fn a_bad_flag_is_named() {
    let overrides = Overrides::none().set("--log-level", "log.level", "loud").set("--set log.levle", "log.levle", "x");
    let problems = parse("a", b"agent_id: a", &Environment::default(), &overrides).unwrap_err().to_string();
    assert_eq!(
        problems,
        "`--log-level` is `loud`: write `debug`, `info`, `warn` or `error`\n\
         `--set log.levle` names a key that does not exist: did you mean `log.level`?"
    );
}

#[test]
fn the_status_file_is_in_the_service_manager_s_state_directory_unless_configured() {
    let environment = Environment::from_iter([("STATE_DIRECTORY", "/var/lib/ops-agent:/var/lib/other")]);
    let file = |text: &str, environment| {
        parse("a", text.as_bytes(), environment, &Overrides::none()).unwrap().config.state.file
    };
    assert_eq!(file("agent_id: a", &environment), Path::new("/var/lib/ops-agent/a.ron"));
    assert_eq!(file("{agent_id: a, state: {file: x.json}}", &environment), Path::new("x.json"));
    assert_eq!(file("agent_id: a", &Environment::default()), Path::new("state/a.ron"));
}

#[test]
fn the_socket_of_the_environment_replaces_the_one_of_the_file() {
    let environment = Environment::from_iter([("AGENT_HEARTBEAT_SOCKET_PATH", "/run/env.sock")]);
    let text = b"agent_id: a\nheartbeat_url: unix:///run/file.sock\n";
    let socket = parse("a", text, &environment, &Overrides::none()).unwrap().config.heartbeat.unwrap().socket.unwrap();
    assert_eq!((socket.path.to_str().unwrap(), socket.framing), ("/run/env.sock", Framing::JsonLines));
}

#[test]
fn http_beyond_loopback_without_a_token_is_a_warning() {
    let notes = |text: &str| parse("a", text.as_bytes(), &Environment::default(), &Overrides::none()).unwrap().notes;
    let [note] = &notes("{agent_id: a, http: {host: 10.0.0.1}}")[..] else { panic!("one note") };
    assert!(note.starts_with("a:1:28: `http.host` is 10.0.0.1, which other hosts can reach"), "{note}");
    assert!(note.contains("set `http.token_file` to a file with a token"), "{note}");
    for protected in ["token_file: /t", "host: '::1'"] {
        let host = if protected.contains("host") { "" } else { "host: 10.0.0.1, " };
        assert_eq!(notes(&format!("{{agent_id: a, http: {{{host}{protected}}}}}")), [""; 0], "{protected}");
    }
    assert!(right("{agent_id: a, http: {host: 10.0.0.1, token_file: /t}}").http.token_file.is_some());
    assert!(right("{agent_id: a, http: {host: localhost}}").http.host.is_loopback());
    assert!(right("{agent_id: a, http: {host: '::1'}}").http.host.is_loopback());
}

#[test]
fn the_shipped_file_is_standalone_and_shows_every_setting() {
    let text = include_str!("../configs/agent.yaml");
    let config = right(text);
    assert_eq!(config.heartbeat, None);
    // Without the `#`, the file sets every key.
    let bare: String = text.lines().map(|line| uncommented(line, &settings(&config)) + "\n").collect();
    // The TLS keys need an `https` address.
    let bare = bare.replace("url: http://", "url: https://");
    let config = right(&bare);
    let hidden: Vec<&str> = settings(&config).iter().map(|(key, _)| *key).filter(|key| !bare_has(&bare, key)).collect();
    assert!(hidden.is_empty(), "not shown: {hidden:?}");
}

fn uncommented(line: &str, known: &[(&str, Option<&str>)]) -> String {
    let is_setting = |rest: &str| {
        rest.split_once(": ").is_some_and(|(name, _)| known.iter().any(|(key, _)| key.rsplit('.').next() == Some(name)))
    };
    match line.split_once("# ") {
        Some((indent, rest)) if indent.trim().is_empty() && is_setting(rest) => format!("{indent}{rest}"),
        _ => line.to_owned(),
    }
}

fn bare_has(text: &str, key: &str) -> bool {
    let value: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
    key.split('.').try_fold(&value, |value, part| value.get(part)).is_some()
}

#[test]
fn the_three_shipped_agents_can_run_side_by_side() {
    let files = ["agent-001", "agent-002", "agent-003"];
    let configs = files.map(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name).with_extension("yaml");
        let config = load(Some(&path), &Environment::default(), &Overrides::none()).unwrap().config;
        assert_eq!(config.agent_id, name);
        assert_eq!(config.heartbeat.unwrap().url.unwrap().as_str(), "http://127.0.0.1:8080/heartbeat");
        (config.http.port, config.state.file)
    });
    for (index, one) in configs.iter().enumerate() {
        assert!(configs[..index].iter().all(|other| one.0 != other.0 && one.1 != other.1));
    }
}

#[test]
fn only_a_regular_file_or_a_pipe_that_is_there_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |path: &Path| load(Some(path), &Environment::default(), &Overrides::none()).unwrap_err().to_string();
    assert!(refused(&directory.path().join("none.yaml")).contains("--config FILE"));
    assert!(refused(directory.path()).contains("neither a regular file nor a pipe"));
    assert!(refused(Path::new("/dev/zero")).contains("neither a regular file nor a pipe"));
    let pipe = directory.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let writer = {
        let pipe = pipe.clone();
        std::thread::spawn(move || fs::write(pipe, "agent_id: a b\n").unwrap())
    };
    assert!(refused(&pipe).contains("`agent_id` is `a b`"));
    writer.join().unwrap();
    let large = directory.path().join("large.yaml");
    fs::write(&large, "agent_id: a\n# ".to_owned() + &"x".repeat(64 * 1024)).unwrap();
    assert!(refused(&large).contains("64 KiB"));
}

#[test]
fn a_change_that_needs_a_restart_is_named() {
    let old = right("agent_id: a");
    assert!(diff(&old, &old).is_empty());
    let changes = diff(&old, &right("{agent_id: a, log: {level: debug}, heartbeat: {url: 'http://h/'}}"));
    assert_eq!(changes.refusal(), None);
    assert!(changes.to_string().contains("log.level: info -> debug"), "{changes}");
    let changes = diff(&old, &right("{agent_id: a, log: {level: debug}, http: {port: 1, limits: {connections: 7}}}"));
    let refusal = changes.refusal().unwrap();
    assert!(refusal.contains("http.port: 8081 -> 1, http.limits.connections: 1024 -> 7"), "{refusal}");
    assert!(!refusal.contains("log.level"), "{refusal}");
}

#[test]
fn another_status_file_needs_a_restart() {
    let old = right("{agent_id: a, state: {file: /var/a.ron}}");
    let changes = diff(&old, &right("{agent_id: a, state: {file: /var/b.ron, refresh: 3s}}"));
    let refusal = changes.refusal().unwrap();
    assert!(refusal.contains("this change needs a restart"), "{refusal}");
    assert!(refusal.contains("state.file: /var/a.ron -> /var/b.ron"), "{refusal}");
    // The default path, written out, is no change.
    let default = right("agent_id: a");
    assert!(diff(&default, &right("{agent_id: a, state: {file: state/a.ron}}")).is_empty());
}

#[test]
fn a_socket_that_another_key_names_is_no_change() {
    let of_url = right("{agent_id: a, heartbeat: {url: 'unix:///run/d.sock'}}");
    assert!(diff(&of_url, &right("{agent_id: a, socket_path: /run/d.sock}")).is_empty());
    let of_go = right("{agent_id: a, heartbeat: {socket_path: /run/d.sock}}");
    assert_eq!(diff(&of_url, &of_go).to_string(), "heartbeat.framing: jsonrpc -> jsonlines");
}

/// Each key of the schema, with the class that its description states.
#[test]
fn a_reload_asks_the_declaration_of_each_key() {
    let schema = ops_config::document(ops_config::Program::Agent, ops_config::Format::JsonSchema);
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let old = right(
        "{agent_id: a, heartbeat: {url: 'https://h/', socket_path: /s, tls: {ca: a, cert: c, key: k}}, \
         http: {tls: {cert: c, key: k}}}",
    );
    let new = right(
        "{agent_id: b, heartbeat: {url: 'https://i/', socket_path: /t, framing: jsonrpc, interval: 1s, timeout: 1s, \
          failure_threshold: 9, recovery_threshold: 9, tls: {ca: b, cert: d, key: l}}, \
         http: {host: '::1', port: 1, token_file: t, tls: {cert: d, key: l, client_ca: e}, limits: {head_bytes: 9000, \
          head_timeout: 1s, body_bytes: 1, all_bodies_bytes: 1, all_responses_bytes: 1, body_timeout: 1s, write_timeout: 1s, idle_timeout: 1s, connections: 1, \
          connections_per_peer: 1, connections_loopback: 1}}, \
         log: {level: debug, format: text, file: l}, state: {file: s, mode: '0640', group: g, refresh: 1s, strict: true}}",
    );
    let changes = diff(&old, &new);
    assert_eq!(changes.iter().len(), settings(&old).len(), "a key is not compared: {changes}");
    for change in changes.iter() {
        let path = format!("/properties/{}", change.key.replace('.', "/properties/"));
        let description = schema.pointer(&path).unwrap_or_else(|| panic!("{path}"))["description"].as_str().unwrap();
        let class = if matches!(change.reload, Reload::Restart) { "restart." } else { "live." };
        assert!(description.ends_with(class), "{}: {description}", change.key);
    }
}

/// A deadline that a loaded machine keeps, and that quadratic time exceeds by minutes.
fn assert_refused_at_once(text: &str) {
    let begun = ops_runtime::clock::monotonic();
    let problems = parse_alone(text).expect_err("this must be refused");
    assert!(!problems.render(false).is_empty());
    let taken = ops_runtime::clock::monotonic() - begun;
    assert!(taken < Duration::from_secs(10), "{taken:?} for {:?}", &text[..text.floor_char_boundary(20)]);
}

#[test]
fn nested_openers_are_refused_at_once() {
    for opener in ["[", "{", "- ", "? ", "[{", "{a: ", "- - \n", "!!map {", "&a [", "\"", "a:\n ", "[*a,", "? - : "] {
        assert_refused_at_once(&opener.repeat(64 * 1024 / opener.len()));
    }
}

#[test]
fn a_file_full_of_problems_is_refused_at_once() {
    let distinct: String = (0..8000).map(|key| format!("k{key}: x\n")).take(6000).collect();
    let sections: String = (0..4000).map(|key| format!("- {{k{key}: x}}\n")).collect();
    let aliases = "a: &a {".to_owned() + &"b: c, ".repeat(100) + "}\nl: [" + &"*a, ".repeat(10_000) + "]";
    for text in [distinct, sections, aliases, "a: b\n".repeat(13_000), "é: é\n".repeat(9000), "token: x\n".repeat(7000)]
    {
        assert!(text.len() <= 64 * 1024);
        assert_refused_at_once(&text);
    }
}

#[requires("no-installed-config")]
#[test]
fn without_a_file_the_embedded_configuration_applies() {
    let nowhere = tempfile::tempdir().unwrap();
    let mut agent = std::process::Command::new(env!("CARGO_BIN_EXE_agent"));
    let output = agent.arg("validate").current_dir(nowhere.path()).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("embedded"), "{printed}");
}
