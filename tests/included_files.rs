//! The files that a daemon's file includes: what they may have, what is wrong with them, and where.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use ops_config::daemon::DaemonConfig;
use ops_config::{Loaded, Overrides, Problems, load_daemon, load_daemon_socket, validate_daemon};
use tempfile::TempDir;

/// A directory with a daemon's file.
struct Site(TempDir);

impl Site {
    fn new(main: &str) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.write("daemon.yaml", main);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn load(&self) -> Result<Loaded<DaemonConfig>, Problems> {
        load_daemon(Some(&self.path("daemon.yaml")), &Overrides::none())
    }

    fn ids(&self) -> Vec<String> {
        let loaded = self.load().unwrap_or_else(|problems| panic!("{problems}"));
        loaded.config.agents.into_iter().map(|agent| agent.id).collect()
    }

    /// The problems, with `@` for this directory.
    fn refused(&self) -> String {
        self.load().expect_err("this is wrong").to_string().replace(self.0.path().to_str().unwrap(), "@")
    }

    fn notes(&self) -> Vec<String> {
        let notes = self.load().unwrap().notes;
        let is_of_programs = |note: &String| note.contains("binary_path");
        let here = self.0.path().to_str().unwrap();
        notes.into_iter().filter(|note| !is_of_programs(note)).map(|note| note.replace(here, "@")).collect()
    }
}

fn agents(ids: &[&str]) -> String {
    let agents: String = ids.iter().map(|id| format!("- {{id: {id}, binary_path: /bin/true}}\n")).collect();
    format!("agents:\n{agents}")
}

#[test]
fn agents_of_included_files_follow_in_the_order_of_the_list_and_of_names() {
    let site = Site::new(&format!("include: [more.yaml, 'agents.d/*.yaml', '*.yaml']\n{}", agents(&["main"])));
    site.write("more.yaml", &agents(&["z"]));
    site.write("agents.d/b.yaml", &agents(&["b1", "b2"]));
    site.write("agents.d/a.yaml", &agents(&["a"]));
    site.write("agents.d/.hidden.yaml", "not read");
    site.write("agents.d/sub.yaml/x", "a directory is left out");
    // The last pattern also matches the file itself and one that was read already.
    assert_eq!(site.ids(), ["main", "z", "a", "b1", "b2"]);
    let read = site.load().unwrap().included;
    assert_eq!(read, ["more.yaml", "agents.d/a.yaml", "agents.d/b.yaml"].map(|name| site.path(name)));

    let alone = Site::new("include: [a.yaml]");
    alone.write("a.yaml", &agents(&["a"]));
    assert_eq!(alone.ids(), ["a"], "`agents` may be absent");
    symlink(alone.path("a.yaml"), alone.path("b.yaml")).unwrap();
    alone.write("daemon.yaml", "include: [b.yaml, a.yaml]\nagents:");
    assert_eq!(alone.ids(), ["a"], "a file counts once");
    alone.write("daemon.yaml", "include: []");
    assert!(alone.refused().contains("`agents` is missing"), "nothing is included");
}

#[test]
fn a_problem_names_the_included_file_and_its_line() {
    let site = Site::new(&format!("include: [a.yaml, b.yaml]\n{}", agents(&["main"])));
    site.write(
        "a.yaml",
        "# A comment.\nagents:\n- {id: a, binary_path: /bin/true}\n- {id: b, binary_path: b, nmae: x}",
    );
    site.write("b.yaml", "agents:\n- {id: c, binary_path: /bin/true, env: {A: hidden}, umask: 9}\n");
    assert_eq!(
        site.refused(),
        "@/a.yaml:4:24: `agents[1].binary_path` is `b`, a relative path: write an absolute path, such as \
         `/usr/local/bin/ops-agent`\n\
         @/a.yaml:4:27: `agents[1].nmae` is not a key: did you mean `name`?\n\
         @/b.yaml:2:60: `agents[0].umask` is the number `9`: write four octal digits, such as `\"0027\"`"
    );
    let rendered = site.load().unwrap_err().render(false);
    assert!(
        rendered.contains("a.yaml:4:27") && rendered.contains("4 | - {id: b,") && !rendered.contains("hidden"),
        "{rendered}"
    );
    site.write("b.yaml", "agents:\n- {id: c\n");
    assert!(site.refused().contains("@/b.yaml:2:"), "{}", site.refused());
}

#[test]
fn an_id_that_is_used_twice_is_shown_in_both_files() {
    let site = Site::new(&format!("include: [a.yaml]\n{}", agents(&["main", "twice"])));
    site.write("a.yaml", &agents(&["a", "twice"]));
    let fact = "@/a.yaml:3:8: `agents[1].id` is `twice`, which is already in use on line 4 of @/daemon.yaml";
    assert_eq!(site.refused().split(": use").next(), Some(fact));
    let rendered = site.load().unwrap_err().render(false);
    for part in ["a.yaml:3:8", "daemon.yaml:4:8", "first here"] {
        assert!(rendered.contains(part), "{part} in {rendered}");
    }
    site.write(
        "a.yaml",
        "agents:\n- {id: a, binary_path: /bin/true, work_dir: w}\n- {id: b, binary_path: /bin/true, work_dir: w}",
    );
    site.write("daemon.yaml", "include: [a.yaml]\nagents: [{id: c, binary_path: /bin/true, work_dir: w}]");
    let refused = site.refused();
    assert!(refused.contains("another agent, on line 2 of @/daemon.yaml"), "{refused}");
}

