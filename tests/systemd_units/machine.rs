//! A container with a real systemd, in which `make install` has installed the programs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::agent::wait_until;
use crate::support::programs;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// A booted container. It has its own file system, network and processes. It is killed when dropped.
pub(super) struct Machine {
    root: TempDir,
    boot: Child,
    /// The pid of its first process, as this host sees it.
    init: String,
}

/// A command that ended inside of a [`Machine`].
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    /// Standard output, then standard error.
    pub(super) text: String,
}

impl Machine {
    /// Installs the programs into a new root, and boots it.
    pub(super) fn boot() -> Self {
        Self::boot_with(&[])
    }

    /// The same with cgroups of version 2 alone, which the host may have beside those of version 1.
    pub(super) fn boot_with_cgroup2() -> Self {
        Self::boot_with(&[("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")])
    }

    /// The same with these variables for systemd-nspawn.
    fn boot_with(variables: &[(&str, &str)]) -> Self {
        let root = tempfile::tempdir().unwrap();
        make_root(root.path());
        make_install(root.path(), &[]);
        let mut boot = Command::new("setpriv");
        boot.args(["--pdeathsig", "TERM", "unshare", "--mount"]).arg(format!("{PROJECT}/tests/systemd_units/boot"));
        // /usr is that of this host, so /usr/local has to come from another place.
        fs::rename(root.path().join("usr/local"), root.path().join("installed")).unwrap();
        let local = root.path().join("installed").display().to_string();
        boot.arg("--directory").arg(root.path()).args(["--bind-ro=/usr", &format!("--bind-ro={local}:/usr/local")]);
        let boot = boot
            .arg("systemd.unit=basic.target")
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut machine = Self { root, boot, init: String::new() };
        wait_until("the container has a first process", || first_process(machine.boot.id()).is_some());
        machine.init = first_process(machine.boot.id()).unwrap();
        wait_until("systemd has booted", || machine.run("systemctl is-active basic.target").code == Some(0));
        // systemd-nspawn gives the container a boot ID of its own, which some restrictions of units hide again.
        machine.ok("umount /proc/sys/kernel/random/boot_id");
        machine.ok("systemd-sysusers && systemctl daemon-reload");
        machine
    }

    /// A path inside of the container, as this host sees it.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Writes a file, and its directory.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs a shell command inside, as root and in the directory `/`.
    pub(super) fn run(&self, script: &str) -> Ended {
        let mut command = Command::new("nsenter");
        command.args(["--all", "--target", &self.init, "/bin/sh", "-c", &format!("cd / && {script}")]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/usr/sbin");
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = [stdout, stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
        Ended { code: status.code(), text }
    }

    /// Runs a shell command that has to succeed, and returns what it prints.
    pub(super) fn ok(&self, script: &str) -> String {
        let Ended { code, text } = self.run(script);
        assert_eq!(code, Some(0), "{script}\n{text}\n{}", self.run("journalctl --no-pager -n 30 -o cat").text);
        text.trim_end().to_owned()
    }

    /// Whether `systemctl` calls the unit active.
    pub(super) fn is_active(&self, unit: &str) -> bool {
        self.ok(&format!("systemctl show -P ActiveState {unit}")) == "active"
    }

    /// The agents, as `ops-daemon status` shows them. Empty if no daemon answers. A relative `work_dir` starts in the
    /// state directory of the daemon, which was another one under its old unit name.
    pub(super) fn agents(&self) -> Vec<Value> {
        let directory = "cd /var/lib/ops-daemon 2>/dev/null || cd /var/lib/ops-agent";
        let status = "ops-daemon status --config /etc/ops-agent/daemon.yaml --output json";
        let text = self.run(&format!("{directory}; {status}")).text;
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        status["agents"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until the daemon shows this number of agents, and each one fits.
    pub(super) fn wait_for_agents(&self, count: usize, what: &str, fits: impl Fn(&Value) -> bool) {
        wait_until(what, || {
            let agents = self.agents();
            agents.len() == count && agents.iter().all(&fits)
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.boot.id().to_string()]).status();
        let _ = self.boot.wait();
    }
}

/// The root of an operating system whose programs are those of this host.
fn make_root(root: &Path) {
    for directory in ["etc/systemd/system", "usr", "var/lib", "root", "tmp", "proc", "sys", "dev", "run"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(name)) {
            symlink(target, root.join(name)).unwrap();
        }
    }
    for (file, text) in [
        ("os-release", "ID=test\n"),
        ("machine-id", ""),
        ("passwd", "root:x:0:0:root:/root:/bin/sh\nreader:x:1234:1234::/:/usr/sbin/nologin\n"),
        ("group", "root:x:0:\nreader:x:1234:\n"),
    ] {
        fs::write(root.join("etc").join(file), text).unwrap();
    }
}

/// Runs `make install` with the programs of the tests' own build, below another root.
pub(super) fn make_install(root: &Path, variables: &[&str]) {
    let built = Path::new(programs::agent()).parent().unwrap().display();
    let mut make = Command::new("make");
    make.current_dir(PROJECT).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").args(["--silent", "--old-file=build"]);
    make.args(["install", &format!("DESTDIR={}", root.display()), &format!("programs={built}")]).args(variables);
    let output = make.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn first_process(boot: u32) -> Option<String> {
    let group = format!("units-test-{boot}/payload/init.scope/cgroup.procs");
    let files = ["systemd/", "unified/", ""].map(|root| format!("/sys/fs/cgroup/{root}{group}"));
    let processes = files.iter().find_map(|file| fs::read_to_string(file).ok())?;
    processes.lines().next().map(str::to_owned)
}
