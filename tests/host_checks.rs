//! What a configuration means on this host: what a start refuses is an error, and what it should not rely on a warning.
//! `validate`, a start and a reload use the same checks.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use ops_config::{Environment, Overrides, load, load_daemon, validate_daemon};
use tempfile::TempDir;

use crate::support::daemon::{AgentEntry, DaemonDir};

/// A directory, and a configuration in it whose relative paths start there.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.file("program", 0o755);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, mode: u32) -> PathBuf {
        fs::write(self.path(name), "").unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
        self.path(name)
    }

    /// The notes or the problems about a daemon's file, in which `@` is the path of this directory.
    fn daemon(&self, text: &str) -> Result<Vec<String>, String> {
        let file = self.path("daemon.yaml");
        let text = format!("daemon: {{work_dir: '@/state'}}\n{text}").replace('@', self.0.path().to_str().unwrap());
        fs::write(&file, text).unwrap();
        let (at_start, validated) =
            (load_daemon(Some(&file), &Overrides::none()), validate_daemon(Some(&file), &Overrides::none()));
        let at_start = at_start.map(|loaded| loaded.notes).map_err(|problems| problems.to_string());
        let validated = validated.map(|loaded| loaded.notes).map_err(|problems| problems.to_string());
        assert_eq!(at_start, validated, "a start knows what `validate` knows");
        validated
    }

    /// The notes about one agent with these settings.
    fn agent(&self, settings: &str) -> Vec<String> {
        self.daemon(&format!("agents: [{{id: a, binary_path: '@/program', {settings}}}]")).unwrap()
    }
}

fn assert_one(notes: &[String], parts: &[&str]) {
    let [note] = notes else { panic!("{notes:?}") };
    assert!(parts.iter().all(|part| note.contains(part)), "{parts:?} in {note}");
}

#[test]
fn a_file_without_agents_is_refused_and_an_empty_list_is_not() {
    let site = Site::new();
    for text in ["", "agents:", "agents: null", "agents: ~", "agent_defaults: {}"] {
        let problems = site.daemon(text).unwrap_err();
        assert!(problems.contains("`agents` is missing") && problems.contains("`agents: []`"), "{text}: {problems}");
    }
    assert_eq!(site.daemon("agents: []").unwrap(), ["there is no agent to supervise"]);
    assert!(site.daemon("agent: {binary_path: '@/program'}").is_ok(), "the form of the Go daemon");
}

#[test]
fn two_agents_do_not_share_a_work_directory() {
    let site = Site::new();
    fs::create_dir_all(site.path("state/agents/a")).unwrap();
    symlink(site.path("state"), site.path("link")).unwrap();
    let two = |one: &str, other: &str| {
        let agent = |id: &str, more: &str| format!("- {{id: {id}, binary_path: '@/program'{more}}}\n");
        site.daemon(&format!("agents:\n{}{}", agent("a", one), agent("b", other)))
    };
    assert_eq!(two("", "").unwrap(), Vec::<String>::new());
    for (one, other) in [
        (", work_dir: '@/new'", ", work_dir: '@/new'"),
        (", work_dir: '@/new'", ", work_dir: '@/state/../new/.'"),
        ("", ", work_dir: '@/link/agents/a'"),
    ] {
        let problems = two(one, other).unwrap_err();
        for part in ["daemon.yaml:4:", "work directory of another agent", "on line 3"] {
            assert!(problems.contains(part), "no {part}: {problems}");
        }
    }
}