#[test]
fn an_included_file_has_agents_and_nothing_else() {
    let site = Site::new("include: [a.yaml]");
    for (text, fact) in [
        ("", "a.yaml:1:1: `agents` is missing"),
        ("agents:", "a.yaml:1:1: `agents` is missing"),
        ("- x", "an included file is a list"),
        ("agents: 5", "`agents` is not a list"),
        ("agents: []\ndaemon: {}", "a.yaml:2:1: `daemon` is not a key of an included file"),
        ("agents: []\ninclude: [b.yaml]", "a.yaml:2:1: `include` is not a key of an included file"),
        ("agents: []\nagents: []", "`agents` is given twice, on lines 1 and 2"),
        ("agents: []\n\u{1}", "in which on line 2 this is the control character U+0001"),
    ] {
        site.write("a.yaml", text);
        let refused = site.refused();
        assert!(refused.contains(fact), "{text:?}: {refused}");
    }
    site.write("a.yaml", "agents: []");
    assert_eq!(site.ids(), [""; 0]);
    fs::write(site.path("a.yaml"), b"agents: []\n# \xff").unwrap();
    assert!(site.refused().contains("the file is not UTF-8 from line 2 on"), "{}", site.refused());
}

#[test]
fn a_missing_file_is_an_error_and_a_pattern_without_a_match_a_warning() {
    let site = Site::new("include: [none.yaml]\nagents: []");
    assert!(site.refused().starts_with("@/daemon.yaml:1:11: `include[0]` names `@/none.yaml`, which cannot be read"));
    for directory in ["agents.d", "agents.d/"] {
        site.write("daemon.yaml", &format!("include: [{directory}]\nagents: []"));
        fs::create_dir_all(site.path("agents.d")).unwrap();
        assert!(site.refused().contains("is not a regular file: name files, or write a pattern"), "{}", site.refused());
    }
    site.write("daemon.yaml", "include: ['agents.d/*.yaml']");
    let note = "@/daemon.yaml:1:11: `include[0]` is `agents.d/*.yaml`, which no file matches: correct the pattern, or remove it";
    assert_eq!(site.notes(), [note, "there is no agent to supervise"]);
    symlink("nowhere", site.path("agents.d/x.yaml")).unwrap();
    assert!(site.refused().contains("x.yaml`, which cannot be read"), "a link to nothing is no file that is left out");
    for (list, fact) in [("5", "is the number"), ("['']", "has item 1, which is empty"), ("[[a]]", "has item 1")] {
        site.write("daemon.yaml", &format!("include: {list}\nagents: []"));
        assert!(site.refused().contains(fact), "{}", site.refused());
    }
}

#[test]
fn the_number_and_the_size_of_included_files_are_bounded() {
    let site = Site::new("include: ['d/*']");
    for n in 0..1025 {
        site.write(&format!("d/{n:04}"), "agents: []");
    }
    assert_eq!(site.refused().lines().count(), 1);
    assert!(site.refused().contains("includes more than 1024 files"), "{}", site.refused());
    fs::remove_file(site.path("d/1024")).unwrap();
    assert_eq!(site.load().unwrap().included.len(), 1024);

    let site = Site::new("include: [a, b]");
    site.write("a", &format!("agents: []\n#{}", "x".repeat(3 << 20)));
    site.write("b", &format!("agents: []\n#{}", "x".repeat(2 << 20)));
    assert!(site.refused().contains("`@/b`, with which there are more than 4096 KiB"), "{}", site.refused());
    let many = |count| format!("agents:\n- &a {{l: [{}]}}\n{}", "x, ".repeat(1000), "- *a\n".repeat(count));
    site.write("a", &many(700));
    site.write("b", &many(700));
    let problems = site.load().unwrap_err();
    assert!(problems.iter().any(|problem| problem.fact.contains("expands to more than")), "{problems}");
    site.write("daemon.yaml", &format!("include: [{}]", "a, ".repeat(65)));
    assert!(site.refused().contains("has 65 entries: write at most 64"), "{}", site.refused());
}

#[test]
fn a_flag_names_the_agents_of_the_file_itself_alone() {
    let site = Site::new(&format!("include: [a.yaml]\n{}", agents(&["main"])));
    site.write("a.yaml", &agents(&["a"]));
    let overrides = Overrides::none().set("--set", "agents[0].enabled", "false");
    let loaded = load_daemon(Some(&site.path("daemon.yaml")), &overrides).unwrap();
    let enabled: Vec<bool> = loaded.config.agents.iter().map(|agent| agent.enabled).collect();
    assert_eq!(enabled, [false, true]);
    site.write("a.yaml", "wrong");
    assert!(load_daemon_socket(Some(&site.path("daemon.yaml"))).is_ok(), "commands find the socket all the same");
}

#[test]
fn a_file_that_all_users_can_write_is_a_warning() {
    let site = Site::new(&format!("include: [a.yaml]\n{}", agents(&["main"])));
    site.write("a.yaml", &agents(&["a"]));
    let set = |name: &str, mode| fs::set_permissions(site.path(name), Permissions::from_mode(mode)).unwrap();
    set("daemon.yaml", 0o600);
    set("a.yaml", 0o600);
    assert_eq!(site.notes(), [""; 0]);
    let note =
        |name| format!("@/{name}: all users of this host can write this file (mode 0666): run `chmod o-w @/{name}`");
    set("a.yaml", 0o666);
    assert_eq!(site.notes(), [note("a.yaml")]);
    set("daemon.yaml", 0o666);
    assert_eq!(site.notes(), [note("daemon.yaml"), note("a.yaml")]);
    let validated = validate_daemon(Some(&site.path("daemon.yaml")), &Overrides::none()).unwrap().notes;
    assert_eq!(validated, site.load().unwrap().notes, "a start knows what `validate` knows");
}
