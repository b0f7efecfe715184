//! What an agent gets, whatever its daemon was started with.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::hostile::Hostile;

/// Lines of `/proc/PID/status` that an agent has from the daemon's parent.
const INHERITED: [&str; 12] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed",
];

/// SIGILL, SIGFPE and SIGSEGV, as bits of a mask.
const FAULTS: u64 = 1 << 3 | 1 << 7 | 1 << 10;

/// glibc leaves its own signals 32 and 33 ignored in what it spawns.
const OF_GLIBC: u64 = 1 << 31 | 1 << 32;

/// The settings of the daemon's parent, and what follows from them.
pub(super) struct Promise {
    work_dir: PathBuf,
    limits: String,
    status: String,
    nice: Option<String>,
    variables: BTreeSet<Vec<u8>>,
    may_ignore: u64,
}

impl Promise {
    /// Reads what the parent has recorded of itself.
    pub(super) fn read(directory: &Path, hostile: &Hostile) -> Self {
        let record = |name: &str| fs::read_to_string(directory.join(name)).expect("a record of the parent");
        let work_dir = fs::canonicalize(directory.join("state")).expect("the daemon's work directory");
        let variables = hostile.passed_on().into_iter();
        Self {
            work_dir,
            limits: record("limits"),
            status: record("status"),
            nice: field(&record("stat"), 19),
            variables: variables.map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'=')).collect(),
            may_ignore: OF_GLIBC | if hostile.ignores_faults { FAULTS } else { 0 },
        }
    }

    /// Compares one agent. `is_changed`: its configuration has one more variable.
    pub(super) fn check(&self, id: &str, pid: u32, is_changed: bool) -> Result<(), String> {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| fs::read_to_string(proc.join(name)).map_err(|error| format!("{name}: {error}"));
        let (status, stat) = (read("status")?, read("stat")?);
        self.check_signals(&status)?;
        expect("limits", &self.limits, &read("limits")?)?;
        expect("nice value", &self.nice, &field(&stat, 19))?;
        for name in INHERITED {
            expect(name, &line(&self.status, name), &line(&status, name))?;
        }
        // A session of its own and no terminal.
        expect("session", &Some(pid.to_string()), &field(&stat, 6))?;
        expect("terminal", &Some("0".to_owned()), &field(&stat, 7))?;
        let work_dir = self.work_dir.join("agents").join(id);
        expect("directory", &work_dir, &link(&proc.join("cwd"))?)?;
        check_descriptors(&proc, &work_dir.join("logs/agent.log"))?;
        self.check_variables(&proc, id, is_changed)
    }

    fn check_signals(&self, status: &str) -> Result<(), String> {
        let mask = |name: &str| line(status, name).and_then(|text| u64::from_str_radix(text, 16).ok());
        expect("blocked signals", &Some(0), &mask("SigBlk"))?;
        expect("caught signals", &Some(0), &mask("SigCgt"))?;
        expect("pending signals", &Some(0), &mask("SigPnd"))?;
        expect("ignored signals", &Some(0), &mask("SigIgn").map(|ignored| ignored & !self.may_ignore))
    }

    fn check_variables(&self, proc: &Path, id: &str, is_changed: bool) -> Result<(), String> {
        let environment = fs::read(proc.join("environ")).map_err(|error| format!("environ: {error}"))?;
        let mut found: BTreeSet<Vec<u8>> =
            environment.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        let secrets: Vec<Vec<u8>> =
            found.iter().filter(|line| line.starts_with(b"OPS_AGENT_START_SECRET=")).cloned().collect();
        let [secret] = secrets.as_slice() else { return Err(format!("it has {} start secrets", secrets.len())) };
        found.remove(secret);
        let label = [b"OPS_AGENT_SUPERVISED_AS=", id.as_bytes(), b"@", self.work_dir.as_os_str().as_bytes()].concat();
        let mut expected = self.variables.clone();
        expected.insert(label);
        if is_changed {
            expected.insert(b"ADDED=x".to_vec());
        }
        let text = |lines: &BTreeSet<Vec<u8>>| {
            lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        expect("variables", &text(&expected), &text(&found))
    }
}

fn check_descriptors(proc: &Path, log: &Path) -> Result<(), String> {
    let mut numbers: Vec<u32> = fs::read_dir(proc.join("fd"))
        .map_err(|error| format!("fd: {error}"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    expect("descriptors", &vec![0, 1, 2], &numbers)?;
    for (number, file) in [(0, Path::new("/dev/null")), (1, log), (2, log)] {
        expect("file of a descriptor", file, &*link(&proc.join("fd").join(number.to_string()))?)?;
    }
    Ok(())
}

fn link(path: &Path) -> Result<PathBuf, String> {
    fs::read_link(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}

/// The value of a line of `/proc/PID/status`.
fn line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// A field of `/proc/PID/stat`, counted from 1 as in its manual. The second one may contain any character.
fn field(stat: &str, number: usize) -> Option<String> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3)?.to_owned())
}
