//! Finds out what the tests of this workspace can use on this machine. `src/lib.rs` says why at build time.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that only need to be installed.
const PROGRAMS: [&str; 11] = [
    "curl",
    "fish",
    "make",
    "mandoc",
    "openssl",
    "prometheus",
    "prometheus-node-exporter",
    "promtool",
    "python3",
    "systemd-analyze",
    "zsh",
];

/// What a command must be able to do: the requirement, the command that shows it, and the reason where it fails.
const PERMISSIONS: [(&str, &[&str], &str); 9] = [
    (
        "cgroup",
        &[
            "sh",
            "-c",
            "[ $(id -u) = 0 ] && read -r _ root _ <<EOF && mkdir $root/ops-probe-$$ && rmdir $root/ops-probe-$$\n\
             $(grep -m1 ' cgroup2 ' /proc/mounts)\nEOF",
        ],
        "needs root and a writable mount of cgroup2, to make a cgroup",
    ),
    (
        "cgroup-kill",
        &[
            "sh",
            "-c",
            "read -r _ root _ <<EOF && mkdir $root/ops-probe-$$ && [ -e $root/ops-probe-$$/cgroup.kill ]; \
             found=$?; rmdir $root/ops-probe-$$ && exit $found\n$(grep -m1 ' cgroup2 ' /proc/mounts)\nEOF",
        ],
        "needs root, a writable mount of cgroup2 and Linux 5.14, to kill a cgroup at once",
    ),
    ("root", &["sh", "-c", "[ $(id -u) = 0 ]"], "needs root, to run a part as another user"),
    ("strace", &["strace", "-qq", "-o", "/dev/null", "true"], "strace is not installed, or may not trace here"),
    (
        "pid-namespace",
        &["unshare", "--pid", "--fork", "--mount-proc", "true"],
        "needs root or CAP_SYS_ADMIN, to make a PID namespace",
    ),
    (
        "tmpfs",
        &["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        "needs root or CAP_SYS_ADMIN, to mount a tmpfs",
    ),
    (
        "frozen-disk",
        &[
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir disk && truncate -s 32M image && mkfs.ext4 -q image && \
             mount -o loop image disk && fsfreeze --freeze disk && fsfreeze --unfreeze disk",
        ],
        "needs root, loop devices and mkfs.ext4, to freeze a file system",
    ),
    (
        "booted-systemd",
        &[
            "timeout",
            "60",
            "unshare",
            "--mount",
            "../systemd_units/boot",
            "--volatile=yes",
            "--directory=/",
            "systemd.unit=exit.target",
        ],
        "needs root, systemd-nspawn and a merged /usr, to boot systemd in a container",
    ),
    (
        "booted-systemd-cgroup2",
        &[
            "timeout",
            "60",
            "env",
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
            "unshare",
            "--mount",
            "../systemd_units/boot",
            "--volatile=yes",
            "--directory=/",
            "systemd.unit=exit.target",
        ],
        "needs what booted-systemd needs and cgroup2, to delegate cgroups in a container",
    ),
];

/// A configuration that is installed on this machine hides the embedded one.
const INSTALLED_CONFIG: &str = "/etc/ops-agent/agent.yaml";

fn main() -> io::Result<()> {
    let directories: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    let mut found: Vec<(&str, Option<String>)> = Vec::new();
    for program in PROGRAMS {
        let reason = format!("{program} is not installed");
        found.push((program, (!is_installed(program, &directories)).then_some(reason)));
    }
    for (name, command, reason) in PERMISSIONS {
        found.push((name, (!succeeds(command)).then(|| reason.to_owned())));
    }
    let reason = format!("{INSTALLED_CONFIG} exists on this machine");
    found.push(("no-installed-config", Path::new(INSTALLED_CONFIG).exists().then_some(reason)));

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let rows: String = found.iter().map(|(name, reason)| format!("({name:?}, {reason:?}),\n")).collect();
    fs::write(out.join("requirements.rs"), format!("&[\n{rows}]\n"))?;
    look_again_when_something_changes(&directories);
    Ok(())
}

fn is_installed(program: &str, directories: &[PathBuf]) -> bool {
    directories.iter().any(|directory| directory.join(program).is_file())
}

fn succeeds(command: &[&str]) -> bool {
    let mut quiet = Command::new(command[0]);
    quiet.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// A directory changes when a program in it is installed or removed. Cargo treats a missing path as changed at every
/// build, so only directories that exist are named.
fn look_again_when_something_changes(directories: &[PathBuf]) {
    let mut lines = String::from("cargo::rerun-if-changed=build.rs\ncargo::rerun-if-changed=../systemd_units/boot\n");
    for variable in ["PATH", "USER"] {
        lines += &format!("cargo::rerun-if-env-changed={variable}\n");
    }
    let installed_config = Path::new(INSTALLED_CONFIG).parent().map(Path::to_owned);
    for directory in directories.iter().chain(&installed_config).filter(|directory| directory.is_dir()) {
        lines += &format!("cargo::rerun-if-changed={}\n", directory.display());
    }
    let _ = io::Write::write_all(&mut io::stdout(), lines.as_bytes());
}
