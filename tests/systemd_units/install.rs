//! `make install` and `move-state`, without a systemd.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use test_requirements::requires;

use super::machine::make_install;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

#[requires("make")]
#[test]
fn installed_files_follow_the_prefix_and_leave_configurations_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::create_dir_all(path("etc/ops-agent")).unwrap();
    fs::write(path("etc/ops-agent/agent.yaml"), "agent_id: mine\n").unwrap();
    make_install(root.path(), &["PREFIX=/opt/ops"]);
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();

    assert_eq!(read("etc/ops-agent/agent.yaml"), "agent_id: mine\n");
    assert!(read("etc/ops-agent/daemon.yaml").contains("binary_path: /opt/ops/bin/ops-agent\n"));
    for (unit, program) in [("ops-agent@.service", "ops-agent"), ("ops-daemon.service", "ops-daemon")] {
        let unit = read(&format!("etc/systemd/system/{unit}"));
        assert!(unit.contains(&format!("\nExecStart=/opt/ops/bin/{program} run ")), "{unit}");
        assert!(unit.contains(&format!("\nExecReload=/opt/ops/bin/{program} validate ")), "{unit}");
        assert!(!unit.contains("/usr/local"), "{unit}");
        assert!(
            read(&format!("opt/ops/share/man/man1/{program}.1")).contains(&format!(".TH {} 1", program.to_uppercase()))
        );
        assert_eq!(path(&format!("opt/ops/bin/{program}")).metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }
    assert!(path("opt/ops/libexec/ops-agent/move-state").exists());
    assert!(read("etc/systemd/system/ops-agent@.socket").contains("\nListenStream=127.0.0.1:8081\n"));
    assert!(read("opt/ops/share/zsh/site-functions/_ops-daemon").starts_with("#compdef ops-daemon\n"));
    let document = |name: &str| read(&format!("opt/ops/share/doc/ops-agent/{name}"));
    assert!(document("nagios/ops-agent.cfg").contains("\ncommand[ops_agent]=/opt/ops/bin/ops-agent check "));
    assert!(document("monit/ops-agent.conf").contains("\ncheck file ops-agent "));
    assert!(document("logrotate/ops-agent").contains("\n/var/log/ops-daemon.log {"));
    let daemon = path("opt/ops/bin/ops-daemon");
    let output = Command::new(daemon).args(["validate", "--config"]).arg(path("etc/ops-agent/daemon.yaml")).output();
    assert_eq!(output.unwrap().status.code(), Some(0), "the installed example is valid");
}

#[requires("make")]
#[test]
fn a_package_has_its_units_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    make_install(root.path(), &["PREFIX=/usr", "UNITDIR=/usr/lib/systemd/system", "SYSUSERSDIR=/usr/lib/sysusers.d"]);
    let read = |name: &str| fs::read_to_string(root.path().join(name)).unwrap();
    for unit in ["ops-agent@.service", "ops-daemon.service"] {
        let unit = read(&format!("usr/lib/systemd/system/{unit}"));
        assert!(unit.contains("\nExecStart=/usr/bin/ops-") && !unit.contains("/usr/local"), "{unit}");
    }
    assert!(read("usr/lib/sysusers.d/ops-agent.conf").contains("u ops-agent "));
    assert!(read("etc/ops-agent/daemon.yaml").contains("binary_path: /usr/bin/ops-agent\n"));
    assert!(!root.path().join("etc/systemd").exists() && !root.path().join("etc/sysusers.d").exists());
}

#[requires("make")]
#[test]
fn the_programs_are_taken_from_the_target_directory_of_cargo() {
    let mut make = Command::new("make");
    make.current_dir(PROJECT).env("CARGO_TARGET_DIR", "/elsewhere").args(["--dry-run", "--old-file=build", "install"]);
    let text = String::from_utf8(make.output().unwrap().stdout).unwrap();
    assert!(text.contains("install -m 755 /elsewhere/release/$program "), "{text}");
}

fn move_state(root: &Path) -> Output {
    let [from, to, configs] = ["from", "to", "configs"].map(|name| root.join(name));
    Command::new(format!("{PROJECT}/configs/systemd/move-state")).args([from, to, configs]).output().unwrap()
}

#[test]
fn the_state_of_a_daemon_is_moved_and_that_of_agents_is_not() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for directory in ["from/state/starts", "from/web", "from/extra", "to", "configs"] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    fs::write(path("configs/web.yaml"), "").unwrap();
    fs::write(path("from/notes"), "mine").unwrap();
    symlink("/", path("from/private")).unwrap();
    assert!(move_state(root.path()).status.success());
    assert!(path("from/extra").is_dir() && !path("to/extra").exists(), "without a registry nothing is moved");

    fs::write(path("from/state/registry.ron"), "agents").unwrap();
    fs::write(path("to/notes"), "other").unwrap();
    let refused = move_state(root.path());
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("both exist"), "{refused:?}");
    assert_eq!(fs::read_to_string(path("to/notes")).unwrap(), "other");
    assert_eq!(fs::read_to_string(path("from/notes")).unwrap(), "mine");

    fs::remove_file(path("to/notes")).unwrap();
    for time in ["first", "second"] {
        let output = move_state(root.path());
        assert!(output.status.success(), "{time} time: {output:?}");
        assert_eq!(fs::read_to_string(path("to/state/registry.ron")).unwrap(), "agents");
        assert_eq!(fs::read_to_string(path("to/notes")).unwrap(), "mine");
        assert!(path("to/extra").is_dir());
        assert_eq!(fs::read_link(path("from/state")).unwrap(), path("to/state"));
        assert!(path("from/web").symlink_metadata().unwrap().is_dir() && !path("to/web").exists());
        assert!(!path("to/private").exists());
    }
}