#[test]
fn a_socket_path_is_at_most_107_bytes_long() {
    let site = Site::new();
    let name = |length: usize| "s".repeat(length - site.0.path().as_os_str().len() - 1);
    let text = |length| format!("agents: []\n# {}", name(length));
    assert!(site.daemon(&text(107)).is_ok());
    let with = |length| {
        let file = site.path("long.yaml");
        let socket = site.path(&name(length));
        fs::write(&file, format!("daemon: {{socket_path: '{}'}}\nagents: []\n", socket.display())).unwrap();
        let daemon = load_daemon(Some(&file), &Overrides::none()).map(|_| ()).map_err(|it| it.to_string());
        fs::write(&file, format!("agent_id: a\nheartbeat: {{socket_path: '{}'}}\n", socket.display())).unwrap();
        let agent = load(Some(&file), &Environment::default(), &Overrides::none());
        (daemon, agent.map(|_| ()).map_err(|it| it.to_string()))
    };
    assert_eq!(with(107), (Ok(()), Ok(())));
    let (daemon, agent) = with(108);
    for refused in [daemon.unwrap_err(), agent.unwrap_err()] {
        assert!(refused.contains("socket_path") && refused.contains("has 108 bytes"), "{refused}");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_a_warning() {
    let site = Site::new();
    site.file("plain", 0o644);
    let notes = |path: &str| site.daemon(&format!("agents: [{{id: a, binary_path: '@/{path}'}}]")).unwrap();
    assert_eq!(notes("program"), Vec::<String>::new());
    assert_one(&notes("missing"), &["binary_path", "does not exist"]);
    assert_one(&notes("plain"), &["binary_path", "not executable"]);
    let exec = |path: &str| {
        let check = format!("{{interval: 1s, exec: ['@/{path}', --fast]}}");
        site.daemon(&format!("agents: [{{id: a, binary_path: '@/program', health_check: {check}}}]")).unwrap()
    };
    assert_eq!(exec("program"), Vec::<String>::new());
    assert_one(&exec("missing"), &["health_check.exec", "does not exist"]);
    assert_one(&exec("plain"), &["health_check.exec", "not executable"]);
    let inherited = "agent_defaults: {health_check: {exec: ['@/missing']}}\n\
                     agents: [{id: a, binary_path: '@/program'}, {id: b, binary_path: '@/program'}]";
    assert_one(&site.daemon(inherited).unwrap(), &["agent_defaults.health_check.exec", "does not exist"]);
    fs::create_dir(site.path("directory")).unwrap();
    assert_one(&notes("directory"), &["binary_path", "not a file"]);
}

#[test]
fn files_and_directories_that_others_may_write_are_warnings() {
    let site = Site::new();
    site.file("open.env", 0o666);
    site.file("closed.env", 0o600);
    assert_eq!(site.agent("env_file: '@/closed.env'"), Vec::<String>::new());
    assert_one(&site.agent("env_file: '@/open.env'"), &["env_file", "chmod go-w"]);
    assert_one(&site.agent("env_file: '@/no.env'"), &["env_file", "prevents each start"]);
    fs::create_dir(site.path("open")).unwrap();
    fs::set_permissions(site.path("open"), Permissions::from_mode(0o777)).unwrap();
    assert_one(&site.agent("work_dir: '@/open'"), &["work_dir", "mode 0777", "chmod o-w"]);
    fs::create_dir(site.path("state")).unwrap();
    fs::set_permissions(site.path("state"), Permissions::from_mode(0o777)).unwrap();
    assert_one(&site.agent("enabled: true"), &["daemon.work_dir", "mode 0777"]);
}

#[test]
fn a_log_needs_a_directory() {
    let site = Site::new();
    let load_with = |path: &Path| {
        let file = site.path("agent.yaml");
        fs::write(&file, format!("agent_id: a\nlog: {{file: '{}'}}\n", path.display())).unwrap();
        let loaded = load(Some(&file), &Environment::default(), &Overrides::none());
        loaded.map(|loaded| loaded.notes).map_err(|problems| problems.to_string())
    };
    assert_eq!(load_with(&site.path("a.log")), Ok(Vec::new()));
    assert_one(&load_with(&site.path("logs/a.log")).unwrap(), &["log.file", "does not exist"]);
    assert!(load_with(&site.path("program/a.log")).unwrap_err().contains("is not a directory"));
    assert!(load_with(site.0.path()).unwrap_err().contains("a directory: write the path of a file"));
}

#[test]
fn what_only_a_shell_would_expand_is_a_warning_and_nul_an_error() {
    let site = Site::new();
    assert_one(&site.agent("config_file: ~/a.yaml"), &["config_file", "`~` is taken literally"]);
    assert_one(&site.agent("config_file: '${HOME}/a.yaml'"), &["config_file", "`${` is taken literally"]);
    assert_eq!(site.agent("config_file: /a~b/$x.yaml"), Vec::<String>::new());
    for key in ["config_file", "work_dir", "env_file"] {
        let problems = site.daemon(&format!("agents: [{{id: a, binary_path: '@/program', {key}: \"/a\\0b\"}}]"));
        assert!(problems.clone().unwrap_err().contains("NUL"), "{key}: {problems:?}");
    }
}

#[test]
fn an_endpoint_that_fails_while_degraded_is_a_warning() {
    let site = Site::new();
    let notes = |url: &str| site.agent(&format!("health_check: {{http_endpoint: '{url}'}}"));
    assert_eq!(notes("http://127.0.0.1:1/livez"), Vec::<String>::new());
    for end in ["/health", "/readyz"] {
        assert_one(&notes(&format!("http://127.0.0.1:1{end}")), &["http_endpoint", end, "write `/livez`"]);
    }
    let inherited = "agent_defaults: {health_check: {http_endpoint: 'http://127.0.0.1:1/health'}}\nagents:\n- {id: a, \
                     binary_path: '@/program'}\n- {id: b, binary_path: '@/program'}\n";
    assert_one(&site.daemon(inherited).unwrap(), &["agent_defaults.health_check.http_endpoint"]);
}

#[test]
fn warnings_are_printed_and_are_no_failure() {
    let daemon_dir = DaemonDir::new(&[AgentEntry::new("one").with("env_file: missing.env")]);
    let output = daemon_dir.ask(&["validate"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("prevents each start"), "{output:?}");
}

#[test]
fn dependencies_have_to_exist_and_may_not_wait_for_each_other() {
    let site = Site::new();
    let agents = |entries: &[(&str, &str)]| {
        let entry = |(id, more): &(&str, &str)| format!("  - {{id: {id}, binary_path: '@/program', {more}}}\n");
        site.daemon(&format!("agents:\n{}", entries.iter().map(entry).collect::<String>()))
    };
    let [db, api] = [("db", ""), ("api", "depends_on: [db, db]")];
    assert_eq!(agents(&[api, db]), Ok(Vec::new()));
    let unknown = agents(&[("db", ""), ("api", "depends_on: [dbb]")]).unwrap_err();
    assert!(unknown.contains("names `dbb`, and no agent has this ID") && unknown.contains("write `db`"), "{unknown}");
    let itself = agents(&[("db", "depends_on: [db]")]).unwrap_err();
    assert!(itself.contains("makes agents wait for each other: db → db"), "{itself}");
    let circle = [("a", "depends_on: [c]"), ("b", "depends_on: [a]"), ("c", "depends_on: [b]"), api, db];
    let circle = agents(&circle).unwrap_err();
    assert!(circle.contains("makes agents wait for each other: a → c → b → a"), "{circle}");
    assert_eq!(circle.matches("wait for each other").count(), 1, "a circle is reported once: {circle}");
    let notes = agents(&[("db", "enabled: false"), api]).unwrap();
    assert_one(&notes, &["names `db`, which is disabled", "enable db"]);
}
