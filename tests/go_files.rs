//! Files of the Go framework run unchanged. What has no effect or another meaning causes a warning.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ops_config::daemon::DaemonConfig;
use ops_config::testing::parse_daemon;
use ops_config::{Overrides, load_daemon, validate_daemon};

use crate::support::agent::{Agent, AgentDir};
use crate::support::daemon::DaemonDir;
use crate::support::programs;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config/go").join(name)
}

/// A valid text of the daemon, and its warnings.
fn read(text: &str) -> (DaemonConfig, Vec<String>) {
    let parsed = parse_daemon("d", text.as_bytes(), &Overrides::none());
    let loaded = parsed.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    (loaded.config, loaded.notes)
}

fn problems(text: &str) -> String {
    parse_daemon("d", text.as_bytes(), &Overrides::none()).unwrap_err().to_string()
}

#[test]
fn the_files_are_byte_for_byte_those_of_the_go_framework() {
    for (name, checksum) in [
        ("agent.yaml", 0x856d_7b5d_u32),
        ("daemon.yaml", 0x4dea_7e14_u32),
        ("daemon.multi-agent.example.yaml", 0xb3bb_c5a3_u32),
        ("LICENSE", 0xdc33_5316_u32),
    ] {
        assert_eq!(
            format!("{:x}", crc32fast::hash(&fs::read(fixture(name)).unwrap())),
            format!("{checksum:x}"),
            "{name}"
        );
    }
}

#[test]
fn validate_accepts_the_files_and_prints_each_warning_once() {
    for (program, file, keys) in [
        (programs::agent(), "agent.yaml", &["http.host"][..]),
        (
            programs::daemon(),
            "daemon.yaml",
            &[
                "daemon.id",
                "daemon.pid_file",
                "manager",
                "agent",
                "agent.health_check.cpu_threshold",
                "collectors",
                "update",
            ],
        ),
        (
            programs::daemon(),
            "daemon.multi-agent.example.yaml",
            &[
                "daemon.id",
                "daemon.pid_file",
                "manager",
                "agents[0].health_check.heartbeat_timeout",
                "agents[0].health_check.cpu_threshold",
                "agents[1].health_check.heartbeat_timeout",
                "collectors",
                "update",
            ],
        ),
    ] {
        let output = Command::new(program).args(["validate", "-config"]).arg(fixture(file)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}");
        let notes: Vec<&str> = text.lines().filter(|line| line.starts_with("note: ")).collect();
        // Programs and directories of the file are missing on most hosts.
        let of_the_file = notes.iter().filter(|note| !note.contains("does not exist"));
        let named: Vec<&str> = of_the_file.filter_map(|note| note.split('`').nth(1)).collect();
        assert_eq!(named, keys, "{text}");
        assert!(notes.iter().all(|note| note.contains(".yaml:")), "each has its place: {text}");
    }
}

#[test]
fn the_short_names_of_the_go_daemon_set_log_and_port() {
    let (config, notes) = read("daemon: {log_level: debug, log_file: /l, http_port: 8084}\nagents: []");
    assert_eq!((config.http.port, config.log.file.as_deref()), (8084, Some(Path::new("/l"))));
    assert_eq!(config.log.level, ops_config::agent::LogLevel::Debug);
    assert_eq!(notes, ["there is no agent to supervise"]);
    let both = problems("daemon: {log_level: debug, log: {level: info}}");
    assert!(both.contains("set the same value: keep one of them"), "{both}");
}

#[test]
fn the_only_agent_has_the_id_of_its_own_file_and_gives_the_daemon_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("daemon.yaml");
    let own = directory.path().join("agent.yaml");
    let text = format!(
        "daemon: {{work_dir: /w}}\nagent: {{binary_path: /bin/sh, config_file: {}, socket_path: /s, \
         restart: {{max_retries: 3}}}}\n",
        own.display()
    );
    fs::write(&file, text).unwrap();
    for (content, id) in
        [(Some("agent_id: agent-007\n"), "agent-007"), (Some("agent_id: [\n"), "agent"), (None, "agent")]
    {
        let _ = fs::remove_file(&own);
        if let Some(content) = content {
            fs::write(&own, content).unwrap();
        }
        let loaded = load_daemon(Some(&file), &Overrides::none()).unwrap();
        let [agent] = &loaded.config.agents[..] else { panic!("{loaded:?}") };
        assert_eq!((agent.id.as_str(), agent.name.as_str(), agent.restart.max_retries), (id, id, 3));
        assert_eq!(agent.work_dir, Path::new("/w/agents").join(id));
        assert_eq!(agent.arguments(Path::new("/"))[0], "-config");
        assert_eq!(loaded.config.socket_path, Path::new("/s"));
        let [note] = &loaded.notes[..] else { panic!("{:?}", loaded.notes) };
        assert!(note.contains(&format!("`agent` has the ID `{id}`, ")), "{note}");
    }
}

#[test]
fn the_section_agent_without_a_program_or_beside_agents_is_no_agent() {
    let (config, notes) = read("agent: {binary_path: '', socket_path: /s}\nagents: []");
    assert_eq!((config.agents.len(), config.socket_path.as_path()), (0, Path::new("/s")));
    assert!(notes[0].contains("`agent.binary_path` is not set: move its `socket_path` into `daemon`"), "{notes:?}");
    let (config, notes) = read("agent: {binary_path: /x}\nagents: [{id: a, binary_path: /a}]");
    assert_eq!(config.agents.iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(notes[0].contains("`agents` is set too: move it into `agents`"), "{notes:?}");
    assert_eq!(read("agent:\nagents: []").1, ["there is no agent to supervise"]);
}

#[test]
fn problems_in_the_section_agent_are_reported_with_all_others() {
    let text = problems("agnet: {}\nagent: {binary_path: a, binary_pth: /a, health_check: {interval: 1}}\nmanger: 1");
    for part in [
        "d:1:1: `agnet` is not a key: did you mean `agents`?",
        "d:2:22: `agent.binary_path` is `a`, a relative path: write an absolute path",
        "d:2:25: `agent.binary_pth` is not a key: did you mean `binary_path`?",
        "`agent.health_check.interval` is `1`, without a unit: write `1s` for seconds",
        "d:3:1: `manger` is not a key: remove it; known here: `agent_defaults`, `agents`, `daemon`",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(problems("agent: 5").contains("`agent` is a single value, not a section"));
}

#[test]
fn a_socket_of_an_agent_is_its_own_unless_it_is_that_of_the_daemon() {
    let agent = |id: &str, socket: &str| format!("- {{id: {id}, binary_path: /a, socket_path: '{socket}'}}\n");
    let agents = [agent("a", ""), agent("b", "/s"), agent("c", "/t")].concat();
    let sockets = |text: &str| {
        let (config, notes) = read(text);
        assert!(notes.is_empty(), "{notes:?}");
        let own = config.agents.iter().map(|agent| agent.socket_path.clone()).collect::<Vec<_>>();
        (config.socket_path, own)
    };
    let of = |path: &str| Some(PathBuf::from(path));
    let found = sockets(&format!("daemon: {{work_dir: /w}}\nagents:\n{agents}"));
    assert_eq!(found, ("/w/daemon.sock".into(), vec![None, of("/s"), of("/t")]));
    let found = sockets(&format!("daemon: {{socket_path: /t}}\nagents:\n{agents}{}", agent("d", "/t")));
    assert_eq!(found, ("/t".into(), vec![None, of("/s"), None, None]));
    let shared = problems(&format!("agents:\n{agents}{}", agent("d", "/t")));
    assert!(shared.contains("`agents[3].socket_path` is `/t`, which is already in use on line 4"), "{shared}");
}

#[test]
fn zero_seconds_are_accepted_where_zero_is_and_nowhere_else() {
    let check = |keys: &str| format!("agents: [{{id: a, binary_path: /a, health_check: {{{keys}}}}}]");
    for zero in ["0", "0s", "0ms", "'0s'"] {
        let keys = format!("heartbeat_timeout: {zero}, threshold_duration: {zero}, start_grace: {zero}");
        let agent = read(&check(&keys)).0.agents.remove(0);
        assert_eq!(agent.health_check.heartbeat_timeout, None, "{zero}");
        assert!(agent.health_check.start_grace.is_zero() && agent.health_check.threshold_duration.is_zero());
    }
    assert!(problems(&check("interval: 0s")).contains("set it between 100ms and 1h"));
}

#[test]
fn a_timeout_that_restarts_an_agent_without_need_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("daemon.yaml");
    let own = directory.path().join("agent.yaml");
    let notes = |timeout: &str, agent: &str| {
        fs::write(&own, agent).unwrap();
        let check = format!("{{interval: 10s, heartbeat_timeout: {timeout}}}");
        let (path, own) = ("/bin/sh", own.display());
        let item = format!("{{id: a, binary_path: {path}, config_file: {own}, health_check: {check}}}");
        fs::write(&file, format!("agents: [{item}]")).unwrap();
        validate_daemon(Some(&file), &Overrides::none()).unwrap().notes
    };
    let lost = |notes: Vec<String>, every: &str| {
        let fact =
            format!("the agent sends a heartbeat every {every}, so one that is lost restarts it: set it to at least");
        assert!(matches!(&notes[..], [note] if note.contains(&fact)), "{notes:?}");
    };
    lost(notes("59s", "agent_id: a\n"), "30s by default");
    lost(notes("30s", "not: [yaml"), "30s by default");
    lost(notes("90s", "agent_id: a\nheartbeat: {interval: 1m}\n"), "1m");
    lost(notes("90s", "agent_id: a\nheartbeat_interval: 1m\n"), "1m");
    assert_eq!(notes("60s", "agent_id: a\n"), [""; 0]);
    assert_eq!(notes("20s", "agent_id: a\nheartbeat: {interval: 1s}\n"), [""; 0]);
    let rounds = notes("19s", "agent_id: a\nheartbeat: {interval: 1s}\n");
    assert!(rounds[0].contains("less than two rounds of checks, and `interval` is 10s: set it to at least 20s"));
    // A start and a reload do not read the files of the agents.
    assert_eq!(load_daemon(Some(&file), &Overrides::none()).unwrap().notes.len(), 1);
    notes("59s", "agent_id: a\n");
    assert_eq!(load_daemon(Some(&file), &Overrides::none()).unwrap().notes, [""; 0]);
}

#[test]
fn the_unit_of_the_cpu_threshold_is_explained_in_files_of_the_go_daemon_only() {
    let agents = "agents: [{id: a, binary_path: /a, health_check: {cpu_threshold: 40}}, {id: b, binary_path: /a}]";
    assert_eq!(read(agents).1, [""; 0]);
    let (_, notes) = read(&format!("daemon: {{log_level: info}}\n{agents}"));
    let fact = "`agents[0].health_check.cpu_threshold` is 40 % of the whole machine, and of one core for the Go daemon";
    assert!(matches!(&notes[..], [note] if note.contains(fact)), "{notes:?}");
}

#[test]
fn many_warnings_are_counted_and_not_shown() {
    let agent = |n: usize| format!("- {{id: a{n}, binary_path: /a, hung_stop_timeout: 1h}}\n");
    let text: String = (0..100).map(agent).collect();
    let (_, notes) = read(&format!("agents:\n{text}"));
    assert_eq!((notes.len(), notes[50].as_str()), (51, "d: 50 more warnings are not shown"));
}

#[test]
fn daemon_and_agent_run_with_the_files_of_the_go_framework() {
    let daemon_dir = DaemonDir::new(&[]);
    let root = fs::canonicalize(daemon_dir.path()).unwrap();
    let here = |text: String| {
        let text = text.replace("/tmp/daemon.sock", "/var/run/agent.sock");
        let text = text.replace("/usr/local/bin/agent", programs::agent());
        ["/var/", "/etc/"].iter().fold(text, |text, directory| {
            let moved = format!("{}{directory}", root.display());
            text.replace(&format!(" {directory}"), &format!(" {moved}"))
                .replace(&format!("\"{directory}"), &format!("\"{moved}"))
        })
    };
    let daemon = here(fs::read_to_string(fixture("daemon.yaml")).unwrap());
    let agent = here(fs::read_to_string(fixture("agent.yaml")).unwrap()).replace("8081", "0");
    fs::create_dir_all(root.join("var/run")).unwrap();
    fs::create_dir_all(root.join("var/lib")).unwrap();
    fs::create_dir_all(root.join("etc/agent")).unwrap();
    fs::write(root.join("daemon.yaml"), daemon).unwrap();
    fs::write(root.join("etc/agent/agent.yaml"), agent).unwrap();
    let settings = ["--set", "daemon.http.port=0", "--set", "daemon.log.file="];
    let mut command = daemon_dir.command(&["-config", "daemon.yaml"]);
    command.args(settings);
    let mut running = Agent::spawn(command);
    running.wait_for_message("`manager` has no effect");
    let socket = running.wait_for("that it listens at its socket", |line| line["socket"].is_string());
    assert_eq!(socket["socket"], root.join("var/run/agent.sock").to_str().unwrap());
    daemon_dir.wait_for("agent-001", "sends heartbeats", |agent| agent["heartbeats"].as_u64() > Some(0));
    assert_eq!(running.stop(), Some(0));
}

#[test]
fn the_directory_of_a_log_is_created() {
    let agent_dir = AgentDir::new("log: { file: logs/of/agent.log }\n");
    let mut agent = agent_dir.spawn();
    let log = agent_dir.path().join("logs/of/agent.log");
    crate::support::agent::wait_until("the log is written", || {
        fs::read_to_string(&log).is_ok_and(|text| !text.is_empty())
    });
    assert_eq!(agent.stop(), Some(0));
}
